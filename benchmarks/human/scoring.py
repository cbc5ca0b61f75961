"""How well distances agree with each kind of judgement, and how well people do."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from scipy.optimize import least_squares
from scipy.stats import kendalltau, pearsonr, rankdata, spearmanr

from benchmarks.human.tables import Dissimilarities, Judgements, OddOneOut, Ratings
from dreamsim_metric.judgements.agreement import average_precision, majority_agreement, vote_agreement, vote_ceiling
from dreamsim_metric.judgements.resampling import Resamples
from dreamsim_metric.judgements.tables import Pairs, Triplets

MAJORITY, VOTES = "2AFC, majority, %", "2AFC, votes, %"
JND = "JND average precision, %"
ODD, ODD_STRICT = "odd-one-out, %", "odd-one-out, ties wrong, %"
SROCC, KROCC, PLCC = "SROCC", "KROCC", "PLCC"
RDM = "RDM Spearman"

_NOISE_DRAWS = 20


@dataclass(frozen=True)
class Figure:
    """One figure of one metric on one data set.

    Attributes:
        name: name of the protocol.
        value: figure in the unit that the name says; larger is better.
        n: judgements that the figure is made of.
        by_row: figure on resampled judgements, `(B,)`.
        by_reference: figure on resampled reference pictures with all their judgements, `(B,)`; empty where there are
            none.
        groups: independent groups that `paired` was drawn from: reference pictures, else judgements.
    """

    name: str
    value: float
    n: int
    by_row: np.ndarray
    by_reference: np.ndarray = field(default_factory=lambda: np.zeros(0))
    groups: int = 0

    @property
    def paired(self) -> np.ndarray:
        """The draws to compare metrics by: of references, as judgements of one reference are not independent."""
        return self.by_reference if len(self.by_reference) else self.by_row


def score(table: Judgements, distances: np.ndarray, draws: int = 1000, seed: int = 0) -> list[Figure]:
    """Compute all figures of a metric on a table.

    Args:
        table: judgements of people.
        distances: distances between the columns that `tables.COMPARED` names, `(N, K)`, larger the more different.
        draws: number of bootstrap draws.
        seed: seed of the bootstrap draws.

    Raises:
        ValueError: distances that are NaN, or judgements that say nothing (all ties, nobody said "same").
    """
    if np.isnan(distances).any():
        raise ValueError(f"got {np.isnan(distances).sum()} distances that are NaN; expected numbers")
    rows = Resamples(np.arange(len(table)), draws, seed)
    if isinstance(table, Dissimilarities):
        return [_correlate_rdm(table, distances[:, 0], rows, draws, seed)]
    references = None if isinstance(table, OddOneOut) else Resamples(table.index[:, 0], draws, seed)
    groups = (references or rows).groups
    found = []
    for name, values in _choose_means(table, distances).items():
        if np.isnan(values).all():
            raise ValueError(f"people tie on all of {table.name}; expected some that they agree on")
        by_reference = 100 * references.means(values) if references else np.zeros(0)
        n = int(np.count_nonzero(~np.isnan(values)))
        found.append(Figure(name, 100 * float(np.nanmean(values)), n, 100 * rows.means(values), by_reference, groups))
    for name, statistic in _choose_statistics(table, distances).items():
        value = statistic(np.arange(len(table)))
        by_reference = references.statistics(statistic) if references else np.zeros(0)
        found.append(Figure(name, value, len(table), rows.statistics(statistic), by_reference, groups))
    return found


def measure_errors(table: Judgements, distances: np.ndarray) -> np.ndarray:
    """Compute how far a metric is from people on each judgement: `(N,)` from 0, with them, to 1, against all of them.

    2AFC: the share of people that it is against. Odd one out: 1 for another one than theirs. All others: how far apart
    its rank and theirs are, among all pairs, from the least to the most different.

    Args:
        table: judgements of people.
        distances: distances between the columns that `tables.COMPARED` names, `(N, K)`, larger the more different.
    """
    if isinstance(table, Triplets):
        return 1 - vote_agreement(distances[:, 0], distances[:, 1], table.right)
    if isinstance(table, OddOneOut):
        return 1 - _choose_means(table, distances)[ODD]
    people = rankdata(measure_differences(table)) - rankdata(distances[:, 0])
    return np.abs(people) / max(1, len(table) - 1)


def measure_differences(table: Pairs | Ratings | Dissimilarities) -> np.ndarray:
    """Compute how different people find the pictures of each pair: `(N,)`, in the data's own unit."""
    if isinstance(table, Dissimilarities):
        return np.nanmean(table.ratings, axis=1)
    return -(table.same if isinstance(table, Pairs) else table.alike)


