"""Releases that are damaged, unsafe, another type's or not there; and where the parts of a whole one are found."""

import io
import itertools
import json
import os
import shutil
import zipfile

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from dreamsim_metric import cli, load
from dreamsim_metric.models import MODELS, OFFICIAL_TYPES
from dreamsim_metric.weights.download import find_model_dir
from dreamsim_metric.weights.dreamsim import _BASE_FILES, find_adapter_folder, read_release, unpickle
from tests.releases import edit_config, zip_release

NAME = "clip_vitb32"
BASE, ADAPTER = f"{NAME}_pretrain.pth.tar", find_adapter_folder(NAME)
ARCHIVE = MODELS[NAME].weights[0].path
LORA = "base_model.model.extractor_list.{}.model.blocks.{}.attn.qkv.lora_{}.weight"
HUB_FILE = "dino_vitbase16_pretrain.pth"


@pytest.fixture(autouse=True)
def no_network(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("DREAMSIM_METRIC_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))


def tiny_release(folder, name=NAME):
    """All the files of a release with one layer of 2 × 6: as much as `read_release` looks at."""
    (folder / find_adapter_folder(name)).mkdir(parents=True)
    (folder / "checkpoints").mkdir()
    adapter = {}
    for index, branch in enumerate(OFFICIAL_TYPES[name]):
        base = {"blocks.0.attn.qkv.weight": torch.ones(6, 2)}
        if branch in _BASE_FILES:
            torch.save({"model" if branch == "synclr_vitb16" else "state_dict": base}, folder / _BASE_FILES[branch])
        elif branch == "dino_vitb16":
            torch.save(base, folder / "checkpoints" / HUB_FILE)
        else:
            torch.save(base, folder / "checkpoints" / "dinov2_vitb14_pretrain.pth")
        adapter[LORA.format(index, 0, "A")] = torch.ones(3, 2)
        adapter[LORA.format(index, 0, "B")] = torch.ones(6, 3)
    save_file(adapter, folder / find_adapter_folder(name) / "adapter_model.safetensors")
    (folder / find_adapter_folder(name) / "adapter_config.json").write_text(
        json.dumps({"r": 3, "lora_alpha": 6, "target_modules": ["qkv"]})
    )
    return folder


@pytest.fixture
def tiny(tmp_path):
    return tiny_release(tmp_path / "release")


def packed(folder):
    return zip_release(folder, folder.parent / "release.zip")


@pytest.mark.parametrize("name", OFFICIAL_TYPES)
def test_every_type_reads_from_folder_archive_and_a_folder_with_the_archive(tmp_path, name):
    folder = tiny_release(tmp_path / "release", name)
    (tmp_path / "downloads").mkdir()
    archive = zip_release(folder, tmp_path / "downloads" / MODELS[name].weights[0].path)
    shutil.copytree(folder / "checkpoints", tmp_path / "downloads" / "checkpoints")
    for source in (folder, archive, archive.parent):
        state = read_release(MODELS[name], source)
        assert state.keys() == {f"branches.{i}.network.blocks.0.attn.qkv.weight" for i in range(len(state))}
        assert len(state) == len(OFFICIAL_TYPES[name])
        assert all(torch.equal(tensor, torch.full((6, 2), 1.0 + 6 / 3 * 3)) for tensor in state.values())


@pytest.mark.parametrize(("asked", "given"), [*itertools.pairwise(OFFICIAL_TYPES), ("ensemble", "dinov2_vitb14_patch")])
def test_the_archive_of_another_type_is_called_by_its_name(tmp_path, asked, given):
    folder = tiny_release(tmp_path / "release", given)
    for source in (folder, packed(folder)):
        with pytest.raises(ValueError, match=rf"not a release of {asked}: .*looks like the release of {given}$"):
            read_release(MODELS[asked], source)


@pytest.mark.parametrize("file", [BASE, f"{ADAPTER}/adapter_config.json", f"{ADAPTER}/adapter_model.safetensors"])
def test_a_missing_file_is_named(tiny, file):
    (tiny / file).unlink()
    for source in (tiny, packed(tiny)):
        with pytest.raises(ValueError, match=f"not a release of {NAME}: it has no {file}$"):
            read_release(MODELS[NAME], source)


def test_a_source_that_does_not_exist_says_what_was_expected(tmp_path):
    with pytest.raises(FileNotFoundError, match=rf"no such file or folder: .*typo; expected {ARCHIVE} \(from https://"):
        load(NAME, source=tmp_path / "typo")


def adapter_tensors(change):
    def edit(folder):
        path = folder / ADAPTER / "adapter_model.safetensors"
        tensors = {key: tensor.clone() for key, tensor in load_file(path).items()} | change
        save_file({key: tensor for key, tensor in tensors.items() if tensor is not None}, path)

    return edit


def content(file, new):
    return lambda folder: (folder / file).write_bytes(new((folder / file).read_bytes()) if callable(new) else new)


def base(checkpoint):
    return lambda folder: torch.save(checkpoint, folder / BASE)


def another_block(folder):
    state = torch.load(folder / BASE)["state_dict"]
    base({"state_dict": state | {"blocks.1.attn.qkv.weight": torch.ones(9, 3)}})(folder)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (
            adapter_tensors({LORA.format(0, 0, "B"): None}),
            r"missing extractor_list\.0\.model\.blocks\.0\.attn\.qkv\.lora_B",
        ),
        (adapter_tensors({LORA.format(0, 0, "A"): torch.ones(2, 2)}), r"blocks\.0\.attn\.qkv has .*expected rank 3"),
        (
            adapter_tensors({LORA.format(0, 9, x): torch.ones(3, 3) for x in "AB"}),
            r"missing .*blocks\.9\.attn\.qkv\.we",
        ),
        (adapter_tensors({"extra.tensor": torch.ones(1)}), r"unknown tensors extra\.tensor,.*v0\.1 are not supported"),
        (
            adapter_tensors({LORA.format(0, 0, x): None for x in "AB"}),
            "the adapter is empty",
        ),
        (another_block, r"missing extractor_list\.0\.model\.blocks\.1\.attn\.qkv\.lora_A"),
        (lambda folder: edit_config(folder, NAME, use_dora=True), r"asks for \{'use_dora': True\}; expected plain"),
        (lambda folder: edit_config(folder, NAME, bias="lora_only"), "lora_only"),
        (lambda folder: edit_config(folder, NAME, lora_alpha=None), "r 3 and lora_alpha None"),
        (content(f"{ADAPTER}/adapter_config.json", b"<html>"), r"adapter_config\.json is not JSON"),
        (content(f"{ADAPTER}/adapter_config.json", b"\xff\xfe\xfa"), r"adapter_config\.json is not JSON"),
        (content(f"{ADAPTER}/adapter_config.json", b"[1]"), "adapter_config.json is not a JSON object"),
        (
            content(f"{ADAPTER}/adapter_model.safetensors", lambda whole: whole[:-9]),
            r"adapter_model\.safetensors is dam",
        ),
        (content(f"{ADAPTER}/adapter_model.safetensors", b""), r"adapter_model\.safetensors is damaged"),
        (content(BASE, lambda whole: whole[:-100]), rf"{BASE} in .* is damaged or not a PyTorch checkpoint"),
        (content(BASE, b"<html>Not found</html>"), rf"{BASE} in .* is damaged or not a PyTorch checkpoint"),
        (content(BASE, b""), rf"{BASE} in .* is damaged or not a PyTorch checkpoint"),
        (base({"weights": {}}), f"{NAME} have no entry 'state_dict'"),
        (base([torch.ones(2)]), f"{NAME} have no entry 'state_dict'"),
        (base({"state_dict": torch.ones(2)}), f"{NAME} are not a dictionary of tensors"),
        (base({"state_dict": {"a": 1}}), f"{NAME} are not a dictionary of tensors"),
        (base({"state_dict": {"patch_embed.proj.bias": torch.ones(2)}}), r"non-zero patch_embed\.proj\.bias"),
    ],
)
def test_damaged_or_foreign_contents_are_named(tiny, edit, message):
    edit(tiny)
    for source in (tiny, packed(tiny)):
        with pytest.raises(ValueError, match=message):
            read_release(MODELS[NAME], source)


