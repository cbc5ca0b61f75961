"""Whether a quicker way gives the plain way's numbers: asked once, on noise, before the quicker one is used.

All that stands on the inside of a library is asked so: in another version it may be missing, take other arguments, or
have a step more. The plain way is then taken, and a line is logged.
"""

import logging
from collections.abc import Callable

import torch
from torch import Tensor, nn

# Of the largest number: far above rounding, far below a step that was misunderstood.
_ROUNDING = {torch.float64: 1e-4, torch.float32: 1e-4, torch.float16: 5e-3, torch.bfloat16: 2e-2}
_log = logging.getLogger(__name__)


def agrees(name: str, quick: Callable[..., Tensor], plain: Callable[..., Tensor], *given: Tensor) -> bool:
    """Compare a quicker way with the plain one on an example.

    Args:
        name: what is compared, for the log.
        quick: the way that would take the other's place.
        plain: the way that is right.
        given: tensors that both take.

    Returns:
        Whether both give the same up to rounding. What raises an error does not, whichever of the two it is: the plain
        way will say itself what is wrong with it.

    Example:
        >>> agrees("sum", lambda x: x + x, lambda x: 2 * x, torch.ones(3))
        True
        >>> agrees("sum", lambda x: x._doubled(), lambda x: 2 * x, torch.ones(3))
        False
    """
    try:
        same, why = close(quick(*given), plain(*given)), "its numbers differ"
    except Exception as error:  # a library that changed may raise anything
        same, why = False, f"{type(error).__name__}: {error}"
    if not same:
        _log.info("the plain way is taken, not %s (%s)", name, why)
    return same


def close(found: Tensor, expected: Tensor) -> bool:
    """Tell whether two tensors are equal up to the rounding of their dtype, as a share of the largest number.

    Example:
        >>> close(torch.tensor([1.0, 1e-6]), torch.tensor([1.0, 0.0])), close(torch.ones(2), torch.ones(1))
        (True, False)
    """
    if found.shape != expected.shape or found.dtype != expected.dtype:
        return False
    return bool((found - expected).abs().max() <= _ROUNDING[expected.dtype] * expected.abs().max())


def runs_in_order(module: nn.Module, x: Tensor) -> bool:
    """Tell whether a module does to an example what its parts do one after the other, and nothing else.

    Example:
        >>> runs_in_order(torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.GELU()), torch.ones(1, 3))
        True
    """
    return agrees(f"the order of {type(module).__name__}", nn.Sequential(*module.children()), module, x)


def draw_noise(*shape: int, like: Tensor) -> Tensor:
    """Make noise of unit variance, the same every time, of a tensor's device and dtype.

    Example:
        >>> draw_noise(2, 5, like=torch.zeros(1, dtype=torch.bfloat16)).dtype
        torch.bfloat16
    """
    random = torch.Generator("cpu").manual_seed(0)
    return torch.randn(shape, generator=random, dtype=torch.float32, device="cpu").to(like)
