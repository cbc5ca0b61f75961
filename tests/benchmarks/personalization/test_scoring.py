"""Pictures in folders → tables: the metrics' own numbers, in every layout, with metrics, masks and words missing."""

import dataclasses
import json
import shutil

import numpy as np
import pandas as pd
import PIL.Image
import pytest
import torch

from benchmarks.commands.personalize import score_lines
from benchmarks.metrics.base import Metric, MetricCard, Options, Unmeasurable
from benchmarks.metrics.ours import Embedding
from benchmarks.metrics.registry import find_metrics
from benchmarks.personalization.columns import COMPARISON_COLUMNS, TABLES
from benchmarks.personalization.cutout import cut_out
from benchmarks.personalization.layout import PHOTOGRAPHS, read_pictures
from benchmarks.personalization.scoring import score
from benchmarks.personalization.subjects import read_subjects
from dreamsim_metric import distance, distance_matrix, load
from dreamsim_metric.card import Curve
from dreamsim_metric.images.convert import to_pixels
from dreamsim_metric.scale.cache import Cache
from tests.layouts import picture

PROMPTS = {"a {} in the snow": "recontextualization", "a red {}": "property"}
SLUGS = ("a-in-the-snow", "a-red")
NOUNS = {"cat2": "cat", "robot": "toy"}


@pytest.fixture
def subjects(tmp_path):
    """Two subjects, of three photographs and of two."""
    root = tmp_path / "subjects"
    for k, (name, count) in enumerate({"cat2": 3, "robot": 2}.items()):
        for i in range(count):
            picture(root / name / f"{i}.jpg", 10 * k + i)
    (root / "subjects.csv").write_text("subject,class\n" + "".join(f"{a},{b}\n" for a, b in NOUNS.items()))
    (root / "prompts.csv").write_text("prompt,kind\n" + "".join(f"{a},{b}\n" for a, b in PROMPTS.items()))
    return read_subjects(root)


@pytest.fixture
def painted(tmp_path):
    """Two methods; the one has two pictures of a prompt and one of the other, and pictures of the class."""
    root = tmp_path / "pictures"
    for m, method in enumerate(("boot", "inversion")):
        for s, name in enumerate(NOUNS):
            seed = 1000 + 100 * m + 10 * s
            picture(root / method / name / SLUGS[0] / "0.png", seed, (20, 20))
            picture(root / method / name / SLUGS[0] / "10.webp", seed + 1, (20, 20))
            picture(root / method / name / SLUGS[1] / "0.png", seed + 2, (20, 20))
            if method == "boot":
                picture(root / method / name / "class" / "0.png", seed + 3)
    (root / "notes.txt").write_text("not a picture")
    return root


class Colour(Metric):
    """Cosine of mean colours, or with `embeds = False` the same pair by pair."""

    def __init__(self, name, direction="similarity", embeds=True):
        self.card = MetricCard(name, direction, (-1, 1), "8 × 8", "none")
        self.embeds = embeds

    def read(self, picture, size=None):
        return to_pixels(picture, (8, 8))[0]

    def features(self, pixels):
        return (torch.nn.functional.normalize(pixels.flatten(1) - 0.5, dim=1),)

    def compare(self, a, b):
        cosine = (a[0] * b[0]).sum(-1)
        return cosine if self.card.direction == "similarity" else 1 - cosine


class Words(Colour):
    def __init__(self, *given):
        super().__init__(*given)
        self.asked = []

    def text(self, prompts):
        self.asked += prompts
        return torch.nn.functional.one_hot(torch.tensor([len(prompt) for prompt in prompts]), 192).float()


FAKES = {
    "dino-vits16": Colour("dino-vits16"),
    "dino-vits8": Colour("dino-vits8"),
    "clip-i-b32": Colour("clip-i-b32"),
    "clip-t-b32": Words("clip-t-b32"),
    "lpips-alex": Colour("lpips-alex", "distance", embeds=False),
}


def makers(*names):
    return {
        name: (lambda options, name=name: FAKES[name]) if name in FAKES else find_metrics([name])[name]
        for name in names
    }


