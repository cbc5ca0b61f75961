"""Whether one figure is better than another by more than chance: p-values from bootstrap draws, corrected for many."""

import numpy as np
from scipy.stats import t as student


def paired_p(difference: float, draws: np.ndarray, groups: int) -> float:
    """Two-sided p of "neither is better", from the difference of two metrics and of theirs on the same draws.

    Student's t of the difference over its bootstrap standard error, with one degree of freedom less than there are
    groups (Cameron & Miller 2015, section VI). Percentiles of B draws would have no p below 2 / B, and no pair of many
    metrics could pass a correction for all pairs. Never below what a sign-flip test of so many groups can give.

    Args:
        difference: of the two figures.
        draws: `(B,)` differences on resampled data; NaNs are left out.
        groups: independent groups that were drawn from.
    """
    kept = draws[~np.isnan(draws)]
    if difference == 0 or groups < 2 or len(kept) < 2:
        return 1.0
    error = float(kept.std(ddof=1))
    p = 2 * float(student.sf(abs(difference) / error, groups - 1)) if error else 0.0
    return min(1.0, max(p, 2.0 ** (1 - groups)))


def holm(p: np.ndarray) -> np.ndarray:
    """p-values corrected for how many they are (Holm 1979): step down, each at least the one before.

    Args:
        p: `(K,)` in [0, 1].
    """
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    corrected = np.empty(len(p))
    corrected[order] = np.minimum(stepped, 1)
    return corrected
