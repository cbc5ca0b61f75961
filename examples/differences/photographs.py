"""The pictures of the page: an example photograph, cut and compressed."""

import io
from pathlib import Path

import numpy as np
import PIL.Image
import torch
from torch import Tensor

from dreamsim_metric.images.encoding import encode

ASTRONAUT = Path(__file__).parent.parent / "astronaut.jpg"


def photograph(width: int = 512, height: int = 512) -> PIL.Image.Image:
    """Cut the photograph at its left upper corner, 512 × 512 at most; a larger one is enlarged first."""
    picture = PIL.Image.open(ASTRONAUT).convert("RGB")
    side = max(width, height)
    return picture.resize((max(side, 512),) * 2).crop((0, 0, width, height))


def compressed(picture: PIL.Image.Image, quality: int) -> PIL.Image.Image:
    """Encode as JPEG and decode."""
    return PIL.Image.open(io.BytesIO(encode(picture, "JPEG", quality=quality))).convert("RGB")


def levels(picture: PIL.Image.Image) -> np.ndarray:
    """Return the 8-bit levels, `(H, W, 3)`."""
    return np.asarray(picture)


def pixels(picture: PIL.Image.Image) -> Tensor:
    """Return pixels in [0, 1], `(1, 3, H, W)`."""
    return torch.from_numpy(levels(picture).copy()).permute(2, 0, 1)[None] / 255


def apart(a: np.ndarray, b: np.ndarray) -> float:
    """Compute the largest difference of two pictures, in levels of 255."""
    return float(np.abs(a.astype(float) - b.astype(float)).max())