def _choose_means(table: Judgements, d: np.ndarray) -> dict[str, np.ndarray]:
    """Compute protocols whose figure is a mean over judgements: `(N,)` in [0, 1] each, NaN where one does not count."""
    if isinstance(table, Triplets):
        left, right = d.T
        return {
            MAJORITY: majority_agreement(left, right, table.right),
            VOTES: vote_agreement(left, right, table.right),
        }
    if isinstance(table, OddOneOut):
        alike = d[np.arange(len(d)), 2 - table.odd]  # the pair without the odd one: columns are (0,1), (0,2), (1,2)
        others = np.sort(d, axis=1)
        strictly = (alike == others[:, 0]) & (others[:, 0] < others[:, 1])
        return {ODD: (alike <= others[:, 0]).astype(float), ODD_STRICT: strictly.astype(float)}
    return {}


def _choose_statistics(table: Judgements, d: np.ndarray) -> dict[str, Callable[[np.ndarray], float]]:
    """Make the protocols whose figure needs all judgements at once: functions of the positions of rows."""
    if isinstance(table, Pairs):
        return {JND: lambda rows: 100 * average_precision(d[rows, 0], table.same[rows])}
    if isinstance(table, Ratings):
        fitted = fit_logistic(-d[:, 0], table.alike)
        return {
            SROCC: partial(_correlate, spearmanr, -d[:, 0], table.alike),
            KROCC: partial(_correlate, kendalltau, -d[:, 0], table.alike),
            PLCC: partial(_correlate, pearsonr, fitted, table.alike),
        }
    return {}


def _correlate(function: Any, x: np.ndarray, y: np.ndarray, rows: np.ndarray) -> float:
    x, y = x[rows], y[rows]
    if len(x) < 2 or (x == x[0]).all() or (y == y[0]).all():
        raise ValueError("a correlation with something constant is undefined")
    return float(function(x, y)[0])


