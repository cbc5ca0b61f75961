"""The speed benchmark: what is timed is what is said, ratios are of one round, and what fails says why."""

import importlib
import json
import math
import time
from pathlib import Path

import numpy as np
import pandas as pd
import PIL.Image
import pytest
import torch

from benchmarks import cli
from benchmarks.report.page import write_report
from benchmarks.speed.contenders import Contenders, Variant, count_flops
from benchmarks.speed.groups import GROUPS
from benchmarks.speed.measure import Contest, Sample, Subject, measure
from benchmarks.speed.pictures import draw_batch, write_jpegs
from benchmarks.speed.plan import make_plan
from benchmarks.speed.printing import format_markdown, format_memory, format_seconds
from benchmarks.speed.run import run
from benchmarks.speed.startup import watch
from benchmarks.speed.targets import TARGETS, Target, read_targets
from dreamsim_metric import load
from dreamsim_metric.models import MODELS
from tests.benchmarks.test_report import Page


def sampled(*walls):
    """A subject whose calls took these seconds; the first is to warm up."""
    times = iter([99.0, *walls])

    def call():
        wall = next(times)
        return Sample(wall, wall / 2)

    return lambda: call


def test_ratios_are_of_times_of_one_round_and_times_are_a_unit():
    subjects = [Subject("slow", sampled(8, 12, 40), 2), Subject("fast", sampled(4, 3, 5), 4)]
    slow, fast = measure(Contest("g", subjects), rounds=3)
    assert (slow["wall_s"], slow["cpu_s"], slow["rounds"]) == (6, 3, 3)  # the median round, of two units
    assert (fast["wall_s"], fast["reference"]) == (1, "slow")
    assert (fast["ratio_low"], fast["ratio"], fast["ratio_high"]) == (4, 8, 16)  # 4/1, 6/0.75, 20/1.25
    assert slow["ratio"] == 1


@pytest.mark.parametrize(("reference", "name"), [("fastest", "b"), ("slowest", "a")])
def test_the_reference_is_chosen_among_the_first(reference, name):
    subjects = [Subject("a", sampled(8)), Subject("b", sampled(2)), Subject("c", sampled(1))]
    rows = measure(Contest("g", subjects, references=2, reference=reference), rounds=1)
    assert {row["reference"] for row in rows} == {name}
    assert rows[2]["ratio"] == {"a": 8, "b": 2}[name]


def test_subjects_take_turns_and_no_round_begins_when_the_time_is_up():
    calls = []

    def made(name):
        def call():
            calls.append(name)
            time.sleep(0.06)  # longer than what is repeated

        return lambda: call

    rows = measure(Contest("g", [Subject("a", made("a")), Subject("b", made("b"))]), rounds=9, seconds=0.01)
    assert [row["rounds"] for row in rows] == [1, 1]
    timed = calls[-2:]
    assert timed == ["a", "b"]
    assert 0.06 <= rows[0]["wall_s"] < 1
    assert rows[0]["cpu_s"] < 0.05, "sleeping takes no CPU seconds"


def test_short_calls_are_repeated_and_a_unit_is_still_one_call():
    count = 0

    def call():
        nonlocal count
        count += 1
        time.sleep(0.001)

    (row,) = measure(Contest("g", [Subject("short", lambda: call)]), rounds=2)
    assert count > 20
    assert 0.001 <= row["wall_s"] < 0.01


def test_what_fails_says_why_and_the_others_go_on():
    def missing():
        importlib.import_module("a_package_that_is_not_there")

    def later():
        times.append(0)
        return Sample(1, 1) if len(times) < 3 else 1 / 0  # fails in its second round

    times = []
    subjects = [
        Subject("none", missing),
        Subject("later", lambda: later),
        Subject("fine", sampled(2, 4)),
    ]
    none, broken, fine = measure(Contest("g", subjects, references=3), rounds=2)
    assert "a_package_that_is_not_there" in none["error"]
    assert "ZeroDivisionError" in broken["error"]
    assert (fine["error"], fine["reference"], fine["ratio"]) == ("", "fine", 1)


def test_results_that_are_to_be_the_same_are_compared():
    a, b = torch.tensor([0.5, 0.25]), torch.tensor([0.5, 0.2501])
    subjects = [Subject("theirs", lambda: lambda: a), Subject("ours", lambda: lambda: b, same=True)]
    theirs, ours = measure(Contest("g", subjects), rounds=1)
    assert math.isnan(theirs["difference"])
    assert ours["difference"] == pytest.approx(1e-4, rel=1e-2)


def test_memory_is_what_a_call_adds():
    held = torch.ones(50_000_000)
    big = Subject("big", lambda: lambda: torch.ones(25_000_000).sum())
    (row,) = measure(Contest("g", [big]), rounds=1)
    if not math.isnan(row["peak_bytes"]):  # known on Linux
        assert 90e6 < row["peak_bytes"] < 150e6
    assert held.numel()


