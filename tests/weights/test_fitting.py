"""Weights that are damaged or another model's are refused by name, wherever they come from."""

import json
import math
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from dreamsim_metric.loading import load
from dreamsim_metric.metric import PerceptualMetric
from dreamsim_metric.weights.folder import MINI

HEAD, VARIANCE = "head.fc1.weight", "branches.0.network.bn1.running_var"


def changed(name, change):
    def spoil(state):
        state[name] = change(state[name].clone())

    return spoil


def first(value):
    def change(tensor):
        tensor.view(-1)[0] = value
        return tensor

    return change


def all_zeros(state):
    for name in state:
        if ".network." in name:
            state[name] = torch.zeros_like(state[name])


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (changed(HEAD, first(math.nan)), rf"not finite: {HEAD}"),
        (changed(HEAD, first(math.inf)), rf"not finite: {HEAD}"),
        (changed(VARIANCE, first(-1.0)), rf"variances below 0: {VARIANCE}"),
        (changed(HEAD, lambda tensor: tensor.long()), rf"of another type: {HEAD} torch.int64 instead of torch.float32"),
        (changed(HEAD, lambda tensor: tensor.bool()), rf"of another type: {HEAD} torch.bool instead of torch.float32"),
        (all_zeros, "nothing but zeros: branches.0"),
    ],
)
def test_weights_that_cannot_be_are_named(spoil, message):
    metric = load("mini")
    state = metric.state_dict()
    spoil(state)
    with pytest.raises(ValueError, match=message):
        PerceptualMetric(metric.card, state)


def test_large_weights_whose_sum_is_infinite_are_finite():
    metric = load("mini")
    state = {**metric.state_dict(), HEAD: torch.full_like(metric.state_dict()[HEAD], 1e38)}
    PerceptualMetric(metric.card, state)


@pytest.fixture
def mine(tmp_path):
    return shutil.copytree(MINI, tmp_path / "mine")


def test_one_flipped_bit_of_a_saved_model_is_noticed(mine):
    file = mine / "model.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 0x40
    file.write_bytes(content)
    with pytest.raises(ValueError, match=r"model\.safetensors is damaged .* that on card\.json is [0-9a-f]{12}"):
        load(mine)


def test_every_saved_model_has_its_digests(tmp_path, mine):
    assert set(json.loads((MINI / "card.json").read_text())["sha256"]) == {"model.safetensors"}
    metric = load(mine)
    metric.save_pretrained(tmp_path / "saved")
    assert set(json.loads((tmp_path / "saved" / "card.json").read_text())["sha256"]) == {"model.safetensors"}
    assert load(tmp_path / "saved").card == metric.card


def test_a_model_that_its_owner_changed_loads_without_the_digest(mine):
    state = load_file(mine / "model.safetensors")
    save_file({**state, HEAD: 2 * state[HEAD]}, mine / "model.safetensors")
    with pytest.raises(ValueError, match=r"take sha256 out of card\.json"):
        load(mine)
    card = json.loads((mine / "card.json").read_text())
    del card["sha256"]
    (mine / "card.json").write_text(json.dumps(card))
    load(mine)


def test_a_card_with_another_length_of_embeddings_is_refused(tmp_path):
    untuned = load("timm:test_vit", source=saved_vit(tmp_path))
    untuned.save_pretrained(tmp_path / "vit")
    card = json.loads((tmp_path / "vit" / "card.json").read_text())
    (tmp_path / "vit" / "card.json").write_text(json.dumps(card | {"embedding_size": 5}))
    with pytest.raises(ValueError, match="gives 64 numbers; its card has embedding_size 5"):
        load(tmp_path / "vit").embed("examples/cat.jpg")


def saved_vit(folder):
    import timm

    save_file(timm.create_model("test_vit").state_dict(), folder / "vit.safetensors")
    return folder / "vit.safetensors"


def test_a_model_that_is_its_own_base_is_refused(tmp_path):
    one, other = tmp_path / "one", tmp_path / "other"
    card = json.loads((MINI / "card.json").read_text()) | {"sha256": {}, "base_sha256": "0"}
    for folder, base in ((one, other), (other, one)):
        folder.mkdir()
        (folder / "card.json").write_text(json.dumps(card | {"base": [str(base)]}))
        save_file({"head.x": torch.ones(1)}, folder / "head.safetensors")
    with pytest.raises(ValueError, match=r"the base of \S+one is, in the end, \S+one itself"):
        load(one)