@pytest.mark.parametrize(
    "damage",
    [
        lambda whole: whole[: len(whole) // 2],
        lambda whole: b"",
        lambda whole: b"<html>Not found</html>",
        lambda whole: whole[:150] + bytes(50) + whole[200:],
    ],
    ids=["truncated", "empty", "another file", "overwritten inside"],
)
@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_damaged_archive_is_named(tiny, damage, compression):
    archive = tiny.parent / "release.zip"
    with zipfile.ZipFile(archive, "w", compression) as out:
        for file in (BASE, f"{ADAPTER}/adapter_config.json", f"{ADAPTER}/adapter_model.safetensors"):
            out.write(tiny / file, file)
    assert read_release(MODELS[NAME], archive)
    archive.write_bytes(damage(archive.read_bytes()))
    with pytest.raises(ValueError, match=r"release\.zip.*download it again"):
        read_release(MODELS[NAME], archive)


@pytest.mark.parametrize("member", ["../evil", "a/../../evil", "/evil", "C:\\evil", "c:/evil", "..\\evil", "\\evil"])
def test_members_that_would_leave_the_folder_are_refused_by_name(tiny, member):
    archive = packed(tiny)
    with zipfile.ZipFile(archive, "a") as out:
        out.writestr(member, b"")
    with pytest.raises(ValueError, match="would leave its folder") as caught:
        read_release(MODELS[NAME], archive)
    assert f": {member}; refused" in str(caught.value)


@pytest.mark.parametrize("member", ["./", "..name", "folder/..name/a:b", "", "README"])
def test_other_odd_members_are_not(tiny, member):
    archive = packed(tiny)
    with zipfile.ZipFile(archive, "a") as out:
        out.writestr(zipfile.ZipInfo(member), b"")
    assert read_release(MODELS[NAME], archive)


class Runs:
    """Creates a file when unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("new_format", [True, False])
def test_a_checkpoint_that_would_run_code_does_not(tiny, tmp_path, new_format):
    state = {"state_dict": {"blocks.0.attn.qkv.weight": torch.ones(6, 2)}, "run": Runs(tmp_path / "ran")}
    torch.save(state, tiny / BASE, _use_new_zipfile_serialization=new_format)
    for source in (tiny, packed(tiny)):
        with pytest.raises(ValueError, match=f"{BASE} in .* could run code when loaded; refused"):
            read_release(MODELS[NAME], source)
    assert not (tmp_path / "ran").exists()
    torch.load(tiny / BASE, weights_only=False)
    assert (tmp_path / "ran").exists(), "the checkpoint was harmless: the test said nothing"


def damaged_copies(whole, number):
    random = np.random.default_rng(0)
    for _ in range(number):
        copy = np.frombuffer(whole, np.uint8).copy()
        copy[random.integers(len(copy), size=3)] = random.integers(256, size=3)
        copy[-random.integers(1, 300)] = random.integers(256)  # zip's directory is at the end
        yield copy.tobytes()


def complaints(read, copies):
    """What reading each copy raises, which must be a ValueError of our own."""
    said = []
    for copy in copies:
        try:
            read(copy)
        except ValueError as error:
            said.append(str(error))
    assert len(said) > 100
    return said


@pytest.mark.filterwarnings("ignore")  # torch's, about formats that the damage makes it see
@pytest.mark.parametrize("new_format", [True, False])
def test_whatever_the_damage_a_checkpoint_is_read_or_named(new_format):
    out = io.BytesIO()
    torch.save({"state_dict": {"a": torch.zeros(4)}}, out, _use_new_zipfile_serialization=new_format)
    said = complaints(lambda copy: unpickle(copy, "name"), damaged_copies(out.getvalue(), 300))
    assert all(text.startswith("name ") for text in said)


@pytest.mark.filterwarnings("ignore")
def test_whatever_the_damage_an_archive_is_read_or_named(tiny):
    archive = packed(tiny)
    copies = damaged_copies(archive.read_bytes(), 400)
    said = complaints(lambda copy: (archive.write_bytes(copy), read_release(MODELS[NAME], archive)), copies)
    assert all("release.zip" in text for text in said)


@pytest.mark.parametrize("place", ["release/checkpoints", "release", "hub/checkpoints", "cache/downloads"])
def test_the_hub_file_is_found_in_its_usual_places(tmp_path, place):
    folder = tiny_release(tmp_path / "release", "dino_vitb16")
    expected = read_release(MODELS["dino_vitb16"], folder)
    (tmp_path / place).mkdir(parents=True, exist_ok=True)
    (folder / "checkpoints" / HUB_FILE).rename(tmp_path / place / HUB_FILE)
    for source in (folder, packed(folder)) if "release" not in place else (folder,):
        state = read_release(MODELS["dino_vitb16"], source)
        assert all(torch.equal(state[key], expected[key]) for key in expected)


@pytest.mark.parametrize("name", ["dino_vitb16", "dinov2_vitb14", "ensemble"])
def test_without_the_hub_file_and_network_the_error_says_what_goes_where(tmp_path, name):
    folder = tiny_release(tmp_path / "release", name)
    shutil.rmtree(folder / "checkpoints")
    download = MODELS[name].weights[1]
    with pytest.raises(ConnectionError) as caught:
        load(name, source=folder)
    target = tmp_path / "cache" / "downloads" / download.path.removeprefix("checkpoints/")
    assert f"cannot download {download.url}" in str(caught.value)
    assert f"put the file at {target}" in str(caught.value)


def test_without_weights_and_network_a_named_model_is_one_clear_error(tmp_path, capsys):
    with pytest.raises(ConnectionError, match=rf"cannot download https://.*put the file at .*downloads/{ARCHIVE}"):
        load(NAME)
    assert not find_model_dir(NAME).exists()
    assert cli.main(["download", "--model", NAME]) == 1
    assert capsys.readouterr().err.count("\n") == 1
