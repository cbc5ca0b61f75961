"""Training: what moves, what is kept, what it costs, and what is refused."""

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate.state import AcceleratorState
from safetensors.torch import load_file

from dreamsim_metric import load
from dreamsim_metric.distances import compare_triplets
from dreamsim_metric.images import ahead
from dreamsim_metric.judgements.readers import read_triplets
from dreamsim_metric.judgements.tables import DataError
from dreamsim_metric.loading import read_bases
from dreamsim_metric.metric import PerceptualMetric
from dreamsim_metric.networks.backbone import Backbone
from dreamsim_metric.training import loop
from dreamsim_metric.training.config import Config, list_presets
from dreamsim_metric.training.loop import train
from dreamsim_metric.weights.folder import Tuned, read_folder
from tests.gradients import gradients
from tests.judged import write_network, write_triplets
from tests.places import ROOT

pytestmark = pytest.mark.usefixtures("fresh_accelerate")


@pytest.fixture
def config(tmp_path):
    return Config(
        data=write_triplets(tmp_path / "judged"),
        out=tmp_path / "runs" / "mine",
        model=(str(write_network(tmp_path, "vit")),),
        shared_pictures=True,
        rank=4,
        epochs=2,
        batch_size=16,
        val_fraction=0.2,
        log_every=1,
        device="cpu",
    )


def log_of(config):
    return [json.loads(line) for line in (config.out / "metrics.jsonl").read_text().splitlines()]


KINDS = {
    "LoRA on a ViT": ({}, ["vit"]),
    "LoRA on patch tokens": ({}, ["patch"]),
    "LoRA on a CNN": ({}, ["cnn"]),
    "LoRA on two networks": ({}, ["vit", "cnn"]),
    "LoRA and MLP": ({"head": "mlp", "hidden": 8}, ["vit"]),
    "MLP": ({"rank": 0, "head": "mlp", "hidden": 8}, ["vit", "cnn"]),
    "linear": ({"rank": 0, "head": "linear"}, ["cnn"]),
    "Bradley-Terry": ({"loss": "bradley-terry", "targets": ("attn.proj", "mlp.fc1")}, ["vit"]),
}


@pytest.mark.parametrize(("settings", "networks"), KINDS.values(), ids=KINDS)
def test_what_is_saved_is_what_was_trained(config, tmp_path, settings, networks):
    models = tuple(str(write_network(tmp_path / "two", kind)) for kind in networks)
    config = replace(config, model=models, monitor="agreement", lr=3e-3, **settings)
    folder = train(config)
    card, tuned = read_folder(folder)
    assert isinstance(tuned, Tuned)
    assert bool(tuned.adapter) == bool(config.rank)
    assert bool(tuned.head) == (config.head != "none")

    # The last checkpoint's weights in the model that was trained, against the same merged and saved.
    last = load_file(folder / "last.safetensors")
    _, trained, _ = loop.make_tuned(config)
    trained.load_state_dict({name: last[name] for name in loop.find_trained(trained)}, strict=False)
    adapter = {name.replace(".default.", "."): tensor for name, tensor in last.items() if ".lora_" in name}
    adapter = {name: tensor for name, tensor in adapter.items() if not name.startswith("optimizer.")}
    head = {name: tensor for name, tensor in last.items() if name.startswith("head.")}
    loop.write_tuned(folder, card, Tuned(adapter, tuned.adapter_config, head))
    a, b = torch.rand(2, 4, 3, 48, 48)
    merged, base = load(folder), load(models[0])
    torch.testing.assert_close(merged(a, b), trained(a, b), rtol=0, atol=1e-6)
    if len(models) == 1:
        assert (merged(a, b) - base(a, b)).abs().max() > 1e-4

    if config.rank and not head:  # and peft itself reads the adapter
        from peft import PeftModel

        unmerged = PeftModel.from_pretrained(PerceptualMetric(*read_bases(card.base, None)), folder)
        torch.testing.assert_close(unmerged(a, b), merged(a, b), rtol=0, atol=1e-6)

    merged.save_pretrained(tmp_path / "shared")
    torch.testing.assert_close(load(tmp_path / "shared")(a, b), merged(a, b), rtol=0, atol=1e-7)


