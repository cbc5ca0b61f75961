"""Nearest neighbours and near duplicates among embeddings: exact in bounded memory, or approximate through faiss."""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dreamsim_metric.bounds import check_least
from dreamsim_metric.distances import NEAR, compute_cosines, pair_distances

_ROWS = 2048  # queries at once
_COLUMNS = 8192  # candidates at once: with the rows, 64 MB of products
_SPARE = 8  # candidates beside the k, since products order near ties by their rounding
_ROUNDING = 1e-6  # of a distance from a product, at most (docs/precision.md)
_PAIRS = 1024  # whose difference is computed at once
_MOST = 10_000_000  # pairs
_TRAINED = 64  # vectors a cell that faiss's clustering sees
_SEARCHED = 16  # cells


def find_nearest(queries: Tensor, base: Tensor, k: int, *, approximate: bool = False) -> tuple[Tensor, Tensor]:
    """Find the `k` nearest of `base` to each query, nearest first; equal distances in the order of `base`.

    Args:
        queries: unit vectors `(N, D)`, float32.
        base: unit vectors `(M, D)`, float32.
        k: the number wanted for each query; at most M are given.
        approximate: whether faiss's inverted lists are used, which look at a part of `base` and miss some neighbours
            (docs/scoring.md has figures). The distances of those found are exact.

    Returns:
        `(N, k)` distances, float32, and `(N, k)` rows of `base`, int64. Where an approximate search finds fewer than
        `k`, the rest are infinity and −1.

    Raises:
        ValueError: `k` below 1, or no vectors.
        ModuleNotFoundError: approximate, and faiss is not installed.

    Example:
        >>> base = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]])
        >>> find_nearest(torch.tensor([[0.0, 1.0]]), base, k=2)
        (tensor([[0.0000, 0.2000]]), tensor([[2, 1]]))
    """
    check_least("k", k)
    if not len(base):
        raise ValueError("got nothing to search in; expected at least one embedding")
    _check_finite(queries)
    _check_finite(base)
    k = min(k, len(base))
    wanted = min(k + _SPARE, len(base))
    index = _build_index(base) if approximate else None
    distances, rows = [], []
    for some in queries.split(_ROWS):
        cosine, found = _find_most_alike(some, base, wanted) if index is None else _search(index, some, wanted)
        found, order = found.sort(dim=1)  # so that the stable sort below keeps the order of `base`
        of = torch.arange(len(some), dtype=torch.int64, device=found.device)
        pairs = torch.stack([of[:, None].expand_as(found), found], -1).flatten(0, 1)
        d = _compute_exact(some, base, pairs, 1 - cosine.gather(1, order).flatten()).view_as(found)
        d, order = d.sort(dim=1, stable=True)
        distances.append(d[:, :k])
        rows.append(found.gather(1, order[:, :k]))
    return torch.cat(distances), torch.cat(rows)


def find_within(units: Tensor, below: float, *, approximate: bool = False) -> tuple[Tensor, Tensor]:
    """Find all pairs of vectors whose distance is smaller than a threshold.

    Args:
        units: unit vectors `(N, D)`, float32.
        below: the threshold, above 0.
        approximate: whether faiss's inverted lists are used, which miss some pairs.

    Returns:
        `(P, 2)` rows, int64, the smaller first, in order, and `(P,)` distances, float32.

    Raises:
        ValueError: `below` is not a number above 0, or there are over ten million pairs.

    Example:
        >>> find_within(torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]]), below=0.3)
        (tensor([[1, 2]]), tensor([0.2000]))
    """
    if not below > 0 or not math.isfinite(below):
        raise ValueError(f"got below={below}; expected a distance above 0")
    _check_finite(units)
    pairs, distances, n = [], [], 0
    for found, cosine in _search_near(units, below) if approximate else _find_near(units, below):
        several = found[:, 0] != found[:, 1]
        found = found[several].sort(dim=1).values
        d = _compute_exact(units, units, found, 1 - cosine[several])
        pairs.append(found[d < below])
        distances.append(d[d < below])
        n += len(pairs[-1])
        if n > _MOST:
            raise ValueError(f"more than {_MOST:,} pairs are nearer than {below:g}; choose a smaller threshold")
    if not n:
        return units.new_empty(0, 2, dtype=torch.int64), units.new_empty(0)
    found, d = torch.cat(pairs), torch.cat(distances)
    names, order = torch.sort(found[:, 0] * len(units) + found[:, 1])
    order = order[
        torch.cat([names.new_ones(1, dtype=torch.bool), names[1:] != names[:-1]])
    ]  # those found from both their sides
    return found[order], d[order]