def run(painted, subjects, out, *names, cache=None, draws=50, **more):
    return score(
        painted,
        subjects,
        makers(*names),
        out,
        cache or Cache(None),
        options=lambda name: Options(),
        draws=draws,
        command=["score"],
        **more,
    )


def one(table, **wanted):
    rows = table[np.logical_and.reduce([table[name] == value for name, value in wanted.items()])]
    assert len(rows) == 1, rows
    return rows.iloc[0]


def test_all_tables_have_what_they_say(painted, subjects, tmp_path):
    out = tmp_path / "out"
    scores = run(painted, subjects, out, "mini", "psnr", *FAKES)
    frames = {name: pd.read_parquet(out / f"{name}.parquet") for name in TABLES}
    assert {name: tuple(frame) for name, frame in frames.items()} == TABLES
    assert len(scores) == len(frames["scores"])
    assert set(frames["metrics"].status) == {"measured"}
    assert set(scores.method) == {"boot", "inversion", PHOTOGRAPHS}
    assert (scores.low - 1e-9 <= scores.value).all()
    assert (scores.value <= scores.high + 1e-9).all()
    assert scores.definition.str.len().min() > 20
    assert not scores.duplicated(["method", "protocol", "score", "metric"]).any()
    published = scores[scores.protocol != "ours"].groupby("protocol").score.agg(set)
    assert published["DreamBench"] == {"DINO", "CLIP-I", "CLIP-T", "PRES", "DIV"}
    assert published["DreamBench++"] == {"DINO", "CLIP-I", "CLIP-T"}
    assert published["CustomConcept101"] == {"text alignment", "image alignment", "image alignment, DINO"}
    means = frames["by_subject"].groupby(["method", "protocol", "score", "metric"]).value.mean()
    assert means["boot", "ours", "subject, mean", "mini"] == pytest.approx(
        one(scores, method="boot", score="subject, mean", metric="mini").value
    )
    assert set(frames["by_subject"].noun) == {"cat", "toy"}
    assert set(frames["by_prompt"].prompt) == set(PROMPTS)
    assert set(frames["by_prompt"].kind) == set(PROMPTS.values())
    assert (frames["comparisons"].difference >= 0).all()
    assert set(frames["correlations"].level) == {"pictures", "methods"}
    settings = json.loads((out / "settings.json").read_text())
    assert settings["methods"]["boot"] == {"subjects": 2, "pictures": 6, "of_class": 2}
    assert settings["protocols"]["DreamBench"]["PRES"].startswith("cosine of DINO ViT-S/16: mean over all pairs")
    assert settings["copying"]["mini"] == "no threshold"
    assert settings["versions"]["dreamsim_metric"]
    assert len(frames["pictures"]) == 14 * 7
    row = one(frames["pictures"], method="boot", subject="robot", prompt="a {} in the snow", seed=10, metric="mini")
    assert (painted / row.path).is_file()
    assert row.nearest <= row["mean"]
    assert np.isnan(row.to_prompt)


def test_figures_are_those_of_the_metric_itself(painted, subjects, tmp_path):
    scores = run(painted, subjects, tmp_path / "out", "mini", "psnr")
    nearest, mean, diversity, share, prior = [], [], [], [], []
    for subject in subjects:
        folder = painted / "boot" / subject.name
        first = [folder / SLUGS[0] / "0.png", folder / SLUGS[0] / "10.webp"]
        d = [distance_matrix(some, list(subject.pictures)) for some in (first, [folder / SLUGS[1] / "0.png"])]
        mean.append(np.mean([block.mean() for block in d]))
        nearest.append(np.mean([block.min(1).values.mean() for block in d]))
        diversity.append(distance(*first))
        real = distance_matrix(list(subject.pictures), list(subject.pictures)).numpy()
        share.append(diversity[-1] / real[~np.eye(len(real), dtype=bool)].mean())
        prior.append(1 - distance(folder / "class" / "0.png", list(subject.pictures)).mean())
    expected = {
        "subject, mean": mean,
        "subject, nearest": nearest,
        "diversity": diversity,
        "diversity, share of real": share,
        "prior similarity": prior,
    }
    for name, values in expected.items():
        row = one(scores, method="boot", score=name, metric="mini")
        assert row.value == pytest.approx(np.mean(values), abs=1e-5)
    psnr = []
    for subject in subjects:
        of = [[painted / "boot" / subject.name / SLUGS[0] / n for n in ("0.png", "10.webp")]]
        of.append([painted / "boot" / subject.name / SLUGS[1] / "0.png"])
        psnr.append(np.mean([np.mean([max(noise(p, r) for r in subject.pictures) for p in some]) for some in of]))
    row = one(scores, method="boot", score="subject, nearest", metric="psnr")
    assert (row.better, row.subjects, row.pictures) == ("higher", 2, 6)
    assert row.value == pytest.approx(np.mean(psnr), abs=1e-3)


