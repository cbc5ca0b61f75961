"""Runs of methods × subjects: resumed, failed, refused, and an image adapter in the released format."""

import dataclasses
import errno
import itertools
import json
import shutil
import subprocess
import sys

import numpy as np
import pandas as pd
import PIL.Image
import pytest
import safetensors.torch
import torch
from transformers import CLIPImageProcessor, CLIPVisionConfig, CLIPVisionModelWithProjection

from benchmarks import cli
from benchmarks.commands.personalize import configure_methods, spread_prompts
from benchmarks.personalization import layout
from benchmarks.personalization import run as runs
from benchmarks.personalization.columns import COST_COLUMNS, FAILURE_COLUMNS, MANIFEST_COLUMNS, TABLES
from benchmarks.personalization.methods import decomposition, dreambooth, ip_adapter, plain, textual_inversion
from benchmarks.personalization.methods.base import Sampling
from benchmarks.personalization.methods.registry import METHODS as METHODS_BY_NAME
from benchmarks.personalization.subjects import Prompt, Subject, fill, read_subjects
from data_tools.manifest import MANIFEST, read_rows
from data_tools.pipelines import load_model
from tests import families
from tests.dreambench import write_dreambench
from tests.pictures import PHOTOGRAPHS
from tests.pipelines import stable_diffusion
from tests.places import ROOT

PROMPTS = (Prompt("a {}", "plain"), Prompt("a red {}", "property"))
METHODS = {
    "plain": (plain.METHOD, plain.Config()),
    "words": (textual_inversion.METHOD, textual_inversion.Config(steps=2)),
    "network": (dreambooth.METHOD, dreambooth.Config(steps=2, prior_weight=0.0)),
}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return str(stable_diffusion(tmp_path_factory.mktemp("sd"), safety_checker=False))


@pytest.fixture(scope="module")
def subjects(tmp_path_factory):
    made = []
    for number, name in enumerate(("cat", "apple")):
        folder = tmp_path_factory.mktemp(name)
        for i in range(2):
            PIL.Image.open(PHOTOGRAPHS[number]).convert("RGB").resize((40 + i, 40)).save(folder / f"{i}.png")
        made.append(Subject(f"my_{name}", name, tuple(sorted(folder.glob("*.png"))), PROMPTS))
    return made


@pytest.fixture
def plan(model):
    return runs.Plan(model, sampling=Sampling(2), seeds=2, class_pictures=1)


def test_steps_that_the_schedule_cannot_go_are_refused_before_hours_of_fitting(plan, subjects, tmp_path):
    far = Sampling(1000)
    config = dreambooth.Config(class_sampling=far)
    for one, methods in (
        (dataclasses.replace(plan, sampling=far), METHODS),
        (plan, {"network": (dreambooth.METHOD, config)}),
    ):
        with pytest.raises(ValueError, match=r"got 1000 steps, which DDIMScheduler cannot go .*; expected at most 999"):
            runs.run(one, methods, subjects, tmp_path / "out", "cpu")
    assert not (tmp_path / "out").exists()


def test_a_pipeline_of_masked_tokens_is_painted_with_and_methods_of_noise_say_why_not(plan, subjects, tmp_path):
    folder = families.save(tmp_path / "model", families.masked_tokens)
    methods = {"plain": METHODS["plain"], "words": METHODS["words"]}
    methods["tree"] = (decomposition.METHOD, decomposition.Config(metrics=("mini",)))
    failures = runs.run(dataclasses.replace(plan, model=str(folder)), methods, subjects[:1], tmp_path / "out", "cpu")
    assert [one["method"] for one in failures] == ["words", "tree"]
    assert all("Stable Diffusion's family" in one["error"] for one in failures)
    assert len(contents(tmp_path / "out")) == 5


