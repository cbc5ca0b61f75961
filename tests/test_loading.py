"""What `install` leaves in the cache, whatever happens on the way; models from the hub's own cache."""

import shutil
import subprocess
import sys

import pytest
import timm
import torch
from safetensors.torch import save_file

from dreamsim_metric import loading
from dreamsim_metric.models import MODELS
from dreamsim_metric.weights.download import find_downloads_dir, find_model_dir
from dreamsim_metric.weights.folder import MINI, read_folder

CARD = MODELS["clip_vitb32"]


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("DREAMSIM_METRIC_CACHE", str(tmp_path))
    return tmp_path


@pytest.fixture
def archive(cache):
    return find_downloads_dir() / CARD.weights[0].path


@pytest.fixture
def server(monkeypatch, archive):
    """Stands for the network: what `fetch` puts in the cache where nothing is."""

    def fetch(download, folder):
        folder.mkdir(parents=True, exist_ok=True)
        if not archive.exists():
            archive.write_text("<html>Please log in</html>")
        return archive

    monkeypatch.setattr(loading, "fetch", fetch)


def _readable(monkeypatch):
    """Archives read, whatever is in them: what is in them is the business of test_official.py."""
    monkeypatch.setattr(loading, "read_release", lambda card, source: {"x": torch.ones(1)})
    monkeypatch.setattr(loading, "PerceptualMetric", lambda card, state: None)


def test_a_broken_download_is_removed_so_that_the_next_try_is_fresh(server, archive):
    with pytest.raises(ValueError, match=r"not a whole zip.*downloaded from https.*and removed again"):
        loading.install(CARD, None)
    assert not archive.exists()
    assert not find_model_dir(CARD.name).exists()


def test_a_broken_archive_that_was_there_before_stays(server, archive):
    archive.parent.mkdir(parents=True)
    archive.write_text("mine")
    with pytest.raises(ValueError, match="not a whole zip"):
        loading.install(CARD, None)
    assert archive.read_text() == "mine"


@pytest.mark.parametrize("error", [ConnectionError, OSError])
def test_a_good_archive_survives_what_is_not_its_fault(server, archive, monkeypatch, error):
    def fail(card, source):
        raise error("the base weights are not to be had now")

    monkeypatch.setattr(loading, "read_release", fail)
    with pytest.raises(error):
        loading.install(CARD, None)
    assert archive.exists()


def test_an_installed_model_leaves_nothing_else_behind(server, cache, archive, monkeypatch):
    _readable(monkeypatch)
    unfinished = find_model_dir(CARD.name).with_name(f".{CARD.name}-killed")
    unfinished.mkdir(parents=True)
    folder = loading.install(CARD, None)
    assert read_folder(folder)[0] == CARD
    files = {path.relative_to(cache).as_posix() for path in cache.rglob("*") if path.is_file()}
    assert {name for name in files if not name.endswith(".lock")} == {
        "v1/clip_vitb32/card.json",
        "v1/clip_vitb32/model.safetensors",
    }
    assert not unfinished.exists()
    assert loading.install(CARD, None) == folder


def test_a_source_for_an_installed_model_is_not_ignored(cache, monkeypatch, tmp_path):
    _readable(monkeypatch)
    loading.install(CARD, tmp_path)
    with pytest.raises(FileExistsError, match=r"clip_vitb32 is installed already in .*; remove that"):
        loading.install(CARD, tmp_path)


def _in_hub_cache(folder, repository):
    """Where the hub's client keeps what it downloaded of a repository: a folder to fill."""
    home = folder / "hub" / f"models--{repository.replace('/', '--')}"
    (home / "refs").mkdir(parents=True)
    (home / "refs" / "main").write_text("0" * 40)
    snapshot = home / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    return snapshot


def test_models_that_the_hub_client_has_cached_load_without_network(tmp_path):
    snapshot = _in_hub_cache(tmp_path, "someone/mini")
    for name in ("card.json", "model.safetensors"):
        shutil.copy(MINI / name, snapshot)
    network = timm.create_model("test_vit")
    save_file(network.state_dict(), _in_hub_cache(tmp_path, "timm/test_vit.r160_in1k") / "model.safetensors")
    code = (
        "from dreamsim_metric import load; import torch; x = torch.full((1, 3, 160, 160), 0.25);"
        "print(load('hf:someone/mini').card.name, load('timm:test_vit').embed(x, normalize=False).sum().item())"
    )
    environment = {"HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1", "PATH": ""}
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)
    name, total = run.stdout.split()
    with torch.no_grad():
        features = network.eval().forward_features((torch.full((1, 3, 160, 160), 0.25) - 0.5) / 0.5)
    assert name == "mini"
    assert float(total) == pytest.approx(network.forward_head(features, pre_logits=True).sum().item(), abs=1e-4)