def noise(picture, reference):
    """Peak signal-to-noise ratio at the reference's size."""
    a, b = to_pixels(reference, None), to_pixels(picture, to_pixels(reference, None).shape[-2:])
    return -10 * np.log10(float((a - b).square().mean()))


def test_photographs_are_left_out_of_themselves(painted, subjects, tmp_path):
    scores = run(painted, subjects, tmp_path / "out", "mini")
    mean, nearest = [], []
    for subject in subjects:
        d = distance_matrix(list(subject.pictures), list(subject.pictures)).numpy()
        others = d[~np.eye(len(d), dtype=bool)].reshape(len(d), -1)
        mean.append(others.mean())
        nearest.append(others.min(1).mean())
    rows = scores[scores.method == PHOTOGRAPHS].set_index("score").value
    assert rows["subject, mean"] == pytest.approx(np.mean(mean), abs=1e-5)
    assert rows["subject, nearest"] == pytest.approx(np.mean(nearest), abs=1e-5)
    assert rows["diversity"] == pytest.approx(np.mean(mean), abs=1e-5)
    assert PHOTOGRAPHS not in set(pd.read_parquet(tmp_path / "out" / "pictures.parquet").method)
    assert PHOTOGRAPHS not in set(pd.read_parquet(tmp_path / "out" / "comparisons.parquet").better_method)


def test_photographs_handed_in_as_pictures_are_copies(subjects, tmp_path):
    root = tmp_path / "copies"
    for subject in subjects:
        for i, path in enumerate(subject.pictures):
            target = root / "copier" / subject.name / SLUGS[i % 2] / f"{i}.jpg"
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, target)
    scores = run(root, subjects, tmp_path / "out", "mini", "psnr", copy_below={"mini": 1e-6, "psnr": 60.0})
    for metric, nearest in (("mini", 0), ("psnr", 80)):
        rows = scores[(scores.method == "copier") & (scores.metric == metric)].set_index("score")
        assert rows.value["subject, nearest"] == pytest.approx(nearest, abs=1e-4)
        assert rows.value["copying"] == 1
        assert "given" in rows.definition["copying"]
    assert one(scores, method=PHOTOGRAPHS, score="copying", metric="mini").value == 0


def test_a_calibrated_model_says_what_a_copy_is(painted, subjects, tmp_path):
    def make(options):
        metric = Embedding("mini", options)
        curve = Curve(2.0, 0.1, 0.0, 100, "pairs test", 0.01)
        metric.metric.card = dataclasses.replace(metric.metric.card, same=curve)
        return metric

    scores = score(
        painted, subjects, {"own": make}, tmp_path / "out", Cache(None), options=lambda _: Options(), draws=5
    )
    row = one(scores, method="boot", score="copying")
    assert row.value == 1
    assert "threshold 2, where half of people judge pictures of pairs test the same" in row.definition


