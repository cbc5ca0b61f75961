"""Difference maps: the local features of the networks themselves, and the place where something was changed."""

import json
import threading

import numpy as np
import PIL.Image
import pytest
import timm
import torch
import torch.nn.functional as F

from dreamsim_metric import cli, load
from dreamsim_metric.card import Branch, ModelCard
from dreamsim_metric.difference import overlay
from dreamsim_metric.images.convert import to_pixels
from dreamsim_metric.metric import PerceptualMetric
from dreamsim_metric.networks.backbone import Backbone
from tests.judged import HALF, NETWORKS, write_network

PHOTOS = ("examples/astronaut.jpg", "examples/coffee.jpg")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("networks")


@pytest.fixture(scope="module", params=NETWORKS)
def metric(request, folder):
    return load(write_network(folder, request.param))


def expected_map(features_a, features_b, size):
    """float64 cosines, place by place; then torch's upsampling."""
    a, b = (f[0].double().numpy() for f in (features_a, features_b))  # D x h x w
    d = np.zeros(a.shape[1:])
    for i, j in np.ndindex(*d.shape):
        u, v = a[:, i, j], b[:, i, j]
        d[i, j] = 1 - u @ v / np.linalg.norm(u) / np.linalg.norm(v)
    return F.interpolate(torch.from_numpy(d)[None, None], (size, size), mode="bilinear")[0, 0].float()


def untouched(metric):
    """The network as timm makes it, with the metric's weights."""
    branch = metric.card.branches[0]
    options = {"img_size": metric.card.image_size} if "vit" in branch.network else {}
    network = timm.create_model(branch.network.removeprefix("timm:"), num_classes=0, **options).eval()
    state = metric.branches[0].network.state_dict()
    network.load_state_dict(state, strict=False)
    return network


@torch.inference_mode()
def test_maps_are_those_of_the_untouched_network(metric):
    size = metric.card.image_size
    a, b = (to_pixels(photo, (size, size)) for photo in PHOTOS)
    network = untouched(metric)
    if hasattr(network, "blocks") and hasattr(network, "cls_token"):
        network.norm = torch.nn.Identity()  # `cls` and `cls_patch` are before the norm

        def local(x):
            side = round((network.patch_embed.num_patches) ** 0.5)
            return network.forward_features((x - 0.5) / 0.5)[:, 1:].transpose(1, 2).unflatten(2, (side, side))
    else:

        def local(x):
            return network.forward_features((x - 0.5) / 0.5)

    found = metric.difference_map(*PHOTOS)
    assert found.shape == (1, size, size)
    assert torch.allclose(found[0], expected_map(local(a), local(b), size), atol=1e-5)


@torch.inference_mode()
def test_minis_map_is_that_of_its_last_feature_map():
    mini = load("mini")
    maps = []
    for photo in PHOTOS:
        branch = mini.branches[0]
        x = (to_pixels(photo, (224, 224)) - branch.mean) / branch.std
        maps.append(branch.network.forward_features(x).float())
    assert torch.allclose(mini.difference_map(*PHOTOS)[0], expected_map(*maps, 224), atol=1e-5)


@torch.inference_mode()
def test_maps_of_stages_and_of_branches_are_averaged():
    torch.manual_seed(0)
    stages = (("mean", 1), ("std", 2), ("mean", -1))
    cnn = Branch("timm:test_efficientnet", "stages", HALF, HALF, {"num_classes": 0}, stages)
    vit = Branch("timm:test_vit", "patch_mean", HALF, HALF, {"num_classes": 0})

    def made(*branches):
        networks = [Backbone(branch, 48) for branch in branches]
        width = sum(network(torch.zeros(1, 3, 48, 48)).shape[1] for network in networks)
        card = ModelCard("both", "for tests", branches, 48, width, center=False)
        state = {f"branches.{i}.{k}": v for i, network in enumerate(networks) for k, v in network.state_dict().items()}
        return PerceptualMetric(card, state)

    both = made(cnn, vit)
    maps = [[found[:1] for found in branch.local_features(to_pixels(PHOTOS[0], (48, 48)))] for branch in both.branches]
    others = [branch.local_features(to_pixels(PHOTOS[1], (48, 48))) for branch in both.branches]
    assert [len(found) for found in maps] == [3, 1]
    each = [[expected_map(x, y, 48) for x, y in zip(*two, strict=True)] for two in zip(maps, others, strict=True)]
    expected = torch.stack([torch.stack(found).mean(0) for found in each]).mean(0)
    assert torch.allclose(both.difference_map(*PHOTOS)[0], expected, atol=1e-5)


@torch.inference_mode()
def test_open_clip_networks_have_maps(folder):
    import open_clip

    torch.manual_seed(0)
    model = open_clip.create_model("ViT-B-32-quickgelu", pretrained=None)
    torch.save(model.state_dict(), folder / "clip.pt")
    metric = load("open_clip:ViT-B-32-quickgelu#embedding", source=folder / "clip.pt")
    network = metric.branches[0].network
    network.output_tokens = True
    tokens = []
    for photo in PHOTOS:
        x = (to_pixels(photo, (224, 224)) - metric.branches[0].mean) / metric.branches[0].std
        tokens.append(network(x)[1].transpose(1, 2).unflatten(2, (7, 7)))
    network.output_tokens = False
    assert torch.allclose(metric.difference_map(*PHOTOS)[0], expected_map(*tokens, 224), atol=1e-5)


