"""Feature rules against the plain forward pass of the libraries, on small networks with random weights."""

import pytest
import timm
import torch
from torch import nn

from dreamsim_metric import load
from dreamsim_metric.card import Branch
from dreamsim_metric.models import IMAGENET
from dreamsim_metric.networks.backbone import Backbone
from dreamsim_metric.networks.class_token import ClassTokenBlock
from tests.pictures import PHOTOGRAPHS


@pytest.fixture
def pixels():
    return torch.rand(3, 3, 160, 160, generator=torch.Generator().manual_seed(0))


def _saved(architecture, path, **options):
    """A network with random weights, biases and scales included, and the file that holds them."""
    network = timm.create_model(architecture, **options).eval()
    random = torch.Generator().manual_seed(0)
    for parameter in network.parameters():
        parameter.data += torch.randn(parameter.shape, generator=random) * 0.1
    torch.save(network.state_dict(), path)
    return network


def _normalised(pixels, network):
    mean, std = (torch.tensor(network.pretrained_cfg[key]).view(3, 1, 1) for key in ("mean", "std"))
    return (pixels - mean) / std


RULES = {
    "cls": lambda net, tokens, normed: tokens[:, 0],
    "cls_norm": lambda net, tokens, normed: normed[:, 0],
    "pooled": lambda net, tokens, normed: net.forward_head(normed, pre_logits=True),
    "patch_mean": lambda net, tokens, normed: normed[:, net.num_prefix_tokens :].mean(1),
    "cls_patch": lambda net, tokens, normed: torch.cat([tokens[:, 0], tokens[:, net.num_prefix_tokens :].mean(1)], 1),
    "embedding": lambda net, tokens, normed: net.forward_head(normed),
}


# Plain ViTs, and one with registers and LayerScale.
ARCHITECTURES = ["test_vit", "deit_tiny_patch16_224", "vit_small_patch14_reg4_dinov2"]
CASES = [(net, rule) for net in ARCHITECTURES for rule in RULES if (net, rule) != (ARCHITECTURES[2], "embedding")]


@pytest.mark.parametrize(("architecture", "feature"), CASES)
@torch.no_grad()
def test_token_features_are_those_of_the_whole_network(architecture, feature, tmp_path, pixels):
    size = 112 if "patch14" in architecture else 160
    pixels = pixels[..., :size, :size]
    network = _saved(architecture, tmp_path / "w.pth", img_size=size)
    tokens = network.forward_intermediates(
        _normalised(pixels, network), indices=1, return_prefix_tokens=True, output_fmt="NLC", intermediates_only=True
    )[0]
    tokens = torch.cat([tokens[1], tokens[0]], dim=1)
    expected = RULES[feature](network, tokens, network.norm(tokens))
    metric = load(f"timm:{architecture}#{feature}", source=tmp_path / "w.pth", image_size=size)
    found, largest = metric.embed(pixels, normalize=False), expected.abs().max()
    assert torch.allclose(found, expected, rtol=0, atol=1e-5 * largest)
    assert metric.card.embedding_size == expected.shape[1]


