"""Scores of human judgements, against SciPy, scikit-learn, plain loops and cases worked by hand."""

from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import average_precision_score

from benchmarks.human.scoring import compare_one_with_others, find_ceilings, fit_logistic, score
from benchmarks.human.tables import Dissimilarities, OddOneOut, Ratings
from benchmarks.significance import compute_paired_p, correct_holm
from dreamsim_metric.judgements.resampling import Resamples, find_interval
from tests.judgements.test_tables import table

RANDOM = np.random.default_rng(0)


def other(kind, questions, target, **columns):
    """A table of another kind, made of one of triplets or pairs."""
    made = vars(table(questions))
    shared = {field.name: made[field.name] for field in fields(kind) if field.name in made}
    return kind(**{**shared, kind._TARGET: target, **columns})


def ratings(alike, per_reference=5, **columns):
    questions = [f"r{i // per_reference} p{i}" for i in range(len(alike))]
    return other(Ratings, questions, np.asarray(alike, dtype=float), **columns)


def figures(found):
    return {figure.name: figure for figure in found}


def test_2afc_by_hand():
    judged = table(["r a b", "r c d", "s a c", "s b d"], [0.0, 0.25, 0.5, 1.0])
    found = figures(score(judged, np.array([[1, 2], [2, 1], [1, 2], [3, 3.0]]), draws=50))
    # with, against, people tie, the metric ties
    assert found["2AFC, majority, %"].value == pytest.approx(100 * (1 + 0 + 0.5) / 3)
    assert found["2AFC, votes, %"].value == pytest.approx(100 * (1 + 0.25 + 0.5 + 0.5) / 4)
    assert (found["2AFC, majority, %"].n, found["2AFC, votes, %"].n) == (3, 4)


def test_jnd_is_average_precision():
    judged = table([f"a{i} b{i}" for i in range(40)], (RANDOM.random(40) < 0.4).astype(float))
    d = RANDOM.random(40)[:, None]
    (found,) = score(judged, d, draws=20)
    # scikit-learn does not take the best precision at higher recalls, so that it is a little lower
    assert 0 <= found.value / 100 - average_precision_score(judged.same, -d[:, 0]) < 0.1


def test_correlations_are_scipys():
    alike = RANDOM.normal(size=60)
    d = (-alike + RANDOM.normal(size=60))[:, None]
    found = figures(score(ratings(alike), d, draws=20))
    assert found["SROCC"].value == pytest.approx(stats.spearmanr(-d[:, 0], alike)[0])
    assert found["KROCC"].value == pytest.approx(stats.kendalltau(-d[:, 0], alike)[0])
    assert found["PLCC"].value == pytest.approx(stats.pearsonr(fit_logistic(-d[:, 0], alike), alike)[0])
    assert found["PLCC"].value >= stats.pearsonr(-d[:, 0], alike)[0]


def test_the_logistic_fit_undoes_a_logistic():
    x = np.linspace(-3, 5, 200)
    y = 20 / (1 + np.exp(-(x - 1) / 0.7)) + 0.3 * x + 2
    assert fit_logistic(x, y) == pytest.approx(y, abs=1e-3)
    assert fit_logistic(1000 * x + 7, y) == pytest.approx(y, abs=1e-3)
    falling = fit_logistic(x, -y)
    assert falling == pytest.approx(-y, abs=1e-3)


def test_a_constant_score_has_no_correlation():
    with pytest.raises(ValueError, match="constant"):
        score(ratings([1, 2, 3, 4, 5, 6]), np.ones((6, 1)), draws=5)


def odd_one_out(d, odd):
    questions = [f"a{i} b{i} c{i}" for i in range(len(d))]
    return other(OddOneOut, questions, np.asarray(odd)), np.asarray(d, dtype=float)


