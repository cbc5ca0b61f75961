"""The example scripts do what they say."""

import json
from collections import Counter

import numpy as np
import pytest
import timm
import torch
import torchvision
from PIL import Image

from dreamsim_metric import PerceptualMetric, load
from dreamsim_metric.images.convert import to_pixels
from dreamsim_metric.judgements.readers import read_triplets
from dreamsim_metric.models import IMAGENET
from examples import timm_weights
from examples.mini import finish, hold_out, triplets
from examples.mini.base import CARD, convert


def test_minis_recipe_takes_torchvisions_names_and_its_branch_is_minis():
    metric = PerceptualMetric(CARD, convert(torchvision.models.mobilenet_v2().state_dict()))
    assert metric.card.branches == load("mini").card.branches


def test_finished_mini_lies_between_the_untuned_and_the_tuned_one(tmp_path):
    """A share `KEPT` of what the head adds, in float16; a card that says how it was made."""
    metric = load("mini")
    torch.manual_seed(0)
    torch.nn.init.normal_(metric.head.fc2.weight, std=0.01)
    metric.save_pretrained(tmp_path / "run")
    finish.main(str(tmp_path / "run"), str(tmp_path / "mini"))
    finished = load(tmp_path / "mini")
    features = torch.rand(5, 2560)
    with torch.inference_mode():
        expected = features + finish.KEPT * (metric.head(features) - features)
        torch.testing.assert_close(finished.head(features), expected, atol=2e-3, rtol=2e-3)
    assert finished.card.training["head scaled by"] == finish.KEPT
    assert load("mini").card.training["head scaled by"] == finish.KEPT


def write_sources(folder):
    """The four sources in their layouts, small: pictures of noise, eight nouns of which six are in THINGS."""
    random = np.random.default_rng(0)
    names = [f"imagenet/n0000000{i}_noun.JPEG" for i in range(8)] + [f"clothing/train/hat/{i}.jpg" for i in range(6)]
    renderings = [f"materials/data/havran1_ennis_298x298_LDR/m{i:02}.jpg" for i in range(24)]
    for name in [*names, *renderings]:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 255, (50, 40, 3), dtype=np.uint8)).save(folder / name, format="JPEG")
    answers = [random.choice(24, 3, replace=False).tolist() for _ in range(300)] + [[0, 1, 23]]
    votes = {"answers": answers, "agreement": [[4, 1]] * 301}
    (folder / "materials" / "data" / "answers_processed_train.json").write_text(json.dumps(votes))
    for name in ("data/files", "embeddings/things"):
        (folder / "vice" / name).mkdir(parents=True)
    concepts = [f"c{i}\tn0000000{i}" for i in range(6)]
    table = "\n".join(["Word\tWordNet ID", *concepts]) + "\n"
    (folder / "vice" / "data" / "files" / "things_concepts.tsv").write_text(table)
    np.save(folder / "vice" / "embeddings" / "things" / "final_embedding.npy", random.random((6, 3)).astype(np.float32))


