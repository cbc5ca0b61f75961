"""Whether one figure is better than another by more than chance: p-values from bootstrap draws, corrected for many."""

import numpy as np
from scipy.stats import t as student


def compute_paired_p(difference: float, draws: np.ndarray, groups: int) -> float:
    """Compute the two-sided p of "neither is better" from a difference of two metrics and those on the same draws.

    Student's t of the difference over its bootstrap standard error, with one degree of freedom less than there are
    groups (Cameron & Miller 2015, section VI). Percentiles of B draws would have no p below 2 / B, and no pair of many
    metrics could pass a correction for all pairs. Never below what a sign-flip test of so many groups can give.

    Args:
        difference: difference of the two figures.
        draws: `(B,)` differences on resampled data; NaNs are left out.
        groups: number of independent groups that were drawn from.
    """
    kept = draws[~np.isnan(draws)]
    if difference == 0 or groups < 2 or len(kept) < 2:
        return 1.0
    error = float(kept.std(ddof=1))
    p = 2 * float(student.sf(abs(difference) / error, groups - 1)) if error else 0.0
    return min(1.0, max(p, 2.0 ** (1 - groups)))


def correct_holm(p: np.ndarray) -> np.ndarray:
    """Correct p-values for how many they are (Holm 1979): step down, each at least the one before.

    Args:
        p: values of p, `(K,)` in [0, 1].

    Example:
        >>> correct_holm(np.array([0.01, 0.04, 0.03])).round(2).tolist()
        [0.03, 0.06, 0.06]
    """
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    corrected = np.empty(len(p))
    corrected[order] = np.minimum(stepped, 1)
    return corrected
