"""Runs that are killed, run out of disk or are resumed with something else."""

import json
import resource
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from types import SimpleNamespace

import pytest
import timm
import torch
from safetensors.torch import load_file, save_file

from dreamsim_metric import cli, load
from dreamsim_metric.training import checkpoints, loop
from dreamsim_metric.training.config import Config
from dreamsim_metric.training.loop import train
from dreamsim_metric.weights.folder import read_tensors
from tests.judged import write_network, write_triplets

pytestmark = pytest.mark.usefixtures("fresh_accelerate")


@pytest.fixture
def config(tmp_path):
    return Config(
        data=write_triplets(tmp_path / "judged"),
        out=tmp_path / "whole",
        model=(str(write_network(tmp_path, "vit")),),
        shared_pictures=True,
        loss="bradley-terry",
        rank=4,
        head="mlp",
        hidden=8,
        epochs=4,
        batch_size=8,
        val_fraction=0.2,
        save_every=2,
        log_every=1,
        device="cpu",
    )


def command(config):
    given = (f"--{key.replace('_', '-')}" for key in ("data", "out", "loss", "rank", "head", "hidden", "epochs"))
    options = dict(zip(given, map(str, (config.data, config.out, config.loss, 4, "mlp", 8, 4)), strict=True))
    options |= {"--model": config.model[0], "--batch-size": "8", "--val-fraction": "0.2", "--save-every": "2"}
    flags = ["--shared-pictures", "--device", "cpu", "--resume", "--log-every", "1"]
    return ["train", "single-lora", *(word for pair in options.items() for word in pair), *flags]


def same_weights(a, b):
    for name in ("last.safetensors", "adapter_model.safetensors", "head.safetensors"):
        one, other = load_file(a / name), load_file(b / name)
        assert one.keys() == other.keys()
        assert all(torch.equal(one[key], other[key]) for key in one), name


def test_a_run_that_is_killed_and_resumed_ends_with_the_same_bits(config, tmp_path):
    train(config)
    killed = replace(config, out=tmp_path / "killed")
    log = killed.out / "metrics.jsonl"
    for lines in (5, 14):  # in the first and in a later epoch
        with open(tmp_path / "stderr", "w") as stderr:
            process = subprocess.Popen(
                [sys.executable, "-m", "dreamsim_metric.cli", *command(killed)], stdout=stderr, stderr=stderr
            )
        while process.poll() is None and not (log.is_file() and log.read_bytes().count(b"\n") >= lines):
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL, (tmp_path / "stderr").read_text()
    assert not json.loads((config.out / "config.json").read_text())["config"]["resume"]
    train(replace(killed, resume=True))
    same_weights(config.out, killed.out)
    assert (config.out / "metrics.jsonl").read_text() == log.read_text()


@pytest.mark.parametrize("step", [1, 7, *(pytest.param(step, marks=pytest.mark.slow) for step in (6, 12, 13))])
def test_a_run_that_fails_at_any_step_and_is_resumed_ends_with_the_same_bits(config, tmp_path, monkeypatch, step):
    train(config)
    failing = replace(config, out=tmp_path / "failing")
    backward, done = loop.run_backward, []

    def fails(*arguments):
        done.append(1)
        if len(done) == step:
            raise KeyboardInterrupt
        return backward(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(loop, "run_backward", fails)
        with pytest.raises(KeyboardInterrupt):
            train(failing)
    train(replace(failing, resume=True))
    same_weights(config.out, failing.out)
    assert (config.out / "metrics.jsonl").read_text() == (failing.out / "metrics.jsonl").read_text()


def test_a_finished_run_is_left_as_it_is_and_costs_nothing(config, monkeypatch):
    train(config)
    before = {file.name: file.read_bytes() for file in config.out.glob("[!.]*")}
    monkeypatch.setattr(loop, "write_pixels", None)  # no picture is decoded again
    train(replace(config, resume=True))
    assert before == {file.name: file.read_bytes() for file in config.out.glob("[!.]*")}


def test_a_run_is_not_overwritten(config, tmp_path):
    train(replace(config, epochs=1))
    with pytest.raises(FileExistsError, match="go on with it by --resume, or choose another --out"):
        train(replace(config, epochs=1))
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "mine.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="exists and is no run"):
        train(replace(config, out=tmp_path / "notes", resume=True))


def test_a_run_is_not_resumed_with_another_configuration(config):
    train(replace(config, epochs=1))
    with pytest.raises(ValueError, match=r"rank: 4 then, 8 now.*resume with the one it was started with"):
        train(replace(config, epochs=1, rank=8, resume=True))
    table = config.data / "data.csv"
    table.write_text(table.read_text().replace(",5,0,train", ",4,1,train"))
    with pytest.raises(ValueError, match="data has changed"):
        train(replace(config, epochs=1, resume=True))


def test_a_damaged_checkpoint_is_said(config):
    train(replace(config, epochs=1))
    (config.out / "last.safetensors").write_bytes(b"\x08\x00")
    with pytest.raises(ValueError, match=r"damaged.*remove it"):
        train(replace(config, epochs=1, resume=True))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda held, progress: progress.pop("waited"),
            "progress in .*last.safetensors lacks waited, perhaps as",
        ),
        (lambda held, progress: progress.clear(), "last.safetensors lacks step, epoch, best, waited, finished, lines"),
        (lambda held, progress: held.pop("head.fc1.weight"), "last.safetensors lacks head.fc1.weight, perhaps as"),
    ],
)
def test_a_checkpoint_of_an_earlier_version_is_said(config, change, message):
    train(replace(config, epochs=1))
    held, metadata = read_tensors(config.out / "last.safetensors")
    progress = json.loads(metadata["progress"])
    change(held, progress)
    save_file(held, config.out / "last.safetensors", {"progress": json.dumps(progress)})
    with pytest.raises(ValueError, match=message):
        train(replace(config, epochs=1, resume=True))