@pytest.mark.slow
def test_minis_triplets_are_a_table_that_training_reads(tmp_path, monkeypatch):
    write_sources(tmp_path / "sources")
    monkeypatch.setattr(triplets, "THINGS", 60)
    monkeypatch.setattr(triplets, "UNSEEN", 0.5)
    monkeypatch.setattr(triplets, "INSTANCES", 40)
    monkeypatch.setattr(triplets, "TAUGHT", 30)
    network = torchvision.models.vgg16().features
    torch.save({f"features.{k}": v for k, v in network.state_dict().items()}, tmp_path / "sources" / "vgg16.pth")
    triplets.main(str(tmp_path / "sources"), str(tmp_path / "data"), "vgg16.pth")
    table = read_triplets(tmp_path / "data")
    assert not table.problems
    assert Counter(table.splits) == {"train": 301 + 60 + 40 + 2 * 30, "val": 6}
    votes = Counter(np.round(table.votes, 2).tolist())
    weight = triplets.WEIGHT
    assert votes == {5 * weight["materials"]: 301, weight["things"]: 66, weight["instances"]: 40, weight["teacher"]: 60}
    instances = table.index[table.votes == weight["instances"]]
    stems = [[table.pictures[i].stem.partition("_")[0] for i in row] for row in instances]
    assert all(reference == left != right for reference, left, right in stems)
    assert table.right[table.votes == weight["instances"]] == pytest.approx(1 - triplets.CERTAIN)

    taught = np.flatnonzero(table.votes == weight["teacher"])
    normalize = torchvision.transforms.Normalize(*IMAGENET)
    with torch.no_grad():  # of relu5_3, in front of the last pooling
        means = network.eval()[:-1](torch.cat([normalize(to_pixels(p, (224, 224))) for p in table.pictures])).mean(
            (2, 3)
        )
    cosine = torch.nn.functional.normalize(means.double()) @ torch.nn.functional.normalize(means.double()).T
    margin = np.array([cosine[a, c] - cosine[a, b] for a, b, c in table.index[taught]])
    odds = np.log(table.right[taught] / (1 - table.right[taught]))
    for some in (odds[:30], margin[:30]), (odds[30:], margin[30:]):  # standardised in each set of photographs
        assert np.corrcoef(*some)[0, 1] == pytest.approx(1, abs=1e-3)

    embedding = np.load(tmp_path / "sources" / "vice" / "embeddings" / "things" / "final_embedding.npy")
    for row in np.flatnonzero(table.votes == weight["things"]):
        a, b, c = (embedding[int(table.pictures[i].stem[1:9])] for i in table.index[row])
        assert table.right[row] == pytest.approx(np.exp(a @ c) / (np.exp(a @ b) + np.exp(a @ c)), abs=1e-5)

    hold_out.main(str(tmp_path / "data"), str(tmp_path / "held" / "data"), "0")
    held = read_triplets(tmp_path / "held" / "data")
    assert not held.problems
    left_out = held.split("held")
    alone = {picture.resolve() for picture in np.array(left_out.pictures)[np.unique(left_out.index)]}
    train = held.split("train")
    trained = {picture.resolve() for picture in np.array(train.pictures)[np.unique(train.index)]}
    assert len(alone) == hold_out.HELD
    assert not alone & trained


def test_weights_of_other_packages_get_timms_names(tmp_path):
    """EfficientNet-Lite0 as its package names it, made of a network of timm's; MobileNetV2 as torchvision makes it."""
    torch.manual_seed(0)
    pixels = torch.rand(2, 3, 224, 224)
    network = timm.create_model("tf_efficientnet_lite0").eval()
    back = {new: old for old, new in timm_weights.lite0_names().items()}
    split = ((name.rpartition("."), tensor) for name, tensor in network.state_dict().items())
    torch.save({f"{back[module]}.{part}": tensor for (module, _, part), tensor in split}, tmp_path / "lite0.pth")
    other = torchvision.models.mobilenet_v2().eval()
    torch.save(other.state_dict(), tmp_path / "mobile.pth")
    for file, name in (("lite0", "tf_efficientnet_lite0"), ("mobile", "mobilenetv2_100")):
        timm_weights.main(str(tmp_path / f"{file}.pth"), str(tmp_path / f"{file}.safetensors"))
        metric = load(f"timm:{name}#pooled", source=tmp_path / f"{file}.safetensors")
        branch = metric.branches[0]
        with torch.inference_mode():
            x = (pixels - branch.mean) / branch.std
            expected = network.forward_features(x) if file == "lite0" else other.features(x)
            assert torch.allclose(metric.features(pixels), expected.mean((2, 3)), atol=1e-5)
    torch.save({"conv1.weight": torch.zeros(1)}, tmp_path / "resnet.pth")
    with pytest.raises(SystemExit, match=r"has conv1.weight; expected weights of EfficientNet-Lite0"):
        timm_weights.main(str(tmp_path / "resnet.pth"), str(tmp_path / "out.safetensors"))