@pytest.mark.parametrize("architecture", ["swin_tiny_patch4_window7_224", "eva02_tiny_patch14_224"])
@torch.no_grad()
def test_networks_with_tables_that_no_file_holds(architecture, tmp_path):
    network = _saved(architecture, tmp_path / "w.pth")
    pixels = torch.rand(1, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    metric = load(f"timm:{architecture}#pooled", source=tmp_path / "w.pth")
    expected = network.forward_head(network.forward_features(_normalised(pixels, network)), pre_logits=True)
    torch.testing.assert_close(metric.embed(pixels, normalize=False), expected, atol=1e-4, rtol=1e-4)


def test_the_last_block_computes_the_class_token_only_where_that_is_exact(tmp_path):
    _saved("test_vit", tmp_path / "w.pth")

    def last_block(feature):
        return type(load(f"timm:test_vit#{feature}", source=tmp_path / "w.pth").branches[0].network.blocks[-1])

    assert last_block("cls") is last_block("pooled") is ClassTokenBlock
    assert last_block("patch_mean") is not ClassTokenBlock
    assert last_block("cls_patch") is not ClassTokenBlock


@torch.no_grad()
def test_a_wrapped_qkv_is_not_bypassed(tmp_path, pixels):
    """peft replaces qkv by a module of its own, whose weights the shortcut would miss."""
    _saved("test_vit", tmp_path / "w.pth")
    metric = load("timm:test_vit#cls", source=tmp_path / "w.pth")
    plain = metric.embed(pixels, normalize=False)
    attention = metric.branches[0].network.blocks[-1].attn

    class Doubled(nn.Module):
        def __init__(self, inner):
            super().__init__()
            self.inner = inner

        def forward(self, x):
            return 2 * self.inner(x)

    attention.qkv = Doubled(attention.qkv)
    assert (metric.embed(pixels, normalize=False) - plain).abs().max() > 1e-3


STAGES = (("std", 0), ("mean", 2), ("mean", 4), ("std", -1))


@torch.no_grad()
def test_stages_are_unit_means_and_deviations_of_the_stage_maps(pixels):
    network = timm.create_model("test_efficientnet", num_classes=0).eval()
    branch = Branch("timm:test_efficientnet", "stages", *IMAGENET, options={"num_classes": 0}, stages=STAGES)
    backbone = Backbone(branch, 160)
    backbone.network.load_state_dict(network.state_dict())
    backbone.eval()
    x = (pixels - backbone.mean) / backbone.std
    maps = {
        **dict(enumerate(timm.create_model("test_efficientnet", features_only=True).feature_info.channels())),
        -1: network.num_features,
    }
    collected = {}
    taps = {0: network.blocks[0], 2: network.blocks[2], 4: network.blocks[-1]}
    handles = [
        module.register_forward_hook(lambda _m, _i, out, stage=stage: collected.__setitem__(stage, out))
        for stage, module in taps.items()
    ]
    collected[-1] = network.forward_features(x)
    for handle in handles:
        handle.remove()
    parts = []
    for statistic, stage in STAGES:
        values = collected[stage].double().flatten(2)
        assert values.shape[1] == maps[stage]
        pooled = (
            values.mean(2) if statistic == "mean" else (((values - values.mean(2, True)) ** 2).mean(2) + 1e-5).sqrt()
        )
        parts.append(pooled / pooled.norm(dim=1, keepdim=True))
    torch.testing.assert_close(backbone(pixels).double(), torch.cat(parts, 1), atol=1e-6, rtol=1e-5)


@torch.no_grad()
def test_stages_by_name_are_the_means_of_all(tmp_path, pixels):
    network = _saved("test_efficientnet", tmp_path / "w.pth")
    maps = network.forward_intermediates(_normalised(pixels, network), intermediates_only=True)
    expected = torch.cat([torch.nn.functional.normalize(values.mean((2, 3))) for values in maps], 1)
    metric = load("timm:test_efficientnet#stages", source=tmp_path / "w.pth")
    torch.testing.assert_close(metric.embed(pixels, normalize=False), expected, atol=1e-5, rtol=1e-5)
    assert metric.card.embedding_size == expected.shape[1]


def test_open_clip_embeddings_and_tokens_are_open_clips_own(tmp_path, pixels):
    import open_clip

    torch.manual_seed(0)
    model = open_clip.create_model("ViT-S-32-alt").eval()
    torch.save(model.state_dict(), tmp_path / "w.pt")
    visual = model.visual
    pixels = torch.nn.functional.interpolate(pixels, (224, 224)).clamp(0, 1)
    x = (pixels - torch.tensor(visual.image_mean).view(3, 1, 1)) / torch.tensor(visual.image_std).view(3, 1, 1)
    before_norm = {}
    visual.transformer.register_forward_hook(lambda _m, _i, out: before_norm.update(tokens=out))
    with torch.no_grad():
        projected = visual(x)
        tokens = before_norm["tokens"]
        normed = visual.ln_post(tokens)
    expected = {
        "embedding": projected,
        "cls": tokens[:, 0],
        "cls_norm": normed[:, 0],
        "patch_mean": normed[:, 1:].mean(1),
        "cls_patch": torch.cat([tokens[:, 0], tokens[:, 1:].mean(1)], 1),
    }
    for feature, value in expected.items():
        metric = load(f"open_clip:ViT-S-32-alt#{feature}", source=tmp_path / "w.pt")
        torch.testing.assert_close(metric.embed(pixels, normalize=False), value, atol=1e-5, rtol=1e-5)
        assert metric.card.embedding_size == value.shape[1]
        assert not any("transformer.resblocks" in name and "text" in name for name, _ in metric.named_parameters())


BAD = [
    ("timm:vit_small_patch14_reg4_dinov2#embedding", "no projection for feature 'embedding'"),
    ("timm:test_vitt", "no model 'test_vitt'; did you mean test_vit"),
    ("timm:test_vit#foo", "got feature 'foo'"),
    ("timm:vit_base_patch16_siglip_224#cls", "no class token"),
    ("timm:resnet18#cls", "no tokens for feature 'cls'"),
    ("open_clip:ViT-B-16/openai", "QuickGELU.*ViT-B-16-quickgelu/openai"),
    ("open_clip:ViT-B-32/nope", "no weights 'nope' for 'ViT-B-32'; it has openai"),
    ("open_clip:ViT-Z-99/openai", "no weights 'openai' for 'ViT-Z-99'"),
]


@pytest.mark.parametrize(("name", "message"), BAD, ids=[name for name, _ in BAD])
def test_networks_and_features_that_do_not_exist_are_refused(name, message, tmp_path):
    source = None
    if name in ("timm:resnet18#cls", "timm:vit_small_patch14_reg4_dinov2#embedding"):
        source = tmp_path / "w.pth"
        torch.save(timm.create_model(name[5:].partition("#")[0]).state_dict(), source)
    with pytest.raises(ValueError, match=message):
        load(name, source=source).embed(PHOTOGRAPHS[0])


def test_a_checkpoint_of_another_network_is_refused(tmp_path):
    torch.save({"something": torch.zeros(1)}, tmp_path / "w.pth")
    with pytest.raises(ValueError, match=r"w\.pth does not hold the weights of timm:test_vit"):
        load("timm:test_vit", source=tmp_path / "w.pth")
    with pytest.raises(FileNotFoundError, match=r"no such checkpoint: .*none\.pth"):
        load("timm:test_vit", source=tmp_path / "none.pth")


def test_missing_pretrained_weights_never_become_random_ones():
    with pytest.raises(ValueError, match="no pretrained weights for vit_base_patch16_xp_224"):
        load("timm:vit_base_patch16_xp_224")
