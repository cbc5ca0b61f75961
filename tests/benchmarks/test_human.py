"""`dreamsim-bench human`: the numbers of the metrics themselves, whatever is cached, held or missing."""

import json
import re
import shutil

import numpy as np
import pandas as pd
import pytest
import torch

from benchmarks import cli
from benchmarks.human.measure import measure
from benchmarks.human.sources import read_parts
from benchmarks.metrics import compare
from benchmarks.metrics.base import Metric, MetricCard, Options, Unmeasurable
from benchmarks.metrics.ours import Cosine, Embedding, _Published
from benchmarks.metrics.registry import find_metrics
from dreamsim_metric import cli as metric_cli
from dreamsim_metric import distance, load
from dreamsim_metric.distances import pair_distances
from dreamsim_metric.images.convert import to_pixels
from dreamsim_metric.scale import embedding
from dreamsim_metric.scale.cache import Cache
from dreamsim_metric.scale.scoring import embed_files
from tests import layouts
from tests.judged import write_pairs, write_triplets
from tests.places import ROOT

CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def judged(tmp_path_factory):
    folder = write_triplets(tmp_path_factory.mktemp("bench") / "judged", splits=("train", "test"))
    write_pairs(folder, split="test")
    return folder


@pytest.fixture
def triplets(judged):
    return read_parts(str(judged))[0].table


def make(name):
    return find_metrics([name])[name](Options())


def bench(judged, out, *options, metrics=("mini", "psnr")):
    given = ["human", "--data", str(judged), "--metrics", *metrics, "--out", str(out), "--draws", "50"]
    return cli.main([*given, "--cache", str(out.with_suffix(".sqlite")), *options])


def test_figures_are_those_of_evaluate(judged, tmp_path, capsys):
    assert bench(judged, tmp_path / "out") == 0
    capsys.readouterr()
    assert metric_cli.main(["evaluate", "--model", "mini", "--data", str(judged), "--split", "test", "--json"]) == 0
    evaluated = {row["score"]: row["value"] for row in json.loads(capsys.readouterr().out)}
    scores = pd.read_parquet(tmp_path / "out" / "scores.parquet")
    mini = scores[scores.metric == "mini"].set_index("score").value
    assert mini["2AFC, majority, %"] == pytest.approx(evaluated["2AFC agreement with the majority, %"])
    assert mini["2AFC, votes, %"] == pytest.approx(evaluated["2AFC agreement with the votes, %"])
    assert mini["JND average precision, %"] == pytest.approx(evaluated["JND average precision, %"])


def test_everything_is_in_the_tables(judged, tmp_path, capsys):
    assert bench(judged, tmp_path / "out") == 0
    shown = capsys.readouterr().out
    assert re.search(r"judged test, 2AFC, majority, %, \d+ judgements \(people [\d.]+; one person", shown)
    frames = {file.stem: pd.read_parquet(file) for file in (tmp_path / "out").glob("*.parquet")}
    scores = frames["scores"]
    assert set(scores.score) == {"2AFC, majority, %", "2AFC, votes, %", "JND average precision, %"}
    assert (scores.low <= scores.value).all()
    assert (scores.value <= scores.high).all()
    assert (scores.ref_low <= scores.ref_high).all()
    assert (scores.value <= scores.ceiling + 1e-9).all()
    assert set(scores["rank"]) == {1, 2}
    assert len(frames["comparisons"]) == 3
    assert (frames["comparisons"].difference >= 0).all()
    assert set(frames["metrics"].status) == {"measured"}
    assert (frames["metrics"].seconds > 0).all()
    assert len(frames["questions"]) == 90
    answers = frames["answers"]
    assert len(answers) == 180
    row = answers[(answers.metric == "mini") & answers.d1.notna()].iloc[0]
    question = frames["questions"].set_index(["kind", "id"]).loc[("2AFC", row.id)]
    assert row.d1 == pytest.approx(distance(question.picture0, question.picture2), abs=1e-5)
    psnr = answers[answers.metric == "psnr"]
    assert (psnr.d0 < 0).all()  # a similarity with its sign changed: larger is more different
    settings = json.loads((tmp_path / "out" / "settings.json").read_text())
    assert settings["versions"]["torch"] in torch.__version__
    assert [data["judgements"] for data in settings["data"]] == [30, 60]


