"""Psychometric curves: they find what made the answers, and know how wrong they are."""

import numpy as np
import pytest
import scipy.stats
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit
from sklearn.linear_model import LogisticRegression

from dreamsim_metric.card import Curve
from dreamsim_metric.judgements.calibration import calibration_error, fit_left, fit_same, mirror, tabulate_reliability


def answers(probability, votes=5, seed=0):
    return np.random.default_rng(seed).binomial(votes, probability) / votes, np.full(len(probability), float(votes))


def likelihood(curve, x, share, votes):
    p = curve(torch.from_numpy(x)).numpy().clip(1e-12, 1 - 1e-12)
    return float((votes * (share * np.log(p) + (1 - share) * np.log(1 - p))).sum())


@pytest.mark.parametrize(("threshold", "scale", "lapse"), [(0.3, 0.05, 0.04), (0.01, 0.002, 0.0), (0.5, 0.3, 0.08)])
def test_the_curve_that_made_the_answers_is_found(threshold, scale, lapse):
    made = Curve(threshold, scale, lapse, 0, "", 0)
    d = np.random.default_rng(1).uniform(0, threshold + 4 * scale, 4000)
    same, votes = answers(made(torch.from_numpy(d)).numpy())
    found = fit_same(d, same, votes, "simulated")
    assert found.threshold == pytest.approx(threshold, abs=0.15 * scale)
    assert found.scale == pytest.approx(scale, rel=0.2)
    assert found.lapse == pytest.approx(lapse, abs=0.05)
    assert (found.judgements, found.data) == (20_000, "simulated")
    assert found.error < 0.01
    assert likelihood(found, d, same, votes) >= likelihood(made, d, same, votes)


def test_sides_are_judged_by_the_curve_that_made_the_answers():
    left, right = np.random.default_rng(1).uniform(0, 0.5, (2, 4000))
    share_left, votes = answers(0.02 + 0.96 * expit(-(left - right) / 0.06))
    found = fit_left(left, right, 1 - share_left, votes, "simulated")
    assert found.threshold == 0
    assert found.scale == pytest.approx(0.06, rel=0.15)
    assert found.lapse == pytest.approx(0.04, abs=0.03)
    assert found.error < 0.01


def test_it_is_at_least_as_likely_as_scikit_learns_logistic_curve():
    d = np.random.default_rng(2).gamma(2, 0.1, 500)
    same, votes = answers(expit((0.2 - d) / 0.05), votes=3)
    weights = np.concatenate([votes * same, votes * (1 - same)])
    logistic = LogisticRegression(C=1e9, tol=1e-9).fit(
        np.tile(d, 2)[:, None] / d.std(), np.repeat([1, 0], 500), sample_weight=weights
    )
    slope, at_zero = -logistic.coef_[0, 0] / d.std(), logistic.intercept_[0]
    theirs = Curve(at_zero / slope, 1 / slope, 0.0, 0, "", 0)
    ours = fit_same(d, same, votes, "x")
    assert likelihood(ours, d, same, votes) >= likelihood(theirs, d, same, votes) - 1e-3


@pytest.mark.parametrize("factor", [1e-4, 7.0])
def test_the_unit_of_distances_does_not_matter(factor):
    d = np.random.default_rng(3).uniform(0, 1, 800)
    same, votes = answers(expit((0.4 - d) / 0.1))
    one, other = fit_same(d, same, votes, "x"), fit_same(factor * d, same, votes, "x")
    assert other.threshold == pytest.approx(factor * one.threshold, rel=1e-3)
    assert other.scale == pytest.approx(factor * one.scale, rel=1e-2)


