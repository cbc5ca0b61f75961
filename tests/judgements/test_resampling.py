"""The bootstrap: how sure a figure is."""

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from dreamsim_metric.judgements import resampling
from dreamsim_metric.judgements.agreement import average_precision
from dreamsim_metric.judgements.resampling import Resamples, find_interval

RANDOM = np.random.default_rng(0)


def test_intervals_are_scipys():
    values, groups = RANDOM.random(200), np.repeat(np.arange(40), 5)
    means = Resamples(np.arange(200), draws=4000).means(values)
    expected = scipy.stats.bootstrap((values,), np.mean, method="percentile", n_resamples=4000, rng=0)
    assert find_interval(means) == pytest.approx(expected.confidence_interval, abs=4e-3)
    grouped = find_interval(Resamples(groups, draws=4000).means(values))
    sums = values.reshape(40, 5).mean(1)
    expected = scipy.stats.bootstrap((sums,), np.mean, method="percentile", n_resamples=4000, rng=0)
    assert grouped == pytest.approx(expected.confidence_interval, abs=6e-3)


def test_groups_are_drawn_whole():
    groups = RANDOM.permutation(np.repeat(np.arange(12), RANDOM.integers(1, 30, 12)))
    values = RANDOM.normal(groups % 3, 0.1)
    parts = [np.flatnonzero(groups == name) for name in range(12)]
    random = np.random.default_rng(5)
    rows = [np.concatenate([parts[i] for i in random.integers(0, 12, 12)]) for _ in range(50)]
    resamples = Resamples(groups, draws=50, seed=5)
    assert resamples.groups == 12
    assert resamples.means(values) == pytest.approx([values[drawn].mean() for drawn in rows])
    drawn = []
    resamples.statistics(lambda positions: drawn.append(positions) or 0.0)
    assert all(np.array_equal(a, b) for a, b in zip(drawn, rows, strict=True))
    grouped, alone = (
        find_interval(Resamples(labels, draws=2000).means(values)) for labels in (groups, np.arange(len(groups)))
    )
    assert alone[1] - alone[0] < (grouped[1] - grouped[0]) / 2, "as if the values were independent"


def test_means_and_statistics_draw_the_same_data():
    values, groups = RANDOM.random(30), RANDOM.integers(0, 8, 30)
    values[3] = np.nan
    resamples = Resamples(groups, draws=50, seed=3)
    assert resamples.means(values) == pytest.approx(resamples.statistics(lambda rows: float(np.nanmean(values[rows]))))


def test_draws_are_bounded_in_memory_and_repeatable(monkeypatch):
    values = RANDOM.uniform(0, 1, 200)
    whole = Resamples(np.arange(200), 300).means(values)
    monkeypatch.setattr(resampling, "_CHUNK", 1000)
    assert np.array_equal(Resamples(np.arange(200), 300).means(values), whole)
    assert not np.array_equal(Resamples(np.arange(200), 300, seed=1).means(values), whole)


@settings(max_examples=20)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=40))
def test_an_interval_is_within_the_values(values):
    values = np.array(values)
    low, high = find_interval(Resamples(np.arange(len(values)), draws=200).means(values))
    assert values.min() - 1e-9 <= low <= high <= values.max() + 1e-9


def test_draws_without_the_statistic_are_left_out():
    same = np.array([1.0, 0, 0])
    draws = Resamples(np.arange(3), 500).statistics(lambda rows: average_precision(rows.astype(float), same[rows]))
    assert np.isnan(draws).mean() == pytest.approx((2 / 3) ** 3, abs=0.06)
    low, high = find_interval(draws)
    assert 0 < low <= high <= 1
    assert np.isnan(find_interval(np.full(3, np.nan))).all()


def test_nothing_to_draw_from_is_refused():
    with pytest.raises(ValueError, match="got no rows to draw from"):
        Resamples(np.zeros(0))
