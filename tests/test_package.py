"""The package as a whole: what it imports, and which way."""

import re

import pytest

import dreamsim_metric
from dreamsim_metric.card import Branch, ModelCard
from dreamsim_metric.models import MODELS
from tests.places import ROOT


def test_a_name_that_is_not_public_is_answered_with_those_that_are():
    with pytest.raises(AttributeError, match="no attribute 'similarity'; it has"):
        dreamsim_metric.similarity  # noqa: B018  # asking for it is the test


def test_the_version_has_its_place_in_the_changelog():
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.search(rf"^## {re.escape(dreamsim_metric.__version__)}\b", changelog, re.M)


@pytest.mark.parametrize("card", MODELS.values(), ids=MODELS)
def test_cards_survive_json(card):
    assert ModelCard.from_json(card.to_json()) == card


BAD_CARDS = {
    "not JSON": ("{", "JSONDecodeError"),
    "no branches": ("{}", "KeyError: 'branches'"),
    "a list": ("[]", "not a model card"),
    "unknown field": ('{"branches": [], "colour": 1}', "colour"),
    "size as text": ('{"branches": [], "image_size": "224"}', "image_size is '224', not int"),
    "unknown feature": (
        '{"branches": [{"network": "timm:x", "feature": "magic", "mean": [0, 0, 0], "std": [1, 1, 1]}]}',
        "got feature 'magic'",
    ),
}


@pytest.mark.parametrize(("text", "message"), BAD_CARDS.values(), ids=BAD_CARDS)
def test_damaged_cards_are_refused(text, message):
    with pytest.raises(ValueError, match=message):
        ModelCard.from_json(text)


def test_stages_go_with_the_stages_feature_only():
    with pytest.raises(ValueError, match="they go together"):
        Branch("timm:x", "pooled", (0, 0, 0), (1, 1, 1), stages=(("mean", 1),))
