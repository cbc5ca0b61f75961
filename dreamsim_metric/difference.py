"""Where two pictures differ to a metric: the distance of local features, place by place, and a picture of it."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import PIL.Image
import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["overlay"]

# Dark violet over red to pale yellow: lightness grows evenly, so that it reads in grey and to the colour-blind too.
_COLOURS = np.array(
    (
        *((8, 6, 40), (62, 14, 98), (118, 28, 109), (172, 44, 94)),
        *((219, 72, 62), (245, 118, 28), (250, 180, 40), (252, 250, 170)),
    )
)


def compare_locally(branches: Iterable[Any], a: Tensor, b: Tensor, center: bool) -> Tensor:
    """Compute `1 − cos` of local features at each place; see `PerceptualMetric.difference_map`.

    Args:
        branches: backbones of a metric, whose local features are compared.
        a, b: pixels `(N, 3, S, S)` in [0, 1], in the form of `preprocess`.
        center: whether each feature's own mean is taken from it first, as the card says.

    Returns:
        `(N, S, S)` float32 in [0, 2].
    """
    size = a.shape[-1]
    parts = []
    for branch in branches:
        grids = branch.local_features(torch.cat([a, b]))
        found = []
        for grid in grids:  # 2N x D x h x w
            grid = grid.float()
            if center:
                grid = grid - grid.mean(1, keepdim=True)
            u, v = F.normalize(grid, dim=1).split([len(a), len(b)])
            d = (u - v).square().sum(1, keepdim=True) / 2
            found.append(F.interpolate(d, (size, size), mode="bilinear", align_corners=False))
        parts.append(torch.stack(found).mean(0))
    return torch.stack(parts).mean(0)[:, 0]


def overlay(
    picture: PIL.Image.Image, differences: Tensor | np.ndarray, *, highest: float | None = None
) -> PIL.Image.Image:
    """Lay a map of differences over a picture: the more different, the brighter and the less transparent.

    Args:
        picture: an RGB picture of any size.
        differences: map `(H, W)` of any size, 0 or more; stretched over the picture, as the metric saw it squashed.
        highest: the difference that is drawn brightest; default the map's own.

    Returns:
        RGB, of the picture's size; the picture itself where the map is 0.

    Raises:
        ValueError: a map that is not two-dimensional.

    Example:
        >>> drawn = overlay(PIL.Image.new("RGB", (2, 1), "grey"), np.array([[0.0, 1.0]]))
        >>> drawn.getpixel((0, 0)), drawn.getpixel((1, 0))
        ((128, 128, 128), (233, 232, 164))
    """
    values = np.asarray(
        differences.detach().cpu() if isinstance(differences, Tensor) else differences, dtype=np.float32
    )
    if values.ndim != 2:
        raise ValueError(f"got a map of shape {values.shape}; expected (H, W): one of difference_map's")
    highest = float(values.max()) if highest is None else highest
    scaled = np.clip(values / highest, 0, 1) if highest > 0 else np.zeros_like(values)
    strength = np.asarray(PIL.Image.fromarray(scaled).resize(picture.size, PIL.Image.Resampling.BILINEAR))
    position = strength * (len(_COLOURS) - 1)
    lower = np.minimum(position.astype(int), len(_COLOURS) - 2)
    part = (position - lower)[..., None]
    colours = (1 - part) * _COLOURS[lower] + part * _COLOURS[lower + 1]
    opacity = 0.85 * np.sqrt(strength)[..., None]
    own = np.asarray(picture.convert("RGB"), dtype=np.float32)
    return PIL.Image.fromarray(((1 - opacity) * own + opacity * colours).round().clip(0, 255).astype(np.uint8))
