"""Whole releases, installed: what is kept is what the release holds, and nothing is kept of one that does not fit."""

import itertools
import shutil

import pytest
import torch

from benchmarks.speed import releases
from benchmarks.speed.releases import write_release
from dreamsim_metric import load
from dreamsim_metric.loading import install
from dreamsim_metric.models import MODELS
from dreamsim_metric.weights.download import find_model_dir
from dreamsim_metric.weights.dreamsim import find_adapter_folder, read_release
from tests.releases import edit_config, zip_release

NAME = "clip_vitb32"
BASE, ADAPTER = f"{NAME}_pretrain.pth.tar", find_adapter_folder(NAME)
ARCHIVE = MODELS[NAME].weights[0].path


@pytest.fixture(autouse=True)
def no_network(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("DREAMSIM_METRIC_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A release with all layers in a few MB: a tensor that repeats one number is stored as that number."""

    def constants(state, random):
        values = [*itertools.islice(itertools.cycle([0.01, 0.02, 0.03]), len(state))]
        return {key: torch.full((), value).expand(state[key].shape) for key, value in zip(state, values, strict=True)}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(releases, "_randomise", constants)
        return write_release(tmp_path_factory.mktemp("whole"), NAME)


def test_an_installed_release_is_what_its_folder_and_archive_hold(whole, tmp_path):
    expected = load(NAME, source=whole).state_dict()
    archive = zip_release(whole, tmp_path / "any name.zip")
    folder = install(MODELS[NAME], archive)
    assert archive.exists()
    assert {file.name for file in folder.parent.iterdir()} == {NAME, f"{NAME}.lock"}
    installed = load(NAME)
    assert installed.card == MODELS[NAME]
    assert installed.state_dict().keys() == expected.keys()
    assert all(torch.equal(tensor, expected[key]) for key, tensor in installed.state_dict().items())
    shutil.rmtree(folder)  # 350 MB


def test_alpha_is_the_one_in_the_release(whole, tmp_path):
    folder = shutil.copytree(whole, tmp_path / "release")
    states = []
    for alpha in (1, 2, 3):
        edit_config(folder, NAME, lora_alpha=alpha)
        states.append(read_release(MODELS[NAME], folder))
    key = "branches.0.network.blocks.7.attn.qkv.weight"
    assert not torch.equal(states[0][key], states[1][key])
    assert torch.allclose(states[1][key] - states[0][key], states[2][key] - states[1][key], atol=1e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"blocks.3.mlp.fc1.bias": None}, r"missing: branches\.0\.network\.blocks\.3\.mlp\.fc1\.bias$"),
        ({"blocks.12.mlp.fc1.bias": torch.zeros(1)}, r"surplus: branches\.0\.network\.blocks\.12\.mlp\.fc1\.bias$"),
        ({"cls_token": torch.zeros(1, 1, 767)}, r"misshapen: .*cls_token \(1, 1, 767\) instead of \(1, 1, 768\)$"),
        ({f"odd{i}": torch.zeros(1) for i in range(9)}, r"surplus: branches\.0\.network\.odd0, .* and 4 more$"),
        ({"proj": torch.zeros(768, 640)}, r"misshapen: .*head\.weight \(640, 768\) instead of \(512, 768\)"),
        ({"proj": None}, r"missing: branches\.0\.network\.head\.bias, branches\.0\.network\.head\.weight$"),
        ({"pos_embed": torch.zeros(1, 50, 640)}, r"misshapen: .*pos_embed .* instead of \(1, 50, 768\)$"),
        ({"pos_embed": torch.zeros(1, 48, 768)}, r"misshapen: .*pos_embed .* instead of \(1, 50, 768\)$"),
    ],
)
def test_tensors_that_do_not_fit_are_named_and_nothing_is_kept(whole, tmp_path, change, message):
    folder = shutil.copytree(whole, tmp_path / "release")
    state = torch.load(folder / BASE, weights_only=True)["state_dict"] | change
    torch.save({"state_dict": {key: tensor for key, tensor in state.items() if tensor is not None}}, folder / BASE)
    with pytest.raises(ValueError, match=message):
        install(MODELS[NAME], folder)
    assert [file.name for file in find_model_dir(NAME).parent.iterdir()] == [f"{NAME}.lock"]
