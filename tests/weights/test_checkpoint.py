"""Checkpoints of DreamSim's own trainer: its layouts and names, as the released package and peft write them."""

import json

import pytest
import torch
from safetensors.torch import save_file

from dreamsim_metric import cli, load
from dreamsim_metric.models import MODELS
from dreamsim_metric.weights.checkpoint import read_checkpoint
from dreamsim_metric.weights.folder import is_checkpoint

QKV = "blocks.0.attn.qkv"
CONFIG = {"peft_type": "LORA", "r": 3, "lora_alpha": 6, "target_modules": ["qkv"], "bias": "none"}
MERGED = 1.0 + 6 / 3 * 3  # ones of 6 × 2, and B A of ones with rank 3 at scale 2
SETTINGS = """!!python/object:argparse.Namespace
dataset_root: ./dataset/nights
feat_type: {features}
lora_alpha: 6
lr: 0.0003
model_type: '{types}'
stride: '16'
"""


@pytest.fixture(autouse=True)
def no_network(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("DREAMSIM_METRIC_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    monkeypatch.chdir(tmp_path)


def bases(folder):
    """The base weights of a release, with one layer of 2 × 6."""
    (folder / "checkpoints").mkdir(parents=True)
    layer = {f"{QKV}.weight": torch.ones(6, 2)}
    for name in ("clip_vitb16", "clip_vitb32", "open_clip_vitb16"):
        torch.save({"state_dict": layer | {"proj": torch.full((2, 4), 5.0)}}, folder / f"{name}_pretrain.pth.tar")
    torch.save(layer, folder / "checkpoints" / "dino_vitbase16_pretrain.pth")
    return folder


def adapter(branches):
    shapes = {"A": (3, 2), "B": (6, 3)}
    return {
        f"base_model.model.extractor_list.{i}.model.{QKV}.lora_{x}.weight": torch.ones(shape)
        for i in range(branches)
        for x, shape in shapes.items()
    }


def epoch(run, types="clip_vitb32", features="embedding", name="epoch_3", pickled=False):
    """What the trainer writes after an epoch: `RUN/config.yaml`, `RUN/dreamsim_training/ID/checkpoints/epoch_3/`."""
    folder = run / "dreamsim_training" / "a1b2" / "checkpoints" / name
    folder.mkdir(parents=True)
    (run / "config.yaml").write_text(SETTINGS.format(types=types, features=features))
    tensors = adapter(len(types.split(",")))
    if pickled:
        torch.save(tensors, folder / "adapter_model.bin")
    else:
        save_file(tensors, folder / "adapter_model.safetensors")
    (folder / "adapter_config.json").write_text(json.dumps(CONFIG))
    return folder


def lightning(file, types="dino_vitb16", features="cls", head=False):
    """Lightning's file: the whole model, with peft's names around the tuned layers or with an MLP behind."""
    branches = range(len(types.split(",")))
    inner = "perceptual_model." + ("" if head else "base_model.model.")
    state = {f"{inner}extractor_list.{i}.model.norm.weight": torch.ones(2) for i in branches}
    for i in branches:
        layer = f"{inner}extractor_list.{i}.model.{QKV}"
        state |= {f"{layer}{'' if head else '.base_layer'}.weight": torch.ones(6, 2)}
        if not head:
            state |= {f"{layer}.lora_A.default.weight": torch.ones(3, 2)}
            state |= {f"{layer}.lora_B.default.weight": torch.ones(6, 3)}
    state |= {"perceptual_model.extractor_list.0.proj.mlp.0.weight": torch.ones(3, 3)}  # DINO's head, which is not read
    if head:
        shapes = {"fc1.weight": (7, 768), "fc1.bias": (7,), "fc2.weight": (768, 7), "fc2.bias": (768,)}
        state |= {f"perceptual_model.mlp.{key}": torch.ones(shape) for key, shape in shapes.items()}
    settings = {"model_type": types, "feat_type": features, "use_lora": not head, "hidden_size": 7}
    settings |= {"lora_r": 3, "lora_alpha": 6, "lr": 3e-4, "dataset_root": "./dataset/nights"}
    file.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"epoch": 3, "state_dict": state, "hyper_parameters": settings, "optimizer_states": [{}]}, file)
    return file


def check_card(card, name, data="./dataset/nights"):
    """It is told apart from the release: neither its figures nor its way of centring."""
    assert (card.name, card.agreement, card.weights, card.center) == (name, {}, (), False)
    assert card.training["data"] == data
    assert "tuned by its own trainer" in card.description


@pytest.mark.parametrize("pickled", [False, True])
@pytest.mark.parametrize("types", ["clip_vitb32", "dino_vitb16", "dino_vitb16,clip_vitb16,open_clip_vitb16"])
def test_an_epochs_folder_is_merged_into_the_base_weights_of_a_release(types, pickled, tmp_path):
    features = ",".join("cls" if "dino" in name else "embedding" for name in types.split(","))
    folder = epoch(tmp_path / "run", types, features, pickled=pickled)
    card, state = read_checkpoint(folder, bases(tmp_path / "release"))
    check_card(card, "epoch_3")
    assert [branch.feature for branch in card.branches] == features.split(",")
    tuned = [state[f"branches.{i}.network.{QKV}.weight"] for i in range(len(card.branches))]
    assert all(torch.equal(tensor, torch.full((6, 2), MERGED)) for tensor in tuned)