@pytest.mark.parametrize("name", ["mini", "psnr"])
def test_a_second_run_computes_nothing(triplets, tmp_path, name, monkeypatch):
    metric = make(name)
    first = measure(metric, triplets, Cache(tmp_path / "cache.sqlite"))
    monkeypatch.setattr(type(metric), "features", None)
    assert measure(metric, triplets, Cache(tmp_path / "cache.sqlite")) == pytest.approx(first, abs=0)


def test_a_killed_run_goes_on_where_it_was_in_whole_batches(triplets, tmp_path, monkeypatch):
    monkeypatch.setattr(embedding, "_SAVED", 1)
    metric, features, seen = make("mini"), Embedding.features, []

    def failing(self, pixels):
        if len(seen) == 3:
            raise KeyboardInterrupt
        seen.append(len(pixels))
        return features(self, pixels)

    monkeypatch.setattr(Embedding, "features", failing)
    with pytest.raises(KeyboardInterrupt):
        measure(metric, triplets, Cache(tmp_path / "cache.sqlite"), batch_size=6)
    monkeypatch.setattr(Embedding, "features", lambda self, pixels: seen.append(len(pixels)) or features(self, pixels))
    resumed = measure(metric, triplets, Cache(tmp_path / "cache.sqlite"), batch_size=6)
    lost = 6  # the batch that was under way
    assert sum(seen) == len(triplets.pictures) + lost
    assert np.array_equal(resumed, measure(metric, triplets, Cache(None), batch_size=6))


def test_what_score_embedded_is_known_to_the_benchmarks(triplets, tmp_path, monkeypatch):
    """One cache: a model of the package is one metric, whoever asks it."""
    metric, cache = load("mini", device="cpu"), Cache(tmp_path / "cache.sqlite")
    found = embed_files(triplets.pictures, metric, cache)
    monkeypatch.setattr(Embedding, "features", None)
    d = measure(make("mini"), triplets, cache)
    a, b = (found.units[triplets.index[:, column]] for column in (0, 1))
    assert np.array_equal(d[:, 0], pair_distances(a, b).double().numpy())
    with pytest.raises(TypeError):
        measure(make("mini"), triplets, Cache(None))


def test_the_cache_tells_metrics_of_other_pixels_and_devices_apart(monkeypatch):
    ours, psnr = make("mini"), make("psnr")
    cosine = Cosine("mini", _Published("mini", 256, ""), Options())
    keys = {ours.key(), psnr.key(), cosine.key()}
    monkeypatch.setattr(type(psnr), "device", torch.device("cuda"))
    monkeypatch.setattr(type(ours.metric), "device", torch.device("cuda"))
    assert len(keys | {ours.key(), psnr.key(), cosine.key()}) == 6


