"""Models given to the hub and the page that goes with them."""

import json

import pytest
from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

from dreamsim_metric import load
from dreamsim_metric.models import MODELS
from dreamsim_metric.training.config import Config
from dreamsim_metric.training.loop import train
from dreamsim_metric.weights.folder import read_card
from dreamsim_metric.weights.readme import write_readme
from tests.judged import write_network, write_triplets


@pytest.fixture
def tuned(tmp_path, fresh_accelerate):
    return train(
        Config(
            data=write_triplets(tmp_path / "judged"),
            out=tmp_path / "mine",
            model=(str(write_network(tmp_path, "vit")),),
            shared_pictures=True,
            head="mlp",
            hidden=8,
            epochs=1,
            val_fraction=0.2,
            device="cpu",
        )
    )


def test_a_saved_model_says_what_it_is(tuned, tmp_path):
    load(tuned).save_pretrained(tmp_path / "shared")
    text = (tmp_path / "shared" / "README.md").read_text(encoding="utf-8")
    card = read_card(tuned)
    for expected in ("# mine", "tuned on judged", "| triplets |", "| rank | 16 |", "| hidden | 8 |", "## Licence"):
        assert expected in text
    assert f"{card.agreement['judged val 2AFC']:.1f} %" in text
    assert "P(left judged nearer)" in text
    assert str(tmp_path / "judged") not in text, "where things are on this machine is nobody's business"


def test_a_merged_copy_does_not_need_its_base(tuned, tmp_path):
    load(tuned).save_pretrained(tmp_path / "shared")
    for file in (tmp_path / "vit0").iterdir():
        file.unlink()
    (tmp_path / "vit0").rmdir()
    load(tmp_path / "shared")
    with pytest.raises(ValueError, match="unknown model"):
        load(tuned)


@pytest.mark.parametrize("card", MODELS.values(), ids=MODELS)
def test_every_card_has_a_page_with_valid_front_matter(card):
    import yaml

    text = write_readme(card, card.name)
    _, front, body = text.split("---\n", 2)
    assert yaml.safe_load(front)["library_name"] == "dreamsim_metric"
    assert f'model="{card.name}"' in body


def test_what_is_uploaded_is_what_load_takes(tuned, monkeypatch):
    seen = {}

    def create_repo(self, name, **options):
        seen["repository"] = name, options["private"]

    def upload_folder(self, *, repo_id, folder_path, commit_message):
        seen["files"] = {file.name for file in folder_path.iterdir()}
        seen["distance"] = load(folder_path).card
        seen["page"] = (folder_path / "README.md").read_text()
        return "https://hub/commit/1"

    monkeypatch.setattr(HfApi, "create_repo", create_repo)
    monkeypatch.setattr(HfApi, "upload_folder", upload_folder)
    metric = load(tuned)
    assert metric.push_to_hub("me/mine", private=True) == "https://hub/commit/1"
    assert seen["repository"] == ("me/mine", True)
    assert seen["files"] == {"card.json", "model.safetensors", "README.md"}
    assert seen["distance"] == metric.card
    assert 'model="hf:me/mine"' in seen["page"]


class RefusedError(HfHubHTTPError):
    """As the hub's own, without the response that its versions want from different libraries."""

    def __init__(self, text):
        Exception.__init__(self, text)


@pytest.mark.parametrize(
    "error",
    [
        OfflineModeIsEnabled("offline"),
        RefusedError("401"),
        OSError("no route"),
    ],
)
def test_a_hub_that_cannot_be_reached_is_said(monkeypatch, error):
    def refuse(*_, **__):
        raise error

    monkeypatch.setattr(HfApi, "create_repo", refuse)
    with pytest.raises(ConnectionError, match=r"cannot upload to me/mine \(.*logged in"):
        load("mini").push_to_hub("me/mine")


def test_a_name_that_is_no_repository_is_said():
    with pytest.raises(ValueError, match="expected OWNER/REPO"):
        load("mini").push_to_hub("not a repository!")


def test_a_run_is_readable_by_people(tuned):
    config = json.loads((tuned / "config.json").read_text())
    assert config["config"]["rank"] == 16
