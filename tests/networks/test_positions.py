"""Tables of positions at other sizes: one rule, whichever way a network comes, and that of its authors."""

import numpy as np
import PIL.Image
import pytest
import timm
import torch

from dreamsim_metric import load
from dreamsim_metric.models import MODELS
from dreamsim_metric.networks.positions import resample_positions


def dinos_axis(old, new):
    """One axis of PyTorch's bicubic (a = -0.75, borders repeated, no antialiasing) at DINO's scale, tap by tap."""
    matrix = np.zeros((new, old))
    for i in range(new):
        source = (i + 0.5) * old / (new + 0.1) - 0.5
        for tap in range(int(np.floor(source)) - 1, int(np.floor(source)) + 3):
            x = abs(source - tap)
            near, far = 1.25 * x**3 - 2.25 * x**2 + 1, -0.75 * (x**3 - 5 * x**2 + 8 * x - 4)
            matrix[i, min(max(tap, 0), old - 1)] += near if x <= 1 else far
    return matrix


def by_authors(table, new, placeless, rule):
    """The formula of DINO, or Pillow's bicubic, which is the antialiased one, on each dimension of the table."""
    old = round((len(table) - placeless) ** 0.5)
    grid = table[placeless:].view(old, old, -1).double().numpy()
    if rule == "dino":
        axis = dinos_axis(old, new)
        grid = np.einsum("ia,jb,abd->ijd", axis, axis, grid)
    else:
        planes = (PIL.Image.fromarray(plane.astype(np.float32)) for plane in np.moveaxis(grid, 2, 0))
        grid = np.stack([np.asarray(plane.resize((new, new), PIL.Image.Resampling.BICUBIC)) for plane in planes], 2)
    return torch.cat([table[:placeless].double(), torch.from_numpy(grid).reshape(new * new, -1).double()])


@pytest.mark.parametrize("rule", ["dino", "antialiased"])
@pytest.mark.parametrize("placeless", [0, 1, 2, 5])
@pytest.mark.parametrize(("old", "new"), [(37, 16), (14, 28), (7, 12)])
def test_tables_are_resampled_by_the_rule(old, new, placeless, rule):
    table = torch.randn(placeless + old * old, 5, generator=torch.Generator().manual_seed(0))
    expected = by_authors(table, new, placeless, rule)
    found = resample_positions(table[None], placeless + new * new, rule)
    torch.testing.assert_close(found[0].double(), expected, atol=1e-4, rtol=0)
    assert torch.equal(resample_positions(table, placeless + new * new, rule), found[0])


@pytest.mark.parametrize("rule", ["dino", "antialiased"])
def test_tables_stay_where_there_is_nothing_to_resample(rule):
    table = torch.rand(1, 1 + 14 * 14, 8)
    assert resample_positions(table, 1 + 14 * 14, rule) is table
    assert resample_positions(table, 1 + 200, rule) is table  # no grid: the shapes are for others to name
    constant = torch.full((1, 1 + 37 * 37, 8), 0.3)
    torch.testing.assert_close(
        resample_positions(constant, 1 + 16 * 16, rule), torch.full((1, 1 + 16 * 16, 8), 0.3), atol=1e-6, rtol=0
    )


# Network, size of its pictures, another size, tokens without a place, whose rule.
FAMILIES = [
    ("timm:vit_small_patch16_224.dino#cls_norm", 224, 320, 1, "dino"),
    ("timm:vit_small_patch14_dinov2.lvd142m#cls_norm", 518, 224, 1, "dino"),
    ("timm:vit_small_patch14_reg4_dinov2.lvd142m#cls_norm", 518, 224, 0, "antialiased"),
    ("timm:vit_tiny_patch16_224.augreg_in21k_ft_in1k", 224, 160, 1, "antialiased"),
    ("timm:deit_tiny_distilled_patch16_224.fb_in1k", 224, 256, 2, "antialiased"),
    ("timm:eva02_tiny_patch14_224.mim_in22k", 224, 280, 1, "antialiased"),
    ("timm:vit_pwee_patch16_reg1_gap_256.sbb_in1k", 256, 192, 0, "antialiased"),
    ("open_clip:ViT-S-32-alt", 224, 320, 1, "antialiased"),
]


def written(name, size, file):
    """Random weights, as the network's library keeps them."""
    torch.manual_seed(0)
    library, _, architecture = name.partition("#")[0].partition(":")
    if library == "open_clip":
        import open_clip

        network = open_clip.create_model(architecture)
    else:
        network = timm.create_model(architecture, img_size=size)
    table = network.visual.positional_embedding if library == "open_clip" else network.pos_embed
    torch.nn.init.normal_(table)
    torch.save(network.state_dict(), file)
    return table.detach().reshape(-1, table.shape[-1])


def table_of(metric):
    return next(
        tensor.reshape(-1, tensor.shape[-1])
        for name, tensor in metric.state_dict().items()
        if name.endswith(("pos_embed", "positional_embedding"))
    )


@pytest.mark.parametrize(("name", "own", "other", "placeless", "rule"), FAMILIES, ids=[case[0] for case in FAMILIES])
def test_a_network_has_one_table_whichever_way_it_comes(name, own, other, placeless, rule, tmp_path):
    stored = written(name, own, tmp_path / "w.pth")
    direct = load(name, source=tmp_path / "w.pth", image_size=other)
    grid = round((len(table_of(direct)) - placeless) ** 0.5)
    expected = by_authors(stored, grid, placeless, rule)
    torch.testing.assert_close(table_of(direct).double(), expected, atol=1e-4, rtol=0)
    load(name, source=tmp_path / "w.pth", image_size=own).save_pretrained(tmp_path / "saved")
    again = load(tmp_path / "saved", image_size=other)
    theirs = direct.state_dict()
    assert all(torch.equal(tensor, theirs[key]) for key, tensor in again.state_dict().items())


def test_a_file_of_another_size_is_resampled_once(tmp_path):
    name = "timm:vit_small_patch14_dinov2.lvd142m#cls_norm"
    stored = written(name, 112, tmp_path / "w.pth")
    same = load(name, source=tmp_path / "w.pth", image_size=112)
    assert torch.equal(table_of(same), stored)
    other = load(name, source=tmp_path / "w.pth", image_size=224)
    torch.testing.assert_close(table_of(other).double(), by_authors(stored, 16, 1, "dino"), atol=1e-4, rtol=0)


def test_the_released_branches_follow_the_released_code():
    """Their tables at other sizes are held to the released package in `test_dreamsim.py`."""
    assert {branch.positions for card in MODELS.values() for branch in card.branches} == {"dino"}