def test_what_another_trainer_made_is_painted_with_in_place_of_fitting(plan, subjects, tmp_path, monkeypatch):
    pipeline = load_model(plan.model).pipeline
    for subject in subjects:
        config = dreambooth.Config(steps=2, prior_weight=0.0, rank=2, learning_rate=1e-2)
        dreambooth.fit(subject, pipeline, config).save(tmp_path / "made" / subject.name)
        (tmp_path / "made" / subject.name / "method.json").unlink()  # as of another trainer
    methods = {"lora": (dreambooth.LORA, dreambooth.Config(rank=2))}
    monkeypatch.setattr(dreambooth, "fit", None)
    for _ in range(2):
        given = {"lora": tmp_path / "made"}
        assert runs.run(plan, methods, subjects, tmp_path / "out", "cpu", given) == []
        shutil.rmtree(tmp_path / "out" / "pictures")
    rows = read_rows(tmp_path / "out")
    assert {row["words"] for row in rows if row["slug"] != "class"} == {"sks cat", "sks apple"}
    assert (tmp_path / "out" / "fits" / "lora" / "my_cat" / "pytorch_lora_weights.safetensors").is_file()
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="has no folder or file named my_cat, my_apple"):
        runs.run(plan, methods, subjects, tmp_path / "other", "cpu", {"lora": tmp_path / "empty"})
    assert not (tmp_path / "other").exists()


def contents(out):
    return {file.relative_to(out).as_posix(): file.read_bytes() for file in sorted(out.rglob("*.png"))}


def test_a_run_paints_every_prompt_and_seed_and_says_how_and_at_what_cost(plan, subjects, tmp_path):
    assert runs.run(plan, METHODS, subjects, tmp_path / "out", "cpu") == []
    rows = read_rows(tmp_path / "out")
    assert len(rows) == 3 * 2 * (2 * 2 + 1)
    expected = {
        f"pictures/{method}/{subject.name}/{slug}/{seed}.png"
        for method in METHODS
        for subject in subjects
        for slug, seeds in (("a", 2), ("a-red", 2), ("class", 1))
        for seed in range(seeds)
    }
    assert {row["path"] for row in rows} == set(contents(tmp_path / "out")) == expected
    row = next(row for row in rows if row["path"] == "pictures/words/my_cat/a-red/1.png")
    again = textual_inversion.METHOD.load(
        tmp_path / "out" / "fits" / "words" / "my_cat", load_model(plan.model).pipeline
    )
    picture = again.generate(row["prompt"], 2, 0, Sampling(row["steps"], row["guidance"]))[row["seed"]]
    np.testing.assert_array_equal(picture, PIL.Image.open(tmp_path / "out" / row["path"]))
    costs = read_rows(tmp_path / "out", runs.COSTS)
    assert len(costs) == 2 * 3 * 2
    assert all(cost["seconds"] >= 0 and cost["peak_bytes"] > 1e8 for cost in costs)
    assert not list((tmp_path / "out").rglob("*.work"))


