"""What a distance means: psychometric curves, fitted to judgements and kept on a model's card.

A curve gives the probability of an answer for a distance. How good it is, is shown by reliability: of the judgements to
which it gives 70 %, 70 % should come out so.
"""

from typing import TYPE_CHECKING, Any

from dreamsim_metric.card import Curve

if TYPE_CHECKING:
    import numpy as np

_MOST_LAPSES = 0.1  # Wichmann & Hill (2001) advise a small bound: the rate of slips of attention
_STEEPEST = 1e-3  # of the spread of the distances: what a metric that is always right would get, not 0
_FLATTEST = 1e3  # of the same: a metric that tells nothing would get infinity
_FOLDS = 5


def fit_same(distances: "np.ndarray", same: "np.ndarray", votes: "np.ndarray", data: str) -> Curve:
    """Fit P(judged the same | distance), by maximum likelihood.

    Args:
        distances: distance of each pair, `(N,)`.
        same: share of people who judged the pair the same, `(N,)` in [0, 1].
        votes: number of people who judged, `(N,)`.
        data: name of the data set and split, for the card.

    Raises:
        ValueError: too few or too uniform judgements to fit a curve to.
        ModuleNotFoundError: SciPy is not installed.

    Example:
        >>> import numpy as np
        >>> d = np.linspace(0, 1, 100)
        >>> curve = fit_same(d, same=1 / (1 + np.exp((d - 0.3) / 0.1)), votes=np.full(100, 10), data="made up")
        >>> round(curve.threshold, 3), round(curve.scale, 3), curve.judgements
        (0.3, 0.1, 1000)
    """
    return _fit(distances, same, votes, data, centred=False)


def fit_left(
    left: "np.ndarray", right: "np.ndarray", right_share: "np.ndarray", votes: "np.ndarray", data: str
) -> Curve:
    """Fit P(left judged nearer | distance to the left − distance to the right), by maximum likelihood.

    The threshold is 0: sides have no meaning, so equal distances must be even odds.

    Args:
        left, right: distances `(N,)` of the two sides from the reference.
        right_share: share of votes for the right side, `(N,)` in [0, 1].
        votes: number of people who judged, `(N,)`.
        data: name of the data set and split, for the card.

    Raises:
        ValueError: too few or too uniform judgements to fit a curve to.
        ModuleNotFoundError: SciPy is not installed.

    Example:
        >>> import numpy as np
        >>> left, right = np.linspace(0, 1, 100), np.full(100, 0.5)
        >>> share = 1 / (1 + np.exp((right - left) / 0.1))
        >>> curve = fit_left(left, right, share, votes=np.full(100, 10), data="made up")
        >>> curve.threshold, round(curve.scale, 3)
        (0.0, 0.1)
    """
    return _fit(left - right, 1 - right_share, votes, data, centred=True)


def _fit(x: "np.ndarray", share: "np.ndarray", votes: "np.ndarray", data: str, centred: bool) -> Curve:
    import numpy as np

    if len(x) < 2 * _FOLDS or np.isnan(x).any() or not np.ptp(x) > 0:
        raise ValueError(
            f"cannot calibrate on {len(x)} judged rows of {data} with these distances; expected 10 or more"
        )
    if not centred and not 0 < np.average(share, weights=votes) < 1:
        raise ValueError(f"all answers in {data} are the same; a curve needs both kinds")
    folds = np.random.default_rng(0).permutation(len(x)) % _FOLDS
    left_out = np.empty(len(x))
    for fold in range(_FOLDS):
        held = folds == fold
        left_out[held] = _compute_probability(x[held], *_find_likeliest(x[~held], share[~held], votes[~held], centred))
    threshold, scale, lapse = _find_likeliest(x, share, votes, centred)
    judged = mirror(left_out, share, votes) if centred else (left_out, share, votes)
    error = calibration_error(*judged)
    return Curve(threshold, scale, lapse, round(float(votes.sum())), data, error)


def _compute_probability(x: "np.ndarray", threshold: float, scale: float, lapse: float) -> "np.ndarray":
    from scipy.special import expit

    return lapse / 2 + (1 - lapse) * expit((threshold - x) / scale)