@pytest.mark.parametrize("name", ["mini", "psnr", "clip-t-b32"])
def test_a_second_run_computes_nothing(painted, subjects, tmp_path, name, monkeypatch):
    monkeypatch.setattr("benchmarks.metrics.table._time_comparison", lambda *_: 0.0)
    kind = type(makers(name)[name](Options()))
    features, seen = kind.features, []
    monkeypatch.setattr(kind, "features", lambda self, pixels: seen.append(len(pixels)) or features(self, pixels))
    first = run(painted, subjects, tmp_path / "one", name, cache=Cache(tmp_path / "cache.sqlite"))
    if name == "mini":
        assert sum(seen) == 19  # each picture once: 12 of prompts, 2 of the class, 5 photographs
    assert seen
    seen.clear()
    second = run(painted, subjects, tmp_path / "two", name, cache=Cache(tmp_path / "cache.sqlite"))
    assert not seen
    pd.testing.assert_frame_equal(first, second)


def test_metrics_without_embeddings_give_the_same(painted, subjects, tmp_path):
    given = {
        "embeds": lambda _: Colour("embeds", "distance"),
        "pairwise": lambda _: Colour("pairwise", "distance", embeds=False),
    }
    options = {"options": lambda _: Options(), "draws": 20}
    scores = score(painted, subjects, given, tmp_path / "out", Cache(None), **options)
    values = scores.pivot(index=["method", "score"], columns="metric", values="value")
    assert values["embeds"].to_numpy() == pytest.approx(values["pairwise"].to_numpy(), abs=1e-6)
    table = pd.read_parquet(tmp_path / "out" / "correlations.parquet")
    assert table[table.level == "pictures"].spearman.min() > 0.999


def test_prompts_are_filled_with_the_noun(painted, subjects, tmp_path):
    FAKES["clip-t-b32"].asked.clear()
    scores = run(painted, subjects, tmp_path / "out", "clip-t-b32")
    assert set(FAKES["clip-t-b32"].asked) == {"a cat in the snow", "a red cat", "a toy in the snow", "a red toy"}
    metric, found = FAKES["clip-t-b32"], []
    for subject in subjects:
        for slug, prompt in zip(SLUGS, PROMPTS, strict=True):
            text = metric.text([prompt.format(subject.noun)])
            files = sorted((painted / "inversion" / subject.name / slug).iterdir())
            found.append([float(metric.compare((text,), metric.features(metric.read(f)[None]))) for f in files])
    expected = {
        "prompt": np.mean([np.mean(some) for some in found]),
        "CLIP-T": np.mean(np.concatenate(found).reshape(2, 3).mean(1)),
        "text alignment": np.mean(2.5 * np.maximum(np.concatenate(found), 0)),
    }
    rows = scores[(scores.method == "inversion") & (scores.protocol != "DreamBench++")].set_index("score")
    assert rows.value[list(expected)].to_numpy() == pytest.approx(list(expected.values()), abs=1e-6)
    plus = one(scores, method="inversion", protocol="DreamBench++", score="CLIP-T")
    assert plus.value == pytest.approx(100 * np.mean([some[0] for some in found]), abs=1e-4)
    assert plus.pictures == 4
    assert PHOTOGRAPHS not in set(scores.method)
    pictures = pd.read_parquet(tmp_path / "out" / "pictures.parquet")
    assert pictures.to_prompt.isna().equals(pictures.slug == "class")