def fit_logistic(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Map scores to opinions by the logistic that image quality assessment uses before a Pearson correlation.

    `b1 (1/2 − 1 / (1 + exp(b2 (x − b3)))) + b4 x + b5`, by least squares (Sheikh, Sabir, Bovik, TIP 2006, eq. 8).
    Where a straight line is nearer, that one, whose correlation is the plain one.

    Args:
        x: scores of the pictures, `(N,)`.
        y: opinions of people, `(N,)`.

    Returns:
        `(N,)` predicted opinions.
    """
    scaled = (x - x.mean()) / (x.std() or 1)
    line = np.polyval(np.polyfit(scaled, y, 1), scaled) if x.std() else np.full(len(y), y.mean())

    def logistic(b: np.ndarray) -> np.ndarray:
        bend = 1 / (1 + np.exp(np.clip(b[1] * (scaled - b[2]), -50, 50)))
        return b[0] * (0.5 - bend) + b[3] * scaled + b[4]

    if len(x) <= 5 or not x.std():
        return line
    slope = np.sign(np.corrcoef(scaled, y)[0, 1]) or 1.0
    start = (np.ptp(y) * slope, 1.0, 0.0, 0.0, y.mean())
    fitted = logistic(least_squares(lambda b: logistic(b) - y, start, method="lm").x)
    return fitted if np.square(fitted - y).sum() <= np.square(line - y).sum() else line


def _correlate_rdm(table: Dissimilarities, d: np.ndarray, rows: Resamples, draws: int, seed: int) -> Figure:
    """Mean over raters of the Spearman correlation with each (Nili et al., PLoS Computational Biology 2014)."""
    n = len(table.pictures)
    position = np.full((n, n), -1)
    a, b = table.index.T
    position[a, b] = position[b, a] = np.arange(len(table))

    def some(rows: np.ndarray) -> float:
        return float(np.mean([_rank_correlation(d[rows], rating) for rating in table.ratings[rows].T]))

    i, j = np.triu_indices(n, 1)

    def among(drawn: np.ndarray) -> float:
        pairs = position[drawn[i], drawn[j]]
        return some(pairs[(pairs >= 0) & (drawn[i] != drawn[j])])

    by_picture = Resamples(np.arange(n), draws, seed).statistics(among)
    return Figure(RDM, some(np.arange(len(table))), len(table), rows.statistics(some), by_picture, n)


def _rank_correlation(x: np.ndarray, y: np.ndarray) -> float:
    return _correlate(spearmanr, x, y, np.flatnonzero(~(np.isnan(x) | np.isnan(y))))


def find_ceilings(table: Judgements) -> dict[str, dict[str, float]]:
    """Compute how good a metric could be and how good people are, by protocol, where the data tells.

    Returns:
        For each protocol, of:
        `ceiling`, the most that any metric can have. For opinions with known spread, about what a metric would have
        that knows what all people on average think: its correlation with means of as many as were asked. For RDMs, the
        upper bound of Nili et al. 2014: raters against the mean of all.
        `people`, for the majority: how often people are with it, themselves among it.
        `others`, one person against the others: 2AFC with votes that are counts (whoever is left out votes against
        the majority, or the share, of the rest), or RDMs of several raters (the lower bound of Nili et al.).
    """
    if isinstance(table, Triplets):
        most = vote_ceiling(table.right)
        found = {MAJORITY: {"ceiling": 100.0}, VOTES: {"ceiling": 100 * float(most.mean())}}
        if (table.right != 0.5).any():
            found[MAJORITY]["people"] = 100 * float(most[table.right != 0.5].mean())
        for name, values in zip((MAJORITY, VOTES), compare_one_with_others(table.right, table.votes), strict=True):
            if not np.isnan(values).all():
                found[name]["others"] = 100 * float(np.nanmean(values))
        return found
    if isinstance(table, Pairs):
        return {JND: {"ceiling": 100 * average_precision(1 - table.same, table.same)}}
    if isinstance(table, OddOneOut):
        return {ODD: {"ceiling": 100.0}, ODD_STRICT: {"ceiling": 100.0}}
    if isinstance(table, Ratings):
        if table.spread is None or not (table.votes > 1).all():
            return {}
        random = np.random.default_rng(0)
        error = table.spread / np.sqrt(table.votes)
        true_share = max(0.0, 1 - np.square(error).mean() / table.alike.var())
        # As if they were without error: opinions with as much less variance as errors add.
        truth = table.alike.mean() + (table.alike - table.alike.mean()) * np.sqrt(true_share)
        noisy = [truth + random.normal(0, 1, len(table)) * error for _ in range(_NOISE_DRAWS)]
        functions = {SROCC: spearmanr, KROCC: kendalltau, PLCC: pearsonr}
        return {
            name: {"ceiling": float(np.mean([function(truth, other)[0] for other in noisy]))}
            for name, function in functions.items()
        }
    ratings = table.ratings
    if ratings.shape[1] < 2:
        return {}
    lower = [
        _rank_correlation(np.nanmean(np.delete(ratings, r, 1), axis=1), ratings[:, r]) for r in range(ratings.shape[1])
    ]
    upper = [_rank_correlation(np.nanmean(ratings, axis=1), rating) for rating in ratings.T]
    return {RDM: {"ceiling": float(np.mean(upper)), "others": float(np.mean(lower))}}


def compare_one_with_others(share: np.ndarray, votes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Compute how often one of the people is with the others, where votes are whole numbers and at least 2.

    Args:
        share: share of votes for the right, `(N,)`.
        votes: numbers of people, `(N,)`.

    Returns:
        Twice `(N,)` in [0, 1]: with the majority of the others (a tie of theirs counts half; NaN where all people
        together tie, as metrics are not asked there either), and with the share of the others.
    """
    right = share * votes
    counted = (np.abs(right - right.round()) < 1e-6) & (votes == votes.round()) & (votes >= 2)
    right, n = right.round(), np.where(counted, votes, np.nan)
    majority = share_of_others = np.zeros(len(share))
    for chosen, other in ((right, n - right), (n - right, right)):
        with_majority = (np.sign(chosen - 1 - other) + 1) / 2
        majority = majority + chosen / n * with_majority
        share_of_others = share_of_others + chosen / n * (chosen - 1) / (n - 1)
    return np.where(share == 0.5, np.nan, majority), share_of_others
