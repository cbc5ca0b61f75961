"""Kinds of human judgements beside 2AFC triplets and JND pairs, and what of each kind a metric has to compare."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from dreamsim_metric.judgements.tables import Pairs, Table, Triplets


@dataclass(frozen=True, eq=False, kw_only=True)
class Ratings(Table[tuple[str, str, float]]):
    """Pairs of a reference and a changed picture, each with a mean opinion, as in data sets of image quality.

    An item is `(reference, picture, alike)`.

    Attributes:
        name, ids, pictures, splits, rows, problems, subsets: same as in `Triplets`; a subset is a kind of distortion.
        index: reference and picture as positions in `pictures`, `(N, 2)` int64.
        alike: mean opinion, `(N,)` float64, larger the more alike people find them; published differences (DMOS) have
            their sign changed.
        votes: number of people who rated, `(N,)`; 1 where the data does not say.
        spread: standard deviation of the opinions, `(N,)`, where the data says.

    Example:
        >>> from pathlib import Path
        >>> table = Ratings(
        ...     name="mine", ids=("0",), pictures=(Path("a.png"), Path("b.png")), index=np.array([[0, 1]]),
        ...     alike=np.array([0.9]), votes=np.ones(1), splits=("test",), rows=("line 1",), problems=(),
        ... )
        >>> table[0]
        ('a.png', 'b.png', 0.9)
    """

    alike: np.ndarray
    spread: np.ndarray | None = None
    _TARGET: ClassVar[str] = "alike"
    _PICTURES_A_ROW: ClassVar[int] = 2
    _OPTIONAL: ClassVar[tuple[str, ...]] = ("subsets", "spread")
    _TARGET_IS_SHARE: ClassVar[bool] = False

    def __getitem__(self, i: int) -> tuple[str, str, float]:
        reference, picture = (str(self.pictures[position]) for position in self.index[i])
        return reference, picture, float(self.alike[i])


@dataclass(frozen=True, eq=False, kw_only=True)
class OddOneOut(Table[tuple[str, str, str, int]]):
    """Triplets of which one picture is the odd one out (THINGS: Hebart et al., Nature Human Behaviour 2020).

    An item is `(first, second, third, odd)`.

    Attributes:
        name, ids, pictures, index, votes, splits, rows, problems, subsets: same as in `Triplets`; no picture is a
            reference.
        odd: position of the odd one in its row, `(N,)` int64: 0, 1 or 2.
    """

    odd: np.ndarray
    _TARGET: ClassVar[str] = "odd"
    _PICTURES_A_ROW: ClassVar[int] = 3
    _TARGET_IS_SHARE: ClassVar[bool] = False

    def __getitem__(self, i: int) -> tuple[str, str, str, int]:
        first, second, third = (str(self.pictures[position]) for position in self.index[i])
        return first, second, third, int(self.odd[i])


@dataclass(frozen=True, eq=False, kw_only=True)
class Dissimilarities(Table[tuple[str, str, float]]):
    """All pairs of a set of pictures, each rated by several people: representational dissimilarity matrices (RDMs).

    An item is `(a, b, mean dissimilarity)`.

    Attributes:
        name, ids, pictures, splits, rows, problems, subsets: same as in `Triplets`.
        index: positions in `pictures`, `(N, 2)` int64.
        ratings: dissimilarities, `(N, R)` float64, a column a rater, larger the more different; NaN where one did not
            rate.
        votes: number of raters of each pair, `(N,)`.
    """

    ratings: np.ndarray
    _TARGET: ClassVar[str] = "ratings"
    _PICTURES_A_ROW: ClassVar[int] = 2
    _TARGET_IS_SHARE: ClassVar[bool] = False

    def __getitem__(self, i: int) -> tuple[str, str, float]:
        a, b = (str(self.pictures[position]) for position in self.index[i])
        return a, b, float(np.nanmean(self.ratings[i]))


Judgements = Triplets | Pairs | Ratings | OddOneOut | Dissimilarities

COMPARED: dict[type, tuple[tuple[int, int], ...]] = {
    Triplets: ((0, 1), (0, 2)),
    Pairs: ((0, 1),),
    Ratings: ((0, 1),),
    OddOneOut: ((0, 1), (0, 2), (1, 2)),
    Dissimilarities: ((0, 1),),
}
"""The columns of a table's `index` between which a metric measures distances, in the order of its answers."""

KINDS: dict[type, str] = {
    Triplets: "2AFC",
    Pairs: "JND",
    Ratings: "ratings",
    OddOneOut: "odd-one-out",
    Dissimilarities: "RDM",
}
"""What the benchmarks' tables call each kind."""