def test_a_run_that_was_killed_goes_on_and_ends_as_if_it_had_not_been(plan, subjects, tmp_path, monkeypatch):
    runs.run(plan, METHODS, subjects, tmp_path / "whole", "cpu")
    honest, seen = runs.write_file, []

    def killed(*arguments):
        seen.append(1)
        if len(seen) == 12:
            raise KeyboardInterrupt
        return honest(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(runs, "write_file", killed)
        with pytest.raises(KeyboardInterrupt):
            runs.run(plan, METHODS, subjects, tmp_path / "killed", "cpu")
    assert runs.run(plan, METHODS, subjects, tmp_path / "killed", "cpu") == []
    assert contents(tmp_path / "whole") == contents(tmp_path / "killed")
    paths = [row["path"] for row in read_rows(tmp_path / "killed")]
    assert len(paths) == len(set(paths))
    (tmp_path / "killed" / "pictures/words/my_cat/a/0.png").unlink()
    monkeypatch.setitem(METHODS, "words", (dataclasses.replace(METHODS["words"][0], fit=None), METHODS["words"][1]))
    assert runs.run(plan, METHODS, subjects, tmp_path / "killed", "cpu") == []  # from the fit that is there
    assert contents(tmp_path / "whole") == contents(tmp_path / "killed")


def test_a_fit_that_fails_is_written_down_and_tried_again_and_the_rest_is_finished(plan, subjects, tmp_path):
    def fail(*arguments):
        raise ValueError("no way")

    methods = {**METHODS, "words": (dataclasses.replace(textual_inversion.METHOD, fit=fail), METHODS["words"][1])}
    failures = runs.run(plan, methods, subjects, tmp_path, "cpu")
    expected = [{"method": "words", "subject": s.name, "stage": "fit", "error": "no way"} for s in subjects]
    assert failures == read_rows(tmp_path, runs.FAILURES) == expected
    assert set(failures[0]) == set(FAILURE_COLUMNS)
    assert len(contents(tmp_path)) == 2 * 2 * 5
    assert runs.run(plan, METHODS, subjects, tmp_path, "cpu") == []
    assert len(contents(tmp_path)) == 3 * 2 * 5


def test_a_run_of_an_earlier_version_is_said_before_anything_is_fitted(plan, subjects, tmp_path):
    one = {"plain": METHODS["plain"]}
    runs.run(plan, one, subjects, tmp_path, "cpu")
    rows = read_rows(tmp_path)
    for row in rows:  # as it was once: the slug was called prompt, and the words text
        row["prompt"], row["text"] = row.pop("slug"), row["prompt"]
    (tmp_path / MANIFEST).write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(
        ValueError, match=r"manifest.jsonl line 1 lacks slug, perhaps as one of another version; remove"
    ):
        runs.run(plan, METHODS, subjects, tmp_path, "cpu")
    assert not (tmp_path / layout.FITS / "words").exists()


@pytest.mark.parametrize("name", METHODS_BY_NAME)
def test_a_fit_of_an_earlier_version_is_said(name, tmp_path):
    (tmp_path / "method.json").write_text('{"placeholder": "<dog>"}')
    with pytest.raises(ValueError, match=r"method.json (lacks words|cannot be used)[^;]*; fit the method again"):
        METHODS_BY_NAME[name].load(tmp_path, None)


def test_a_full_disk_ends_the_run_and_the_next_one_goes_on(plan, subjects, tmp_path, monkeypatch):
    def full(*arguments):
        raise OSError(errno.ENOSPC, "no space left")

    with monkeypatch.context() as patch:
        patch.setattr(runs, "write_file", full)
        with pytest.raises(OSError, match="no space left"):
            runs.run(plan, METHODS, subjects, tmp_path, "cpu")
    assert not read_rows(tmp_path)
    assert runs.run(plan, METHODS, subjects, tmp_path, "cpu") == []
    assert len(contents(tmp_path)) == 3 * 2 * 5


@pytest.mark.parametrize(
    ("changes", "said"),
    [({"seeds": 0}, "got 0 seeds"), ({"class_pictures": -1}, "-1 pictures of the class"), ({"dtype": "int4"}, "int4")],
)
def test_plans_that_cannot_be_are_refused(plan, subjects, tmp_path, changes, said):
    with pytest.raises((ValueError, KeyError), match=said):
        runs.run(dataclasses.replace(plan, **changes), METHODS, subjects, tmp_path / "out", "cpu")


def test_other_settings_do_not_go_into_the_same_folder(plan, subjects, tmp_path):
    few = {"plain": METHODS["plain"]}
    runs.run(plan, few, subjects[:1], tmp_path, "cpu")
    with pytest.raises(ValueError, match=r"sampling was .* now"):
        runs.run(dataclasses.replace(plan, sampling=Sampling(3)), few, subjects, tmp_path, "cpu")
    runs.run(plan, {"words": METHODS["words"]}, subjects[:1], tmp_path, "cpu")  # one more method may
    other = {"words": (textual_inversion.METHOD, textual_inversion.Config(steps=3))}
    with pytest.raises(ValueError, match="steps was 2, now 3"):
        runs.run(plan, other, subjects, tmp_path, "cpu")
    with pytest.raises(ValueError, match="has no prompts"):
        runs.run(plan, few, [dataclasses.replace(subjects[0], prompts=())], tmp_path, "cpu")


def released_adapter(folder, pipeline):
    """IP-Adapter's files with random weights: image encoder, projection, keys and values of each cross-attention."""
    torch.manual_seed(0)
    vision = CLIPVisionConfig(
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        image_size=32,
        patch_size=16,
        projection_dim=16,
    )
    CLIPVisionModelWithProjection(vision).save_pretrained(folder / "models" / "image_encoder")
    CLIPImageProcessor(size=32, crop_size=32).save_pretrained(folder / "models" / "image_encoder")
    wide = pipeline.unet.config.cross_attention_dim
    held = {
        "image_proj.proj.weight": torch.randn(4 * wide, 16),
        "image_proj.proj.bias": torch.zeros(4 * wide),
        "image_proj.norm.weight": torch.ones(wide),
        "image_proj.norm.bias": torch.zeros(wide),
    }
    names = [name for name in pipeline.unet.attn_processors if "attn2" in name]
    for i, name in enumerate(names):
        out = pipeline.unet.get_submodule(name.removesuffix(".processor")).to_k.out_features
        held |= {f"ip_adapter.{2 * i + 1}.to_{part}_ip.weight": torch.randn(out, wide) for part in "kv"}
    safetensors.torch.save_file(held, folder / "models" / "ip-adapter_sd15.safetensors")


def test_an_image_adapter_looks_at_the_photographs_and_leaves_the_pipeline(model, subjects, tmp_path):
    pipeline = load_model(model).pipeline
    before = plain.Plain(pipeline, "cat").generate("a {}", 2, 0, Sampling(2))
    released_adapter(tmp_path / "weights", pipeline)
    config = ip_adapter.Config(weights=str(tmp_path / "weights"))
    seen = []
    for subject in subjects:
        fitted = ip_adapter.fit(dataclasses.replace(subject, noun="cat"), pipeline, config)
        seen.append(np.stack(fitted.generate("a {}", 2, 0, Sampling(2))))
        fitted.save(tmp_path / subject.name)
        again = ip_adapter.load(tmp_path / subject.name, pipeline)
        np.testing.assert_array_equal(seen[-1], np.stack(again.generate("a {}", 2, 0, Sampling(2))))
    assert not np.array_equal(*seen)
    without = ip_adapter.fit(subjects[0], pipeline, dataclasses.replace(config, scale=0.0))
    np.testing.assert_array_equal(np.stack(before), np.stack(without.generate("a {}", 2, 0, Sampling(2))))
    np.testing.assert_array_equal(
        np.stack(before), np.stack(plain.Plain(pipeline, "cat").generate("a {}", 2, 0, Sampling(2)))
    )
    with pytest.raises(OSError, match=r"cannot load no\.safetensors"):
        ip_adapter.fit(subjects[0], pipeline, dataclasses.replace(config, file="no.safetensors"))


def test_settings_of_methods_come_from_preset_and_command_line():
    found = configure_methods(["dreambooth", "plain"], "mini", ["dreambooth.steps=7", "dreambooth.learning_rate=1"])
    assert found["dreambooth"][1] == dataclasses.replace(dreambooth.METHOD.presets["mini"], steps=7, learning_rate=1.0)
    assert (
        configure_methods(["dreambooth"], "paper", ["dreambooth.identifier=zwx"])["dreambooth"][1].identifier == "zwx"
    )
    assert configure_methods(["custom-diffusion"], "sd21", [])["custom-diffusion"][1].steps == 250  # the paper's


@pytest.mark.parametrize(
    ("names", "preset", "changes", "said"),
    [
        (["dreamboth"], "mini", [], "did you mean dreambooth"),
        (["plain"], "huge", [], "unknown preset 'huge'; expected one of mini"),
        (["plain"], "mini", ["dreambooth.steps=3"], "expected METHOD.FIELD=VALUE of one of plain"),
        (["dreambooth"], "mini", ["steps=3"], "expected METHOD.FIELD=VALUE"),
        (
            ["dreambooth"],
            "mini",
            ["dreambooth.stepps=3"],
            "has no 'stepps': did you mean steps or seed; it has batch_size",
        ),
        (["dreambooth"], "mini", ["dreambooth.steps=many"], "expected a value like 250"),
        (["dreambooth"], "mini", ["dreambooth.class_sampling=3"], "expected a value like Sampling"),
    ],
)
def test_settings_that_cannot_be_are_refused(names, preset, changes, said):
    with pytest.raises(ValueError, match=said):
        configure_methods(names, preset, changes)


def test_prompts_are_chosen_at_even_distances():
    assert spread_prompts(range(25), 5) == (0, 5, 10, 15, 20)
    assert spread_prompts(range(3), 7) == spread_prompts(range(3), None) == (0, 1, 2)


@pytest.fixture
def folder(tmp_path):
    """Two subjects of one's own."""
    for name in ("mug", "rex"):
        (tmp_path / name / "masks").mkdir(parents=True)
        for i in range(2):
            PIL.Image.new("RGB", (8, 8), "red").save(tmp_path / name / f"{i}.png")
    PIL.Image.new("L", (8, 8), 255).save(tmp_path / "mug" / "masks" / "1.png")
    (tmp_path / "subjects.csv").write_text("subject,class,prompts\nmug,cup,things\nrex,dog,animals\n")
    (tmp_path / "prompts.csv").write_text(
        "prompt,list,kind\na {} in the snow,things,place\na blue {},things,property\na {} asleep,animals,\n"
    )
    return tmp_path


def test_subjects_of_ones_own_are_read_from_tables(folder):
    mug, rex = read_subjects(folder)
    assert (mug.name, mug.noun, len(mug.pictures), [mask is not None for mask in mug.masks]) == (
        "mug",
        "cup",
        2,
        [False, True],
    )
    assert mug.prompts == (Prompt("a {} in the snow", "place"), Prompt("a blue {}", "property"))
    assert rex.prompts == (Prompt("a {} asleep"),)
    assert read_subjects(folder, ["rex"]) == [rex]
    assert [prompt.slug for prompt in mug.prompts] == ["a-in-the-snow", "a-blue"]


@pytest.mark.parametrize("place", ["dataset", "subjects"])
def test_dreambench_is_read_as_it_is_published(tmp_path, place):
    write_dreambench(tmp_path, place=place)
    dog, teapot = read_subjects(tmp_path)
    assert teapot.prompts == (Prompt("a {} in the jungle", "recontextualization"), Prompt("a red {}", "property"))
    assert dog.prompts == (Prompt("a {} wearing a red hat", "accessory"),)
    assert (dog.noun, len(dog.pictures)) == ("dog", 3)
    assert read_subjects(tmp_path / place) == [dog, teapot]  # the file beside the folder


def damage(path, text):
    path.write_text(text)


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        (lambda f: damage(f / "mug" / "0.png", "no picture"), ValueError, "0.png cannot be read"),
        (lambda f: [file.unlink() for file in (f / "mug").glob("*.png")], FileNotFoundError, "no photographs in"),
        (lambda f: (f / "prompts.csv").unlink(), FileNotFoundError, "has no prompts.csv"),
        (lambda f: damage(f / "prompts.csv", "prompt,list\na cup,things\n"), ValueError, "in it once"),
        (lambda f: damage(f / "prompts.csv", "prompt,list\na {},things\n"), ValueError, "has no list 'animals'"),
        (lambda f: damage(f / "prompts.csv", "prompt,list\na {},things,3\n"), ValueError, "has 3 cells"),
        (lambda f: damage(f / "subjects.csv", "name\nmug\n"), ValueError, "no column subject, class"),
        (lambda f: damage(f / "subjects.csv", "subject,class,prompts\nmug,,things\n"), ValueError, "class is empty"),
    ],
)
def test_folders_of_subjects_that_lack_something_say_what(folder, change, error, said):
    change(folder)
    with pytest.raises(error, match=said):
        read_subjects(folder)


