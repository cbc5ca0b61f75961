"""Generated pictures: what their rows say, what a stop changes (nothing), what is dropped."""

import csv
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace

import diffusers
import numpy as np
import PIL.Image
import pytest
import torch

from data_tools import generation
from data_tools.generation import Config, generate
from data_tools.manifest import MANIFEST, append_rows, read_rows
from data_tools.painting import check_steps
from data_tools.pipelines import load_model
from data_tools.tables import settle_rows
from tests import families
from tests.pipelines import stable_diffusion, stable_diffusion_xl


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return stable_diffusion(tmp_path_factory.mktemp("sd") / "small", safety_checker=False)


@pytest.fixture
def config(model):
    return Config(str(model), ["cat", "red apple"], triplets=3, steps=2)


@pytest.fixture(scope="module")
def whole(model, tmp_path_factory):
    """A generation that was never stopped."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    generate(Config(str(model), ["cat", "red apple"], triplets=3, steps=2), folder, "cpu")
    return folder


def files(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def table(path):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def pixels(path):
    return np.asarray(PIL.Image.open(path).convert("RGB")).astype(float)


def test_a_triplet_is_three_seeds_of_one_prompt(whole):
    rows = {row["path"]: row for row in read_rows(whole)}
    lines = table(whole / "triplets.csv")
    assert len(lines) == 3
    for line in lines:
        three = [rows[line[f"{role}_path"]] for role in ("ref", "left", "right")]
        assert {row["prompt"] for row in three} == {line["prompt"]} == {f"An image of a {line['category']}"}
        assert len({row["seed"] for row in three}) == len({row["sha256"] for row in three}) == 3
    assert {line["category"] for line in lines} == {"cat", "red apple"}


def test_a_row_is_enough_to_make_its_picture_again_with_diffusers_alone(whole):
    for row in read_rows(whole):
        pipeline = diffusers.StableDiffusionPipeline.from_pretrained(row["model"])
        assert type(pipeline.scheduler).__name__ == row["scheduler"]
        pipeline.set_progress_bar_config(disable=True)
        again = pipeline(
            row["prompt"],
            num_inference_steps=row["steps"],
            guidance_scale=row["guidance"],
            width=row["width"],
            height=row["height"],
            generator=torch.Generator("cpu").manual_seed(row["seed"]),
        ).images[0]
        # Alone instead of in a batch of four: the last bit of a sum may differ, and so the rounding.
        assert np.abs(np.asarray(again).astype(float) - pixels(whole / row["path"])).max() <= 1


@pytest.mark.parametrize("after", [1, 2])
def test_a_run_that_was_stopped_ends_with_the_same_bytes(config, whole, tmp_path, monkeypatch, after):
    left = [after]

    def interrupted(folder, rows):
        if not left[0]:
            raise KeyboardInterrupt
        left[0] -= 1
        append_rows(folder, rows)

    with monkeypatch.context() as patch:
        patch.setattr(generation, "append_rows", interrupted)  # its pictures are written, their rows are not
        with pytest.raises(KeyboardInterrupt):
            generate(config, tmp_path / "run", "cpu")
    with open(tmp_path / "run" / MANIFEST, "ab") as file:
        file.write(b'{"path": "pict')  # what a kill may leave
    generate(config, tmp_path / "run", "cpu")
    assert files(tmp_path / "run") == files(whole)


def test_a_finished_run_makes_nothing_again(config, whole, tmp_path, monkeypatch):
    shutil.copytree(whole, tmp_path / "run")
    monkeypatch.setattr(generation._Run, "batch", None)
    generate(config, tmp_path / "run", "cpu")
    assert files(tmp_path / "run") == files(whole)


def test_a_picture_that_was_lost_is_made_again(config, whole, tmp_path):
    shutil.copytree(whole, tmp_path / "run")
    next((tmp_path / "run" / "pictures").rglob("*.png")).unlink()
    generate(config, tmp_path / "run", "cpu")
    assert files(tmp_path / "run") == files(whole)


def command(config, out, *, launch=()):
    (out.parent / "names.txt").write_text("\n".join(config.categories))
    return [
        *(sys.executable, *launch, "-m", "data_tools.cli", "generate", "--device", "cpu", "--model", config.model),
        *("--categories", str(out.parent / "names.txt"), "--triplets", str(config.triplets)),
        *("--steps", str(config.steps), "--out", str(out)),
    ]


@pytest.mark.slow
def test_a_killed_process_goes_on_with_the_same_bytes(config, tmp_path):
    config = replace(config, triplets=40, steps=10)
    process = subprocess.Popen(command(config, tmp_path / "run"), stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while len(read_rows(tmp_path / "run")) < 8 and time.monotonic() < deadline:
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert 8 <= len(read_rows(tmp_path / "run")) < 120
    generate(config, tmp_path / "run", "cpu")
    generate(config, tmp_path / "whole", "cpu")
    assert files(tmp_path / "run") == files(tmp_path / "whole")


@pytest.mark.slow
def test_two_processes_make_the_pictures_of_one(config, whole, tmp_path):
    launch = ("-m", "accelerate.commands.launch", "--cpu", "--num_processes", "2", "--num_machines", "1")
    launch += ("--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "0")
    done = subprocess.run(command(config, tmp_path / "run", launch=launch), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("3 triplets, 9 pictures") == 1
    assert files(tmp_path / "run") == files(whole)


def test_blank_pictures_are_dropped_and_counted(config, model, tmp_path):
    pipeline = diffusers.StableDiffusionPipeline.from_pretrained(model)
    torch.nn.init.zeros_(pipeline.vae.decoder.conv_out.weight)
    pipeline.save_pretrained(tmp_path / "grey")
    summary = generate(replace(config, model=str(tmp_path / "grey"), triplets=1), tmp_path / "run", "cpu")
    assert summary == generation.Summary(0, 1, 0, {"blank": 3 * generation.ATTEMPTS})
    assert not list((tmp_path / "run").rglob("*.png"))


def test_of_two_equal_pictures_the_second_gets_another_seed(config, tmp_path, monkeypatch):
    honest = generation.Work.seed
    monkeypatch.setattr(generation.Work, "seed", lambda work, base, attempt: honest(work, base, 1) if attempt else 7)
    summary = generate(replace(config, categories=["cat"], triplets=1), tmp_path / "run", "cpu")
    assert summary == generation.Summary(1, 0, 3, {"duplicate": 2})
    (line,) = table(tmp_path / "run" / "triplets.csv")
    assert line["left_path"] == "pictures/cat/000000_left_1.png"
    assert sorted(path.name for path in (tmp_path / "run").rglob("*.png")) == [
        *("000000_left_1.png", "000000_ref.png", "000000_right_1.png"),
    ]
    dropped = [row["dropped"] for row in read_rows(tmp_path / "run") if row["dropped"]]
    assert dropped == ["duplicate of pictures/cat/000000_ref.png"] * 2


def test_what_a_row_comes_to_does_not_change_when_more_are_added(whole):
    rows = read_rows(whole)
    again = [{**row, "attempt": 1, "path": row["path"] + "_1"} for row in rows]
    assert settle_rows([*again, *rows])[: len(rows)] == settle_rows(rows)
    assert all(row["dropped"] for row in settle_rows([*rows, *again])[len(rows) :])


def test_a_safety_checker_stays_and_what_it_flags_is_dropped(config, tmp_path):
    checked = stable_diffusion(tmp_path / "checked")
    pipeline = load_model(str(checked)).pipeline
    pipeline.safety_checker.concept_embeds_weights.data.fill_(-10)  # everything is nearer than that
    pipeline.save_pretrained(tmp_path / "strict")
    for folder, dropped in (("checked", {}), ("strict", {"safety checker": 9})):
        settings = replace(config, model=str(tmp_path / folder), triplets=1)
        assert generate(settings, tmp_path / f"from {folder}", "cpu").dropped == dropped


def test_variations_differ_more_from_their_picture_the_stronger_they_are(config, tmp_path):
    settings = replace(config, triplets=0, pairs=3, vary="noise", strengths=(0.1, 0.5, 1.0))
    summary = generate(settings, tmp_path, "cpu")
    assert (summary.groups, summary.pictures) == (9, 12)
    apart = {strength: [] for strength in settings.strengths}
    for line in table(tmp_path / "pairs.csv"):
        difference = pixels(tmp_path / line["a_path"]) - pixels(tmp_path / line["b_path"])
        apart[float(line["strength"])].append(np.abs(difference).mean())
    assert 0 < np.mean(apart[0.1]) < np.mean(apart[0.5]) < np.mean(apart[1.0])


def test_noise_varied_by_nothing_gives_the_picture_itself(config, tmp_path):
    settings = replace(config, triplets=0, pairs=1, vary="noise", strengths=(1e-20,))  # 1 + 1e-20 is 1
    assert generate(settings, tmp_path, "cpu").dropped == {"duplicate": generation.ATTEMPTS}


def test_image_to_image_is_that_of_diffusers(config, model, tmp_path):
    generate(replace(config, triplets=0, pairs=1, strengths=(0.5,), steps=4), tmp_path, "cpu")
    base, varied = read_rows(tmp_path)
    pipeline = diffusers.StableDiffusionImg2ImgPipeline.from_pretrained(model)
    pipeline.set_progress_bar_config(disable=True)
    again = pipeline(
        varied["prompt"],
        image=PIL.Image.open(tmp_path / varied["of"]),
        strength=varied["strength"],
        num_inference_steps=4,
        generator=torch.Generator().manual_seed(varied["seed"]),
    ).images[0]
    assert varied["of"] == base["path"]
    assert np.abs(np.asarray(again).astype(float) - pixels(tmp_path / varied["path"])).max() <= 1


def test_stable_diffusion_xl_makes_triplets_and_pairs(config, tmp_path):
    settings = replace(config, model=str(stable_diffusion_xl(tmp_path / "xl")), triplets=1, size=(48, 32))
    assert generate(settings, tmp_path / "triplets", "cpu").groups == 1
    row = read_rows(tmp_path / "triplets")[0]
    assert (row["width"], row["height"], row["scheduler"]) == (48, 32, "EulerDiscreteScheduler")
    for vary in ("image", "noise"):
        pairs = replace(settings, triplets=0, pairs=1, strengths=(0.5,), vary=vary, size=None)
        assert generate(pairs, tmp_path / vary, "cpu").groups == 1


def test_another_scheduler_is_used_and_recorded(config, whole, tmp_path):
    generate(replace(config, scheduler="EulerDiscreteScheduler"), tmp_path, "cpu")
    first, there = read_rows(tmp_path)[0], read_rows(whole)[0]
    assert first["scheduler"] == "EulerDiscreteScheduler"
    assert first["seed"] == there["seed"]
    assert first["sha256"] != there["sha256"]


def test_a_full_disk_is_an_error_and_what_was_made_stays(config, whole, tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1500, hard))  # the kernel refuses larger files, as for a full disk
    try:
        with pytest.raises(OSError, match="cannot write"):
            generate(config, tmp_path / "run", "cpu")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    generate(config, tmp_path / "run", "cpu")
    assert files(tmp_path / "run") == files(whole)


def test_braces_in_names_and_templates_are_text(config, tmp_path):
    generate(replace(config, categories=["a {b}"], template="{{category}} {0}", triplets=1), tmp_path, "cpu")
    assert {row["prompt"] for row in read_rows(tmp_path)} == {"{a {b}} {0}"}


def test_half_precision_makes_nearly_the_same_pictures(config, whole, tmp_path):
    generate(replace(config, dtype="bfloat16"), tmp_path, "cpu")
    for row in read_rows(tmp_path):
        assert row["dtype"] == "bfloat16"
        assert 0 < np.abs(pixels(tmp_path / row["path"]) - pixels(whole / row["path"])).mean() < 4


def test_other_settings_are_refused_by_name(config, whole):
    before = files(whole)
    with pytest.raises(ValueError, match=r"other settings: seed was 0, now 1; steps was 2, now 3\. .*another folder"):
        generate(replace(config, steps=3, seed=1), whole, "cpu")
    assert files(whole) == before


BAD = {
    "neither": ({"triplets": 0}, "0 triplets and 0 pairs"),
    "both": ({"pairs": 1}, "3 triplets and 1 pairs"),
    "template": ({"template": "a cat"}, "expected {category} in it"),
    "steps": ({"steps": 0}, "got steps 0"),
    "dtype": ({"dtype": "fp16"}, "expected one of float32, float16, bfloat16"),
    "batch": ({"batch_size": 0}, "got batch_size 0"),
    "strength above": ({"triplets": 0, "pairs": 1, "strengths": (0.5, 1.5)}, "got strengths 0.5, 1.5"),
    "strength below a step": ({"triplets": 0, "pairs": 1, "strengths": (0.4,)}, "one of the steps"),
    "strength twice": ({"triplets": 0, "pairs": 1, "strengths": (0.5, 0.5)}, "expected different ones"),
    "no strengths": ({"triplets": 0, "pairs": 1, "strengths": ()}, "got strengths none"),
    "scheduler": ({"scheduler": "DDIM"}, "did you mean DDIMScheduler"),
}


@pytest.mark.parametrize(("change", "message"), BAD.values(), ids=BAD)
def test_what_cannot_be_is_refused_before_anything_is_written(config, tmp_path, change, message):
    with pytest.raises(ValueError, match=message):
        generate(replace(config, **change), tmp_path / "run", "cpu")
    assert not (tmp_path / "run").exists()


def test_a_folder_with_something_else_is_refused(config, tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="no generation of ours"):
        generate(config, tmp_path, "cpu")


def test_all_missing_parts_of_a_pipeline_are_named(model, tmp_path):
    broken = shutil.copytree(model, tmp_path / "broken")
    shutil.rmtree(broken / "unet")
    next((broken / "vae").glob("*.safetensors")).unlink()
    with pytest.raises(FileNotFoundError, match=r"lacks unet/, vae/\*\.safetensors"):
        load_model(str(broken))
    (broken / "model_index.json").write_text("{")
    with pytest.raises(ValueError, match=r"is not JSON .*; copy it again"):
        load_model(str(broken))
    (broken / "model_index.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"has no model_index\.json"):
        load_model(str(broken))


def test_a_folder_has_another_revision_when_a_file_changes(model, tmp_path):
    before = load_model(str(model)).revision
    copied = shutil.copytree(model, tmp_path / "copied")
    assert load_model(str(copied)).revision == before
    settings = copied / "scheduler" / "scheduler_config.json"
    settings.write_text(json.dumps({**json.loads(settings.read_text()), "beta_end": 0.013}))
    assert load_model(str(copied)).revision != before


def test_a_model_that_cannot_be_had_is_one_clear_error(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(OSError, match="cannot get 'nobody/nothing' from the hub"):
        load_model("nobody/nothing")


@pytest.mark.filterwarnings("ignore::FutureWarning")  # Kandinsky's, of itself
@pytest.mark.parametrize("family", families.PAINTERS)
def test_every_family_of_text_to_image_pipelines_paints(family, tmp_path):
    folder = families.save(tmp_path / family, families.PAINTERS[family])
    settings = Config(str(folder), ["cat"], triplets=1, steps=2, size=(64, 64))
    assert generate(settings, tmp_path / "run", "cpu").groups == 1
    row = read_rows(tmp_path / "run")[1]
    pipeline = diffusers.DiffusionPipeline.from_pretrained(folder)
    pipeline.set_progress_bar_config(disable=True)
    alone = pipeline(
        prompt=row["prompt"],
        num_inference_steps=2,
        width=64,
        height=64,
        generator=torch.Generator("cpu").manual_seed(row["seed"]),
    ).images[0]
    assert np.abs(np.asarray(alone.convert("RGB")).astype(float) - pixels(tmp_path / "run" / row["path"])).max() <= 1


NO_PAINTERS = {
    "unconditional": "DDPMPipeline is no text-to-image pipeline: it takes no prompt",
    "classes": "DiTPipeline is no text-to-image pipeline: it takes no prompt but class_labels",
    "text_to_video": "AnimateDiffPipeline is no text-to-image pipeline: it makes no pictures",
    "upscaler": "StableDiffusionUpscalePipeline cannot paint with these settings",
}


@pytest.mark.parametrize(("family", "message"), NO_PAINTERS.items())
def test_other_pipelines_are_refused_with_the_reason_and_leave_no_folder(family, message, tmp_path):
    folder = families.save(tmp_path / family, families.OTHERS[family])
    with pytest.raises(ValueError, match=message):
        generate(Config(str(folder), ["cat"], triplets=1, steps=2), tmp_path / "run", "cpu")
    assert not (tmp_path / "run").exists()


STEPS = {
    "DDIMScheduler": (1000, 999),  # its schedule begins at 1
    "EulerDiscreteScheduler": (1000, None),
    "DPMSolverMultistepScheduler": (1000, 999),
    "LCMScheduler": (51, 50),
}


@pytest.mark.parametrize(("scheduler", "steps", "most"), [(name, *value) for name, value in STEPS.items()])
def test_steps_that_a_schedule_cannot_go_are_refused_with_the_most_that_it_can(scheduler, steps, most, model):
    pipeline = load_model(str(model)).pipeline
    pipeline.scheduler = getattr(diffusers, scheduler).from_config(pipeline.scheduler.config)
    if most is None:
        check_steps(pipeline, steps)
        return
    with pytest.raises(
        ValueError, match=rf"got {steps} steps, which {scheduler} cannot go .*; expected at most {most}$"
    ):
        check_steps(pipeline, steps)
    check_steps(pipeline, most)


FAILING_STARTS = {
    "steps": ({"steps": 1000}, "expected at most 999"),
    "size": ({"size": (33, 32)}, "divisible by 8"),
    "size of what is varied": ({"triplets": 0, "pairs": 1, "vary": "noise", "size": (30, 32)}, "divisible by 8"),
}


@pytest.mark.parametrize(("change", "message"), FAILING_STARTS.values(), ids=FAILING_STARTS)
def test_a_start_that_fails_leaves_no_folder(config, tmp_path, change, message):
    with pytest.raises(ValueError, match=message):
        generate(replace(config, **change), tmp_path / "run", "cpu")
    assert not (tmp_path / "run").exists()
