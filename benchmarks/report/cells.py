"""What the tables of a report hold: figures of metrics, and differences between them."""

from dataclasses import dataclass


@dataclass(frozen=True)
class FigureText:
    """A figure of a metric as text."""

    value: str
    interval: str
    rank: int


@dataclass(frozen=True)
class FigureColumn:
    """A figure of all metrics.

    Attributes:
        data: name of the data set, and split.
        score: name of the protocol.
        cells: cell of each metric.
        people: figure of people, by kind of ceiling; empty texts where that is not known.
    """

    data: str
    score: str
    cells: dict[str, FigureText]
    people: dict[str, str]


@dataclass(frozen=True)
class Difference:
    """A difference of two metrics: in the unit of the score, with its interval and p, and whether p is below 0.05."""

    value: str
    interval: str
    p: str
    sure: bool


@dataclass(frozen=True)
class Versus:
    """Each metric against each other one by a score; `differences` are by both names, the one and what it is above."""

    score: str
    metrics: list[str]
    differences: dict[tuple[str, str], Difference]