def test_unknown_subjects_and_folders_are_refused(folder):
    with pytest.raises(ValueError, match="has no subject cup; it has mug, rex"):
        read_subjects(folder, ["cup"])
    with pytest.raises(FileNotFoundError, match="no such folder"):
        read_subjects(folder / "nowhere")


@pytest.fixture(scope="module")
def dreambench(tmp_path_factory):
    return write_dreambench(tmp_path_factory.mktemp("dreambench"))


QUICK = ["--metrics", "mini", "psnr", "--draws", "50", "--steps", "2", "--seeds", "2", "--class-pictures", "2"]


def test_one_command_goes_from_subjects_to_a_report_and_another_scores_pictures(model, dreambench, tmp_path, capsys):
    out, cache = tmp_path / "run", ["--cache", str(tmp_path / "cache.sqlite")]
    fits = ["--methods", "plain", "textual-inversion", "fabric", "--set", "textual-inversion.steps=1"]
    command = ["personalize", str(dreambench), "--model", model, "--device", "cpu", "--out", str(out), *fits]
    assert cli.main([*command, *QUICK, *cache]) == 0
    printed = capsys.readouterr().out
    assert printed.splitlines()[-1] == str(out / "report.html")
    page = (out / "report.html").read_text()
    for text in ("textual-inversion", "fabric", "real photographs", "data:image/jpeg"):
        assert text in page
    scores = pd.read_parquet(out / "scores" / "scores.parquet")
    assert set(scores["method"]) == {"plain", "textual-inversion", "fabric", "real photographs"}
    pictures = pd.read_parquet(out / "scores" / "pictures.parquet")
    assert len(pictures) == 2 * 3 * (2 * (2 + 1) + 2 * 2)  # metrics, methods; seeds of three prompts, class of two dogs
    check_joins(out)

    again = tmp_path / "scored"
    elsewhere = ["measure", str(out / "pictures"), "--subjects", str(dreambench), "--out", str(again)]
    assert cli.main([*elsewhere, "--metrics", "mini", "psnr", "--draws", "50", *cache, "--json"]) == 0
    capsys.readouterr()
    pd.testing.assert_frame_equal(pd.read_parquet(again / "scores.parquet"), scores)
    assert cli.main(["report", str(again), "--out", str(tmp_path / "page.html")]) == 0
    assert "textual-inversion" in (tmp_path / "page.html").read_text()


