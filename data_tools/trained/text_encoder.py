"""CLIP's text encoders, under the names that every version of transformers and diffusers reads.

From version 5 on transformers leaves `text_model.` out of the names that it writes. It reads both
forms; earlier versions read the longer one only, and where names do not fit they begin with random weights and say
so in a log alone.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

_PREFIX = "text_model."
_INSIDE = ("embeddings.", "encoder.", "final_layer_norm.")


def name_for_all(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Name a text encoder's weights, or those of a LoRA for it, so that every version reads them.

    Example:
        >>> import torch
        >>> list(name_for_all({"final_layer_norm.bias": torch.zeros(1)}))
        ['text_model.final_layer_norm.bias']
    """
    return {f"{_PREFIX}{name}" if name.startswith(_INSIDE) else name: value for name, value in tensors.items()}


def save_text_encoder(encoder: Any, folder: Path) -> None:
    """Save a text encoder of CLIP in transformers' own layout.

    Raises:
        OSError: the disk is full or not writable.
    """
    encoder.save_pretrained(folder, state_dict=name_for_all(encoder.state_dict()))