def test_odd_one_out_by_hand():
    # distances of (first, second), (first, third), (second, third); ties count, as the released rule has it
    judged, d = odd_one_out([[1, 2, 3], [2, 1, 3], [1, 1, 2], [1, 1, 1], [3, 2, 1], [3, 1, 2]], [2, 2, 2, 2, 0, 1])
    found = figures(score(judged, d, draws=20))
    assert found["odd-one-out, %"].value == pytest.approx(100 * (1 + 0 + 1 + 1 + 1 + 1) / 6)
    assert found["odd-one-out, ties wrong, %"].value == pytest.approx(100 * (1 + 0 + 0 + 0 + 1 + 1) / 6)
    assert not len(found["odd-one-out, %"].by_reference)


@given(st.lists(st.tuples(*[st.integers(0, 3)] * 3), min_size=1, max_size=20))
def test_odd_one_out_is_the_released_rule(d):
    judged, distances = odd_one_out(d, [2] * len(d))
    found = figures(score(judged, distances, draws=2))["odd-one-out, %"].value
    assert found == pytest.approx(100 * np.mean([d12 <= d13 and d12 <= d23 for d12, d13, d23 in d]))


def rdm(n=7, raters=4, noise=0.3):
    pairs = [(i, j) for i in range(n) for j in range(i + 1, n)]
    truth = RANDOM.random(len(pairs))
    rated = truth[:, None] + noise * RANDOM.normal(size=(len(pairs), raters))
    return other(Dissimilarities, [f"p{i} p{j}" for i, j in pairs], rated), truth


def test_rdms_against_a_loop_over_raters():
    judged, truth = rdm()
    judged.ratings[3, 1] = np.nan
    d = truth + 0.2 * RANDOM.normal(size=len(truth))
    (found,) = score(judged, d[:, None], draws=30)
    kept = [~np.isnan(rating) for rating in judged.ratings.T]
    each = [stats.spearmanr(d[k], rating[k])[0] for k, rating in zip(kept, judged.ratings.T, strict=True)]
    assert found.value == pytest.approx(np.mean(each))
    lower = []
    for r, k in enumerate(kept):
        rest = np.nanmean(judged.ratings[:, [c for c in range(4) if c != r]], axis=1)
        lower.append(stats.spearmanr(rest[k], judged.ratings[k, r])[0])
    known = find_ceilings(judged)["RDM Spearman"]
    assert known["others"] == pytest.approx(np.mean(lower))
    assert known["others"] < known["ceiling"]
    assert len(found.by_reference) == 30
    assert find_interval(found.by_reference)[0] < found.value


def test_people_by_hand():
    # votes right of all: 4 of 4, 3 of 4, 2 of 4 (a tie), 1 of 2 (a tie), 2 of 3
    share, votes = np.array([1, 0.75, 0.5, 0.5, 2 / 3]), np.array([4.0, 4, 4, 2, 3])
    majority, others = compare_one_with_others(share, votes)
    assert majority[[0, 1, 4]] == pytest.approx([1, 0.75 * 1 + 0.25 * 0, 2 / 3 * 0.5 + 1 / 3 * 0])
    assert np.isnan(majority[[2, 3]]).all()
    assert others == pytest.approx([1, 0.75 * 2 / 3, 0.5 * 1 / 3 * 2, 0, 2 / 3 * 1 / 2])
    judged = table(["r a b"] * 5, share.tolist(), votes=votes)
    known = find_ceilings(judged)["2AFC, majority, %"]
    assert known["people"] == pytest.approx(100 * np.mean([1, 0.75, 2 / 3]))


def test_one_against_others_is_a_draw_of_a_voter():
    share, votes = np.array([0.6, 0.25]), np.array([5.0, 4])
    majority, others = compare_one_with_others(share, votes)
    for i in range(2):
        ballots = np.array([1] * round(share[i] * votes[i]) + [0] * round((1 - share[i]) * votes[i]))
        with_majority, with_others = [], []
        for j, mine in enumerate(ballots):
            rest = np.delete(ballots, j)
            with_majority.append(0.5 if rest.mean() == 0.5 else float((rest.mean() > 0.5) == mine))
            with_others.append((rest == mine).mean())
        assert majority[i] == pytest.approx(np.mean(with_majority))
        assert others[i] == pytest.approx(np.mean(with_others))


