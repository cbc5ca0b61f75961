"""Pillow's bicubic resize as two matrix products: the same numbers on any device, and differentiable.

A metric is only comparable when the resize is (Parmar et al., *On Aliased Resizing and Surprising Subtleties in GAN
Evaluation*, CVPR 2022). DreamSim was trained behind `PIL.Image.resize(..., BICUBIC)`: a cubic kernel with a = -0.5,
widened when shrinking, one pass along each axis, each rounded to 8 bits in 22-bit fixed point. Those integer weights
fit float64 exactly, so a float64 matrix product gives Pillow's sums without any rounding of its own.
"""

from functools import lru_cache
from typing import Any

import numpy as np
import PIL
import PIL.Image
import torch
from torch import Tensor

_PILLOW = tuple(int(part) for part in PIL.__version__.split(".")[:2])
_FIXED_POINT = 1 << 22  # Pillow's PRECISION_BITS for 8-bit channels: 32 - 8 - 2
_ON_GRID = 1e-4  # in levels of 1/255; float32 rounding of k/255 is below 2e-5
_CLIP_TOLERANCE = 1e-2  # in levels; fixed-point weights sum to 1 ± 1e-5, which takes white 255e-5 past the end


def resize(pictures: Tensor, size: tuple[int, int], *, rounded: Tensor | None = None) -> Tensor:
    """Resize as Pillow's BICUBIC does, ignoring the aspect ratio.

    A picture whose values are 8-bit levels (`is_8_bit`) gives exactly Pillow's 8-bit result. Any other float picture
    goes through the same filter without the rounding to 8 bits, clipped to [0, 1] after each pass as Pillow clips.
    Gradients are those of the filter and the clipping: the rounding passes them straight through.

    Args:
        pictures: tensor `(N, 3, H, W)`, uint8 in 0…255 or floating point in [0, 1], on any device.
        size: height and width of the result.
        rounded: flags `(N,)` of those that are rounded to 8 bits, of 8-bit ones; default all of those.

    Returns:
        `(N, 3, *size)` float32 in [0, 1] on the same device.

    Example:
        >>> checks = torch.tensor([[0, 255], [255, 0]], dtype=torch.uint8).expand(1, 3, 2, 2)
        >>> (resize(checks, (2, 3))[0, 0] * 255).round()
        tensor([[  0., 128., 255.],
                [255., 128.,   0.]])
    """
    if tuple(pictures.shape[-2:]) == tuple(size):
        return scale_to_unit(pictures) if pictures.dtype == torch.uint8 else pictures.float()
    if pictures.dtype == torch.uint8 and rounded is None and pictures.device.type in ("cpu", "mps"):
        # Pillow's own loop is several times faster than a dense product, and MPS has no float64.
        levels = torch.stack([resize_levels(picture, size) for picture in pictures.cpu()])
        return scale_to_unit(levels.to(pictures.device))
    if pictures.device.type == "mps":
        return _multiply(pictures.cpu(), size, None if rounded is None else rounded.cpu()).to(pictures.device)
    return _multiply(pictures, size, rounded)


def is_8_bit(pictures: Tensor) -> Tensor:
    """Tell which pictures `(N, 3, H, W)` hold 8-bit levels: uint8, or floats that all are multiples of 1/255; `(N,)`.

    Example:
        >>> is_8_bit(torch.tensor([0.2, 0.201]).view(2, 1, 1, 1))
        tensor([ True, False])
    """
    if pictures.dtype == torch.uint8:
        return torch.ones(len(pictures), dtype=torch.bool, device=pictures.device)
    host = pictures.detach().cpu() if pictures.device.type == "mps" else pictures.detach()  # which has no float64
    levels = host.double() * 255
    return ((levels - levels.round()).abs().amax(dim=(1, 2, 3)) < _ON_GRID).to(pictures.device)


def scale_to_unit(levels: Tensor) -> Tensor:
    """Scale uint8 in 0…255 to float32 in [0, 1], the same on every device."""
    # By a tensor, since CUDA multiplies by the reciprocal of a number, which is off in the last bit.
    return levels.float() / torch.full((), 255.0, dtype=torch.float32, device=levels.device)


