"""Tables of positions of vision transformers, resampled for pictures of another size as their authors do."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from dreamsim_metric.card import Positions

TABLES = (".pos_embed", ".positional_embedding")  # endings of their names, in timm and in open_clip
_MOST_PLACELESS = 5  # tokens that are no place of the picture: the class token and up to four registers


def resample_positions(table: Tensor, length: int, rule: Positions) -> Tensor:
    """Resample a table of positions for another grid.

    `dino`: bicubic without antialiasing at scale factor (new + 0.1) / old, which moves the sampling grid a little; the
    0.1 was put there against rounding. `antialiased`: bicubic with antialiasing, which in PyTorch has another kernel
    (a = −0.5 instead of −0.75), so that enlarged tables differ as well.

    Args:
        table: `(1, P + old², D)` or `(P + old², D)`: first `P` tokens that are no place, the class token say.
        length: P + new².
        rule: the rule of the network's authors.

    Returns:
        `(1, P + new², D)` or `(P + new², D)`; the table itself where the sizes are equal or no grids.
    """
    placeless = next((p for p in range(_MOST_PLACELESS + 1) if _is_grid(table.shape[-2] - p, length - p)), None)
    if placeless is None or table.shape[-2] == length:
        return table
    rows = table.flatten(0, -2)
    old, new = (math.isqrt(rows_ - placeless) for rows_ in (len(rows), length))
    grid = rows[placeless:].reshape(1, old, old, -1).permute(0, 3, 1, 2)
    if rule == "dino":
        scale = (new + 0.1) / old
        grid = F.interpolate(grid, scale_factor=(scale, scale), mode="bicubic", align_corners=False)
    else:
        grid = F.interpolate(grid, size=(new, new), mode="bicubic", align_corners=False, antialias=True)
    rows = torch.cat([rows[:placeless], grid.permute(0, 2, 3, 1).reshape(new * new, -1)])
    return rows.view(*table.shape[:-2], length, -1)


def _is_grid(*numbers: int) -> bool:
    return all(number > 0 and math.isqrt(number) ** 2 == number for number in numbers)
