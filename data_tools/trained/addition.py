"""What another trainer made for a pipeline, whatever it is: recognised by what is in it."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from data_tools.trained.lora import add_lora, is_lora
from data_tools.trained.network import is_checkpoint, list_parts, replace_parts
from data_tools.trained.words import add_words, is_words, read_words

_EXPECTED = (
    "expected a LoRA (of diffusers, peft or kohya), learnt words (.safetensors, .bin or .pt), a folder of networks in "
    "diffusers' layout, or a one-file checkpoint"
)


def add_all(pipeline: Any, paths: Iterable[Path]) -> None:
    """Give a pipeline what files or folders of other trainers hold, in place, one after the other.

    Raises:
        FileNotFoundError: no such path.
        ValueError: it holds nothing that is known, or something of another pipeline.
    """
    for path in paths:
        if not path.exists():
            raise FileNotFoundError(f"no such file or folder: {path}; {_EXPECTED}")
        if (path.is_dir() and list_parts(path)) or is_checkpoint(path):
            replace_parts(pipeline, path)
        elif is_lora(path):
            add_lora(pipeline, path)
        elif is_words(path):
            add_words(pipeline, read_words(path), path)
        else:
            raise ValueError(f"{path} holds nothing that can be added to a pipeline; {_EXPECTED}")
