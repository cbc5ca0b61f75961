"""Filtering of votes and statistics of agreement, against counts by hand and formulas written out."""

import itertools

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_tools.agreement import (
    compute_alpha,
    compute_pairwise,
    estimate,
    measure_agreement,
    measure_raters,
    split_half,
)
from data_tools.filtering import COLUMNS, drop_quick, drop_raters, keep, keep_counted, score_sentinels, tally, to_frame
from data_tools.study import Study

COUNTS = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=12).map(np.array)


def table(*answers, kind="main", response_ms=900.0, correct=float("nan")):
    """Rows from (rater, item, answer) or with changes."""
    base = {"kind": kind, "screen": 0, "position": 0, "swapped": 0, "correct": correct, "response_ms": response_ms}
    rest = {"presented": "[]", "build": "test", "received": 0.0}
    rows = [
        {
            "response": i,
            "rater": rater,
            "item": item,
            "answer": answer,
            **base,
            **rest,
            **(changes[0] if changes else {}),
        }
        for i, (rater, item, answer, *changes) in enumerate(answers)
    ]
    return to_frame(rows)


def test_no_rows_are_a_table_too():
    votes = to_frame([])
    assert list(votes.columns) == list(COLUMNS)
    assert measure_agreement(votes, "2afc")["votes"] == 0
    assert len(measure_raters(votes, "2afc")) == len(tally(votes, "jnd")) == 0


def sentinel(right):
    return {"kind": "sentinel", "correct": float(right)}


def test_raters_who_fail_sentinels_are_left_out_with_all_they_said():
    votes = table(
        ("ann", "s1", "left", sentinel(1)),
        ("ann", "1", "left"),
        ("bob", "s1", "right", sentinel(0)),
        ("bob", "s2", "right", sentinel(1)),
        ("bob", "1", "right"),
        ("cat", "1", "left"),
    )
    assert score_sentinels(votes).to_dict() == {"ann": 1.0, "bob": 0.5}
    assert set(drop_raters(votes, min_sentinels=0.75).rater) == {"ann", "cat"}
    assert set(drop_raters(votes, min_sentinels=0.5).rater) == {"ann", "bob", "cat"}


def test_raters_and_answers_that_are_too_quick_are_left_out():
    quick = {"response_ms": 80.0}
    votes = table(
        ("ann", "1", "left"), ("ann", "2", "left", quick), ("bob", "1", "left", quick), ("bob", "2", "left", quick)
    )
    assert set(drop_raters(votes, quick_ms=100, max_quick=0.5).rater) == {"ann"}
    assert drop_quick(votes, 100)["item"].tolist() == ["1"]
    kept = keep_counted(votes, Study("2afc", "", "", min_answers=0, sentinel_every=0), quick_ms=100, max_quick=0.5)
    assert kept[["rater", "item"]].values.tolist() == [["ann", "1"]]


def test_votes_are_counted_and_kept_where_enough_agree():
    votes = table(
        *(("ann", "2", "left"), ("bob", "2", "left"), ("cat", "2", "left")),
        *(("ann", "1", "left"), ("bob", "1", "right"), ("cat", "1", "right")),
        ("ann", "3", "right"),
        ("ann", "s", "right", sentinel(0)),
    )
    counts = tally(votes, "2afc")
    assert counts.reset_index().values.tolist() == [["2", 3, 0, 3], ["1", 1, 2, 3], ["3", 0, 1, 1]]
    assert keep(counts, 3).index.tolist() == ["2", "1"]
    assert keep(counts, 1, unanimous=True).index.tolist() == ["2", "3"]


def pairable(counts):
    """Alpha for two categories from the coincidence matrix, written out (Krippendorff 2004, 11.3.2)."""
    coincidences = np.zeros((2, 2))
    for first, second in counts:
        answers = [0] * first + [1] * second
        for i, j in itertools.permutations(range(len(answers)), 2):
            coincidences[answers[i], answers[j]] += 1 / (len(answers) - 1)
    totals = coincidences.sum(1)
    n = totals.sum()
    if n == 0 or (totals == 0).any():
        return float("nan")
    return 1 - (n - 1) * coincidences[0, 1] / (totals[0] * totals[1])


@given(COUNTS)
def test_alpha_is_the_formula(counts):
    assert compute_alpha(counts) == pytest.approx(pairable(counts.tolist()), abs=1e-9, nan_ok=True)


@given(COUNTS)
def test_pairwise_agreement_is_the_share_of_pairs(counts):
    shares = []
    for first, second in counts.tolist():
        answers = [0] * first + [1] * second
        if len(answers) > 1:
            shares.append(np.mean([a == b for a, b in itertools.combinations(answers, 2)]))
    assert compute_pairwise(counts) == pytest.approx(np.mean(shares) if shares else float("nan"), nan_ok=True)


def test_split_half_reliability_is_that_of_the_simulated_raters():
    """True shares uniform, n votes each: the reliability is 1 / (1 + E[p(1-p)] / (n Var p)) = n / (n + 2)."""
    random = np.random.default_rng(0)
    first = random.binomial(10, random.uniform(size=20_000))
    assert split_half(np.stack([first, 10 - first], 1)) == pytest.approx(10 / 12, abs=0.01)
    noise = random.binomial(10, 0.5, 20_000)
    assert split_half(np.stack([noise, 10 - noise], 1)) == pytest.approx(0, abs=0.04)


def test_intervals_cover_as_often_as_they_say():
    random, covered = np.random.default_rng(1), 0
    for trial in range(100):
        first = random.binomial(2, random.choice([0.1, 0.9], 80))
        _, low, high = estimate(np.stack([first, 2 - first], 1), compute_pairwise, trial, resamples=200)
        covered += low <= 0.82 <= high  # 0.9² + 0.1²
    assert 88 <= covered <= 100


def test_statistics_of_a_hand_made_table():
    votes = table(
        *(("ann", item, "left") for item in "123"), *(("bob", item, "left") for item in "12"), ("bob", "3", "right")
    )
    found = measure_agreement(votes, "2afc")
    assert (found["raters"], found["questions"], found["votes"]) == (2, 3, 6)
    assert found["unanimous"] == pytest.approx(2 / 3)
    assert found["histogram"] == {2: [0, 1, 2]}
    assert found["median_ms"] == 900
    assert found["pairwise"][0] == pytest.approx(2 / 3)


def test_a_rater_is_compared_with_the_others():
    votes = table(
        *(("ann", "1", "left"), ("bob", "1", "left"), ("cat", "1", "right")),
        *(("ann", "2", "right"), ("bob", "2", "right"), ("cat", "2", "right")),
        ("cat", "3", "left"),
        ("cat", "s", "left", sentinel(0)),
    )
    found = measure_raters(votes, "2afc")
    assert found.agreement.to_dict() == {"ann": 1.0, "bob": 1.0, "cat": 0.5}
    assert found.votes.to_dict() == {"ann": 2, "bob": 2, "cat": 3}
    assert found.sentinel_failures.to_dict() == {"ann": 0, "bob": 0, "cat": 1}
    assert found.sentinels.isna().to_dict() == {"ann": True, "bob": True, "cat": False}


def test_functions_leave_the_table_as_it_was():
    votes = table(("ann", "1", "left"), ("bob", "1", "right"))
    before = votes.copy(deep=True)
    drop_raters(votes, 0.5, 100, 0.5), drop_quick(votes, 1000), tally(votes, "2afc"), measure_raters(votes, "2afc")
    pd.testing.assert_frame_equal(votes, before)