def test_training_teaches_what_people_saw(config):
    train(replace(config, rank=0, head="mlp", hidden=32, epochs=40, lr=3e-3, loss="bradley-terry"))
    rows = [row for row in log_of(config) if "val_agreement" in row]
    assert rows[0]["epoch"] == 0
    assert min(row["val_loss"] for row in rows) < 0.9 * rows[0]["val_loss"]
    best = json.loads((config.out / "metrics.json").read_text())
    assert best["val_loss"] == min(row["val_loss"] for row in rows)
    card = load(config.out).card
    assert card.agreement == {"judged val 2AFC": round(best["val_agreement"], 2)}
    assert card.training["step"] == best["step"]
    assert card.training["triplets"] < 60


def test_only_what_is_tuned_moves(config):
    _, before, _ = loop.make_tuned(replace(config, head="linear"))
    before = {name: tensor.clone() for name, tensor in before.state_dict().items()}
    config = replace(config, head="linear", lr=1e-2)
    train(config)
    last = load_file(config.out / "last.safetensors")
    moved = {name for name in last if not name.startswith("optimizer.")}
    assert moved == {name for name in before if ".lora_" in name or name.startswith("head.")}
    assert all((last[name] != before[name]).any() for name in moved)


def test_features_are_dropped_in_training_and_only_there(config):
    """Of the features that a step's distances see, about the share asked for is zero and the rest is scaled up."""
    _, metric, _ = loop.make_tuned(replace(config, rank=0, head="linear"))
    model = loop.TripletModel(metric, frozen=True, dropout=0.25)
    seen = []
    metric.head.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    features, index = torch.ones(40, 64), torch.arange(39).view(13, 3)
    model(features, index)
    model.embed(features)
    dropped, whole = seen
    assert 0.2 < (dropped == 0).float().mean() < 0.3
    assert dropped.unique().tolist() == pytest.approx([0, 1 / 0.75])
    assert (whole == 1).all()


