"""Models in our own format: a folder that is written whole or not at all, and whose damage is named."""

from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file

from dreamsim_metric.card import Branch, Head, ModelCard
from dreamsim_metric.models import MODELS
from dreamsim_metric.weights.folder import Tuned, read_folder, write_folder, write_tuned

CARD = ModelCard("tiny", "for tests", (Branch("timm:test_vit", "cls", (0.5,) * 3, (0.5,) * 3),), 160, 64)
STATE = {"a": torch.arange(6.0).reshape(2, 3).T, "b": torch.zeros((), dtype=torch.int64)}


def names(folder):
    return sorted(file.name for file in folder.iterdir() if file.suffix != ".lock")


def test_a_folder_reads_as_written(tmp_path):
    for card in (CARD, MODELS["ensemble"]):
        write_folder(tmp_path / "deep" / card.name, card, STATE)
        read, state = read_folder(tmp_path / "deep" / card.name)
        assert read == card
        assert state.keys() == STATE.keys()
        assert all(torch.equal(state[name], STATE[name]) and state[name].dtype == STATE[name].dtype for name in STATE)
    assert names(tmp_path / "deep") == ["ensemble", "tiny"]


def damaged(change, content=None):
    def damage(folder):
        file = folder / change
        if content is None:
            return file.unlink()
        return file.write_bytes(content(file.read_bytes()) if callable(content) else content)

    return damage


@pytest.mark.parametrize(
    ("damage", "kind", "message"),
    [
        (damaged("model.safetensors", lambda whole: whole[:-3]), ValueError, r"model\.safetensors is damaged or half"),
        (damaged("model.safetensors", lambda whole: whole[:20]), ValueError, r"model\.safetensors is damaged or half"),
        (damaged("model.safetensors", b""), ValueError, r"model\.safetensors is damaged or half"),
        (damaged("model.safetensors", b"\xff" * 100), ValueError, r"model\.safetensors is damaged or half"),
        (damaged("model.safetensors"), FileNotFoundError, r"has no model\.safetensors; expected"),
        (damaged("card.json"), FileNotFoundError, r"has no card\.json; expected"),
        (damaged("card.json", b""), ValueError, r"tiny/card\.json: not a model card"),
        (damaged("card.json", b"[]"), ValueError, r"tiny/card\.json: not a model card"),
        (damaged("card.json", b"{}"), ValueError, r"tiny/card\.json: not a model card.*branches"),
        (damaged("card.json", b"\xff"), ValueError, r"tiny/card\.json: "),
        (
            damaged("card.json", lambda whole: whole.replace(b'"image_size"', b'"size"')),
            ValueError,
            r"tiny/card\.json: not a model card.*size",
        ),
        (
            damaged("card.json", lambda whole: whole.replace(b'"cls"', b'"clss"')),
            ValueError,
            r"tiny/card\.json: not a model card: branches\[0\]\.feature is 'clss'; expected one of cls,",
        ),
    ],
)
def test_a_damaged_folder_is_named(tmp_path, damage, kind, message):
    write_folder(tmp_path / "tiny", CARD, STATE)
    damage(tmp_path / "tiny")
    with pytest.raises(kind, match=message):
        read_folder(tmp_path / "tiny")


def test_an_existing_folder_is_not_written_over(tmp_path):
    (tmp_path / "tiny").mkdir()
    with pytest.raises(FileExistsError, match="tiny exists already; remove it or choose another name"):
        write_folder(tmp_path / "tiny", CARD, STATE)
    assert names(tmp_path / "tiny") == []


BASED = replace(CARD, base=("timm:test_vit",), training={"data": "ours", "rank": 2})
TUNED = Tuned(
    {f"m.lora_{x}.weight": torch.ones(2, 2) for x in "AB"},
    {"r": 2, "lora_alpha": 2, "target_modules": ["m"]},
    {"head.weight": torch.ones(2, 2)},
)


@pytest.mark.parametrize(
    ("lost", "kind", "message"),
    [
        (
            ["adapter_model.safetensors"],
            FileNotFoundError,
            r"no adapter_model\.safetensors, and was tuned with one",
        ),
        (["adapter_model.safetensors", "adapter_config.json"], FileNotFoundError, r"has no adapter_model\.safetensors"),
        (["adapter_config.json"], FileNotFoundError, r"adapter_config\.json"),
    ],
)
def test_an_adapter_that_is_not_there_is_missed(tmp_path, lost, kind, message):
    write_tuned(tmp_path, BASED, TUNED)
    assert read_folder(tmp_path)[1].adapter.keys() == TUNED.adapter.keys()
    for name in lost:
        (tmp_path / name).unlink()
    with pytest.raises(kind, match=message):
        read_folder(tmp_path)


def test_a_head_that_is_not_there_is_missed_and_one_that_is_damaged_noticed(tmp_path):
    card = replace(BASED, head=Head("linear"))
    write_tuned(tmp_path, card, TUNED)
    assert read_folder(tmp_path)[0] == card
    content = (tmp_path / "head.safetensors").read_bytes()
    (tmp_path / "head.safetensors").write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(ValueError, match=r"head\.safetensors is damaged"):
        read_folder(tmp_path)
    (tmp_path / "head.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match=r"no head\.safetensors, and was tuned with one"):
        read_folder(tmp_path)


def test_an_adapter_without_tensors_is_refused(tmp_path):
    write_tuned(tmp_path, BASED, TUNED)
    save_file({}, tmp_path / "adapter_model.safetensors")
    with pytest.raises(ValueError, match=r"adapter_model\.safetensors is empty"):
        read_folder(tmp_path)


@pytest.mark.parametrize(
    "error", [RuntimeError("I/O error: No space left on device (os error 28)"), KeyboardInterrupt()]
)
def test_a_folder_is_written_whole_or_not_at_all(tmp_path, monkeypatch, error):
    def half(tensors, path):
        path.write_bytes(b"half of it")
        raise error

    monkeypatch.setattr("safetensors.torch.save_file", half)
    expected = KeyboardInterrupt if isinstance(error, KeyboardInterrupt) else OSError
    with pytest.raises(expected):
        write_folder(tmp_path / "tiny", CARD, STATE)
    assert names(tmp_path) == []
