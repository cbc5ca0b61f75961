"""A picture has one embedding, alone and beside others: of networks of timm and open_clip, with random weights."""

import collections

import pytest
import timm
import torch
from timm.models import model_entrypoint

from dreamsim_metric import load

TOLERANCE = 1e-5  # of the largest number; float32 sums in another order stay within 1e-6
# Families of the networks that README, docs and benchmarks name, at sizes that are quick; and those that failed once.
NAMED = {
    "timm:mobilenetv2_100#pooled": 96,
    "timm:tf_efficientnet_lite0#pooled": 96,
    "timm:vit_small_patch16_224.dino#cls": 96,
    "timm:vit_small_patch14_dinov2.lvd142m#cls_norm": 56,
    "timm:vit_small_patch14_reg4_dinov2.lvd142m#cls_patch": 56,
    "timm:deit_tiny_distilled_patch16_224#pooled": 96,
    "timm:gcvit_xxtiny#pooled": 224,
    "open_clip:ViT-S-32-alt#embedding": 96,
}


def differences(compute, pixels):
    """How far a picture's numbers are from those in a batch, and in one of another order, of the largest number."""
    together = compute(pixels)
    alone = torch.cat([compute(pixels[i : i + 1]) for i in range(len(pixels))])
    turned = compute(pixels.flip(0)).flip(0)
    largest = together.abs().max()
    assert largest > 0
    return max(((other - together).abs().max() / largest).item() for other in (alone, turned))


@pytest.mark.parametrize(("name", "size"), NAMED.items(), ids=list(NAMED))
def test_a_picture_has_one_embedding_whatever_is_beside_it(name, size, tmp_path):
    torch.manual_seed(0)
    library, _, architecture = name.partition("#")[0].partition(":")
    if library == "open_clip":
        import open_clip

        network = open_clip.create_model(architecture)
    else:
        network = timm.create_model(architecture)
    torch.save(network.state_dict(), tmp_path / "w.pth")
    metric = load(name, source=tmp_path / "w.pth", image_size=size)
    pixels = torch.rand(3, 3, size, size)
    assert differences(lambda some: metric.embed(some, normalize=False), pixels) <= TOLERANCE


def small_networks():
    """A small network of each of timm's modules, by the words that it calls sizes by."""
    words = (
        "test",
        "femto",
        "atto",
        "xxt",
        "pico",
        "nano",
        "micro",
        "xxs",
        "tiny",
        "mini",
        "xs",
        "_s0",
        "small",
        "lite",
    )
    by_module = collections.defaultdict(list)
    for name in timm.list_models():
        by_module[model_entrypoint(name).__module__.rpartition(".")[2]].append(name)

    def rank(name):
        return next((i for i, word in enumerate(words) if word in name), len(words)), len(name), name

    return {module: min(names, key=rank) for module, names in sorted(by_module.items())}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # timm's, of what it is about to rename
@pytest.mark.parametrize(("module", "name"), small_networks().items(), ids=list(small_networks()))
@torch.inference_mode()
def test_no_family_of_timm_mixes_the_pictures_of_a_batch(module, name):
    torch.manual_seed(0)
    network = timm.create_model(name, num_classes=0).eval()  # some begin with a classifier of zeros
    assert differences(network, torch.rand(3, *network.pretrained_cfg["input_size"])) <= TOLERANCE