def mask(path, size=(20, 20), inside=True):
    """A mask whose left half is white."""
    pixels = np.zeros(size, dtype=np.uint8)
    if inside:
        pixels[:, : size[1] // 2] = 255
    file = path.parent / "masks" / f"{path.stem}.png"
    file.parent.mkdir(exist_ok=True)
    PIL.Image.fromarray(pixels).save(file)
    return file


def test_masks_of_both_show_the_subject_alone(painted, subjects, tmp_path):
    for subject in subjects:
        for path in subject.pictures:
            mask(path, (24, 20))
    unmasked = run(painted, subjects, tmp_path / "out", "mini")
    assert set(unmasked[unmasked.score.str.contains("masked")].method) == {PHOTOGRAPHS}
    for path in painted.glob("boot/cat2/a-*/*.*"):
        mask(path)
    fresh = read_subjects(tmp_path / "subjects")  # a subject looks for its masks once
    scores = run(painted, fresh, tmp_path / "out", "mini")
    row = one(scores, method="boot", score="subject, nearest, masked")
    assert (row.subjects, row.pictures) == (1, 3)  # the other subject's pictures have no masks
    assert "mid-grey" in row.definition
    assert one(scores, method="boot", score="subject, nearest").value == pytest.approx(
        one(unmasked, method="boot", score="subject, nearest").value
    )
    first = painted / "boot" / "cat2" / SLUGS[1] / "0.png"
    files = [cut_out(path, path.parent / "masks" / f"{path.stem}.png", tmp_path) for path in fresh[0].pictures]
    cut = cut_out(first, mask(first), tmp_path)
    table = pd.read_parquet(tmp_path / "out" / "by_prompt.parquet")
    by_prompt = one(table, method="boot", score="subject, nearest, masked", prompt="a red {}").value
    assert by_prompt == pytest.approx(float(distance_matrix(cut, files).min()), abs=1e-5)


def test_a_cut_out_is_the_picture_inside_and_grey_outside(tmp_path):
    file = picture(tmp_path / "a.png", 1, (20, 20))
    cut = np.asarray(PIL.Image.open(cut_out(file, mask(file), tmp_path)))
    assert (cut[:, :10] == np.asarray(PIL.Image.open(file))[:, :10]).all()
    assert (cut[:, 10:] == 128).all()
    with pytest.raises(ValueError, match=r"is 20 × 24, its picture .* 20 × 20; expected one size"):
        cut_out(file, mask(file, (24, 20)), tmp_path)
    with pytest.raises(ValueError, match="black all over"):
        cut_out(file, mask(file, inside=False), tmp_path)
    (tmp_path / "masks" / "a.png").write_bytes(b"no")
    with pytest.raises(ValueError, match="cannot be read"):
        cut_out(file, tmp_path / "masks" / "a.png", tmp_path)


def test_what_cannot_be_measured_is_said_and_the_rest_goes_on(painted, subjects, tmp_path, capsys):
    class Picky(Colour):
        def features(self, pixels):
            raise ValueError("pictures are too small")

    class Broken(Colour):
        def compare(self, a, b):
            return torch.full((len(a[0]),), float("nan"))

    def refuse(options):
        raise ConnectionError("no network for\nthe weights")

    given = {"gone": refuse, "picky": lambda _: Picky("picky"), "broken": lambda _: Broken("broken"), **makers("psnr")}
    scores = score(painted, subjects, given, tmp_path / "out", Cache(None), options=lambda _: Options(), draws=5)
    assert set(scores.metric) == {"psnr"}
    status = pd.read_parquet(tmp_path / "out" / "metrics.parquet").set_index("metric").status
    assert status["gone"] == "weights not available: no network for the weights"
    assert "pictures are too small" in status["picky"]
    assert "not finite" in status["broken"]
    assert status["psnr"] == "measured"
    assert "gone: weights not available" in capsys.readouterr().err
    scores = score(painted, subjects, {"gone": refuse}, tmp_path / "none", Cache(None), options=lambda _: Options())
    assert scores.empty
    assert tuple(pd.read_parquet(tmp_path / "none" / "comparisons.parquet")) == COMPARISON_COLUMNS


def test_one_method_alone_and_a_run_s_folder(painted, subjects, tmp_path):
    (alone,) = {gallery.method for gallery in read_pictures(painted / "boot", subjects)}
    assert alone == "boot"
    scores = run(painted / "boot", subjects, tmp_path / "out", "psnr")
    made = tmp_path / "made"
    shutil.copytree(painted, made / "pictures")
    (made / "manifest.jsonl").write_text("")
    of_run = run(made, subjects, tmp_path / "two", "psnr")
    same = ["score", "value", "low", "high"]
    both = [some[some.method == "boot"][same].reset_index(drop=True) for some in (scores, of_run)]
    pd.testing.assert_frame_equal(*both)
    table = pd.read_parquet(tmp_path / "two" / "pictures.parquet")
    assert (made / table.path[0]).is_file()


def test_pictures_go_by_prompt_and_seed(painted, subjects):
    gallery = next(g for g in read_pictures(painted, subjects) if (g.method, g.subject.name) == ("boot", "robot"))
    found = [(one.prompt.slug, one.seed) for one in gallery.pictures]
    assert found == [(SLUGS[0], 0), (SLUGS[0], 10), (SLUGS[1], 0)]
    assert [one.prompt for one in gallery.of_class] == [None]


def test_a_method_with_pictures_of_the_class_alone_has_only_those_scores(subjects, tmp_path):
    for name in NOUNS:
        picture(tmp_path / "p" / "m" / name / "class" / "0.png", 3)
    scores = run(tmp_path / "p", subjects, tmp_path / "out", "mini", "clip-t-b32", "dino-vits16")
    assert set(scores[scores.method == "m"].score) == {"prior similarity", "PRES"}


BAD = {
    "unknown subject": ("boot/cta2/a-red/0.png", "no such subject: cta2 (did you mean cat2"),
    "unknown prompt": ("boot/cat2/a-in-snow/0.png", "no such prompt of cat2: a-in-snow (did you mean a-in-the-snow"),
    "no seed": ("boot/cat2/a-red/first.png", "got 'first' as the seed; expected a whole number"),
    "a seed twice": ("boot/cat2/a-red/00.png", "another picture of this seed"),
    "two layouts": ("cat2/a-red/0.png", "expected all as METHOD/SUBJECT/PROMPT/SEED.png"),
    "the photographs' name": ("real photographs/cat2/a-red/0.png", "no method may be called 'real photographs'"),
}


@pytest.mark.parametrize(("where", "said"), BAD.values(), ids=BAD)
def test_pictures_in_wrong_places_are_named(where, said, painted, subjects, tmp_path):
    picture(painted / where, 5)
    with pytest.raises(ValueError, match="pictures") as error:
        run(painted, subjects, tmp_path / "out", "psnr")
    assert said in str(error.value)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "out").exists()