JOINED = {
    "method",
    "subject",
    "noun",
    "prompt",
    "slug",
    "kind",
    "seed",
    "path",
    "protocol",
    "score",
    "metric",
    "better",
}


def check_joins(run):
    """Of two tables, one has all that the other has in the columns that both have."""
    tables = {name: pd.read_parquet(run / "scores" / f"{name}.parquet") for name in TABLES}
    lines = {MANIFEST: MANIFEST_COLUMNS, layout.COSTS: COST_COLUMNS}
    tables |= {name: pd.DataFrame(read_rows(run, name)) for name in lines}
    for name, columns in {**TABLES, **lines}.items():
        assert set(tables[name]) == set(columns), name
    for one, other in itertools.combinations(tables, 2):
        shared = sorted(set(tables[one]) & set(tables[other]) & JOINED)
        rows = [set(tables[name][shared].itertuples(index=False, name=None)) for name in (one, other)]
        rows = [{row for row in some if layout.PHOTOGRAPHS not in row} for some in rows]
        assert rows[0] <= rows[1] or rows[1] <= rows[0], (one, other, shared)
    painted, scored = tables[MANIFEST], tables["pictures"]
    assert len(painted.merge(scored[scored["metric"] == "mini"])) == len(painted)  # on all columns that both have
    assert all((run / path).is_file() for path in scored["path"])
    of_class = painted[painted["slug"] == "class"]
    assert set(map(fill, of_class["prompt"], of_class["words"])) == {"a dog", "a teapot"}
    assert {*tables["comparisons"]["better_method"]} <= {*painted["method"]}


