"""The released checkpoints, held to the released package `dreamsim==0.2.1` on the same files."""

import dataclasses
import itertools

import pytest
import torch

from benchmarks.speed.releases import load_released, write_release
from dreamsim_metric import load
from dreamsim_metric.card import Download
from dreamsim_metric.images.convert import to_pixels
from dreamsim_metric.models import MODELS, OFFICIAL_TYPES
from dreamsim_metric.weights.download import fetch
from tests.pictures import natural_and_noise

TOLERANCE = 1e-6
pytestmark = [  # both about code of the released package
    pytest.mark.filterwarnings("ignore:Already found a `peft_config`:UserWarning"),
    pytest.mark.filterwarnings("ignore:`torch.nn.utils.weight_norm` is deprecated:FutureWarning"),
]
IN_EVERY_RUN = "clip_vitb32"
TYPES = [pytest.param(name, marks=() if name == IN_EVERY_RUN else pytest.mark.slow, id=name) for name in OFFICIAL_TYPES]


@pytest.mark.parametrize("name", TYPES)
def test_embeddings_and_distances_are_those_of_the_released_package(name, tmp_path):
    folder = write_release(tmp_path / "models", name)
    theirs_model, preprocess = load_released(name, folder)
    ours = load(name, source=folder)
    pictures = natural_and_noise()
    pixels = torch.cat([preprocess(picture) for picture in pictures])
    assert torch.equal(pixels, to_pixels(pictures, (224, 224)))
    pairs = list(itertools.combinations(range(len(pictures)), 2))[::3]
    left, right = (list(side) for side in zip(*pairs, strict=True))

    for center in (True, False):
        theirs_model.base_model.model.normalize_embeds = center
        ours.card = dataclasses.replace(ours.card, center=center)
        with torch.no_grad():
            theirs = theirs_model.embed(pixels)
            batch = torch.cat([theirs_model(pixels[left][i : i + 8], pixels[right][i : i + 8]) for i in (0, 8)])
            single = torch.cat([theirs_model(pixels[i : i + 1], pixels[j : j + 1]) for i, j in pairs[::3]])
        if name.endswith("_patch"):  # theirs are tokens, which their forward pools
            theirs = torch.cat([theirs[:, 0], theirs[:, 1:].mean(1)], dim=1)
        assert theirs.shape[1] == MODELS[name].embedding_size
        if center:
            _close(ours.embed(pictures), torch.nn.functional.normalize(theirs, dim=1))
            if not name.endswith("_patch"):
                _close(ours.embed(pictures), theirs)
        else:  # raw features have no unit length: relative to theirs
            lengths = theirs.norm(dim=1, keepdim=True)
            _close(ours.embed(pictures, normalize=False) / lengths, theirs / lengths)
        assert batch.min() > 1e-3, "the distances are too small for the comparison to say anything"
        _close(ours(pixels[left], pixels[right]), batch)
        _close(torch.cat([ours(pictures[i], pictures[j]) for i, j in pairs[::3]]), single)


def _close(ours, theirs):
    error = (ours - theirs).abs().max().item()
    print(f"max |difference| {error:.1e}")
    assert error <= TOLERANCE


@pytest.mark.slow
@pytest.mark.parametrize("size", [336, 448])
@pytest.mark.parametrize("name", ["dino_vitb16", "dinov2_vitb14", "clip_vitb32"])
def test_other_sizes_interpolate_positions_as_released(name, size, tmp_path):
    folder = write_release(tmp_path, name)
    theirs_model, _ = load_released(name, folder)
    pixels = to_pixels(natural_and_noise()[:3], (size, size))
    with torch.no_grad():
        theirs = theirs_model.embed(pixels)
    _close(load(name, source=folder, image_size=size).embed(pixels), theirs)


@pytest.mark.weights
def test_the_released_ensemble_gives_the_distances_of_its_own_demo(tmp_path):
    """README of the released package, v0.2: images/ref_1 against img_a_1 and img_b_1."""
    base = "https://raw.githubusercontent.com/ssundaram21/dreamsim/v0.2.1/images/"
    files = [fetch(Download(f"{base}{name}.png", f"{name}.png"), tmp_path) for name in ("ref_1", "img_a_1", "img_b_1")]
    d = load("ensemble")(files[0], files[1:])
    assert d.tolist() == pytest.approx([0.4453, 0.2756], abs=1e-3)