@pytest.mark.parametrize("place", ["models", "run/dreamsim_training/a1b2/checkpoints/epoch_3"])
def test_the_base_weights_are_found_where_the_trainer_has_them(place, tmp_path):
    folder = epoch(tmp_path / "run")
    made = bases(tmp_path / "made")
    (tmp_path / place).mkdir(parents=True, exist_ok=True)
    for file in made.glob("clip_vitb32*"):
        file.rename(tmp_path / place / file.name)
    assert read_checkpoint(folder, None)[1][f"branches.0.network.{QKV}.weight"].unique().tolist() == [MERGED]


def test_the_type_can_be_named_where_the_run_does_not_say_it(tmp_path):
    folder = epoch(tmp_path / "run")
    (tmp_path / "run" / "config.yaml").unlink()
    bases(tmp_path / "models")
    with pytest.raises(ValueError, match=r'does not say which networks were tuned.*load\("clip_vitb32", source='):
        load(folder)
    card, state = read_checkpoint(folder, None, "clip_vitb32")
    check_card(card, "epoch_3", "data that the checkpoint does not name")
    assert card.branches == MODELS["clip_vitb32"].branches
    assert state[f"branches.0.network.{QKV}.weight"].unique().tolist() == [MERGED]


def test_lightnings_file_is_merged_without_any_other(tmp_path):
    card, state = read_checkpoint(lightning(tmp_path / "epoch=03.ckpt"), None)
    check_card(card, "epoch=03")
    assert {key: tensor.unique().tolist() for key, tensor in state.items()} == {
        f"branches.0.network.{QKV}.weight": [MERGED]
    }


def test_clips_projection_comes_from_the_release(tmp_path):
    file = lightning(tmp_path / "last.ckpt", "clip_vitb32", "embedding")
    card, state = read_checkpoint(file, bases(tmp_path / "release"))
    check_card(card, "last")
    assert state["branches.0.network.head.weight"].unique().tolist() == [5.0]
    with pytest.raises(ConnectionError, match=r"cannot download .*clip_vitb32_checkpoint\.zip.*source="):
        load(file)


def test_an_mlp_head_is_read(tmp_path):
    card, state = read_checkpoint(lightning(tmp_path / "last.ckpt", head=True), None)
    check_card(card, "last")
    assert card.head.hidden == 7
    assert {key: tuple(tensor.shape) for key, tensor in state.items() if key.startswith("head.")} == {
        "head.fc1.weight": (7, 768),
        "head.fc1.bias": (7,),
        "head.fc2.weight": (768, 7),
        "head.fc2.bias": (768,),
    }
    assert state[f"branches.0.network.{QKV}.weight"].unique().tolist() == [1.0]


def test_class_and_patch_tokens_are_known(tmp_path):
    card, _ = read_checkpoint(lightning(tmp_path / "last.ckpt", features="cls_patch"), None)
    assert (card.branches[0].feature, card.embedding_size) == ("cls_patch", 1536)


@pytest.mark.parametrize(
    ("types", "features", "message"),
    [
        ("mae_vitb16", "cls", "tuned on mae_vitb16 with features cls; expected some of dino_vitb16"),
        ("dino_vitb16,clip_vitb16", "cls", "expected some of .* with a feature each"),
        ("clip_vitb32", "last_layer", "feature 'last_layer' of clip_vitb32; expected embedding"),
    ],
)
def test_networks_that_we_do_not_have_are_refused(types, features, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        load(epoch(tmp_path / "run", types, features))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"state_dict": {"perceptual_model.x": torch.zeros(1)}, "epoch": 1}, "is not of DreamSim's trainer"),
        ({"state_dict": {"net.weight": torch.zeros(1)}}, "is not of DreamSim's trainer"),
        ({"state_dict": 3}, "holds no dictionary of tensors"),
        ([1], "holds no dictionary of tensors"),
        (None, "damaged or not a PyTorch checkpoint"),
    ],
)
def test_other_files_are_named(content, message, tmp_path):
    file = tmp_path / "epoch=03.ckpt"
    torch.save(content, file) if content is not None else file.write_bytes(b"half")
    for given in ({"model": file}, {"model": "clip_vitb32", "source": file}):
        with pytest.raises(ValueError, match=message):
            load(**given)


def test_an_adapter_without_its_tensors_is_refused(tmp_path):
    folder = epoch(tmp_path / "run")
    (folder / "adapter_model.safetensors").unlink()
    with pytest.raises(ValueError, match=r"has no adapter_model\.safetensors and no adapter_model\.bin"):
        load(folder)
    save_file({}, folder / "adapter_model.safetensors")
    with pytest.raises(ValueError, match="the adapter is empty"):
        load(folder, source=bases(tmp_path / "release"))


def test_the_command_line_takes_checkpoints_and_does_not_call_them_releases(tmp_path, capsys):
    folder, release = epoch(tmp_path / "run"), bases(tmp_path / "models")
    assert is_checkpoint(folder)
    assert not is_checkpoint(release)
    assert cli.main(["download", "--model", "clip_vitb32", "--weights", str(folder)]) == 1
    assert "is no release of it" in capsys.readouterr().err
    assert cli.main(["info", "--model", str(folder)]) == 1  # our miniature is no ViT-B/32
    said = capsys.readouterr().err
    assert "these weights are not those of 'epoch_3': missing" in said
    assert said.count("\n") == 1
