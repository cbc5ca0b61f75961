"""Weights and cards that somebody else made: nothing in them is run, fetched or unpacked without measure."""

import io
import json
import shutil
import zipfile
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file

from dreamsim_metric.loading import load
from dreamsim_metric.models import MODELS
from dreamsim_metric.weights.dreamsim import open_release, unpickle
from dreamsim_metric.weights.folder import MINI


class Marker:
    """What makes a file when it is unpickled, and does no more."""

    def __init__(self, file):
        self.file = file

    def __reduce__(self):
        return Path.touch, (self.file,)


NAMES = ["timm:test_vit", "timm:test_vit.r160_in1k#cls", "timm:vit_base_patch14_dinov2", "open_clip:ViT-B-32"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("ending", ["pth", "pt", "bin", "ckpt", "tar", "safetensors", "npz", "npy"])
@pytest.mark.parametrize("inside", [None, "state_dict", "optimizer"])
def test_a_checkpoint_that_would_run_code_is_refused_and_not_run(tmp_path, name, ending, inside):
    marker, file = tmp_path / "made", tmp_path / f"w.{ending}"
    found = {"a": torch.zeros(1), "b": Marker(marker)}
    torch.save({inside: found} if inside else found, file)
    with pytest.raises(ValueError, match=f"w.{ending} (does not hold the weights|is damaged)"):
        load(name, source=file)
    assert not marker.exists()


@pytest.mark.parametrize(
    "option", ["checkpoint_path", "pretrained_cfg", "pretrained_cfg_overlay", "cache_dir", "depth"]
)
def test_options_of_a_card_reach_no_loader(tmp_path, option):
    marker = tmp_path / "made"
    torch.save({"b": Marker(marker)}, tmp_path / "w.pth")
    shutil.copytree(MINI, tmp_path / "model")
    card = json.loads((MINI / "card.json").read_text())
    card["branches"][0] |= {"network": "timm:test_vit", "options": {option: str(tmp_path / "w.pth")}}
    (tmp_path / "model" / "card.json").write_text(json.dumps(card))
    with pytest.raises(ValueError, match=rf"card\.json: .*branches\[0\]\.options has {option}"):
        load(tmp_path / "model")
    assert not marker.exists()


@pytest.mark.parametrize("wrap", [lambda s: s, lambda s: {"state_dict": s, "epoch": 3}, lambda s: {"model": s}])
def test_plain_checkpoints_load_however_they_are_kept(tmp_path, wrap):
    network = timm.create_model("test_vit").eval()
    torch.save(wrap({f"module.{name}": tensor for name, tensor in network.state_dict().items()}), tmp_path / "w.pth")
    save_file(network.state_dict(), tmp_path / "w.safetensors")
    units = [
        load("timm:test_vit", source=tmp_path / name).embed("examples/cat.jpg") for name in ("w.pth", "w.safetensors")
    ]
    assert torch.equal(*units)


def packed(members):
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return data.getvalue()


def test_an_archive_that_unpacks_without_measure_is_refused(tmp_path):
    zeros = bytes(20_000_000)
    (tmp_path / "release.zip").write_bytes(packed({"ensemble_lora/adapter_model.safetensors": zeros}))
    with pytest.raises(ValueError, match=r"over 10 times their size: ensemble_lora/adapter_model\.safetensors"):
        open_release(MODELS["ensemble"], tmp_path / "release.zip")
    with pytest.raises(ValueError, match=r"w\.pth has members that unpack to over 10 times their size"):
        unpickle(packed({"archive/data.pkl": b"", "archive/data/0": zeros}), "w.pth")
