"""Unit embeddings to distances: `1 − cos`, of pairs and of all pairs."""

import torch
from torch import Tensor

__all__ = ["compare_all", "compare_triplets", "pair_distances"]

# Two embeddings of one picture may differ by float32 rounding (about 3e-7) when its batches differ; the square of that
# is far below any distance between pictures, and is taken for what it is: nothing.
_ROUNDING = 1e-12
_ROWS = 1024  # of a distance matrix at a time: bounds what is held beside the result
NEAR = 1e-3  # distances below are computed from differences; in those from products rounding is some 1e-7
_PAIRS = 1024  # of them at a time: what fits in the processor's cache


def check_pairs(n: int, m: int) -> None:
    """Raise `ValueError` unless `n` pictures pair up with `m`."""
    if n != m and 1 not in (n, m):
        raise ValueError(
            f"got {n} and {m} pictures; expected as many in both, or one against many (distance_matrix: all)"
        )


def pair_distances(u: Tensor, v: Tensor) -> Tensor:
    """Compute `1 − cos` of unit vectors, pair by pair.

    It is half the squared difference, which unlike `1 − u·v` is exactly 0 for equal vectors, never negative, and keeps
    its precision and its gradient for near ones.

    Args:
        u, v: unit vectors `(N, D)`, or one of them `(1, D)`.

    Returns:
        `(N,)` in [0, 2].

    Example:
        >>> pair_distances(torch.tensor([[1.0, 0.0], [0.0, 1.0]]), torch.tensor([[1.0, 0.0], [0.6, 0.8]]))
        tensor([0.0000, 0.2000])
    """
    d = (u - v).square().sum(-1) / 2
    return d.masked_fill(d < _ROUNDING, 0)


def compare_triplets(units: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
    """Compute the two distances of each triplet: from the reference to the left, and to the right.

    Args:
        units: unit embeddings `(U, D)`, each picture once.
        index: positions `(N, 3)` of reference, left and right in `units`.

    Returns:
        `(N,)` and `(N,)`, in [0, 2].

    Example:
        >>> compare_triplets(torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]]), torch.tensor([[0, 1, 2]]))
        (tensor([0.4000]), tensor([1.]))
    """
    # index_select: the gradient of units[…] is summed in any order by several threads, and no run would repeat another.
    reference, left, right = (units.index_select(0, index[:, i]) for i in range(3))
    return pair_distances(reference, left), pair_distances(reference, right)


def compare_all(u: Tensor, v: Tensor) -> Tensor:
    """Compute `1 − cos` of all pairs of unit vectors, a block of rows at a time.

    It is made of products, which is quick; where two are so near that rounding would show, of differences, as in
    `pair_distances`. With one tensor for both, the result is symmetric to the last bit.

    Args:
        u, v: unit vectors `(N, D)` and `(M, D)`.

    Returns:
        `(N, M)` in [0, 2].

    Example:
        >>> u = torch.tensor([[1.0, 0.0], [0.6, 0.8]])
        >>> compare_all(u, u)
        tensor([[0.0000, 0.4000],
                [0.4000, 0.0000]])
    """
    d = u.new_empty(len(u), len(v))
    for start in range(0, len(u), _ROWS):
        rows = slice(start, start + _ROWS)
        if v is not u:
            d[rows] = _compute_distances(u[rows], v)
            continue
        square = _compute_distances(u[rows], u[rows])
        d[rows, rows] = square.triu() + square.triu(1).T
        d[rows, start + _ROWS :] = _compute_distances(u[rows], u[start + _ROWS :])
        d[rows, :start] = d[:start, rows].T
    return d


def _compute_distances(u: Tensor, v: Tensor) -> Tensor:
    d = 1 - compute_cosines(u, v)
    near = d.detach() < NEAR
    if near.sum() > near.numel() // 8:  # copies of a few pictures: all differences are quicker than many chosen ones
        exact = torch.cdist(u, v, compute_mode="donot_use_mm_for_euclid_dist").square() / 2
        return torch.where(near, exact.masked_fill(exact < _ROUNDING, 0), d)
    for some in near.nonzero().split(_PAIRS):
        i, j = some.unbind(1)
        d[i, j] = pair_distances(u[i], v[j])
    return d


def compute_cosines(u: Tensor, v: Tensor) -> Tensor:
    """Multiply all pairs of unit vectors `(N, D)` and `(M, D)`: `(N, M)` float32, right within 1e-6.

    Where the process lets products be rounded to TF32 or bfloat16, these are computed in float64.
    """
    with torch.autocast(u.device.type, enabled=False):
        if _products_are_float32():
            return u @ v.T
        return (u.double() @ v.double().T).float()


def _products_are_float32() -> bool:
    try:
        return torch.get_float32_matmul_precision() == "highest"
    except RuntimeError:  # it was set by the newer `torch.backends…fp32_precision`, to whatever
        return False