def test_a_picture_differs_nowhere_from_itself(metric):
    assert not metric.difference_map(PHOTOS[0], PHOTOS[0]).any()


def test_maps_are_symmetric_and_do_not_depend_on_the_batch(metric):
    pixels = torch.rand(3, 3, 60, 50)
    together = metric.difference_map(pixels, pixels.flip(0))
    assert together.dtype == torch.float32
    assert torch.allclose(together, metric.difference_map(pixels.flip(0), pixels), atol=1e-6)
    alone = metric.difference_map(pixels[0], pixels[2])
    assert torch.allclose(together[:1], alone, atol=1e-5)
    one_to_many = metric.difference_map(pixels[0], pixels)
    assert one_to_many.shape[0] == 3
    assert torch.allclose(one_to_many[2:], alone, atol=1e-5)
    assert (together >= 0).all()
    assert (together <= 2).all()


@pytest.mark.parametrize("name", ["mini", "vit"])
@pytest.mark.parametrize(("row", "column"), [(0, 0), (0, 1), (1, 0), (1, 1)])
def test_the_changed_quarter_stands_out(name, row, column, folder):
    metric = load("mini") if name == "mini" else load(write_network(folder, "patch", seed=10 + 2 * row + column))
    picture = PIL.Image.open("examples/cat.jpg").convert("RGB").resize((256, 256))
    patch = PIL.Image.open("examples/coffee.jpg").convert("RGB").resize((96, 96))
    changed = picture.copy()
    changed.paste(patch, (16 + 128 * column, 16 + 128 * row))
    found = metric.difference_map(picture, changed)[0]
    half = len(found) // 2
    quarters = found[: 2 * half, : 2 * half].unflatten(0, (2, half)).unflatten(2, (2, half)).mean((1, 3))
    inside = quarters[row, column]
    assert inside > 2 * (quarters.sum() - inside) / 3


def test_nothing_is_left_behind(metric):
    before = metric.embed(list(PHOTOS))
    threads = [threading.Thread(target=metric.difference_map, args=PHOTOS) for _ in range(2)]
    for thread in threads:
        thread.start()
    during = metric.embed(list(PHOTOS))
    for thread in threads:
        thread.join()
    assert torch.equal(before, during)
    assert torch.equal(before, metric.embed(list(PHOTOS)))


def test_maps_have_gradients_to_the_pixels():
    pixels = torch.rand(1, 3, 64, 64, requires_grad=True)
    load("mini").difference_map(pixels, torch.rand(1, 3, 64, 64)).sum().backward()
    assert pixels.grad.abs().sum() > 0


BAD = {
    "unequal numbers": ((torch.rand(2, 3, 8, 8), torch.rand(3, 3, 8, 8)), "got 2 and 3 pictures"),
    "levels as floats": ((torch.full((1, 3, 8, 8), 200.0), torch.rand(1, 3, 8, 8)), "divide by 255"),
}


@pytest.mark.parametrize(("pictures", "message"), BAD.values(), ids=BAD)
def test_bad_input_is_said(pictures, message):
    with pytest.raises(ValueError, match=message):
        load("mini").difference_map(*pictures)


def test_an_overlay_has_the_picture_s_size_and_is_it_where_nothing_differs():
    picture = PIL.Image.open(PHOTOS[0]).convert("RGB")
    assert np.array_equal(np.asarray(overlay(picture, torch.zeros(7, 7))), np.asarray(picture))
    differences = np.zeros((8, 8))
    differences[:4, :4] = 0.5
    drawn = np.asarray(overlay(picture, differences)).astype(int)
    assert drawn.shape == np.asarray(picture).shape
    changed = np.abs(drawn - np.asarray(picture)).sum(2)
    height, width = changed.shape
    assert changed[: height // 3, : width // 3].mean() > 50
    assert not changed[2 * height // 3 :, 2 * width // 3 :].any()
    faint = np.asarray(overlay(picture, differences, highest=50)).astype(int)
    assert np.abs(faint - np.asarray(picture)).sum() < changed.sum()
    with pytest.raises(ValueError, match=r"got a map of shape \(1, 7, 7\)"):
        overlay(picture, torch.zeros(1, 7, 7))


def test_the_command_writes_the_picture_and_says_where(tmp_path, capsys):
    picture = PIL.Image.open(PHOTOS[0]).convert("RGB")
    changed = picture.copy()
    changed.paste(PIL.Image.open(PHOTOS[1]).convert("RGB").resize((160, 160)), (10, 10))
    for name, some in (("a", picture), ("b", changed)):
        some.save(tmp_path / f"{name}.png")
    given = [str(tmp_path / f"{name}.png") for name in ("a", "b")]
    assert cli.main(["difference", *given, "--out", str(tmp_path / "out.png"), "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row["distance"] == pytest.approx(load("mini")(*given).item(), abs=1e-6)
    assert row["at x"] < 170 / picture.width
    assert row["at y"] < 170 / picture.height
    with PIL.Image.open(tmp_path / "out.png") as drawn:
        assert drawn.size == picture.size
    assert cli.main(["difference", *given, "--out", str(tmp_path / "gone" / "out.png")]) == 1
    assert "dreamsim-metric: cannot write" in capsys.readouterr().err
