"""Heads: they begin as nothing, and count in float32."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from dreamsim_metric import load
from dreamsim_metric.card import Branch, Head, ModelCard
from dreamsim_metric.metric import PerceptualMetric
from dreamsim_metric.networks.heads import create_head
from dreamsim_metric.training.config import list_presets
from dreamsim_metric.weights.folder import MINI, read_card


@pytest.mark.parametrize("head", [Head("mlp", 7), Head("linear"), None])
def test_a_new_head_changes_nothing(head):
    x = torch.randn(5, 12)
    torch.testing.assert_close(create_head(head, 12)(x), x, rtol=0, atol=0)


def test_the_mlp_is_two_layers_with_a_relu_between_and_the_input_added():
    head = create_head(Head("mlp", 7), 4)
    torch.nn.init.normal_(head.fc2.weight)
    torch.nn.init.normal_(head.fc2.bias)
    x = torch.randn(3, 4)
    hidden = torch.clamp(x @ head.fc1.weight.T + head.fc1.bias, min=0)
    torch.testing.assert_close(head(x), x + hidden @ head.fc2.weight.T + head.fc2.bias)


@pytest.mark.parametrize(("kind", "hidden"), [("conv", 4), ("mlp", 0)])
def test_other_heads_are_refused(kind, hidden):
    with pytest.raises(ValueError, match="expected mlp or linear"):
        Head(kind, hidden)


def _without_head():
    mini = load("mini")
    state = {name: tensor for name, tensor in mini.state_dict().items() if not name.startswith("head.")}
    return PerceptualMetric(replace(mini.card, head=None), state)


def _with_head():
    plain = _without_head()
    card = replace(plain.card, head=Head("mlp", 8))
    torch.manual_seed(0)
    head = create_head(card.head, card.embedding_size)
    torch.nn.init.normal_(head.fc2.weight, std=0.1)
    return PerceptualMetric(card, plain.state_dict() | {f"head.{k}": v for k, v in head.state_dict().items()})


def test_a_head_is_between_the_features_and_the_distance():
    metric = _with_head()
    a, b = torch.rand(2, 1, 3, 64, 64)
    raw = [_without_head().embed(x, normalize=False) for x in (a, b)]
    u, v = (torch.nn.functional.normalize(metric.head(x), dim=1) for x in raw)
    torch.testing.assert_close(metric(a, b), 1 - (u * v).sum(1), rtol=0, atol=1e-6)
    torch.testing.assert_close(metric.embed(a, normalize=False), metric.head(raw[0]), rtol=1e-5, atol=1e-5)


def test_a_head_stays_in_float32_when_the_networks_do_not():
    metric = _with_head()
    a, b = torch.rand(2, 2, 3, 64, 64)
    expected = metric(a, b)
    assert {p.dtype for p in metric.half().head.parameters()} == {torch.float32}
    d = metric.bfloat16()(a, b)
    assert d.dtype == torch.float32
    torch.testing.assert_close(d, expected, rtol=0.1, atol=0.02)


def test_autocast_does_not_touch_the_last_steps():
    metric = _with_head()
    features = metric.features(torch.rand(2, 3, 224, 224))
    with torch.autocast("cpu", torch.bfloat16):
        inside = metric.to_unit(features)
    torch.testing.assert_close(inside, metric.to_unit(features), rtol=0, atol=0)


def test_a_head_on_tokens_that_are_centred_is_refused():
    branch = Branch("timm:test_vit", "cls_patch", (0.5,) * 3, (0.5,) * 3, {"num_classes": 0})
    with pytest.raises(ValueError, match="center=False"):
        PerceptualMetric(ModelCard("x", "", (branch,), 160, 128, center=True, head=Head("linear")), {})


def test_minis_head_is_the_one_that_the_preset_goes_on_with():
    assert read_card(MINI).head == list_presets(Path(), Path())["mini"][1].tuned_head
