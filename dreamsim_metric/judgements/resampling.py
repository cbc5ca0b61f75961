"""How sure a figure is: the bootstrap, on draws that all figures share, so that two are compared on the same data."""

from collections.abc import Callable, Iterator

import numpy as np

_CHUNK = 1 << 22  # numbers drawn at once: bounds the memory


class Resamples:
    """Resampled data sets: whole groups are drawn with replacement (Davison & Hinkley 1997, section 3.8).

    Rows of one group are not independent: triplets of one reference picture, say. Two of these of as many groups, draws
    and the same seed draw the same groups.

    Args:
        groups: `(N,)` labels; rows with one label are drawn together. `np.arange(N)` draws rows.
        draws: number of data sets.
        seed: seed of the draws.

    Raises:
        ValueError: no rows.

    Example:
        >>> agreed = np.array([1.0, 0.0, 1.0, 1.0])
        >>> Resamples(np.array(["cat", "cat", "dog", "fox"]), draws=3).means(agreed).shape
        (3,)
    """

    def __init__(self, groups: np.ndarray, draws: int = 1000, seed: int = 0) -> None:
        if not len(groups):
            raise ValueError("got no rows to draw from; expected at least one")
        _, self._labels = np.unique(groups, return_inverse=True)
        self._count = int(self._labels.max()) + 1
        self._draws, self._seed = draws, seed

    @property
    def groups(self) -> int:
        """The number of groups that are drawn from."""
        return self._count

    def _drawn(self) -> Iterator[np.ndarray]:
        random = np.random.default_rng(self._seed)
        for some in np.array_split(np.empty(self._draws), max(1, self._draws * self._count // _CHUNK)):
            yield random.integers(0, self._count, (len(some), self._count))

    def means(self, values: np.ndarray) -> np.ndarray:
        """Compute the means of `(N,)` values in each draw, `(draws,)`; NaNs among the values are left out."""
        kept = ~np.isnan(values)
        sums = np.bincount(self._labels[kept], values[kept], self._count)
        sizes = np.bincount(self._labels[kept], minlength=self._count)
        with np.errstate(invalid="ignore"):  # a draw of groups that are all NaN has no mean
            return np.concatenate([sums[drawn].sum(1) / sizes[drawn].sum(1) for drawn in self._drawn()])

    def statistics(self, statistic: Callable[[np.ndarray], float]) -> np.ndarray:
        """Compute anything from the positions of the rows drawn, `(draws,)`; NaN where it is undefined."""
        order, sizes = np.argsort(self._labels, kind="stable"), np.bincount(self._labels)
        starts = np.cumsum(sizes) - sizes
        found = []
        for drawn in self._drawn():
            for groups in drawn:
                size = sizes[groups]
                rows = np.repeat(starts[groups] - (np.cumsum(size) - size), size) + np.arange(size.sum())
                try:
                    found.append(statistic(order[rows]))
                except ValueError:  # a draw without a single pair that is the same, say
                    found.append(np.nan)
        return np.array(found)


def find_interval(draws: np.ndarray, level: float = 0.95) -> tuple[float, float]:
    """Compute the percentile interval of bootstrap draws; NaNs where there are none.

    Args:
        draws: `(B,)` figures on resampled data; NaNs are left out.
        level: share of intervals that are to hold the true figure.

    Returns:
        The lower and the upper end.

    Example:
        >>> low, high = find_interval(np.arange(101.0))
        >>> f"{low:.1f} to {high:.1f}"
        '2.5 to 97.5'
    """
    kept = draws[~np.isnan(draws)]
    if not len(kept):
        return float("nan"), float("nan")
    low, high = np.quantile(kept, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
