"""Agreement with people, from distances and judgements: 2AFC and JND."""

from typing import Any

import numpy as np

_ROUNDING = 1e-9


def majority_agreement(left: np.ndarray, right: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Tell whether a metric is with the majority, triplet by triplet.

    Args:
        left, right: distances `(N,)` of the two sides from the reference.
        share: share of votes for the right side, `(N,)` in [0, 1].

    Returns:
        `(N,)`: 1 where the nearer side is the majority's, 0 where it is the other, 0.5 where the metric ties, NaN where
        people do.

    Raises:
        ValueError: arrays of several lengths, shares outside [0, 1], or distances that are NaN.

    Example:
        >>> left, right = np.array([0.2, 0.3, 0.4, 0.5]), np.array([0.3, 0.2, 0.4, 0.1])
        >>> majority_agreement(left, right, share=np.array([0.1, 0.1, 0.1, 0.5]))
        array([1. , 0. , 0.5, nan])
    """
    side = np.sign(_check(share, left, right) - 0.5)
    return np.where(side == 0, np.nan, (np.sign(left - right) * side + 1) / 2)


def vote_agreement(left: np.ndarray, right: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Tell the share of people that a metric is with, triplet by triplet; ties of the metric count half.

    It is the 2AFC score of BAPPS (Zhang et al. 2018, section 4) and of DreamSim.

    Args:
        left, right: distances `(N,)` of the two sides from the reference.
        share: share of votes for the right side, `(N,)` in [0, 1].

    Returns:
        `(N,)` in [0, 1].

    Raises:
        ValueError: arrays of several lengths, shares outside [0, 1], or distances that are NaN.

    Example:
        >>> left, right = np.array([0.2, 0.3, 0.4]), np.array([0.3, 0.2, 0.4])
        >>> vote_agreement(left, right, share=np.array([0.25, 0.25, 0.25]))
        array([0.75, 0.25, 0.5 ])
    """
    share = _check(share, left, right)
    return np.where(left < right, 1 - share, np.where(right < left, share, 0.5))


def vote_ceiling(share: np.ndarray) -> np.ndarray:
    """Tell the most that any metric can have of `vote_agreement`: always the majority's side.

    Args:
        share: share of votes for one side, `(N,)` in [0, 1].

    Returns:
        `(N,)` in [0.5, 1].

    Example:
        >>> vote_ceiling(np.array([0.25, 0.5, 1.0]))
        array([0.75, 0.5 , 1.  ])
    """
    return np.maximum(_check(share), 1 - share)


def group_by_margin(left: np.ndarray, right: np.ndarray, share: np.ndarray) -> list[dict[str, Any]]:
    """Count how often a metric is with the majority, by how clear the majority is.

    Args:
        left, right: distances `(N,)` of the two sides from the reference.
        share: share of votes for the right side, `(N,)` in [0, 1].

    Returns:
        Rows with `margin` (the majority's lead, in shares of the votes), the number of `triplets`, how often the metric
        is `with` the majority, `against` it or has a `tie`, and in percent its `agreement` and that of `people`, each
        counted in the majority. Margins without triplets, and triplets where people tie, are left out.

    Raises:
        ValueError: arrays of several lengths, shares outside [0, 1], or distances that are NaN.

    Example:
        >>> left, right = np.array([0.2, 0.3, 0.4]), np.array([0.3, 0.2, 0.5])
        >>> for row in group_by_margin(left, right, share=np.array([0.4, 0.0, 0.0])):
        ...     row["margin"], row["triplets"], row["agreement"], row["people"]
        ('up to 1/3', 1, 100.0, 60.0)
        ('1 (unanimous)', 2, 50.0, 100.0)
    """
    agreed = majority_agreement(left, right, share)
    lead = np.abs(2 * share - 1) - _ROUNDING  # the lead of 3/5 is 0.2 but for rounding
    bins = np.searchsorted([1 / 3, 2 / 3, 1 - 2 * _ROUNDING], lead)
    rows = []
    for bin_, name in enumerate(("up to 1/3", "1/3 to 2/3", "above 2/3", "1 (unanimous)")):
        counted = (bins == bin_) & ~np.isnan(agreed)
        inside = agreed[counted]
        if len(inside):
            rows.append(
                {
                    "margin": name,
                    "triplets": len(inside),
                    "with": int((inside == 1).sum()),
                    "against": int((inside == 0).sum()),
                    "tie": int((inside == 0.5).sum()),
                    "agreement": 100 * float(inside.mean()),
                    "people": 100 * float(vote_ceiling(share[counted]).mean()),
                }
            )
    return rows


def find_hardest(left: np.ndarray, right: np.ndarray, share: np.ndarray, votes: np.ndarray, n: int) -> np.ndarray:
    """Find the triplets where a metric is most against people.

    They are ordered by the relative difference of the two distances, `(far − near) / (far + near)`, times the
    majority's lead, times the square root of the votes, which is how sure that lead is.

    Args:
        left, right: distances `(N,)` of the two sides from the reference.
        share: share of votes for the right side, `(N,)` in [0, 1].
        votes: number of people who judged, `(N,)`.
        n: the most triplets that are wanted.

    Returns:
        Their positions, the worst first; none where the metric is with the majority.

    Example:
        >>> left, right, votes = np.array([0.3, 0.9, 0.1]), np.array([0.2, 0.1, 0.9]), np.array([5, 5, 5])
        >>> find_hardest(left, right, np.array([0.0, 0.0, 0.0]), votes, n=3)
        array([1, 0])
    """
    total = left + right
    wrong = -np.sign(share - 0.5) * (left - right) / np.where(total > 0, total, 1)
    wrong = wrong * np.abs(2 * share - 1) * np.sqrt(votes)
    order = np.argsort(-wrong, kind="stable")[:n]
    return order[wrong[order] > 0]


def average_precision(distances: np.ndarray, same: np.ndarray) -> float:
    """Compute the area under the precision–recall curve of "the same" by distance.

    It is the JND score of BAPPS (Zhang et al. 2018, section 4.2). Pairs count as found from the nearest on; one that a
    share of people judged the same is that share of a hit. The precision at a recall is the best at that recall or a
    higher one, in the manner of PASCAL VOC. Pairs of one distance are found together, so that their order does not
    matter.

    Args:
        distances: distance of each pair, `(N,)`.
        same: share of people who judged the pair the same, `(N,)` in [0, 1].

    Returns:
        A number in [0, 1].

    Raises:
        ValueError: nobody judged any pair the same, or there are no pairs.

    Example:
        >>> average_precision(np.array([0.1, 0.2, 0.3, 0.4]), np.array([1.0, 0.0, 1.0, 0.0]))
        0.8333333333333333
    """
    same = _check(same, distances)
    if not same.sum() > 0:
        raise ValueError("nobody judged any pair the same; average precision needs some pairs that are")
    order = np.argsort(distances, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(distances[order])), len(order) - 1)
    hits = np.cumsum(same[order])[ends]
    precision, recall = hits / (ends + 1), hits / same.sum()
    best = np.maximum.accumulate(precision[::-1])[::-1]
    return float(np.sum(np.diff(recall, prepend=0) * best))


def _check(share: np.ndarray, *others: np.ndarray) -> np.ndarray:
    if share.ndim != 1 or not len(share) or any(other.shape != share.shape for other in others):
        shapes = ", ".join(str(values.shape) for values in (*others, share))
        raise ValueError(f"got arrays of shapes {shapes}; expected one length, at least 1")
    if not ((share >= 0) & (share <= 1)).all():
        raise ValueError(f"got shares from {share.min()} to {share.max()}; expected them in [0, 1]")
    if any(np.isnan(other).any() for other in others):
        raise ValueError("got distances that are NaN; expected numbers: is the model whole?")
    return share