@given(st.floats(1e-3, 2), st.floats(0, 0.1), st.lists(st.floats(-2, 2), min_size=2, max_size=20))
def test_curves_fall_within_their_bounds_and_sides_are_exchangeable(scale, lapse, x):
    curve = Curve(0.0, scale, lapse, 1, "", 0)
    x = torch.tensor(sorted(x), dtype=torch.float64)
    p = curve(x)
    assert (p.diff() <= 1e-12).all()
    assert ((p >= lapse / 2 - 1e-12) & (p <= 1 - lapse / 2 + 1e-12)).all()
    torch.testing.assert_close(p + curve(-x), torch.ones_like(x))
    assert curve(x.float().reshape(1, -1)).shape == (1, len(x))


def test_a_metric_that_is_always_right_or_always_wrong_ends_in_a_sane_curve():
    left, right = np.random.default_rng(4).uniform(0, 1, (2, 300))
    nearer = (right < left).astype(float)
    sure = fit_left(left, right, nearer, np.ones(300), "x")
    assert 0 < sure.scale < 0.05
    wrong = fit_left(left, right, 1 - nearer, np.ones(300), "x")
    assert wrong(torch.tensor([-0.9, 0.9])).numpy() == pytest.approx([0.5, 0.5], abs=0.01)


@pytest.mark.parametrize(
    ("d", "same", "message"),
    [
        ([], [], "cannot calibrate on 0 judged rows"),
        (np.arange(5.0), np.arange(5) / 5, "expected 10 or more"),
        (np.ones(20), np.arange(20) / 20, "with these distances"),
        (np.append(np.arange(19.0), np.nan), np.arange(20) / 20, "with these distances"),
        (np.arange(20.0), np.ones(20), "all answers in x are the same"),
    ],
)
def test_answers_that_no_curve_fits_are_refused(d, same, message):
    d, same = np.asarray(d, dtype=float), np.asarray(same, dtype=float)
    with pytest.raises(ValueError, match=message):
        fit_same(d, same, np.ones(len(d)), "x")


def test_reliability_by_hand():
    p = np.array([0.1, 0.2, 0.8, 0.9])
    rows = tabulate_reliability(p, np.array([0.0, 0.5, 0.5, 1.0]), np.array([2.0, 2, 2, 2]), bins=2)
    assert [row["predicted"] for row in rows] == pytest.approx([0.15, 0.85])
    assert [row["observed"] for row in rows] == [0.25, 0.75]
    assert [row["judgements"] for row in rows] == [4, 4]
    wilson = scipy.stats.binomtest(1, 4).proportion_ci(method="wilson")
    assert (rows[0]["low"], rows[0]["high"]) == pytest.approx((wilson.low, wilson.high), abs=1e-4)
    assert calibration_error(p, np.array([0.0, 0.5, 0.5, 1.0]), np.full(4, 2.0), bins=2) == pytest.approx(0.1)


def test_fair_predictions_have_a_small_error_and_unfair_ones_a_large():
    p = np.random.default_rng(5).uniform(0, 1, 20_000)
    share, votes = answers(p, votes=1)
    assert calibration_error(p, share, votes) < 0.01
    assert calibration_error(p**3, share, votes) > 0.1


def test_the_error_on_the_card_is_that_on_fresh_answers():
    d = np.random.default_rng(6).uniform(0, 1, 8000)
    p = np.where(d < 0.5, 0.9, 0.3)  # no logistic curve is right here
    same, votes = answers(p, votes=3)
    curve = fit_same(d, same, votes, "x")
    fresh, _ = answers(p, votes=3, seed=9)
    assert curve.error > 0.03
    assert curve.error == pytest.approx(calibration_error(curve(torch.from_numpy(d)).numpy(), fresh, votes), abs=0.01)


def test_mirroring_makes_sides_exchangeable():
    p, share, votes = np.array([0.9, 0.6]), np.array([1.0, 0.5]), np.array([4.0, 2.0])
    both = mirror(p, share, votes)
    assert [part.tolist() for part in both] == [
        pytest.approx([0.9, 0.6, 0.1, 0.4]),
        [1.0, 0.5, 0.0, 0.5],
        [2, 1, 2, 1],
    ]
