"""What figures may depend on beside the data: versions of libraries, Python, the machine."""

import importlib.metadata
import platform
from typing import Any

import torch

from dreamsim_metric.version import __version__

_LIBRARIES = ("dreamsim_metric", "torch", "torchvision", "timm", "open_clip_torch", "piq", "lpips", "pillow", "numpy")
SURROUNDINGS = ("versions", "python", "machine")


def collect_surroundings() -> dict[str, Any]:
    """Collect what figures may depend on beside the data: versions of libraries, Python, the machine."""
    return {
        "versions": {name: find_version(name) for name in _LIBRARIES},
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}, {torch.get_num_threads()} threads"
        + (f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ""),
    }


def find_version(library: str) -> str:
    """Return the version of a library, by its name on PyPI; empty where it is not installed."""
    if library == "dreamsim_metric":  # also from a folder where it is not installed
        return __version__
    try:
        return importlib.metadata.version(library)
    except importlib.metadata.PackageNotFoundError:
        return ""
