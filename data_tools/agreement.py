"""How much people agree: pure functions over the table of votes (see `filtering`).

Intervals are percentile bootstraps over questions, 95 %.
"""

from collections.abc import Callable
from typing import Any

import krippendorff
import numpy as np
import pandas as pd

from data_tools.filtering import score_sentinels, tally
from data_tools.study import ANSWERS
from dreamsim_metric.judgements.resampling import Resamples, find_interval

Interval = tuple[float, float, float]  # estimate, lower and upper end; NaN where there are too few votes


def compute_alpha(counts: np.ndarray) -> float:
    """Compute Krippendorff's alpha for categories (Krippendorff 2004, Content Analysis, chapter 11).

    Args:
        counts: how often each answer was given, `(questions, 2)`.

    Returns:
        1 where all agree, 0 where as much as by chance; NaN without two votes on a question, or two answers.

    Example:
        >>> round(compute_alpha(np.array([[3, 0], [0, 3], [2, 1]])), 2)
        0.6
    """
    counts = counts[counts.sum(1) > 1]
    if not len(counts) or (counts.sum(0) == 0).any():
        return float("nan")
    return float(krippendorff.alpha(value_counts=counts, level_of_measurement="nominal"))


def compute_pairwise(counts: np.ndarray) -> float:
    """Compute the share of pairs of votes on one question that agree, mean over questions that have pairs, in [0, 1].

    Example:
        >>> round(compute_pairwise(np.array([[3, 0], [2, 1], [1, 0]])), 3)  # all pairs agree; one of three; no pair
        0.667
    """
    total = counts.sum(1)
    several = total > 1
    if not several.any():
        return float("nan")
    same = (counts * (counts - 1)).sum(1)
    return float((same[several] / (total * (total - 1))[several]).mean())


def split_half(counts: np.ndarray, splits: int = 100, seed: int = 0) -> float:
    """Compute the reliability of the shares: the correlation between two random halves of each question's votes.

    Stepped up to all votes by the Spearman-Brown formula, mean over random splits. Questions with one vote are left
    out.
    """
    counts = counts[counts.sum(1) > 1]
    random, found = np.random.default_rng(seed), []
    if len(counts) < 3:
        return float("nan")
    total = counts.sum(1)
    for _ in range(splits):
        size = total // 2 + (total % 2) * random.integers(0, 2, len(total))
        half = random.hypergeometric(counts[:, 0], counts[:, 1], size)
        shares = half / size, (counts[:, 0] - half) / (total - size)
        if min(share.std() for share in shares) == 0:
            continue
        correlation = np.corrcoef(*shares)[0, 1]
        found.append(2 * correlation / (1 + correlation) if correlation > -1 else -1.0)
    return float(np.mean(found)) if found else float("nan")


def estimate(
    counts: np.ndarray, measure: Callable[[np.ndarray], float], seed: int = 0, resamples: int = 1000
) -> Interval:
    """Compute a measure of the votes with its bootstrap interval over questions."""
    if not len(counts):
        return measure(counts), float("nan"), float("nan")
    drawn = Resamples(np.arange(len(counts)), resamples, seed).statistics(lambda rows: measure(counts[rows]))
    return measure(counts), *find_interval(drawn)


def measure_agreement(votes: pd.DataFrame, task: str, resamples: int = 1000) -> dict[str, Any]:
    """Compute how much the raters of a study agree, and how many they are.

    Args:
        votes: table of votes, see `filtering`.
        task: kind of question, `2afc` or `jnd`.
        resamples: number of bootstrap draws for the intervals.

    Returns:
        `raters`, `questions`, `votes`: how many; `alpha`, `pairwise`, `split_half`: (estimate, lower, upper);
        `unanimous`: share of the questions with two votes or more; `histogram`: by number of votes, how many questions
        got the first answer 0, 1, … times; `median_ms`: of the response times.
    """
    main = votes[votes.kind == "main"]
    table = tally(votes, task)
    counts = table[list(ANSWERS[task])].to_numpy()
    several = counts[counts.sum(1) > 1]
    histogram: dict[int, list[int]] = {}
    for first, second in counts.tolist():
        histogram.setdefault(first + second, [0] * (first + second + 1))[first] += 1
    return {
        "raters": int(main.rater.nunique()),
        "questions": len(table),
        "votes": len(main),
        "unanimous": float((several.max(1) == several.sum(1)).mean()) if len(several) else float("nan"),
        "alpha": estimate(counts, compute_alpha, resamples=resamples),
        "pairwise": estimate(counts, compute_pairwise, resamples=resamples),
        "split_half": estimate(counts, lambda some: split_half(some, splits=5), resamples=resamples),
        "histogram": dict(sorted(histogram.items())),
        "median_ms": float(main.response_ms.median()) if len(main) else float("nan"),
    }


def measure_raters(votes: pd.DataFrame, task: str) -> pd.DataFrame:
    """Compute what there is to know of each rater.

    Returns:
        A table with a row a rater: `code`, which they were given; `participant`, the token of whom a recruiting service
        sent; `votes`; `early`, presses that were too soon; `median_ms`; `sentinels`, share right (NaN if none met);
        `sentinel_failures`; `agreement`, share of the votes that are with the majority of the others' (ties and
        questions without others left out).
    """
    main = votes[votes.kind == "main"]
    first = ANSWERS[task][0]
    counts = tally(votes, task).reindex(main["item"])
    own = (main.answer == first).to_numpy().astype(int)
    ahead = 2 * (counts[first].to_numpy() - own) - (counts["votes"].to_numpy() - 1)  # the first answer, with the others
    agrees = pd.Series(np.where(own == 1, ahead > 0, ahead < 0), main.index).astype(float).where(ahead != 0)
    hidden = votes[votes.kind == "sentinel"]
    return pd.DataFrame(
        {
            **{name: votes.groupby("rater")[name].first() for name in ("code", "participant")},
            "votes": main.groupby("rater").size(),
            "early": votes.groupby(["rater", "screen"]).early.first().groupby("rater").sum(),
            "median_ms": main.groupby("rater").response_ms.median(),
            "sentinels": score_sentinels(votes),
            "sentinel_failures": (hidden.correct == 0).groupby(hidden.rater).sum(),
            "agreement": agrees.groupby(main.rater).mean(),
        }
    ).fillna({"votes": 0, "sentinel_failures": 0})
