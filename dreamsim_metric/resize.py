"""Pillow's bicubic resize as two matrix products: the same numbers on any device, and differentiable.

A metric is only comparable when the resize is (Parmar et al., *On Aliased Resizing and Surprising Subtleties in GAN
Evaluation*, CVPR 2022). DreamSim was trained behind `PIL.Image.resize(..., BICUBIC)`: a cubic kernel with a = -0.5,
widened when shrinking, one pass along each axis, each rounded to 8 bits in 22-bit fixed point. Those integer weights
fit float64 exactly, so a float64 matrix product gives Pillow's sums without any rounding of its own.
"""

from functools import lru_cache

import numpy as np
import PIL
import PIL.Image
import torch
from torch import Tensor

_PILLOW = tuple(int(part) for part in PIL.__version__.split(".")[:2])
_FIXED_POINT = 1 << 22  # Pillow's PRECISION_BITS for 8-bit channels: 32 - 8 - 2
_ON_GRID = 1e-4  # in levels of 1/255; float32 rounding of k/255 is below 2e-5


def resize(pictures: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize as Pillow's BICUBIC does, ignoring the aspect ratio.

    A picture whose values are 8-bit levels (uint8, or floats that all are multiples of 1/255) gives exactly Pillow's
    8-bit result. Any other float picture goes through the same filter without the rounding to 8 bits, clipped to
    [0, 1] after each pass as Pillow clips. Gradients are those of the filter and the clipping: the rounding passes
    them straight through.

    Args:
        pictures: `(N, 3, H, W)`, uint8 in 0…255 or floating point in [0, 1], on any device.
        size: height and width of the result.

    Returns:
        `(N, 3, *size)` float32 in [0, 1] on the same device.
    """
    if pictures.dtype == torch.uint8:
        if tuple(pictures.shape[-2:]) != tuple(size) and pictures.device.type in ("cpu", "mps"):
            # Pillow's own loop is several times faster than a dense product, and MPS has no float64.
            pictures = torch.stack([_pillow(picture, size) for picture in pictures.cpu()]).to(pictures.device)
        if tuple(pictures.shape[-2:]) == tuple(size):
            return pictures.float() / 255
    elif tuple(pictures.shape[-2:]) == tuple(size):
        return pictures.float()
    if pictures.device.type == "mps":
        return resize(pictures.cpu(), size).to(pictures.device)

    levels = pictures.double() if pictures.dtype == torch.uint8 else pictures.double() * 255
    on_grid = (levels - levels.round()).abs().amax(dim=(1, 2, 3), keepdim=True) < _ON_GRID
    levels = _round_where(levels, on_grid)
    for axis in (2, 3) if _rows_first(levels.shape[2], levels.shape[3], *size) else (3, 2):
        if levels.shape[axis] != size[axis - 2]:
            weights = _weights(levels.shape[axis], size[axis - 2]).to(levels.device)
            levels = weights @ levels if axis == 2 else levels @ weights.T
            levels = _round_where(levels.clamp(0, 255), on_grid)
    return (levels / 255).float()


def _rows_first(height: int, width: int, new_height: int, new_width: int) -> bool:
    """Whether the installed Pillow shrinks the height before the width; the rounding between makes it matter.

    From version 13 it does where the height loses more than twice the pixels that the width does (Pillow pull request
    9549), in 12.2 and 12.3 where the picture is over 100 times as tall as wide (9524), before that never. Both rules
    are read off the released wheels: tests/test_resize.py holds the installed one to its own.
    """
    if height <= new_height or _PILLOW < (12, 2):
        return False
    if _PILLOW < (13, 0):
        return height > 100 * width
    return height - new_height > 2 * (width - new_width)


def _pillow(picture: Tensor, size: tuple[int, int]) -> Tensor:
    """One `(3, H, W)` uint8 picture on the CPU through Pillow itself."""
    image = PIL.Image.fromarray(picture.permute(1, 2, 0).contiguous().numpy())
    resized = np.array(image.resize((size[1], size[0]), PIL.Image.Resampling.BICUBIC))
    return torch.from_numpy(resized).permute(2, 0, 1)


def _round_where(levels: Tensor, on_grid: Tensor) -> Tensor:
    """Round half up, as Pillow does, the pictures flagged in `on_grid`; the gradient passes straight through."""
    return levels + torch.where(on_grid, (levels + 0.5).floor() - levels, 0.0).detach()


@lru_cache(maxsize=32)
def _weights(n_in: int, n_out: int) -> Tensor:
    """Pillow's `(n_out, n_in)` filter: float64 multiples of 2^-22 (Resample.c, `precompute_coeffs`)."""
    scale = n_in / n_out
    stretch = max(scale, 1.0)
    support = 2.0 * stretch
    weights = np.zeros((n_out, n_in))
    for i in range(n_out):
        centre = (i + 0.5) * scale
        first = max(int(centre - support + 0.5), 0)
        last = min(int(centre + support + 0.5), n_in)
        taps = _cubic((np.arange(first, last) - centre + 0.5) / stretch)
        fixed = taps / taps.sum() * _FIXED_POINT
        weights[i, first:last] = np.trunc(fixed + np.copysign(0.5, fixed))
    return torch.from_numpy(weights / _FIXED_POINT)


def _cubic(x: np.ndarray) -> np.ndarray:
    """Keys' cubic convolution kernel with a = -0.5 (Keys 1981, eq. 15)."""
    a, x = -0.5, np.abs(x)
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = (((x - 5) * x + 8) * x - 4) * a
    return np.where(x < 1, near, np.where(x < 2, far, 0.0))