@pytest.mark.slow
def test_two_processes_paint_the_pictures_of_one_and_one_of_them_scores(model, dreambench, tmp_path):
    command = ["personalize", str(dreambench), "--model", model, "--device", "cpu", "--methods", "plain", "fabric"]
    command += [*QUICK, "--cache", str(tmp_path / "cache.sqlite"), "--out"]
    assert cli.main([*command, str(tmp_path / "one")]) == 0
    launch = ["-m", "accelerate.commands.launch", "--cpu", "--num_processes", "2", "--num_machines", "1"]
    launch += ["--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "0", "-m", "benchmarks.cli"]
    done = subprocess.run(
        [sys.executable, *launch, *command, str(tmp_path / "two")], capture_output=True, text=True, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("report.html") == 1
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


def test_failed_fits_are_an_error_after_the_report_is_written(model, dreambench, tmp_path, capsys):
    command = ["personalize", str(dreambench), "--model", model, "--device", "cpu", "--out", str(tmp_path / "run")]
    failing = ["--methods", "plain", "ip-adapter", "--set", f"ip-adapter.weights={tmp_path}", "--only", "dog", *QUICK]
    assert cli.main([*command, *failing, "--cache", str(tmp_path / "cache.sqlite")]) == 1
    said = capsys.readouterr().err
    assert "1 of 2 fits failed" in said
    assert f"cannot load ip-adapter_sd15.safetensors of {tmp_path}" in said
    assert "Traceback" not in said
    assert "ip-adapter" in (tmp_path / "run" / "report.html").read_text()


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--prompts", "0"], "got --prompts 0; expected 1 or more"),
        (["--only", "sheep"], "has no subject sheep; it has dog, teapot"),
        (["--methods", "dreambooht"], "did you mean dreambooth"),
        (["--preset", "giant"], "unknown preset 'giant'"),
        (["--model", "nowhere/nothing"], "cannot get 'nowhere/nothing' from the hub"),
        (["--copy-below", "mini"], "expected METRIC=NUMBER"),
    ],
)
def test_what_cannot_be_asked_is_one_line(dreambench, tmp_path, capsys, more, said):
    few = ["--methods", "plain", "--prompts", "1", *QUICK, "--device", "cpu"]
    assert cli.main(["personalize", str(dreambench), "--out", str(tmp_path), *few, *more]) == 1
    error = capsys.readouterr().err
    assert said in error
    assert "Traceback" not in error
