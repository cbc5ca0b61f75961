"""Scores against loops, SciPy, scikit-learn, lpips and cases worked by hand."""

import lpips
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import precision_recall_curve

from dreamsim_metric.judgements.agreement import (
    average_precision,
    find_hardest,
    group_by_margin,
    majority_agreement,
    vote_agreement,
    vote_ceiling,
)

RANDOM = np.random.default_rng(0)


def votes_of_people(n=500):
    left, right = RANDOM.integers(0, 6, (2, n)) / 5  # with ties
    share = RANDOM.integers(0, 5, n) / 4
    return left, right, share


def test_agreement_is_that_of_a_loop():
    left, right, share = votes_of_people()
    majority, votes = majority_agreement(left, right, share), vote_agreement(left, right, share)
    for i in range(len(left)):
        chosen = 0.5 if left[i] == right[i] else float(right[i] < left[i])
        assert votes[i] == pytest.approx(chosen * share[i] + (1 - chosen) * (1 - share[i]))
        if share[i] == 0.5:
            assert np.isnan(majority[i])
        else:
            assert majority[i] == (0.5 if chosen == 0.5 else float((chosen > 0.5) == (share[i] > 0.5)))
    assert (vote_ceiling(share) >= votes - 1e-12).all()
    assert vote_ceiling(np.array([0.0, 0.2, 0.5, 0.9])).tolist() == [1, 0.8, 0.5, 0.9]


def test_margins_are_told_apart():
    share = np.array([3 / 5, 2 / 5, 4 / 5, 2 / 3, 5 / 6, 1 / 12, 1.0, 0.0, 0.5])
    left = np.array([2.0, 2, 2, 2, 2, 2, 1, 1, 2])  # right is nearer, but at the ties of 1.0 and 0.0
    rows = {row.pop("margin"): row for row in group_by_margin(left, np.ones(9), share)}
    assert {name: row["triplets"] for name, row in rows.items()} == {
        "up to 1/3": 3,  # 3:2, 2:3, 2:1
        "1/3 to 2/3": 2,  # 4:1, 5:1
        "above 2/3": 1,  # 1:11
        "1 (unanimous)": 2,
    }
    assert rows["up to 1/3"] == {
        **{"triplets": 3, "with": 2, "against": 1, "tie": 0, "agreement": pytest.approx(200 / 3)},
        "people": pytest.approx(100 * (3 / 5 + 3 / 5 + 2 / 3) / 3),
    }
    unanimous = {"triplets": 2, "with": 0, "against": 0, "tie": 2, "agreement": 50, "people": 100}
    assert rows["1 (unanimous)"] == unanimous


def test_the_hardest_are_those_where_sure_people_meet_a_sure_metric():
    left = np.array([0.1, 0.1, 0.1, 0.2, 0.1, 0.2])
    right = np.array([0.3, 0.3, 0.2, 0.1, 0.3, 0.1])
    share = np.array([1.0, 0.75, 1.0, 0.0, 0.5, 1.0])
    votes = np.array([4.0, 4, 4, 1, 4, 4])
    # (0.2/0.4)·1·2, (0.2/0.4)·0.5·2, (0.1/0.3)·1·2, (0.1/0.3)·1·1, people tie, the metric is right
    assert find_hardest(left, right, share, votes, 9).tolist() == [0, 2, 1, 3]
    assert find_hardest(left, right, share, votes, 2).tolist() == [0, 2]


def envelope_area(precision, recall):
    """All-points area of PASCAL VOC, from scikit-learn's curve."""
    best = np.maximum.accumulate(precision)  # recall falls along scikit-learn's arrays
    return -np.sum(np.diff(recall) * best[:-1])


@pytest.mark.parametrize("levels", [7, 10_000])
def test_average_precision_is_that_of_lpips_and_scikit_learn(levels):
    distances = RANDOM.permutation(600) / 600 if levels > 600 else RANDOM.integers(0, levels, 600) / levels
    same = RANDOM.integers(0, 4, 600) / 3
    found = average_precision(distances, same)
    precision, recall, _ = precision_recall_curve(
        np.repeat([1, 0], 600), np.tile(-distances, 2), sample_weight=np.concatenate([same, 1 - same])
    )
    assert found == pytest.approx(envelope_area(precision, recall), abs=1e-12)
    if levels > 600:  # lpips takes ties in the order that they come in
        ordered = same[np.argsort(distances)]
        hits, misses = np.cumsum(ordered), np.cumsum(1 - ordered)
        assert found == pytest.approx(lpips.voc_ap(hits / same.sum(), hits / (hits + misses)), abs=1e-12)


def test_average_precision_by_hand():
    # hits 1, 1, 2 of 1, 2, 3: precision 1, 1/2, 2/3 at recall 1/2, 1/2, 1
    assert average_precision(np.array([0.1, 0.2, 0.3]), np.array([1.0, 0, 1])) == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)
    assert average_precision(np.array([0.1, 0.1]), np.array([1.0, 0])) == 0.5


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 4)), min_size=1, max_size=30), st.randoms())
def test_average_precision_does_not_depend_on_the_order_of_rows(rows, random):
    rows = [*rows, (2, 4)]
    d, same = np.array(rows, dtype=float).T
    shuffled = rows.copy()
    random.shuffle(shuffled)
    d2, same2 = np.array(shuffled, dtype=float).T
    found = average_precision(d, same / 4)
    assert found == pytest.approx(average_precision(d2, same2 / 4))
    assert 0 < found <= 1 + 1e-12


BAD = {
    "no triplets": (lambda: majority_agreement(*np.zeros((3, 0))), "expected one length, at least 1"),
    "unequal": (lambda: vote_agreement(np.zeros(2), np.zeros(3), np.zeros(2)), r"shapes \(2,\), \(3,\), \(2,\)"),
    "counts": (lambda: vote_agreement(np.zeros(1), np.zeros(1), np.array([3.0])), r"expected them in \[0, 1\]"),
    "NaN": (lambda: majority_agreement(np.array([np.nan]), np.zeros(1), np.ones(1)), "distances that are NaN"),
    "never the same": (lambda: average_precision(np.zeros(2), np.zeros(2)), "nobody judged any pair the same"),
}


@pytest.mark.parametrize(("call", "message"), BAD.values(), ids=BAD)
def test_impossible_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
