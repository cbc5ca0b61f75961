"""Pictures that are compared, to pixels: both of a pair are resized in one way.

Pillow rounds 8-bit pictures to 8 bits after each pass. If one of two pictures were rounded so and the other, which is
almost the same, were not, they would differ by more than they do.
"""

from collections.abc import Iterable
from typing import NamedTuple, TypeGuard, cast

import numpy as np
import torch
from torch import Tensor

from dreamsim_metric.images.convert import (
    Picture,
    Pictures,
    are_one_by_one,
    count,
    hold,
    is_single,
    to_pixels,
    to_stacks,
)
from dreamsim_metric.images.resizing import is_8_bit, resize


class Pairs(NamedTuple):
    """Pixels of pictures, each way that one was resized once, and which of them are compared."""

    pixels: Tensor
    """`(K, 3, S, S)` float32 in [0, 1]."""
    a: Tensor
    """Places in `pixels` of the first pictures of the pairs, `(N,)`."""
    b: Tensor
    """Places of the second ones, `(N,)`."""


def to_pairs(
    a: Pictures, b: Pictures, size: tuple[int, int], *, check: bool = True, device: torch.device | None = None
) -> Pairs:
    """Bring pairs of pictures to pixels, rounded as Pillow rounds where all of a pair that is resized is 8-bit.

    Args:
        a, b: pictures that `to_pixels` takes, as many in one as in the other, or one against many.
        size: height and width of the pixels.
        check: whether values outside [0, 1] are looked for.
        device: the place that pixels are brought to; default where the pictures are, or the CPU.

    Raises:
        ValueError, FileNotFoundError: pictures that cannot be read, or a tensor on another device.
    """
    a, b = hold(a), hold(b)
    if device is not None:
        check_device(a, device)
        check_device(b, device)
    if not (are_resized_floats(a, size) or are_resized_floats(b, size)):
        return _pair_up(*(to_pixels(some, size, check=check).to(device) for some in (a, b)))
    stacks_a, stacks_b = ([stack.to(device) for stack in to_stacks(some, None, check)] for some in (a, b))
    eight_a, eight_b = (
        torch.cat([_may_be_rounded(stack, size) for stack in stacks]) for stacks in (stacks_a, stacks_b)
    )
    n, m = len(eight_a), len(eight_b)
    if n != m and 1 not in (n, m):  # which the caller will say
        return _pair_up(_resize_some(stacks_a, size, eight_a), _resize_some(stacks_b, size, eight_b))
    eight = eight_a & eight_b
    pairs = _pair_up(
        _resize_some(stacks_a, size, eight if n == len(eight) else eight_a),
        _resize_some(stacks_b, size, eight if m == len(eight) else eight_b),
    )
    if n == m:
        return pairs
    # The one among many is resized in both ways, for those that it is compared with.
    one = stacks_a if n == 1 else stacks_b
    pixels = torch.cat([pairs.pixels, _resize_some(one, size, torch.zeros_like(eight[:1]))])
    places = torch.where(eight, pairs.a if n == 1 else pairs.b, len(pixels) - 1)
    return Pairs(pixels, places, pairs.b) if n == 1 else Pairs(pixels, pairs.a, places)


def to_unrounded(pictures: Pictures, size: tuple[int, int], *, check: bool = True) -> Tensor:
    """Bring pictures to pixels as `to_pixels` does, but without rounding 8-bit ones when they are resized.

    Args:
        pictures: pictures that `to_pixels` takes.
        size: height and width of the pixels.
        check: whether values outside [0, 1] are looked for.
    """
    stacks = to_stacks(pictures, None, check)
    return _resize_some(stacks, size, torch.zeros(sum(map(len, stacks)), dtype=torch.bool, device=stacks[0].device))


def check_device(pictures: Pictures, device: torch.device) -> None:
    """Raise `ValueError` for a tensor that is not on the metric's device."""
    if isinstance(pictures, Tensor) and pictures.device != device:
        raise ValueError(f"got a tensor on {pictures.device}, the metric is on {device}; move one with .to(device)")


def are_resized_floats(pictures: Pictures, size: tuple[int, int]) -> bool:
    """Tell whether floats are among pictures that are resized; only those are not 8-bit by their kind."""
    return any(
        tuple(picture.shape[-2:]) != tuple(size)
        for picture in (cast(Iterable[Picture], pictures) if are_one_by_one(pictures) else [pictures])
        if _is_float(picture)
    )


def are_8_bit(pictures: Pictures, size: tuple[int, int]) -> Tensor:
    """Tell which of many pictures may be resized as Pillow resizes 8-bit ones: `(N,)` on their device."""
    flags = [
        torch.cat([_may_be_rounded(stack, size) for stack in to_stacks(some, None, check=False)])
        if _is_float(some)
        else torch.ones(1 if is_single(some) else count(some), dtype=torch.bool, device="cpu")
        for some in (cast(Iterable[Picture], pictures) if are_one_by_one(pictures) else [pictures])
    ]
    return torch.cat([flag.to(flags[0].device) for flag in flags])


def _is_float(picture: object) -> TypeGuard[np.ndarray | Tensor]:
    if isinstance(picture, np.ndarray):
        return picture.dtype.kind == "f"
    return isinstance(picture, Tensor) and picture.is_floating_point()


def _may_be_rounded(stack: Tensor, size: tuple[int, int]) -> Tensor:
    if tuple(stack.shape[-2:]) == tuple(size):  # it stays as it is
        return torch.ones(len(stack), dtype=torch.bool, device=stack.device)
    return is_8_bit(stack)


def _resize_some(stacks: list[Tensor], size: tuple[int, int], rounded: Tensor) -> Tensor:
    flags = rounded.split([len(stack) for stack in stacks])
    return torch.cat([resize(stack, size, rounded=some) for stack, some in zip(stacks, flags, strict=True)])


def _pair_up(a: Tensor, b: Tensor) -> Pairs:
    n, m = len(a), len(b)
    places = torch.arange(n + m, dtype=torch.int64, device=a.device)
    of_a, of_b = places[:n], places[n:]
    return Pairs(torch.cat([a, b]), of_a.expand(m) if n == 1 else of_a, of_b.expand(n) if m == 1 else of_b)