def test_a_full_disk_stops_the_run_with_the_last_checkpoint_intact(config, monkeypatch, tmp_path):
    train(config)
    full = replace(config, out=tmp_path / "full")
    save, calls = checkpoints.write_file, []

    def limited(path, data):
        if path.name == "last.safetensors":
            calls.append(1)
            if (
                len(calls) == 3
            ):  # from here on no file can grow beyond some bytes: the kernel refuses as for a full disk
                soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
                signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
                resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
                try:
                    return save(path, data)
                finally:
                    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        return save(path, data)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, "write_file", limited)
        with pytest.raises(OSError, match=r"cannot write .*last\.safetensors.*intact"):
            train(full)
    load(full.out)
    assert not list(full.out.glob(".*.part"))
    train(replace(full, resume=True))
    same_weights(config.out, full.out)


def test_a_disk_without_room_for_the_pictures_is_said_before_they_are_decoded(config, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=10))
    with pytest.raises(OSError, match=r"has 0\.00 GB free"):
        train(config)
    assert not config.out.exists()


def test_files_of_different_steps_are_not_taken_for_a_model(config):
    from safetensors.torch import save_file

    train(replace(config, epochs=1))
    head = config.out / "head.safetensors"
    save_file(load_file(head), head, {"step": "7777"})
    with pytest.raises(ValueError, match=r"of different steps \(\d+ and 7777\).*resume it"):
        load(config.out)


def test_other_base_weights_are_not_taken_for_those_that_were_tuned(config, tmp_path):
    train(replace(config, epochs=1))
    base = tmp_path / "vit0"
    shutil.rmtree(base)
    write_network(tmp_path, "vit", seed=1).rename(base)
    with pytest.raises(ValueError, match="with other weights than those found now"):
        load(config.out)


