"""From all responses to those that count: pure functions over the table of votes.

The table has a row a response, with the columns of `votes.sqlite`. NIGHTS is the triplets that all raters agreed on
(Fu et al. 2023).
"""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from data_tools.study import ANSWERS, Study
from dreamsim_metric.bounds import check_least

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
    "early": "float64",
    "presented": "str",
    "showings": "float64",
    "off_ms": "float64",
    "waited_ms": "float64",
    "build": "str",
    "received": "float64",
    "code": "str",
    "participant": "str",
    "finished": "float64",
}


def to_frame(rows: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """Make the table of votes from the rows of `votes.read_responses`."""
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype(COLUMNS)


def score_sentinels(votes: pd.DataFrame) -> pd.Series:
    """Compute the share of the sentinels that each rater who met any was right on, in [0, 1].

    Example:
        >>> votes = pd.DataFrame({"rater": ["ann", "ann", "bob"], "kind": "sentinel", "correct": [1.0, 0.0, 1.0]})
        >>> score_sentinels(votes).to_dict()
        {'ann': 0.5, 'bob': 1.0}
    """
    return votes[votes.kind == "sentinel"].groupby("rater").correct.mean()


def drop_raters(
    votes: pd.DataFrame, min_sentinels: float = 0.0, quick_ms: float = 0.0, max_quick: float = 1.0
) -> pd.DataFrame:
    """Leave out all rows of raters who did not look.

    Args:
        votes: table of votes, a row a response.
        min_sentinels: least share of sentinels to be right on; who met none stays.
        quick_ms: milliseconds below which an answer was too quick to have been thought about.
        max_quick: largest share of too quick answers that a rater may have.
    """
    right = score_sentinels(votes)
    quick = (votes.response_ms < quick_ms).groupby(votes.rater).mean()
    out = {*right.index[right < min_sentinels], *quick.index[quick > max_quick]}
    return votes[~votes.rater.isin(out)]


def drop_quick(votes: pd.DataFrame, quick_ms: float) -> pd.DataFrame:
    """Leave out answers that took less than so many milliseconds."""
    return votes[votes.response_ms >= quick_ms]


def drop_off_time(votes: pd.DataFrame, tolerance_ms: float) -> pd.DataFrame:
    """Leave out answers to pictures that were shown too long, too short or more than once.

    Args:
        votes: table of votes, a row a response.
        tolerance_ms: largest departure from the planned times in milliseconds; infinite to leave out none.

    Raises:
        ValueError: the tolerance is negative, or no number.

    Example:
        >>> votes = pd.DataFrame({"item": ["7", "8", "9"], "off_ms": [8.3, 1250.0, float("nan")]})  # nan: not timed
        >>> list(drop_off_time(votes, 50)["item"])
        ['7', '9']
    """
    check_least("tolerance_ms", tolerance_ms, 0)
    return votes[~(votes.off_ms > tolerance_ms)]


def drop_too_soon(votes: pd.DataFrame, soonest_ms: float) -> pd.DataFrame:
    """Leave out answers that came sooner after their question was given, by the server's clock, than can be.

    Args:
        votes: table of votes, a row a response.
        soonest_ms: milliseconds sooner than which nobody can have answered; 0 to leave out none.

    Example:
        >>> votes = pd.DataFrame({"item": ["7", "8", "9"], "waited_ms": [900.0, 4.0, float("nan")]})  # nan: not timed
        >>> list(drop_too_soon(votes, 500)["item"])
        ['7', '9']
    """
    return votes[~(votes.waited_ms < soonest_ms)]


def drop_unproven(votes: pd.DataFrame, study: Study) -> pd.DataFrame:
    """Leave out all rows of raters who answered too little, or not the sentinels that were due, to count.

    Args:
        votes: table of votes, a row a response, of all that were given.
        study: study that the votes are for; `Study.proves` has the rule.
    """
    valid = votes.index.isin(drop_too_soon(drop_off_time(votes, study.tolerance_ms), study.soonest_ms).index)
    counts = pd.DataFrame(
        {
            "rater": votes.rater,
            "answers": (votes.kind == "main") & valid,
            "met": votes.kind == "sentinel",
            "finished": votes.finished > 0,
        }
    )
    rows = counts.groupby("rater").agg({"answers": "sum", "met": "sum", "finished": "max"})
    proven = [row.Index for row in rows.itertuples() if study.proves(row.answers, row.met, row.finished)]
    return votes[votes.rater.isin(proven)]


def tally(votes: pd.DataFrame, task: str) -> pd.DataFrame:
    """Count how often each answer was given to each question.

    Returns:
        A table with a row a question, in the order of the votes: a column for each of the task's two answers,
        and `votes`, their sum.

    Example:
        >>> votes = pd.DataFrame({"item": ["7", "7", "9"], "kind": "main", "answer": ["left", "right", "left"]})
        >>> tally(votes, "2afc").to_dict("index")
        {'7': {'left': 1, 'right': 1, 'votes': 2}, '9': {'left': 1, 'right': 0, 'votes': 1}}
    """
    main = votes[votes.kind == "main"]
    counts = pd.crosstab(main["item"], main["answer"]).reindex(columns=list(ANSWERS[task]), fill_value=0)
    counts = counts.reindex(main["item"].drop_duplicates())
    counts.columns.name = None
    counts = counts.astype("int64")
    return counts.assign(votes=counts.sum(axis=1))


def keep(counts: pd.DataFrame, min_votes: int = 1, unanimous: bool = False) -> pd.DataFrame:
    """Keep the questions with enough votes, and where asked only those on which all agree.

    Example:
        >>> counts = pd.DataFrame({"left": [3, 2], "right": [0, 1], "votes": 3}, index=["7", "9"])
        >>> list(keep(counts, min_votes=3, unanimous=True).index)
        ['7']
    """
    found = counts[counts.votes >= min_votes]
    return found[found.drop(columns="votes").max(axis=1) == found.votes] if unanimous else found


def keep_counted(
    votes: pd.DataFrame,
    study: Study,
    quick_ms: float = 0.0,
    max_quick: float = 1.0,
    tolerance_ms: float | None = None,
) -> pd.DataFrame:
    """Keep the rows that count in a study: answers of raters who look, to what was shown as planned, not too quick.

    Raters who have not answered enough to count are left out, too (`drop_unproven`).

    Args:
        votes: table of votes, a row a response.
        study: study that the votes are for.
        quick_ms: milliseconds below which an answer was too quick to have been thought about.
        max_quick: largest share of too quick answers that a rater may have.
        tolerance_ms: largest departure from the planned times in milliseconds. Default: the study's.
    """
    proven = drop_too_soon(drop_unproven(votes, study), study.soonest_ms)
    shown = drop_off_time(proven, study.tolerance_ms if tolerance_ms is None else tolerance_ms)
    return drop_quick(drop_raters(shown, study.min_sentinels, quick_ms, max_quick), quick_ms)