def test_shares_without_counts_say_nothing_of_single_people():
    assert np.isnan(compare_one_with_others(np.array([0.4]), np.array([1.0]))[1]).all()
    assert "others" not in find_ceilings(table(["r a b"], [0.4]))["2AFC, majority, %"]


def test_the_ceiling_of_noisy_opinions_is_what_the_truth_would_score():
    truth = RANDOM.normal(size=20000)
    spread, votes = 1.5, 9
    measured = truth + spread / votes**0.5 * RANDOM.normal(size=len(truth))
    noisy = ratings(measured, spread=np.full(len(truth), spread), votes=np.full(len(truth), float(votes)))
    known = find_ceilings(noisy)
    assert known["PLCC"]["ceiling"] == pytest.approx(stats.pearsonr(truth, measured)[0], abs=0.02)
    assert find_ceilings(ratings(measured[:50])) == {}


@pytest.mark.parametrize("effect", [0.0, 0.03, 0.08, 0.3])
def test_paired_p_against_scipys_tests_on_the_same_judgements(effect):
    """Of single judgements: the t-test, whose p may be tiny, and sign flips, whose p has a floor."""
    random = np.random.default_rng(1)
    a = (random.random(400) < 0.65 + effect).astype(float)
    b = (random.random(400) < 0.65).astype(float)
    resamples = Resamples(np.arange(400), draws=5000)
    mine = compute_paired_p(a.mean() - b.mean(), resamples.means(a) - resamples.means(b), resamples.groups)
    t_test = stats.ttest_rel(a, b).pvalue
    assert np.log(mine) == pytest.approx(np.log(t_test), rel=0.08, abs=0.02)
    flips = stats.permutation_test(
        (a, b), lambda x, y, axis: np.mean(x - y, axis), permutation_type="samples", n_resamples=5000, rng=0
    ).pvalue
    assert mine == pytest.approx(flips, abs=0.02)


def test_paired_p_finds_nothing_where_nothing_is_as_often_as_it_says():
    """Judgements of one reference go together: 5 % of 400 null data sets are below 0.05, not more."""
    random = np.random.default_rng(2)
    references = np.repeat(np.arange(25), 8)
    found = []
    for seed in range(400):
        both = random.normal(size=25)[references] + random.normal(size=200)
        resamples = Resamples(references, 300, seed)
        found.append(compute_paired_p(both.mean(), resamples.means(both), resamples.groups))
    assert np.mean(np.array(found) < 0.05) == pytest.approx(0.05, abs=0.035)
    assert np.mean(found) == pytest.approx(0.5, abs=0.06)


DEGENERATE = {
    "equal figures": (0.0, [0.1, -0.1], 9, 1.0),
    "one group": (2.0, [2.0, 2.0], 1, 1.0),
    "all groups alike": (2.0, [2.0, 2.0], 5, 1 / 16),
    "no draws": (2.0, [np.nan, np.nan], 5, 1.0),
}


@pytest.mark.parametrize(("difference", "draws", "groups", "expected"), DEGENERATE.values(), ids=DEGENERATE)
def test_paired_p_of_next_to_nothing(difference, draws, groups, expected):
    assert compute_paired_p(difference, np.array(draws), groups) == expected


def test_holm_by_hand_and_its_properties():
    assert correct_holm(np.array([0.01, 0.04, 0.03, 0.005])) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert correct_holm(np.array([0.9, 0.8])) == pytest.approx([1, 1])
    assert len(correct_holm(np.array([]))) == 0


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_is_never_below_the_raw_p_and_keeps_its_order(p):
    raw, corrected = np.array(p), correct_holm(np.array(p))
    assert (corrected >= raw).all()
    assert (corrected <= 1).all()
    order = np.argsort(raw, kind="stable")
    assert (np.diff(corrected[order]) >= 0).all()


def test_distances_that_are_not_numbers_are_refused():
    with pytest.raises(ValueError, match="1 distances that are NaN"):
        score(table(["r a b"], [0.0]), np.array([[np.nan, 1]]))
    with pytest.raises(ValueError, match="people tie on all of set"):
        score(table(["r a b"], [0.5]), np.array([[1.0, 2]]), draws=2)
