"""How two pairs are shown briefly, and how far what was shown departs from it.

A grey pause, then first, first, second, second of the two pairs in turn, each followed by a mask, then grey again: ten
changes, each `SLOT_MS` after the one before. The page stores the times of all ten (`presented`), from animation frames.
"""

from collections.abc import Sequence
from itertools import pairwise

SLOT_MS = 500.0  # a picture, and a mask
CHANGES = 10
PLANNED = tuple(SLOT_MS * change for change in range(CHANGES))


def measure_departure(presented: Sequence[float], position: int, showings: int = 1) -> float:
    """Compute by how much the presentation of a pair departs from what was planned.

    Looked at are the pair's first picture, its second, and all that comes between and the mask after.

    Args:
        presented: milliseconds at which each of the ten changes came.
        position: place of the pair on its screen, 0 or 1.
        showings: how often the pair was shown until it was answered.

    Returns:
        The largest difference to 500 ms, in milliseconds; infinite where times are missing or go backwards, and where
        the pair was shown more than once.

    Example:
        >>> late = [time + 1250 * (time > 2500) for time in PLANNED]  # the second picture of the first pair: 1,750 ms
        >>> measure_departure(PLANNED, 0), measure_departure(late, 0)
        (0.0, 1250.0)
    """
    lengths = [after - before for before, after in pairwise(presented)]
    if len(presented) != CHANGES or min(lengths) < 0 or showings > 1:
        return float("inf")
    own = lengths[1 + 2 * position : 7 + 2 * position]
    return float(max(abs(length - SLOT_MS) for length in own))