def _find_likeliest(
    x: "np.ndarray", share: "np.ndarray", votes: "np.ndarray", centred: bool
) -> tuple[float, float, float]:
    """Threshold, scale and lapse of the greatest binomial likelihood."""
    import numpy as np
    from scipy.optimize import minimize

    middle = 0.0 if centred else float(np.median(x))
    spread = float(np.std(x)) or 1.0
    z = (x - middle) / spread  # so that the fit does not depend on the unit of distances

    def loss(values: "np.ndarray") -> float:
        p = np.clip(_compute_probability(z, values[0], np.exp(values[1]), values[2]), 1e-12, 1 - 1e-12)
        return float(-np.average(share * np.log(p) + (1 - share) * np.log(1 - p), weights=votes))

    widest = np.abs(z).max()
    bounds = [
        (0, 0) if centred else (-2 * widest, 2 * widest),
        (np.log(_STEEPEST), np.log(_FLATTEST)),
        (0, _MOST_LAPSES),
    ]
    starts = [(0.0, np.log(scale), lapse) for scale in (0.1, 0.5, 3) for lapse in (0.01, 0.05)]
    best = min((minimize(loss, start, bounds=bounds, method="L-BFGS-B") for start in starts), key=lambda fit: fit.fun)
    threshold, log_scale, lapse = best.x
    return float(middle + spread * threshold), float(spread * np.exp(log_scale)), float(lapse)


def mirror(
    probability: "np.ndarray", share: "np.ndarray", votes: "np.ndarray"
) -> tuple["np.ndarray", "np.ndarray", "np.ndarray"]:
    """Mirror judgements of sides: each both ways round and half as often.

    Which picture is on the left has no meaning, but some data puts the one that was chosen there, and then P(left)
    would look wrong without being so.

    Args:
        probability: predicted probability of the left, `(N,)`.
        share: share of answers for the left, `(N,)`.
        votes: number of answers, `(N,)`.
    """
    import numpy as np

    pairs = ((probability, 1 - probability), (share, 1 - share), (votes / 2, votes / 2))
    probability, share, votes = map(np.concatenate, pairs)
    return probability, share, votes


def tabulate_reliability(
    probability: "np.ndarray", share: "np.ndarray", votes: "np.ndarray", bins: int = 10
) -> list[dict[str, Any]]:
    """Compare predicted and observed probabilities, in bins of about as many judgements each.

    Args:
        probability: predicted probabilities `(N,)`.
        share: share of answers that came out so, `(N,)`.
        votes: number of answers, `(N,)`.
        bins: the most bins that are made.

    Returns:
        Rows with `predicted` and `observed` means, `judgements`, and `low` and `high`, the 95 % Wilson interval of the
        observed.

    Example:
        >>> import numpy as np
        >>> share, votes = np.array([0.25, 0.75]), np.array([20, 20])
        >>> rows = tabulate_reliability(np.array([0.2, 0.8]), share, votes, bins=2)
        >>> [(row["predicted"], row["observed"], row["judgements"], round(row["high"], 2)) for row in rows]
        [(0.2, 0.25, 20.0, 0.47), (0.8, 0.75, 20.0, 0.89)]
    """
    import numpy as np

    order = np.argsort(probability, kind="stable")
    # Where in all judgements the middle of each row's lies.
    place = (np.cumsum(votes[order]) - votes[order] / 2) / votes.sum()
    rows = []
    for bin_ in range(bins):
        some = order[(place >= bin_ / bins) & (place < (bin_ + 1) / bins)]
        if len(some):
            n = votes[some].sum()
            p = np.average(share[some], weights=votes[some])
            middle, half = p + 1.96**2 / (2 * n), 1.96 * np.sqrt(p * (1 - p) / n + 1.96**2 / (4 * n**2))
            rows.append(
                {
                    "predicted": float(np.average(probability[some], weights=votes[some])),
                    "observed": float(p),
                    "judgements": float(n),
                    # min and max: at 0 and 1 rounding would put the bound on the wrong side
                    "low": min(float(p), float((middle - half) / (1 + 1.96**2 / n))),
                    "high": max(float(p), float((middle + half) / (1 + 1.96**2 / n))),
                }
            )
    return rows


def calibration_error(probability: "np.ndarray", share: "np.ndarray", votes: "np.ndarray", bins: int = 10) -> float:
    """Compute the expected calibration error: mean of `|predicted − observed|` over bins, weighted by judgements.

    Args:
        probability: predicted probabilities `(N,)`.
        share: share of answers that came out so, `(N,)`.
        votes: number of answers, `(N,)`.
        bins: the most bins that are made.

    Returns:
        A number in [0, 1].

    Example:
        >>> import numpy as np
        >>> round(calibration_error(np.array([0.2, 0.8]), np.array([0.25, 0.75]), np.array([20, 20]), bins=2), 3)
        0.05
    """
    rows = tabulate_reliability(probability, share, votes, bins)
    total = sum(row["judgements"] for row in rows)
    return sum(row["judgements"] * abs(row["predicted"] - row["observed"]) for row in rows) / total