def _check_finite(units: Tensor) -> None:
    """NaN would be the nearest to everything."""
    if not units.sum(dtype=torch.float64).isfinite():
        raise ValueError("got embeddings that are not finite; expected unit vectors")


def group_pairs(n: int, pairs: Tensor) -> list[int]:
    """Find connected components: which of `n` are joined by pairs, directly or through others.

    Args:
        n: number of things.
        pairs: positions `(P, 2)` of those that belong together.

    Returns:
        The smallest member of the group of each.
    """
    parent = list(range(n))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = i = parent[parent[i]]
        return i

    for a, b in pairs.tolist():
        low, high = sorted((root(a), root(b)))
        parent[high] = low
    return [root(i) for i in range(n)]


def _find_most_alike(queries: Tensor, base: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The `k` largest cosines to each query and their rows of `base`, both `(N, k)`."""
    best = queries.new_empty(len(queries), 0)
    rows = queries.new_empty(len(queries), 0, dtype=torch.int64)
    for start in range(0, len(base), _COLUMNS):
        cosine, found = compute_cosines(queries, base[start : start + _COLUMNS]).topk(
            min(k, len(base) - start, _COLUMNS), dim=1
        )
        best, rows = torch.cat([best, cosine], 1), torch.cat([rows, found + start], 1)
        if best.shape[1] > k:
            best, kept = best.topk(k, dim=1)
            rows = rows.gather(1, kept)
    return best, rows


def _search(index: Any, queries: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The same from an index; cosines of −infinity and rows of −1 where it finds fewer."""
    cosine, rows = map(torch.from_numpy, index.search(queries.contiguous().numpy(), k))
    return cosine.masked_fill(rows < 0, -math.inf), rows


def _compute_exact(queries: Tensor, base: Tensor, pairs: Tensor, d: Tensor) -> Tensor:
    """`(P,)` distances, with those of `(P, 2)` pairs that are small computed anew: there rounding of products shows."""
    near = ((d < NEAR) & (pairs[:, 1] >= 0)).nonzero()[:, 0]
    for some in near.split(_PAIRS):
        i, j = pairs[some].unbind(1)
        d[some] = pair_distances(queries[i], base[j])
    return d


def _find_near(units: Tensor, below: float) -> Iterator[tuple[Tensor, Tensor]]:
    """Pairs whose cosine says that they may be nearer than that, and that cosine, by blocks above the diagonal."""
    for i in range(0, len(units), _ROWS):
        for j in range(i, len(units), _COLUMNS):
            cosine = compute_cosines(units[i : i + _ROWS], units[j : j + _COLUMNS])
            found = (cosine > 1 - below - _ROUNDING).triu(i - j + 1).nonzero()
            yield found + found.new_tensor([i, j]), cosine[found[:, 0], found[:, 1]]


def _search_near(units: Tensor, below: float) -> Iterator[tuple[Tensor, Tensor]]:
    """The same from an index. A pair may be found from both its sides."""
    index = _build_index(units)
    for i in range(0, len(units), _ROWS):
        limits, cosine, found = index.range_search(units[i : i + _ROWS].contiguous().numpy(), 1 - below - _ROUNDING)
        queries = np.repeat(np.arange(len(limits) - 1), np.diff(limits.astype(np.int64))) + i
        yield torch.from_numpy(np.stack([queries, found], 1)), torch.from_numpy(cosine)


def _build_index(base: Tensor) -> Any:
    """faiss's inverted lists on products: 4 √N cells, of which `_SEARCHED` are searched."""
    import faiss

    cells = max(1, min(int(4 * math.sqrt(len(base))), len(base) // _TRAINED))
    vectors = base.contiguous().numpy()
    index = faiss.IndexIVFFlat(faiss.IndexFlatIP(base.shape[1]), base.shape[1], cells, faiss.METRIC_INNER_PRODUCT)
    index.cp.max_points_per_centroid = _TRAINED
    index.cp.min_points_per_centroid = 1
    index.train(vectors)
    index.add(vectors)
    index.nprobe = max(1, min(cells, _SEARCHED))
    return index