@pytest.mark.parametrize("held", [1, 60_000, 1 << 30])
def test_what_is_held_in_memory_changes_nothing(triplets, held, monkeypatch):
    monkeypatch.setattr(compare, "_HELD", held)
    monkeypatch.setattr(compare, "_AT_ONCE", max(held // 4, 1))
    metric = make("gmsd")
    found = measure(metric, triplets, Cache(None))
    for i in (0, 7, 29):
        for k, side in enumerate((1, 2)):
            a, b = (to_pixels(triplets.pictures[triplets.index[i, column]], None) for column in (0, side))
            assert found[i, k] == pytest.approx(metric.compare((a,), (b,)).item(), abs=1e-6)


def test_pictures_of_two_sizes_are_compared_at_the_reference_s(tmp_path):
    root = layouts.ratings(tmp_path)
    layouts.picture(root / "b0.png", 0, (48, 40))
    table = read_parts(str(root))[0].table
    metric = make("psnr")
    found = measure(metric, table, Cache(None))
    a, b = to_pixels(root / "a.png", None), to_pixels(root / "b0.png", (24, 20))
    assert -found[0, 0] == pytest.approx(metric.compare((a,), (b,)).item(), abs=1e-5)


def test_the_cache_goes_by_content_not_by_name(judged, triplets, tmp_path, monkeypatch):
    copy = tmp_path / "copy"
    shutil.copytree(judged, copy)
    cache, metric = Cache(tmp_path / "cache.sqlite"), make("mini")
    first = measure(metric, triplets, cache)
    monkeypatch.setattr(Embedding, "features", None)
    moved = read_parts(str(copy))[0].table
    assert measure(metric, moved, cache) == pytest.approx(first, abs=0)
    layouts.picture(copy / "2.png", 7)
    with pytest.raises(TypeError):  # a new picture under an old name would have to be embedded
        measure(metric, read_parts(str(copy))[0].table, cache)


class Broken(Metric):
    card = MetricCard("broken", "distance", (0, 1), "native", "none")

    def compare(self, a, b):
        return torch.full((len(a[0]),), float("nan"))


def test_what_cannot_be_measured_is_said_and_the_rest_goes_on(judged, tmp_path, capsys, monkeypatch):
    def refuse(*_, **__):
        raise ConnectionError("no network for the weights")

    monkeypatch.setattr(
        "benchmarks.metrics.ours.load", lambda name, **_: refuse() if name == "ensemble" else load(name)
    )

    own = tmp_path / "broken.py"
    own.write_text("from tests.benchmarks.test_human import Broken\nMETRICS = {'broken': lambda options: Broken()}\n")
    metrics = ("ensemble", "ms-ssim", "clip-t-b32", str(own), "mini")
    monkeypatch.setattr("benchmarks.metrics.clip_text.CLIPText.__init__", refuse)
    assert bench(judged, tmp_path / "out", metrics=metrics) == 0
    shown = capsys.readouterr()
    table = pd.read_parquet(tmp_path / "out" / "metrics.parquet").set_index("metric").status
    assert table["ensemble"] == "weights not available: no network for the weights"
    assert table["clip-t-b32"] == "weights not available: no network for the weights"
    assert "it cannot compare such pictures" in table["ms-ssim"]
    assert "not finite" in table["broken"]
    assert table["mini"] == "measured"
    assert set(pd.read_parquet(tmp_path / "out" / "scores.parquet").metric) == {"mini"}
    assert "ensemble" in shown.out


def test_metrics_of_text_take_the_prompt_for_the_reference(triplets):
    class Text(Metric):
        card = MetricCard("text", "similarity", (-1, 1), "8 × 8", "none")
        embeds = True

        def read(self, picture, size=None):
            return to_pixels(picture, (8, 8))[0]

        def features(self, pixels):
            return (pixels.mean((2, 3)),)

        def text(self, prompts):
            return torch.tensor([[float(len(prompt)), 0.0, 0.0] for prompt in prompts])

        def compare(self, a, b):
            return (a[0] * b[0]).sum(-1)

    with pytest.raises(Unmeasurable, match="this data has none"):
        measure(Text(), triplets, Cache(None))
    prompted = triplets._with(prompts=tuple("x" * (1 + i % 3) for i in range(len(triplets))))
    found = measure(Text(), prompted, Cache(None))
    red = to_pixels(triplets.pictures[triplets.index[4, 2]], (8, 8)).mean((2, 3))[0, 0].item()
    assert -found[4, 1] == pytest.approx(2 * red, rel=1e-5)


@pytest.mark.parametrize("name", sorted(layouts.LAYOUTS.keys() - {"live"}))  # 785 pairs, scored as other ratings are
def test_every_kind_of_data_is_measured_and_scored(name, tmp_path, capsys):
    root = layouts.LAYOUTS[name](tmp_path / "data")
    assert bench(root, tmp_path / "out", metrics=("psnr",)) == 0
    scores = pd.read_parquet(tmp_path / "out" / "scores.parquet")
    expected = {"things": ["odd-one-out, %", "odd-one-out, ties wrong, %"], "matrix": ["RDM Spearman"]}
    assert list(dict.fromkeys(scores.score)) == expected.get(name, ["SROCC", "KROCC", "PLCC"])
    assert scores.value.notna().all()
    if name == "matrix":
        assert scores.value[0] > 0.5  # its raters go by brightness
        assert scores.others[0] <= scores.ceiling[0]
    if name == "things":
        assert scores.people[0] == 66.67


WRONG = {
    "no such data": (["--data", "gone"], "no such data set: gone"),
    "unknown metric": (["--metrics", "psmr"], "did you mean psnr"),
    "weights of another metric": (["--weights", "lpips-alex=x.pth"], "expected METRIC=FILE of one of mini"),
    "weights that are not there": (["--weights", "mini=gone.pth"], "no such file of weights"),
    "no draws": (["--draws", "0"], "got --draws 0"),
    "a split that is not there": (["--split", "dev"], "got splits dev; expected some of those in"),
    "a cache that is none": (["--cache", "README.md"], "cannot use README.md as cache"),
}


@pytest.mark.parametrize(("options", "message"), WRONG.values(), ids=WRONG)
def test_wrong_use_is_one_clear_line(options, message, judged, tmp_path, capsys):
    assert bench(judged, tmp_path / "out", *options) == 1
    line = [line for line in capsys.readouterr().err.splitlines() if line.startswith("dreamsim-bench: ")]
    assert len(line) == 1
    assert message in line[0]
    assert not list(tmp_path.glob("out/*"))


def test_scores_as_json(judged, tmp_path, capsys):
    assert bench(judged, tmp_path / "out", "--json", metrics=("psnr",)) == 0
    rows = json.loads(capsys.readouterr().out)
    assert {row["metric"] for row in rows} == {"psnr"}


def test_a_disk_that_is_full_leaves_what_was_there(judged, tmp_path, capsys, monkeypatch):
    assert bench(judged, tmp_path / "out", metrics=("psnr",)) == 0
    before = (tmp_path / "out" / "scores.parquet").read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("dreamsim_metric.files.write.os.fsync", full)
    assert bench(judged, tmp_path / "out", metrics=("psnr",)) == 1
    assert "make room" in capsys.readouterr().err
    assert (tmp_path / "out" / "scores.parquet").read_bytes() == before
    assert not list((tmp_path / "out").glob(".*"))


def test_contributing_s_worked_examples_run(judged, tmp_path, capsys):
    """The metric and the data set of CONTRIBUTING.md, as files of a user's own."""
    metric, data = re.findall(r"```python\n(.*?)```", CONTRIBUTING, re.S)
    (tmp_path / "grey.py").write_text(metric)
    (tmp_path / "brightness.py").write_text(data)
    root = tmp_path / "data"
    root.mkdir()
    for i in range(4):
        layouts.picture(root / f"{i}.png", i)
    (root / "answers.txt").write_text("0 1 0.9\n0 2 0.4\n0 3 0.1\n1 2 0.5\n")
    given = f"{tmp_path / 'brightness.py'}={root}"
    assert bench(given, tmp_path / "out", metrics=("psnr", str(tmp_path / "grey.py"))) == 0
    scores = pd.read_parquet(tmp_path / "out" / "scores.parquet")
    assert set(scores.metric) == {"psnr", "grey"}
    assert np.isfinite(scores.value).all()
