"""Scores of personalized pictures: matrices worked by hand, plain loops, SciPy, and what must not matter."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from benchmarks.personalization.aggregate import Figure, Result, compute_figures, tabulate_comparisons, tabulate_scores
from benchmarks.personalization.correlations import tabulate_correlations
from benchmarks.personalization.layout import PHOTOGRAPHS
from benchmarks.personalization.matrices import Measured, average_by_prompt
from benchmarks.personalization.pairing import Cell
from benchmarks.personalization.protocols import SCORES
from benchmarks.personalization.subjects import Subject

N = np.nan
NONE = np.zeros((0, 0), dtype=int)
BY_NAME = {(score.protocol, score.name): score for score in SCORES}

# Three pictures of prompt 0 and one of prompt 1, two photographs: 0.2 apart.
HAND = {
    "prompts": np.array([0, 0, 0, 1]),
    "references": np.array([[0.1, 0.3], [0.5, 0.2], [0.4, 0.4], [0.8, 0.6]]),
    "among": np.array([[N, 0.1, 0.2, N], [N, N, 0.6, N], [N] * 4, [N] * 4]),
    "real": np.array([[N, 0.2], [0.2, N]]),
    "of_class": np.array([[0.9, 0.7]]),
    "text": np.array([0.3, -0.1, 0.2, 0.4]),
    "masked": np.array([[0.0, 0.2], [0.4, 0.4], [0.6, 0.0], [1.0, 0.8]]),
    "copy_below": 0.25,
}
# value of each score, of the subject, for a distance and for a similarity; by hand
EXPECTED = {
    ("DreamBench", "DINO"): (0.4125, 0.4125),  # (0.4 + 0.7 + 0.8 + 1.4) / 8
    ("DreamBench", "CLIP-I"): (0.4125, 0.4125),
    ("DreamBench", "CLIP-T"): (0.2, 0.2),
    ("DreamBench", "PRES"): (0.2, 0.8),
    ("DreamBench", "DIV"): (0.3, 0.3),
    ("DreamBench++", "DINO"): (45.0, 45.0),  # 100 × (0.1 + 0.8) / 2
    ("DreamBench++", "DINOv2"): (45.0, 45.0),
    ("DreamBench++", "CLIP-I"): (45.0, 45.0),
    ("DreamBench++", "CLIP-T"): (35.0, 35.0),  # 100 × (0.3 + 0.4) / 2
    ("CustomConcept101", "text alignment"): (0.5625, 0.5625),  # 2.5 × (0.3 + 0 + 0.2 + 0.4) / 4
    ("CustomConcept101", "image alignment"): (0.4125, 0.4125),
    ("CustomConcept101", "image alignment, DINO"): (0.4125, 0.4125),
    ("ours", "subject, mean"): (0.50833333, 0.50833333),  # ((0.2 + 0.35 + 0.4) / 3 + 0.7) / 2
    ("ours", "subject, nearest"): (0.41666667, 0.6),  # ((0.1 + 0.2 + 0.4) / 3 + 0.6) / 2; (0.4 + 0.8) / 2
    ("ours", "subject, mean, masked"): (0.58333333, 0.58333333),  # ((0.1 + 0.4 + 0.3) / 3 + 0.9) / 2
    ("ours", "subject, nearest, masked"): (0.46666667, 0.7),  # ((0 + 0.4 + 0) / 3 + 0.8) / 2; (1.2 / 3 + 1) / 2
    ("ours", "prompt"): (0.26666667, 0.26666667),  # (0.4 / 3 + 0.4) / 2
    ("ours", "diversity"): (0.3, 0.3),  # one picture has no pair: prompt 0 alone
    ("ours", "diversity, share of real"): (1.5, 1.5),
    ("ours", "copying"): (0.33333333, 1.0),  # two of three, none of one; all are more alike than 0.25
    ("ours", "prior similarity"): (0.2, 0.8),
}


def measured(direction="distance", **changes):
    return Measured(direction, **{**HAND, **changes})


def cell(method="ours", name="dog", pictures=4):
    subject = Subject(name, "dog", ())
    return Cell(method, subject, (), (), np.zeros(pictures), (), NONE, NONE, NONE, NONE, NONE, NONE)


def test_every_score_is_worked_by_hand():
    assert EXPECTED.keys() == BY_NAME.keys()


@pytest.mark.parametrize("direction", ["distance", "similarity"])
@pytest.mark.parametrize("which", EXPECTED, ids="/".join)
def test_scores_by_hand(which, direction):
    values = BY_NAME[which].values(measured(direction))
    assert np.nanmean(values) == pytest.approx(EXPECTED[which][direction == "similarity"])


BETTER = {  # a larger figure is better: of a distance, of a similarity
    ("DreamBench", "DINO"): (False, True),
    ("DreamBench", "PRES"): (False, False),
    ("DreamBench", "DIV"): (True, True),
    ("ours", "subject, mean"): (False, True),
    ("ours", "diversity"): (True, False),
    ("ours", "copying"): (False, False),
    ("ours", "prompt"): (False, True),
}


@pytest.mark.parametrize("which", BETTER, ids="/".join)
def test_which_way_is_better(which):
    assert tuple(BY_NAME[which].higher(direction) for direction in ("distance", "similarity")) == BETTER[which]


def test_published_scores_are_of_the_published_networks_only():
    metrics = ("dino-vits16", "dino-vits8", "dinov2-vits14", "clip-i-b32", "clip-i-l14", "lpips-vgg")
    found = {
        name: {f"{s.protocol} {s.name}" for s in SCORES if s.protocol != "ours" and s.takes(name, "similarity", False)}
        for name in metrics
    }
    assert found["dino-vits16"] == {"DreamBench DINO", "DreamBench PRES", "CustomConcept101 image alignment, DINO"}
    assert found["dino-vits8"] == {"DreamBench++ DINO"}
    assert found["dinov2-vits14"] == {"DreamBench++ DINOv2"}
    assert found["clip-i-b32"] == {"DreamBench CLIP-I", "DreamBench++ CLIP-I", "CustomConcept101 image alignment"}
    assert found["clip-i-l14"] == set()
    assert found["lpips-vgg"] == {"DreamBench DIV"}
    assert not BY_NAME["ours", "prompt"].takes("mini", "distance", False)
    assert not BY_NAME["ours", "subject, mean"].takes("clip-t-b32", "similarity", True)


def test_photographs_are_compared_with_the_others():
    """Three photographs, 0.1, 0.3 and 0.7 apart."""
    d = np.array([[N, 0.1, 0.3], [0.1, N, 0.7], [0.3, 0.7, N]])
    real = Measured("distance", np.zeros(3, dtype=int), references=d, among=d, real=d, of_class=np.zeros((0, 3)))
    found = {
        figure.score.name: figure
        for figure in compute_figures([cell(PHOTOGRAPHS)], [Result("mini", "distance", False, [real])])
    }
    assert found["subject, mean"].value() == pytest.approx(2.2 / 6)
    assert found["subject, nearest"].value() == pytest.approx((0.1 + 0.1 + 0.3) / 3)
    assert found["diversity"].value() == pytest.approx(2.2 / 6)
    assert found.keys() == {"subject, mean", "subject, nearest", "diversity"}


def test_what_a_subject_lacks_is_left_out():
    lacking = measured(masked=np.zeros((0, 0)), copy_below=N, of_class=np.zeros((0, 2)), real=np.array([[N]]))
    found = {figure.score.name for figure in compute_figures([cell()], [Result("mini", "distance", False, [lacking])])}
    assert found == {"subject, mean", "subject, nearest", "diversity"}


def draw(random, pictures, references, prompts=3):
    asked = np.sort(random.integers(0, prompts, pictures))
    pairs = np.full((pictures, pictures), N)
    for i in range(pictures):
        for j in range(i + 1, pictures):
            if asked[i] == asked[j]:
                pairs[i, j] = random.random()
    real = random.random((references, references))
    np.fill_diagonal(real, N)
    return Measured(
        "distance",
        asked,
        random.random((pictures, references)),
        pairs,
        real,
        random.random((2, references)),
        random.normal(size=pictures),
        random.random((pictures, references)),
        0.3,
    )


def test_scores_against_loops():
    random = np.random.default_rng(0)
    some = draw(random, 12, 4)
    by_prompt = [[i for i in range(12) if some.prompts[i] == p] for p in sorted(set(some.prompts.tolist()))]

    def loop(score_of):
        return np.mean([np.mean([score_of(i) for i in pictures]) for pictures in by_prompt])

    def value(name):
        return np.nanmean(BY_NAME["ours", name].values(some))

    assert value("subject, mean") == pytest.approx(loop(lambda i: sum(some.references[i]) / 4))
    assert value("subject, nearest") == pytest.approx(loop(lambda i: min(some.references[i])))
    assert value("copying") == pytest.approx(loop(lambda i: float(min(some.references[i]) < 0.3)))
    assert value("prompt") == pytest.approx(loop(lambda i: some.text[i]))
    pairs = [[some.among[i, j] for i in of for j in of if i < j] for of in by_prompt]
    means = [np.mean(of) for of in pairs if of]
    assert value("diversity") == pytest.approx(np.mean(means))
    real = [some.real[i, j] for i in range(4) for j in range(4) if i != j]
    assert value("diversity, share of real") == pytest.approx(np.mean(means) / np.mean(real))
    published = np.mean([some.references[i, j] for i in range(12) for j in range(4)])
    assert BY_NAME["DreamBench", "DINO"].values(some).mean() == pytest.approx(published)
    assert BY_NAME["DreamBench", "DIV"].values(some).mean() == pytest.approx(np.mean(np.concatenate(pairs)))
    firsts = [100 * some.references[of[0], 0] for of in by_prompt]
    assert BY_NAME["DreamBench++", "CLIP-I"].values(some) == pytest.approx(firsts)


@given(st.integers(0, 2**32 - 1), st.integers(1, 9), st.integers(2, 5))
def test_the_order_of_pictures_and_photographs_changes_nothing(seed, pictures, references):
    random = np.random.default_rng(seed)
    some = draw(random, pictures, references)
    symmetric = np.where(np.isnan(some.among), some.among.T, some.among)
    i, j = random.permutation(pictures), random.permutation(references)
    other = Measured(
        "distance",
        some.prompts[i],
        some.references[np.ix_(i, j)],
        symmetric[np.ix_(i, i)],
        some.real[np.ix_(j, j)],
        some.of_class[:, j],
        some.text[i],
        some.masked[np.ix_(i, j)],
        some.copy_below,
    )
    for score in SCORES:
        if score.protocol != "DreamBench++":  # which goes by the first of each
            a, b = score.values(some), score.values(other)
            a, b = a[~np.isnan(a)], b[~np.isnan(b)]
            assert (a.mean() if len(a) else 0) == pytest.approx(b.mean() if len(b) else 0)


@given(st.lists(st.lists(st.floats(-1, 1), min_size=1, max_size=4), min_size=1, max_size=5))
def test_prompts_have_equal_weight_whatever_their_pictures(prompts):
    labels = np.repeat(np.arange(len(prompts)), [len(of) for of in prompts])
    assert average_by_prompt(np.concatenate(prompts), labels) == pytest.approx([np.mean(of) for of in prompts])


def figure(values, name="subject, mean", protocol="ours", method="a"):
    kept = {subject: np.asarray(some, dtype=float) for subject, some in values.items()}
    return Figure(BY_NAME[protocol, name], "mini", False, method, kept, 0)


@given(st.lists(st.lists(st.floats(0, 2), min_size=1, max_size=5), min_size=2, max_size=6))
def test_subjects_have_equal_weight_but_where_all_pictures_have(subjects):
    values = {f"s{i}": some for i, some in enumerate(subjects)}
    macro, pooled = figure(values), figure(values, "CLIP-I", "DreamBench++")
    assert macro.value() == pytest.approx(np.mean([np.mean(some) for some in subjects]))
    assert pooled.value() == pytest.approx(np.mean(np.concatenate(subjects)))
    for one in (macro, pooled):
        row = tabulate_scores([one], 200, 0, "").iloc[0]
        assert row.low - 1e-9 <= row.value <= row.high + 1e-9


def test_intervals_and_tests_are_of_subjects():
    random = np.random.default_rng(3)
    names = [f"s{i:02}" for i in range(20)]
    a, b = random.random(20), random.random(20) + 0.3
    one = figure({name: [x, x] for name, x in zip(names, a, strict=True)}, method="near")
    two = figure({name: [x] for name, x in zip([*names, "alone"], [*b, 9.0], strict=True)}, method="far")
    row = tabulate_scores([one], 4000, 0, "").iloc[0]
    expected = stats.bootstrap((a,), np.mean, method="percentile", n_resamples=4000, rng=0).confidence_interval
    assert (row.low, row.high) == pytest.approx(tuple(expected), abs=0.01)
    (row,) = tabulate_comparisons([two, one], 4000, 0).itertuples()
    assert (row.better_method, row.worse_method) == ("near", "far")
    assert row.subjects == 20  # without the subject that one has not
    assert row.difference == pytest.approx((b - a).mean())
    assert row.p == pytest.approx(stats.ttest_rel(a, b).pvalue, rel=0.5)
    assert row.p_holm == row.p
    assert row.low < row.difference < row.high


def test_a_single_subject_has_no_interval_and_no_winner():
    one, two = figure({"dog": [0.1]}, method="near"), figure({"dog": [0.4]}, method="far")
    assert tabulate_scores([one], 50, 0, "")[["low", "high"]].isna().all(axis=None)
    (row,) = tabulate_comparisons([one, two], 50, 0).itertuples()
    assert (row.better_method, row.p) == ("near", 1.0)
    assert np.isnan(row.low)


def test_methods_without_a_subject_in_common_are_not_compared():
    assert tabulate_comparisons([figure({"dog": [1]}), figure({"cat": [1]}, method="b")], 10, 0).empty


def test_many_pairs_are_corrected_for_together():
    random = np.random.default_rng(0)
    found = [figure({f"s{i}": [x] for i, x in enumerate(random.random(9))}, method=m) for m in "abc"]
    table = tabulate_comparisons([*found, figure({"s0": [0.0]}, method=PHOTOGRAPHS)], 200, 0)
    assert len(table) == 3  # photographs are no method
    p = np.sort(table.p)
    assert np.sort(table.p_holm)[0] == pytest.approx(min(1, 3 * p[0]))


def test_rank_correlations_are_scipys():
    """Two methods, two subjects; one metric's sign is turned, and pictures of text do not take part."""
    random = np.random.default_rng(5)
    cells = [cell(method, name, 5) for method in "xyz" for name in ("cat", "dog")]
    a = [draw(random, 5, 3) for _ in cells]
    b = [Measured("similarity", some.prompts, 1 - some.references + random.normal(0, 0.3, (5, 3))) for some in a]
    results = [
        Result("a", "distance", False, a),
        Result("b", "similarity", False, b),
        Result("t", "similarity", True, b),
    ]
    table = tabulate_correlations(cells, results).set_index(["level", "score"])
    assert len(table) == 4
    for name, means in (("subject, mean", (np.mean, np.mean)), ("subject, nearest", (np.min, np.max))):
        for function, column in ((stats.spearmanr, "spearman"), (stats.kendalltau, "kendall")):
            found = []
            for subject in (0, 1):
                x, y = (
                    np.concatenate([sign * mean(some[i].references, axis=1) for i in range(subject, 6, 2)])
                    for some, mean, sign in ((a, means[0], 1), (b, means[1], -1))
                )
                found.append(function(x, y)[0])
            assert table.loc[("pictures", name), column] == pytest.approx(np.mean(found))
    assert table.loc[("pictures", "subject, mean"), "n"] == 2
    assert table.loc[("methods", "subject, mean"), "n"] == 3


def test_metrics_that_are_constant_agree_with_nothing():
    cells = [cell(method, "dog", 4) for method in "xyz"]
    flat = [measured(references=np.ones((4, 2))) for _ in cells]
    results = [Result("a", "distance", False, flat), Result("b", "distance", False, [measured()] * 3)]
    assert tabulate_correlations(cells, results).spearman.isna().all()