def test_a_process_is_watched_from_within():
    sample = watch("x = bytearray(200_000_000)\nend = time.process_time() + 0.3\nwhile time.process_time() < end: pass")
    assert 0.3 <= sample.cpu < 1
    assert sample.wall >= 0.3
    assert 200e6 < sample.peak_bytes < 300e6
    with pytest.raises(RuntimeError, match="no_such_module"):
        watch("import no_such_module")


def test_work_is_counted_from_the_shapes():
    card = MODELS["clip_vitb32"]
    tokens, width = 50, 768
    block = tokens * width * 12 * width + 2 * tokens * tokens * width  # products of weights, attention
    patches = 49 * 3 * 32 * 32 * width
    assert count_flops(card, whole=True) == 2 * (12 * block + patches + width * 512)
    last = (2 * tokens + 2 + 8) * width * width + 2 * tokens * width  # keys, values; a query, its output and MLP
    assert count_flops(card) == 2 * (11 * block + last + patches + width * 512)
    assert 0.5e9 < count_flops(load("mini").card) < 0.7e9  # MobileNetV2: 0.3 G multiplications


def test_files_differ_and_decode(tmp_path):
    files = write_jpegs(tmp_path, 34)
    contents = {Path(file).read_bytes() for file in files}
    assert len(contents) == 34
    first, copy, other = (np.asarray(PIL.Image.open(files[i])) for i in (0, 32, 1))
    assert first.shape == (768, 1024, 3)
    assert np.array_equal(first, copy)
    assert not np.array_equal(first, other)


@pytest.fixture(scope="module")
def quick(tmp_path_factory):
    """A folder that two runs wrote to."""
    out = tmp_path_factory.mktemp("speed")
    for groups in (["startup"], ["peers", "growth", "files"]):
        given = ["--quick", "--rounds", "1", "--threads", "1", "--device", "cpu", "--max-pictures", "10"]
        given += ["--precisions", "float32", "--releases", str(out / "releases")]
        assert cli.main(["speed", "--groups", *groups, *given, "--out", str(out / "run")]) == 0
    return out / "run"


def test_runs_add_to_a_folder_with_the_machine_named(quick):
    table = pd.read_parquet(quick / "speed.parquet")
    settings = json.loads((quick / "speed.json").read_text())
    assert set(table.group) == {"startup", "peers", "growth", "files"}
    assert set(table.machine) == set(settings["machines"])
    assert len(settings["commands"]) == 2
    assert (table.error == "").all()
    assert (table.wall_s > 0).all()
    assert set(table[table.package == "lpips"].version) == {"0.1.4"}
    assert table[(table.group == "growth") & (table.axis == "pictures")]["size"].tolist() == [10]
    imported = table[table.subject == "import dreamsim_metric"].iloc[0]
    assert 0 < imported.cpu_s < 0.5, "importing the package must not import torch"


def test_a_run_replaces_the_same_contests_alone(tmp_path, monkeypatch):
    def contests(plan):
        for threads in plan.threads:
            yield Contest("models", [Subject("a", lambda: lambda: time.sleep(0.01))], threads=threads)

    monkeypatch.setitem(GROUPS, "models", contests)
    for threads in ((1,), (2,), (1,)):
        run(["models"], tmp_path, make_plan("cpu", home=tmp_path, threads=threads), rounds=1)
    assert pd.read_parquet(tmp_path / "speed.parquet").threads.tolist() == [2, 1]


def test_the_printed_tables_hold_every_subject(quick):
    table = pd.read_parquet(quick / "speed.parquet")
    text = format_markdown(table, read_targets(table))
    for row in table.itertuples():
        if not row.axis:
            assert f"| {row.subject} |" in text
    assert "| import dreamsim_metric, CPU seconds | ≤ 0.12 s |" in text


def test_the_report_shows_every_subject_target_and_machine(quick):
    assert cli.main(["report", str(quick)]) == 0
    page = Page((quick / "report.html").read_text(encoding="utf-8"))
    table = pd.read_parquet(quick / "speed.parquet")
    cells = {row[0].strip(): row[1:] for row in page.rows if row}
    for row in table[table["axis"] == ""].itertuples():
        assert cells[row.subject][0] == format_seconds(row.cpu_s)
    assert cells["import dreamsim_metric, CPU seconds"][0] == "≤ 0.12 s"
    assert cells["GPU, JPEG files, of the smaller limit"][1] == "not measured"
    assert "script" not in page.tags
    assert table.machine.iloc[0] in (quick / "report.html").read_text(encoding="utf-8")


def test_what_could_not_be_timed_is_on_the_page_too(quick, tmp_path):
    table = pd.read_parquet(quick / "speed.parquet")
    table.loc[table.subject == "GMSD", ["error", "wall_s", "cpu_s", "ratio"]] = ["No <module>", *[math.nan] * 3]
    table.to_parquet(tmp_path / "speed.parquet")
    (tmp_path / "speed.json").write_text((quick / "speed.json").read_text())
    cells = {row[0]: row[1:] for row in Page(write_report(tmp_path).read_text(encoding="utf-8")).rows if row}
    assert cells["GMSD"] == ["No <module>"]
    assert "| GMSD | No <module> |" in format_markdown(table)