def test_broken_pictures_are_all_named(painted, subjects, tmp_path):
    for i in range(7):
        (painted / "boot" / "cat2" / "a-red" / f"{10 + i}.png").write_bytes(b"no picture" if i else b"")
    with pytest.raises(ValueError, match=r"10\.png.*0 bytes.*paint it again, or remove it.*and 2 more"):
        run(painted, subjects, tmp_path / "out", "psnr")


def test_other_wrong_use_is_said(painted, subjects, tmp_path):
    with pytest.raises(FileNotFoundError, match="no such folder of pictures"):
        run(tmp_path / "gone", subjects, tmp_path / "out", "psnr")
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="there are none at all"):
        run(tmp_path / "empty", subjects, tmp_path / "out", "psnr")
    picture(tmp_path / "empty" / "0.png")
    with pytest.raises(FileNotFoundError, match=r"as METHOD/SUBJECT/PROMPT/SEED.png: it has 0.png"):
        run(tmp_path / "empty", subjects, tmp_path / "out", "psnr")
    with pytest.raises(ValueError, match="got a threshold for mini; expected one of psnr"):
        run(painted, subjects, tmp_path / "out", "psnr", copy_below={"mini": 0.1})
    double = dataclasses.replace(subjects[0], prompts=(*subjects[0].prompts, subjects[0].prompts[0]))
    with pytest.raises(ValueError, match="prompts of cat2 would share the folder a-in-the-snow"):
        run(painted, [double, subjects[1]], tmp_path / "out", "psnr")


def test_definitions_are_printed_with_the_scores(painted, subjects, tmp_path, capsys):
    scores = run(painted, subjects, tmp_path / "out", "psnr")
    print(*score_lines(scores), sep="\n")
    shown = capsys.readouterr().out
    assert "ours, subject, nearest, psnr (higher is better): the most alike of a subject's photographs" in shown
    assert "2 subjects, 6 pictures" in shown


def test_metrics_of_text_refuse_pictures_alone(painted):
    from benchmarks.metrics.compare import compare_prompts

    with pytest.raises(Unmeasurable, match="not with prompts"):
        compare_prompts(find_metrics(["psnr"])["psnr"](Options()), ["a"], [], np.zeros((0, 2), int), Cache(None))


def test_mini_is_the_metric_of_the_package():
    assert load("mini").card.same is None  # else copying would be scored without being asked for
