"""The package as a whole: what it imports, and which way."""

import json
import math
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


def card_with(*place, value):
    """A sound card as text, one entry changed."""
    entries = json.loads(MODELS["ensemble"].to_json())
    within = entries
    for step in place[:-1]:
        within = within[step]
    within[place[-1]] = value
    return json.dumps(entries)


CURVE = {"threshold": 0.1, "scale": 0.1, "lapse": 0.0, "judgements": 9, "data": "ours", "error": 0.1}
BAD_CARDS = {
    "not JSON": ("{", "JSONDecodeError"),
    "JSON too deep": ("[" * 200_000, "not a model card .RecursionError"),
    "no branches": ("{}", "it has no name, description, branches, image_size, embedding_size"),
    "a list": ("[]", r"not a model card: the whole is \[\]; expected an object"),
    "unknown field": ('{"branches": [], "colour": 1}', "'colour' is unknown"),
    "size as text": ('{"branches": [], "image_size": "224"}', "image_size is '224'; expected a whole number"),
    "unknown feature": (
        '{"branches": [{"network": "timm:x", "feature": "magic", "mean": [0, 0, 0], "std": [1, 1, 1]}]}',
        r"branches\[0\]\.feature is 'magic'; expected one of cls,",
    ),
    "none at all": (card_with("branches", value=[]), "branches is empty"),
    "size 0": (card_with("image_size", value=0), "image_size is 0; expected a number from 1 to"),
    "size below 0": (card_with("image_size", value=-5), "image_size is -5; expected"),
    "size of 10 GB": (card_with("image_size", value=100_000), "image_size is 100000; expected"),
    "size with 5,000 digits": (card_with("image_size", value=10**4000), "image_size is 0x|not a model card"),
    "size that is true": (card_with("image_size", value=True), "image_size is True; expected a whole number"),
    "embedding of none": (card_with("embedding_size", value=0), "embedding_size is 0; expected"),
    "mean NaN": (
        card_with("branches", 0, "mean", 1, value=math.nan),
        r"branches\[0\]\.mean\[1\] is nan; expected a finite number",
    ),
    "mean of text": (card_with("branches", 1, "mean", 0, value="a"), r"branches\[1\]\.mean\[0\] is 'a'; expected"),
    "mean too short": (card_with("branches", 0, "mean", value=[0.5]), r"branches\[0\]\.mean is .*a list of 3"),
    "mean of bools": (card_with("branches", 0, "mean", value=[True] * 3), r"branches\[0\]\.mean\[0\] is True"),
    "std 0": (card_with("branches", 0, "std", 2, value=0), r"branches\[0\]: std\[2\] is 0; expected a number from"),
    "std below 0": (card_with("branches", 0, "std", 2, value=-1.0), r"branches\[0\]: std\[2\] is -1.0; expected"),
    "std huge": (card_with("branches", 0, "std", 2, value=1e308), r"branches\[0\]: std\[2\] is 1e\+308; expected"),
    "network 5": (card_with("branches", 0, "network", value=5), r"branches\[0\]\.network is 5; expected text"),
    "network elsewhere": (
        card_with("branches", 0, "network", value="timm:hf-hub:someone/net"),
        "got network 'timm:hf-hub:someone/net'; expected timm:NAME",
    ),
    "options a list": (
        card_with("branches", 0, "options", value=[]),
        r"options is \[\]; expected an object",
    ),
    "option that names a file": (
        card_with("branches", 0, "options", "checkpoint_path", value="/tmp/a.pth"),
        r"branches\[0\]\.options has checkpoint_path '/tmp/a.pth'; expected num_classes",
    ),
    "option that is an address": (
        card_with("branches", 2, "options", "pretrained_cfg", value={"url": "https://example.org"}),
        r"branches\[2\]\.options has pretrained_cfg",
    ),
    "classes without end": (card_with("branches", 0, "options", "num_classes", value=10**9), "options has num_classes"),
    "hidden 2.5": (card_with("head", value={"kind": "mlp", "hidden": 2.5}), r"head\.hidden is 2.5; expected a whole"),
    "unknown statistic": (
        card_with("branches", 0, "stages", value=[["median", 0]]),
        r"branches\[0\]\.stages\[0\]\[0\] is 'median'; expected one of mean, std",
    ),
    "stage as text": (card_with("branches", 0, "stages", value=[["mean", "0"]]), r"stages\[0\]\[1\] is '0'; expected"),
    "center a text": (card_with("center", value="yes"), "center is 'yes'; expected true or false"),
    "agreement a text": (card_with("agreement", "ours", value="y"), r"agreement\['ours'\] is 'y'; expected a finite"),
    "training without data": (card_with("training", value={"rank": 2}), "training.data is None; expected the name"),
    "base a text": (card_with("base", value="mini"), "base is 'mini'; expected a list"),
    "curve of scale 0": (card_with("left", value={**CURVE, "scale": 0}), "left: scale is 0; expected"),
    "curve without data": (card_with("same", value={"threshold": 1}), r"it has no same\.scale, same\.lapse"),
}


@pytest.mark.parametrize(("text", "message"), BAD_CARDS.values(), ids=BAD_CARDS)
def test_damaged_cards_are_refused(text, message):
    with pytest.raises(ValueError, match=message):
        ModelCard.from_json(text)


def test_stages_go_with_the_stages_feature_only():
    with pytest.raises(ValueError, match="they go together"):
        Branch("timm:x", "pooled", (0, 0, 0), (1, 1, 1), stages=(("mean", 1),))