def test_targets_take_the_worst_of_their_rows_unless_the_best_counts():
    table = pd.DataFrame(
        {"ratio": [2.0, 3.0, math.nan], "ratio_low": 1.0, "ratio_high": 4.0, "cpu_s": [0.1, 0.2, 0.3], "machine": "m"}
    )

    def read(**kwargs):
        (found,) = read_targets(table, [Target("t", find=lambda t: t["machine"] == "m", **kwargs)])
        return found.verdict, found.value

    assert read(aim=2.5) == ("missed", "2.00 (1.00–4.00)")
    assert read(aim=2.5, best=True) == ("reached", "3.00 (1.00–4.00)")
    assert read(aim=0.25, column="cpu_s", least=False) == ("missed", "0.30 s")
    assert read(aim=0.15, column="cpu_s", least=False, best=True) == ("reached", "0.10 s")
    (none,) = read_targets(table, [Target("t", 1, lambda t: t["machine"] == "other")])
    assert (none.verdict, none.value) == ("not measured", "–")


def test_an_opt_in_is_another_precision_or_the_exported_model():
    table = pd.DataFrame({
        "package": ["lpips", "dreamsim_metric", "dreamsim_metric", "onnxruntime"], "model": ["", *["mini"] * 3],
        "precision": ["float32", "float32", "bfloat16", "float32"], "ratio": [1.0, 4.0, 2.0, 3.0], "ratio_low": 1.0,
        "ratio_high": 5.0, "group": "peers", "device": "cpu", "threads": 1, "machine": "m",
    })  # fmt: skip
    own, opt_in = (next(t for t in TARGETS if t.text.startswith(f"mini {kind}")) for kind in ("float32", "with"))
    assert [found.value[:4] for found in read_targets(table, [own, opt_in])] == ["4.00", "3.00"]


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (["--groups", "distances"], "expected some of startup, alone, distance"),
        (["--rounds", "0"], "got --rounds 0; expected 1 or more"),
        (["--minutes", "0"], "more than none"),
        (["--model", "mini"], "expected a released type"),
        (["--precisions", "float31"], "got precision 'float31'; expected float32, tf32"),
        (["--precisions", "float32+fast"], "float32+fast"),
        (["--batches", "0"], "expected 1 or more"),
    ],
)
def test_bad_options_are_one_line(given, says, tmp_path, capsys):
    assert cli.main(["speed", "--quick", "--out", str(tmp_path), *given]) == 1
    error = capsys.readouterr().err
    assert says in error
    assert error.count("\n") == 1


def test_a_precision_may_be_asked_for_that_is_slow_here(tmp_path):
    plan = make_plan("cpu", home=tmp_path, precisions=["bfloat16", "bfloat16+compiled"], threads=[1])
    assert plan.variants == (Variant("bfloat16"), Variant("bfloat16", compiled=True))
    assert (plan.threads, plan.batches, plan.model) == ((1,), (1, 8, 32), "ensemble")


@pytest.mark.parametrize(
    ("value", "text"), [(2.5, "2.5 s"), (0.0123, "12.3 ms"), (4.2e-6, "4.2 µs"), (1e-9, "0.001 µs"), (math.nan, "–")]
)
def test_times_have_a_unit_that_leaves_figures_to_read(value, text):
    assert format_seconds(value) == text


def test_memory_as_text():
    assert [format_memory(value) for value in (2.5e9, 31e6, -5.0, math.nan)] == ["2.50 GB", "31 MB", "0 MB", "–"]


@pytest.mark.slow
def test_the_exported_model_gives_our_distances(tmp_path):
    made = Contenders("cpu", tmp_path)
    a, b = draw_batch(3), draw_batch(3, first=3)
    found = made.exported("mini")(a, b)
    np.testing.assert_allclose(found.numpy(), made.ours("mini")(a, b).numpy(), rtol=0, atol=1e-5)


@pytest.mark.slow
def test_ours_and_the_released_package_give_the_same_distances_in_the_run(tmp_path):
    given = ["--quick", "--rounds", "1", "--threads", "1", "--batches", "2", "--device", "cpu"]
    groups = ["distance", "one-to-many", "peak", "models"]
    assert cli.main(["speed", "--groups", *groups, *given, "--releases", str(tmp_path), "--out", str(tmp_path)]) == 0
    table = pd.read_parquet(tmp_path / "speed.parquet")
    assert (table.error == "").all()
    ours = table[(table.group.isin(["distance", "one-to-many"])) & (table.subject == "ours float32")]
    assert len(ours) == 2
    assert (ours.difference < 1e-6).all()
    fractions = table[(table.group == "peak") & (table.package != "torch")]
    assert fractions.ratio.between(0.05, 1.2).all()
