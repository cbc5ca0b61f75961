"""From all responses to those that count: pure functions over the table of votes.

The table has a row a response, with the columns of `votes.sqlite`. NIGHTS is the triplets that all raters agreed on
(Fu et al. 2023).
"""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from data_tools.study import ANSWERS, Study

COLUMNS = {
    "response": "int64",
    "rater": "str",
    "item": "str",
    "kind": "str",
    "screen": "int64",
    "position": "int64",
    "swapped": "int64",
    "answer": "str",
    "correct": "float64",
    "response_ms": "float64",
    "presented": "str",
    "build": "str",
    "received": "float64",
}


def frame(rows: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """The table of `votes.read_responses`' rows."""
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype(COLUMNS)


def sentinels(votes: pd.DataFrame) -> pd.Series:
    """Share of the sentinels that each rater who met any was right on, in [0, 1], by rater."""
    return votes[votes.kind == "sentinel"].groupby("rater").correct.mean()


def drop_raters(
    votes: pd.DataFrame, min_sentinels: float = 0.0, quick_ms: float = 0.0, max_quick: float = 1.0
) -> pd.DataFrame:
    """Leave out all rows of raters who did not look.

    Args:
        votes: the table.
        min_sentinels: least share of sentinels to be right on; who met none stays.
        quick_ms: an answer that took less is too quick to have been thought about.
        max_quick: largest share of too quick answers.
    """
    right = sentinels(votes)
    quick = (votes.response_ms < quick_ms).groupby(votes.rater).mean()
    out = {*right.index[right < min_sentinels], *quick.index[quick > max_quick]}
    return votes[~votes.rater.isin(out)]


def drop_quick(votes: pd.DataFrame, quick_ms: float) -> pd.DataFrame:
    """Leave out answers that took less than so many milliseconds."""
    return votes[votes.response_ms >= quick_ms]


def tally(votes: pd.DataFrame, task: str) -> pd.DataFrame:
    """How often each answer was given to each question.

    Returns:
        By question, in the order of the table: a column for each of the task's two answers, and `votes`, their sum.
    """
    main = votes[votes.kind == "main"]
    counts = pd.crosstab(main["item"], main["answer"]).reindex(columns=list(ANSWERS[task]), fill_value=0)
    counts = counts.reindex(main["item"].drop_duplicates())
    counts.columns.name = None
    counts = counts.astype("int64")
    return counts.assign(votes=counts.sum(axis=1))


def keep(counts: pd.DataFrame, min_votes: int = 1, unanimous: bool = False) -> pd.DataFrame:
    """The questions with enough votes, and where asked only those on which all agree."""
    found = counts[counts.votes >= min_votes]
    return found[found.drop(columns="votes").max(axis=1) == found.votes] if unanimous else found


def counted(votes: pd.DataFrame, study: Study, quick_ms: float = 0.0, max_quick: float = 1.0) -> pd.DataFrame:
    """The rows that count in a study: of raters who look, not too quick."""
    return drop_quick(drop_raters(votes, study.min_sentinels, quick_ms, max_quick), quick_ms)
