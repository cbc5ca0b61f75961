"""Bootstrap draws that all metrics share, so that two metrics are compared on the same resampled data."""

from collections.abc import Callable, Iterator

import numpy as np
from scipy.stats import t as student

_CHUNK = 1 << 22  # numbers drawn at once: bounds the memory


class Resamples:
    """Resampled data sets: whole groups are drawn with replacement (Davison & Hinkley 1997, section 3.8).

    Args:
        groups: Labels `(N,)`; rows with one label are drawn together. `np.arange(N)` draws rows.
        draws: Number of data sets.
        seed: Seed of the draws.
    """

    def __init__(self, groups: np.ndarray, draws: int = 1000, seed: int = 0) -> None:
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
        order = np.argsort(self._labels, kind="stable")
        members = np.split(order, np.cumsum(np.bincount(self._labels))[:-1])
        found = []
        for drawn in self._drawn():
            for groups in drawn:
                try:
                    found.append(statistic(np.concatenate([members[group] for group in groups])))
                except ValueError:  # a draw without a single pair that is the same, say
                    found.append(np.nan)
        return np.array(found)


def interval(draws: np.ndarray, level: float = 0.95) -> tuple[float, float]:
    """Compute the percentile interval of bootstrap draws; NaNs where there are none.

    Args:
        draws: Bootstrap draws, `(B,)`; NaNs are left out.
        level: Level of confidence, in [0, 1].
    """
    kept = draws[~np.isnan(draws)]
    if not len(kept):
        return float("nan"), float("nan")
    low, high = np.quantile(kept, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def paired_p(difference: float, draws: np.ndarray, groups: int) -> float:
    """Compute the two-sided p of "neither is better" from a difference of two metrics and those on the same draws.

    Student's t of the difference over its bootstrap standard error, with one degree of freedom less than there are
    groups (Cameron & Miller 2015, section VI). Percentiles of B draws would have no p below 2 / B, and no pair of many
    metrics could pass a correction for all pairs. Never below what a sign-flip test of so many groups can give.

    Args:
        difference: Difference of the two figures.
        draws: Differences on resampled data, `(B,)`; NaNs are left out.
        groups: Number of independent groups that were drawn from.
    """
    kept = draws[~np.isnan(draws)]
    if difference == 0 or groups < 2 or len(kept) < 2:
        return 1.0
    error = float(kept.std(ddof=1))
    p = 2 * float(student.sf(abs(difference) / error, groups - 1)) if error else 0.0
    return min(1.0, max(p, 2.0 ** (1 - groups)))


def holm(p: np.ndarray) -> np.ndarray:
    """Correct p-values for how many they are (Holm 1979): step down, each at least the one before.

    Args:
        p: Values of p, `(K,)` in [0, 1].

    Example:
        >>> holm(np.array([0.01, 0.04, 0.03])).round(2).tolist()
        [0.03, 0.06, 0.06]
    """
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    corrected = np.empty(len(p))
    corrected[order] = np.minimum(stepped, 1)
    return corrected
