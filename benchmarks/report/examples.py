"""Single judgements on the page: their pictures, what people said and what every metric says."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.human.examples import DISPUTED, HARDEST

_WHY = {
    HARDEST: "Hardest: the metrics together are furthest from people",
    DISPUTED: "Most disputed: the metrics differ most from one another",
}


@dataclass(frozen=True)
class Thumbnail:
    """A thumbnail and what is written under it; `map`, where there is one, shows where `map_metric` sees it differ."""

    uri: str
    caption: str
    map: str
    map_metric: str


@dataclass(frozen=True)
class Answer:
    """An answer of a metric; `mark` is ✓ where it is with people, ✗ where it is not, = where it ties."""

    metric: str
    mark: str
    text: str


@dataclass(frozen=True)
class Example:
    """A judgement; `people` is what they say of pictures that have no votes of their own."""

    id: str
    pictures: list[Thumbnail]
    answers: list[Answer]
    people: str


def read_examples(
    chosen: pd.DataFrame, asked: pd.DataFrame, distances: Mapping[str, pd.DataFrame], directions: Mapping[str, str]
) -> dict[str, list[Example]]:
    """Read the examples of one part, by why they were chosen.

    Args:
        chosen: rows of the table `examples`.
        asked: rows of the table `questions`.
        distances: rows of the table `answers`, by metric, with the ids for index.
        directions: direction of each metric: a similarity is shown with its own sign.
    """
    questions = asked.set_index("id")
    people = _compute_differences(asked)
    found: dict[str, list[Example]] = {}
    for (why, id_), rows in chosen.groupby(["why", "id"], sort=False):
        question = questions.loc[id_]
        captions = _write_captions(question)
        pictures = [
            Thumbnail(
                encode_uri(row.picture), captions[row.number], encode_uri(row.map) if row.map else "", row.map_metric
            )
            for row in rows.sort_values("number").itertuples()
        ]
        answers = [
            Answer(name, *_answer(question, d.loc[id_], d["d0"], -1 if directions[name] == "similarity" else 1))
            for name, d in distances.items()
        ]
        alone = question.kind in ("2AFC", "odd-one-out")
        said = (
            ""
            if alone
            else f"more different than {_compute_percent_below(people, _compute_differences(question))} % of the pairs"
        )
        found.setdefault(_WHY[str(why)], []).append(Example(str(id_), pictures, answers, said))
    return found


def encode_uri(jpeg: bytes) -> str:
    """Turn a picture into a part of the page."""
    return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode()


def _write_captions(question: Any) -> list[str]:
    if question.kind == "2AFC":
        left, right = (_write_votes(share, question.votes) for share in (1 - question.target, question.target))
        return ["reference", f"A: {left}", f"B: {right}"]
    if question.kind == "odd-one-out":
        return ["the odd one out" if i == question.target else "" for i in range(3)]
    return ["reference" if question.kind == "ratings" else "", ""]


def _write_votes(share: float, votes: float) -> str:
    count = share * votes
    if votes > 1 and abs(count - round(count)) < 1e-6:
        return f"{round(count)} of {votes:g} people"
    return f"{100 * share:.0f} % of people"


def _compute_differences(asked: Any) -> Any:
    """Compute how different people find the pictures, of rows or of one: RDMs say that, the others how alike."""
    kind = asked["kind"] if isinstance(asked["kind"], str) else asked["kind"].iloc[0]
    return asked["target"] if kind == "RDM" else -asked["target"]


def _compute_percent_below(values: Any, value: float) -> int:
    return round(100 * float(np.mean(np.asarray(values) < value)))


def _answer(question: Any, d: Any, all_first: pd.Series, sign: int) -> tuple[str, str]:
    if question.kind == "2AFC":
        side = np.sign(d.d0 - d.d1) * np.sign(question.target - 0.5)
        return "✓" if side > 0 else "✗" if side < 0 else "=", f"A {sign * d.d0:.3g}, B {sign * d.d1:.3g}"
    if question.kind == "odd-one-out":
        odd = 2 - int(np.argmin([d.d0, d.d1, d.d2]))  # columns are (0, 1), (0, 2), (1, 2)
        return "✓" if odd == question.target else "✗", f"the odd one is picture {odd + 1}"
    return "", f"more different than {_compute_percent_below(all_first, d.d0)} % ({sign * d.d0:.3g})"