def _multiply(pictures: Tensor, size: tuple[int, int], rounded: Tensor | None = None) -> Tensor:
    """`resize` as matrix products in float64, along each axis whose length changes."""
    levels = pictures.double() if pictures.dtype == torch.uint8 else pictures.double() * 255
    on_grid = (is_8_bit(pictures) if rounded is None else rounded).view(-1, 1, 1, 1)
    levels = _round_where(levels, on_grid)
    for axis in (2, 3) if _probe_rows_first(levels.shape[2], levels.shape[3], *size) else (3, 2):
        if levels.shape[axis] != size[axis - 2]:
            length = levels.shape[axis], size[axis - 2]
            # The compiler looks through caches, and says so with a warning.
            compiling = torch.compiler.is_compiling()
            weights = (
                _compute_weights(*length).to(levels.device) if compiling else _keep_weights(*length, levels.device)
            )
            levels = weights @ levels if axis == 2 else levels @ weights.T
            levels = _round_where(_clip(levels), on_grid)
    return (levels / 255).float()


def _probe_rows_first(height: int, width: int, new_height: int, new_width: int) -> bool:
    """Whether the installed Pillow shrinks the height before the width; the rounding between makes it matter.

    From version 13 it does where the height loses more than twice the pixels that the width does (Pillow pull request
    9549), in 12.2 and 12.3 where the picture is over 100 times as tall as wide (9524), before that never. Both rules
    are read off the released wheels: tests/images/test_resizing.py holds the installed one to its own.
    """
    if height <= new_height or _PILLOW < (12, 2):
        return False
    if _PILLOW < (13, 0):
        return height > 100 * width
    return height - new_height > 2 * (width - new_width)


def resize_levels(picture: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize one `(3, H, W)` uint8 picture on the CPU by Pillow itself: `(3, *size)` uint8."""
    if tuple(picture.shape[-2:]) == tuple(size):
        return picture
    image = PIL.Image.fromarray(picture.permute(1, 2, 0).contiguous().numpy())
    return torch.from_numpy(np.array(resize_image(image, size))).permute(2, 0, 1)


def resize_image(image: PIL.Image.Image, size: tuple[int, int]) -> PIL.Image.Image:
    """Resize one RGB picture to a height and width by Pillow; itself if it has them."""
    if image.size == (size[1], size[0]):
        return image
    return image.resize((size[1], size[0]), PIL.Image.Resampling.BICUBIC)


def _round_where(levels: Tensor, on_grid: Tensor) -> Tensor:
    """Round half up, as Pillow does, the pictures flagged in `on_grid`; the gradient passes straight through."""
    return levels + torch.where(on_grid, (levels + 0.5).floor() - levels, 0.0).detach()


def _clip(levels: Tensor) -> Tensor:
    """Clip to 0…255; the gradient stops where that clips something, not where a region just is black or white.

    The gradient of `clamp` at its very bounds is 1 or 0, depending on the version of PyTorch.
    """
    clipped = levels.detach().clamp(0, 255)
    excess = levels.detach() - clipped
    return torch.where(excess.abs() < _CLIP_TOLERANCE, levels - excess, clipped)


@lru_cache(maxsize=32)
def _keep_weights(n_in: int, n_out: int, device: torch.device) -> Tensor:
    with torch.inference_mode(False):  # the next caller may need gradients
        return _compute_weights(n_in, n_out).to(device)


def _compute_weights(n_in: int, n_out: int) -> Tensor:
    """Pillow's `(n_out, n_in)` filter: float64 multiples of 2^-22 (Resample.c, `precompute_coeffs`)."""
    scale = n_in / n_out
    stretch = max(scale, 1.0)
    support = 2.0 * stretch
    options: dict[str, Any] = {"dtype": torch.float64, "device": "cpu"}  # a GPU's fused operations round otherwise
    centre = (torch.arange(n_out, **options)[:, None] + 0.5) * scale
    x = torch.arange(n_in, **options)
    reached = (x >= (centre - support + 0.5).trunc()) & (x < (centre + support + 0.5).trunc())
    taps = torch.where(reached, _compute_cubic((x - centre + 0.5) * (1 / stretch)), 0.0)
    fixed = taps / taps.sum(1, keepdim=True) * _FIXED_POINT
    return (fixed + torch.copysign(torch.tensor(0.5, **options), fixed)).trunc() / _FIXED_POINT


def _compute_cubic(x: Tensor) -> Tensor:
    """Keys' cubic convolution kernel with a = -0.5 (Keys 1981, eq. 15)."""
    a, x = -0.5, x.abs()
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = (((x - 5) * x + 8) * x - 4) * a
    return torch.where(x < 1, near, torch.where(x < 2, far, 0.0))