def test_a_picture_is_decoded_once_a_run_and_embedded_once_a_step(config, monkeypatch):
    decoded, embedded = [], []
    monkeypatch.setattr(ahead, "read_file", lambda file, size, f=ahead.read_file: decoded.append(file) or f(file, size))
    forward = Backbone.forward

    def counted(self, pixels):
        embedded.append((torch.is_grad_enabled(), len(pixels)))
        return forward(self, pixels)

    monkeypatch.setattr(Backbone, "forward", counted)
    train(config)
    assert len(decoded) == len(set(decoded)) == 24
    table = read_triplets(config.data).hold_out(config.val_fraction, config.seed)
    rows = table.split("train")
    steps = [n for grad, n in embedded if grad]
    assert len(steps) == 2 * -(-len(rows) // 16)
    order = np.random.default_rng((config.seed, 0)).permutation(len(rows))
    assert steps[0] == len(np.unique(rows.index[order[:16]]))


def test_frozen_branches_embed_once_a_run(config, monkeypatch):
    embedded = []
    forward = Backbone.forward
    monkeypatch.setattr(Backbone, "forward", lambda self, x: embedded.append(len(x)) or forward(self, x))
    train(replace(config, rank=0, head="mlp", epochs=5))
    assert sum(embedded) == 24


@pytest.mark.parametrize("loss", ["hinge", "bradley-terry"])
@pytest.mark.parametrize("size", [1, 4, 20])
def test_accumulated_gradients_are_those_of_the_whole_batch(config, loss, size):
    whole, expected = gradients(replace(config, loss=loss))
    parts, found = gradients(replace(config, loss=loss, micro_batch=size))
    assert parts == pytest.approx(whole, rel=1e-5)
    assert expected
    for name in expected:
        torch.testing.assert_close(found[name], expected[name], rtol=1e-4, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(("loss", "rows"), [("hinge", 21), ("bradley-terry", 1)])
def test_two_processes_have_the_gradients_of_one(config, tmp_path, loss, rows):  # with 1 row, one process has none
    value, expected = gradients(replace(config, loss=loss), rows)
    out = tmp_path / "gradients.safetensors"
    launch = ["torchrun", "--standalone", "--nproc-per-node", "2", "-m", "tests.gradients"]
    launch[0] = str(Path(sys.executable).with_name("torchrun"))
    arguments = [str(config.data), config.model[0], loss, str(rows), str(out)]
    ran = subprocess.run([*launch, *arguments], cwd=ROOT, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    found = load_file(out)
    both, processes = found.pop("loss").tolist()
    assert processes == 2
    assert both == pytest.approx(value, rel=1e-5)
    assert found.keys() == expected.keys()
    for name in expected:
        torch.testing.assert_close(found[name], expected[name], rtol=1e-5, atol=1e-5)


def test_gradients_have_the_same_bits_each_time_with_several_threads():
    threads = torch.get_num_threads()
    torch.set_num_threads(4)
    units = torch.nn.functional.normalize(torch.randn(100, 64), dim=1).requires_grad_()
    index = torch.randint(0, 100, (2048, 3))
    found = []
    for _ in range(30):
        left, right = compare_triplets(units, index)
        (gradient,) = torch.autograd.grad((left * left - right).sum(), units)
        found.append(gradient)
    torch.set_num_threads(threads)
    assert all(torch.equal(found[0], other) for other in found)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_branches_run_in_the_precision_asked_for(config, precision, monkeypatch):
    forward, ran = Backbone.forward, []
    monkeypatch.setattr(
        Backbone, "forward", lambda self, x: ran.append(torch.is_autocast_enabled("cpu")) or forward(self, x)
    )
    train(replace(config, precision=precision))
    assert len(ran) > 5
    assert set(ran) == {precision != "float32"}
    assert all(np.isfinite(row["val_loss"]) for row in log_of(config) if "val_loss" in row)


def test_gradients_are_clipped_to_the_norm_asked_for(config, monkeypatch):
    clip, after = loop.Accelerator.clip_grad_norm_, []

    def recorded(self, parameters, norm):
        before = clip(self, parameters, norm)
        after.append(torch.stack([p.grad.norm() for p in parameters]).norm().item())
        return before

    monkeypatch.setattr(loop.Accelerator, "clip_grad_norm_", recorded)
    train(replace(config, loss="bradley-terry", clip=1e-3))
    assert max(after) == pytest.approx(1e-3, rel=1e-2)
    assert min(row["gradient_norm"] for row in log_of(config) if "gradient_norm" in row) > 2e-3


def test_schedules():
    config = Config(Path(), Path(), lr=1.0, warmup=2, schedule="cosine")
    assert [config.rate(step, 10) for step in (0, 1, 2, 6)] == pytest.approx([0.5, 1, 1, 0.5])
    assert replace(config, schedule="linear").rate(6, 10) == pytest.approx(0.5)
    assert replace(config, schedule="constant").rate(9, 10) == 1


def test_the_learning_rate_is_the_one_asked_for(config):
    config = replace(config, loss="bradley-terry", schedule="linear", warmup=2, lr=1e-3, epochs=1)
    train(config)
    rows = [row for row in log_of(config) if "lr" in row]
    assert [row["lr"] for row in rows] == [config.rate(step, len(rows)) for step in range(len(rows))]
    assert all(row["gradient_norm"] > 0 for row in rows)


def test_it_stops_when_nothing_gets_better(config):
    train(replace(config, lr=1e-12, patience=2, epochs=30, monitor="agreement"))
    assert [row["epoch"] for row in log_of(config) if "epoch" in row] == [0, 1, 2]


def test_tensorboard_gets_the_metrics(config):
    train(replace(config, log_with=("tensorboard",), epochs=1))
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    files = [EventAccumulator(str(file)).Reload() for file in config.out.rglob("events.out.tfevents*")]
    logged = [e.value for file in files if "val_loss" in file.Tags()["scalars"] for e in file.Scalars("val_loss")]
    assert logged == pytest.approx([row["val_loss"] for row in log_of(config) if "val_loss" in row])


def test_a_logger_that_is_not_installed_is_said(config, monkeypatch):
    monkeypatch.setattr(loop, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match="wandb asked for by log_with: pip install wandb"):
        train(replace(config, log_with=("wandb",)))


def test_everything_about_a_run_is_kept(config):
    train(replace(config, epochs=1))
    saved = json.loads((config.out / "config.json").read_text())
    assert saved["config"] == replace(config, epochs=1).to_dict()
    assert {"torch", "peft", "timm"} <= saved["versions"].keys()
    assert sorted(file.name for file in config.out.glob("[!.]*")) == [
        "adapter_config.json", "adapter_model.safetensors", "card.json", "config.json", "last.safetensors",
        "metrics.json", "metrics.jsonl",
    ]  # fmt: skip


BAD = {
    "device": ({"device": "mps"}, "got device mps; expected cpu or cuda"),
    "nothing to train": ({"rank": 0}, "nothing to train"),
    "no epochs": ({"epochs": 0}, "epochs 0; expected 1 or more"),
    "no rate": ({"lr": 0.0}, "lr 0.0; expected a number above 0"),
    "no number": ({"lr": float("nan")}, "expected a number above 0"),
    "all held out": ({"val_fraction": 1.0}, "expected shares below 1"),
    "all features dropped": ({"head": "mlp", "head_dropout": 1.0}, "head_dropout 1.0; expected shares below 1"),
    "dropout of no head": ({"head_dropout": 0.5}, "head_dropout 0.5 and no head"),
    "negative margin": ({"margin": -1.0}, "margin -1.0"),
}


@pytest.mark.parametrize(("changes", "message"), BAD.values(), ids=BAD)
def test_impossible_settings_are_refused_at_once(config, changes, message):
    with pytest.raises(ValueError, match=message):
        replace(config, **changes)


def test_the_cpu_does_not_stand_in_for_cuda(config, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match="got device cuda; this machine has none"):
        train(replace(config, device="cuda"))


def test_models_that_have_nothing_to_tune_are_refused(config):
    with pytest.raises(ValueError, match=r"nothing to tune in branch 0: .* named attn\.key"):
        train(replace(config, targets=("attn.key",)))
    with pytest.raises(ValueError, match="unknown model 'mimi': did you mean mini"):
        train(replace(config, model=("mimi",)))
    with pytest.raises(ValueError, match="pictures of 48 and 224 pixels; set image_size"):
        train(replace(config, model=(*config.model, "mini")))
    assert not config.out.exists()


def test_a_head_is_tuned_on_or_refused(config, tmp_path):
    first = train(replace(config, rank=0, head="mlp", hidden=8, out=tmp_path / "first"))
    AcceleratorState._reset_state(reset_partial_state=True)
    train(
        replace(config, model=(str(first),), rank=0, head="mlp", hidden=8, lr=1e-9, epochs=1, out=tmp_path / "second")
    )
    a, b = torch.rand(2, 3, 3, 48, 48)
    torch.testing.assert_close(load(tmp_path / "second")(a, b), load(first)(a, b), rtol=0, atol=1e-5)
    with pytest.raises(ValueError, match="expected the same one to go on with"):
        train(replace(config, model=(str(first),), rank=0, head="linear", out=tmp_path / "third"))


def test_everything_wrong_with_the_data_is_said_at_once(config):
    (config.data / "3.png").unlink()
    (config.data / "5.png").write_bytes(b"not a picture")
    with pytest.raises(DataError) as raised:
        train(config)
    said = str(raised.value)
    assert "3.png is" in said
    assert "5.png is unreadable" in said
    assert "data.csv row" in said
    assert not config.out.exists()


def test_pictures_in_several_splits_need_permission(config):
    with pytest.raises(DataError, match="expected each picture in one split"):
        train(replace(config, shared_pictures=False))


def test_an_empty_split_is_said(config, tmp_path):
    data = write_triplets(tmp_path / "test-only", splits=("test",))
    with pytest.raises(ValueError, match=r"'train'.*test \(60 rows\)"):
        train(replace(config, data=data))


def test_a_validation_split_that_is_not_there_is_said(config):
    with pytest.raises(ValueError, match=r"got split 'vall'; .*train \(60 rows\)"):
        train(replace(config, val="vall"))


def test_a_split_of_ties_is_said(config):
    table = config.data / "data.csv"
    lines = table.read_text().splitlines()
    table.write_text("\n".join([lines[0], *(re.sub(r",\d+,\d+,train", ",2,2,train", line) for line in lines[1:])]))
    with pytest.raises(ValueError, match="people tie on all triplets"):
        train(config)


def test_a_named_validation_split_is_used(config, tmp_path):
    data = write_triplets(tmp_path / "split", splits=("train", "train", "dev", "test"))
    train(replace(config, data=data, val="dev", epochs=1))
    assert load(config.out).card.training["triplets"] == 30


def test_a_loss_that_is_not_finite_stops_the_run_with_the_best_model_intact(config):
    message = r"the loss is [\w.]+ and its gradient \w+ at step \d+: lower --lr \(now 1e\+30\)"
    with pytest.raises(FloatingPointError, match=message):
        train(replace(config, lr=1e30, epochs=5, save_every=1))
    load(config.out)
    last = load_file(config.out / "last.safetensors")
    assert all(tensor.isfinite().all() for tensor in last.values())


def test_presets_are_the_released_recipes():
    found = {name: config for name, (_, config) in list_presets(Path("data"), Path("out")).items()}
    assert set(found) == {"mini", "ensemble-lora", "single-lora", "patch-lora", "mlp"}
    assert all(
        config.lr == 3e-4 and config.betas == (0.5, 0.999) and config.margin == 0.05 for config in found.values()
    )
    ensemble = found["ensemble-lora"]
    assert (len(ensemble.model), ensemble.rank, ensemble.alpha, ensemble.dropout) == (3, 16, 1.0, 0.3)
    assert (ensemble.batch_size, ensemble.epochs) == (16, 6)
    single = found["single-lora"]
    assert (single.rank, single.alpha, single.dropout, single.batch_size, single.epochs) == (16, 32, 0.2, 32, 8)
    assert found["patch-lora"].model[0].endswith("#cls_patch")
    assert (found["mlp"].rank, found["mlp"].hidden, found["mlp"].batch_size, found["mlp"].epochs) == (0, 512, 512, 20)


def test_preset_networks_exist_and_have_their_features():
    from dreamsim_metric.card import Branch
    from dreamsim_metric.weights.libraries import _measure_width

    for _, config in list_presets(Path("data"), Path("out")).values():
        for name in config.model:
            if name == "mini":
                continue
            network, _, feature = name.partition("#")
            options = {} if feature == "embedding" else {"num_classes": 0}
            assert _measure_width(Branch(network, feature, (0.5,) * 3, (0.5,) * 3, options), 224) in (512, 768, 1536)


@pytest.mark.slow
def test_two_processes_train_as_one(config, tmp_path):
    """A whole run: data, validation, log and checkpoint; only the last bits differ."""
    options = [
        "--model",
        config.model[0],
        "--data",
        str(config.data),
        "--shared-pictures",
        "--device",
        "cpu",
        "--rank",
        "4",
    ]
    options += ["--epochs", "2", "--batch-size", "15", "--dropout", "0", "--val-fraction", "0.2", "--log-every", "1"]
    launch = [str(Path(sys.executable).with_name("torchrun")), "--standalone", "--nproc-per-node"]
    logs = []
    for processes in ("1", "2"):
        out = tmp_path / processes
        command = [*launch, processes, "-m", "dreamsim_metric.cli", "train", "single-lora", *options, "--out", str(out)]
        ran = subprocess.run(command, capture_output=True, text=True)
        assert ran.returncode == 0, ran.stderr
        assert ran.stdout.count("val_agreement") == 1
        logs.append([json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()])
    for one, both in zip(*logs, strict=True):
        assert both == pytest.approx(one, rel=1e-4, abs=1e-6)