def test_networks_whose_weights_are_on_disk_are_tuned_resumed_and_judged(config, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    names, files = ("timm:test_vit.r160_in1k#cls", "timm:test_efficientnet.r160_in1k"), []
    for seed, name in enumerate(("test_vit", "test_efficientnet")):
        torch.manual_seed(seed)
        files.append(tmp_path / f"{name}.safetensors")
        save_file(timm.create_model(name).state_dict(), files[-1])
    given = ["--model", *names, "--weights", *map(str, files), "--image-size", "64", "--rank", "0", "--epochs", "1"]
    call = ["train", "single-lora", "--data", str(config.data), "--out", str(config.out), "--head", "linear", *given]
    call += ["--shared-pictures", "--device", "cpu", "--val-fraction", "0.2"]
    assert cli.main(call) == 0
    assert cli.main([*call, "--resume"]) == 0
    capsys.readouterr()
    metric = load(config.out, source=files)
    assert metric.card.base == names
    for name, file in zip(names, files, strict=True):
        alone = load(name, source=file, image_size=64).state_dict()
        kept = {key: value for key, value in metric.state_dict().items() if key.startswith("branches.")}
        i = names.index(name)
        assert all(torch.equal(kept[key.replace("branches.0.", f"branches.{i}.")], alone[key]) for key in alone)
    judged = ["evaluate", "--model", str(config.out), "--data", str(config.data), "--split", "train", "--json"]
    weights = [word for file in files for word in ("--weights", str(file))]
    assert cli.main([*judged, *weights, "--no-cache"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["n"] > 0
    assert cli.main([*judged, *weights[:2]]) == 1
    assert "got 1 --weights; expected one for each of timm:test_vit" in capsys.readouterr().err
    with pytest.raises(ValueError, match=r"got 1 sources for timm:test_vit.*expected one for each"):
        load(config.out, source=files[0])
    with pytest.raises(ValueError, match="with other weights than those found now"):
        load(config.out, source=[files[0], write_changed(files[1])])
    with pytest.raises(ConnectionError, match="cannot get the weights of timm:test_vit"):
        load(config.out)


def write_changed(file):
    held = load_file(file)
    held[next(name for name in held if held[name].is_floating_point())] += 1e-3
    save_file(held, file.with_name("changed.safetensors"))
    return file.with_name("changed.safetensors")


def test_the_command_shows_progress_and_prints_the_best_figures(config, capsys):
    assert cli.main([*command(config), "--json"]) == 0
    shown = capsys.readouterr()
    assert shown.err.count("validation loss") == 5
    (best,) = json.loads(shown.out)
    assert best["model"] == str(config.out)
    assert 0 < best["val_agreement"] <= 100


def test_wrong_options_of_the_command_are_one_clear_message(config, capsys):
    assert cli.main(["train", "mini", "--data", "nowhere", "--out", str(config.out)]) == 1
    assert "no such data set: nowhere" in capsys.readouterr().err
    command = ["train", "mini", "--data", str(config.data), "--out", str(config.out)]
    assert cli.main([*command, "--epochs", "0"]) == 1
    assert capsys.readouterr().err == "dreamsim-metric: got epochs 0; expected 1 or more\n"
    with pytest.raises(SystemExit, match="2"):
        cli.main([*command, "--seeed", "1"])
    assert "unknown option --seeed; did you mean --seed?" in capsys.readouterr().err


def stopped(config, monkeypatch, step=3):
    """A run that ended with an error at a step."""
    with monkeypatch.context() as patch:
        patch.setattr(loop, "run_backward", fails_at(step))
        with pytest.raises(RuntimeError, match="of the test"):
            train(config)
    return replace(config, resume=True)


def fails_at(step):
    calls, honest = iter(range(step)), loop.run_backward

    def backward(*arguments):
        if next(calls, None) is None:
            raise RuntimeError("of the test")
        return honest(*arguments)

    return backward


def test_a_replaced_picture_is_noticed(config, monkeypatch):
    again = stopped(config, monkeypatch)
    first, second = sorted(config.data.rglob("*.png"))[:2]
    first.write_bytes(second.read_bytes())
    with pytest.raises(ValueError, match="content of the pictures has changed"):
        train(again)


@pytest.mark.parametrize("rank", [0, 4])
def test_cached_inputs_that_are_damaged_are_made_again(config, tmp_path, monkeypatch, rank):
    config = replace(config, rank=rank)
    train(config)
    again = stopped(replace(config, out=tmp_path / "stopped"), monkeypatch)
    (file,) = again.out.glob("inputs-*.npy")
    content = bytearray(file.read_bytes())
    content[-1] ^= 0x40
    file.write_bytes(content)
    train(again)
    one, other = (load_file(folder / "last.safetensors") for folder in (config.out, again.out))
    assert all(torch.equal(one[key], other[key]) for key in one)
    assert not list(again.out.glob("inputs-*"))


def test_a_flipped_bit_of_a_checkpoint_is_noticed(config, monkeypatch):
    again = stopped(config, monkeypatch)
    content = bytearray((config.out / "last.safetensors").read_bytes())
    content[-1] ^= 0x01
    (config.out / "last.safetensors").write_bytes(content)
    with pytest.raises(ValueError, match=r"last\.safetensors is damaged: its numbers are not those that were written"):
        train(again)


@pytest.mark.parametrize("name", ["head.safetensors", "adapter_model.safetensors", "card.json"])
def test_a_file_of_the_best_model_that_was_removed_is_noticed(config, name):
    train(config)
    (config.out / name).unlink()
    with pytest.raises(FileNotFoundError, match=rf"has no {name}.*choose another --out"):
        train(replace(config, resume=True))
