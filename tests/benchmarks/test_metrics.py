"""Metrics of other libraries behind one interface give the numbers that those libraries give."""

import os
import pickle
import warnings
from functools import partial
from pathlib import Path

import lpips
import numpy as np
import PIL.Image
import PIL.ImageFilter
import piq
import pytest
import torch
from torchmetrics.functional.image import structural_similarity_index_measure
from torchvision.models import vgg16

from benchmarks.metrics.base import Options, Unmeasurable
from benchmarks.metrics.compare import compare_pairs
from benchmarks.metrics.lpips import LPIPS
from benchmarks.metrics.registry import find_metrics
from benchmarks.metrics.trunks import read_trunk
from dreamsim_metric import load
from dreamsim_metric.images.convert import to_pixels
from dreamsim_metric.scale.cache import Cache
from tests.judged import write_network
from tests.trunks import write_dists, write_trunks

CAT, COFFEE = "examples/cat.jpg", "examples/coffee.jpg"


@pytest.fixture(scope="module")
def pictures():
    """Two photographs as (1, 3, 180, 200) in [0, 1]."""
    return to_pixels(CAT, (180, 200)), to_pixels(COFFEE, (180, 200))


@pytest.fixture(scope="module")
def trunks(tmp_path_factory):
    """Random trunks in the formats that they come in."""
    folder = write_trunks(tmp_path_factory.mktemp("trunks"))
    write_dists(folder / "dists.pt")
    return folder


def make(name, *weights):
    return find_metrics([name])[name](Options(weights))


def measured(metric, a, b):
    with torch.inference_mode():
        return metric.compare(metric.features(a), metric.features(b))


FORMULAS = {
    "psnr": piq.psnr,
    "ssim": partial(piq.ssim, downsample=False),
    "gmsd": piq.gmsd,
    "ms-gmsd": piq.multi_scale_gmsd,
    "vif": piq.vif_p,
    "fsim": piq.fsim,
    "vsi": piq.vsi,
    "haarpsi": piq.haarpsi,
    "mdsi": piq.mdsi,
    "sr-sim": piq.srsim,
    "dss": piq.dss,
    "ms-ssim": piq.multi_scale_ssim,
    "iw-ssim": piq.information_weighted_ssim,
}


@pytest.mark.parametrize("name", FORMULAS)
def test_formulas_are_piqs_and_say_their_direction(name, pictures):
    a, b = pictures
    metric = make(name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = FORMULAS[name](b, a, data_range=1.0, reduction="none").item()
    assert measured(metric, a, b).item() == pytest.approx(expected, abs=1e-6)
    itself = measured(metric, a, a).item()
    assert (itself > expected) == (metric.card.direction == "similarity")
    low, high = metric.card.range
    assert low <= min(expected, itself)
    assert max(expected, itself) <= high + 1e-5  # some are a rounding above 1 for a picture and itself


@pytest.mark.parametrize("name", FORMULAS)
def test_a_formula_scores_a_pair_alike_alone_and_among_others(name, pictures):
    a, b = pictures
    both = measured(make(name), torch.cat([a, a.flip(-1)]), torch.cat([b, a]))
    alone = [measured(make(name), x, y).item() for x, y in ((a, b), (a.flip(-1), a))]
    assert both.tolist() == pytest.approx(alone, abs=1e-6)


ELSEWHERE = {  # coffee.jpg, 600 × 400, and itself blurred by a Gaussian of 2 pixels
    "psnr": {"torchmetrics 1.9.0": 25.61758},
    "ssim": {"scikit-image 0.26.0": 0.722793, "pytorch-msssim 1.0.0": 0.722795, "pyiqa 0.1.16": 0.722794},
    "ms-ssim": {"pytorch-msssim 1.0.0": 0.923130, "torchmetrics 1.9.0": 0.923132, "piqa 1.3.2": 0.923119},
    "fsim": {"pyiqa 0.1.16": 0.912538},
    "vsi": {"pyiqa 0.1.16": 0.977987},
    "gmsd": {"pyiqa 0.1.16": 0.108107, "piqa 1.3.2": 0.108138},
    "ms-gmsd": {"piqa 1.3.2": 0.116335},
    "haarpsi": {"piqa 1.3.2": 0.751484},
}


@pytest.fixture(scope="module")
def blurred():
    photograph = PIL.Image.open(COFFEE)
    return to_pixels(photograph, None), to_pixels(photograph.filter(PIL.ImageFilter.GaussianBlur(2)), None)


@pytest.mark.parametrize("name", ELSEWHERE)
def test_formulas_have_the_numbers_of_other_packages_on_a_picture_that_some_would_shrink(name, blurred):
    """Figures of packages at the versions named, each at the settings of the paper (of pyiqa's, `ssimc`)."""
    found = measured(make(name), *blurred).item()
    for package, expected in ELSEWHERE[name].items():
        assert found == pytest.approx(expected, abs=5e-5), package


def test_ssim_is_torchmetrics_inside_the_border(blurred):
    a, b = blurred
    _, whole = structural_similarity_index_measure(b, a, data_range=1.0, return_full_image=True)
    assert measured(make("ssim"), a, b).item() == pytest.approx(whole[..., 5:-5, 5:-5].mean().item(), abs=2e-5)
    assert "as it is" in make("ssim").card.preprocessing


SHRINKING = {"fsim": "/ 256", "vsi": "/ 256", "mdsi": "/ 256", "sr-sim": "/ 256", "gmsd": "half", "haarpsi": "half"}


@pytest.mark.parametrize("name", ["psnr", "ssim", "ms-ssim", "vif", "ms-gmsd", *SHRINKING])
def test_cards_say_which_formulas_shrink_large_pictures(name):
    """A checkerboard of single pixels is flat when it has been averaged down, and its inverse is then its equal."""
    board = torch.zeros(1, 3, 384, 384)
    board[..., ::2, ::2] = board[..., 1::2, 1::2] = 1
    metric = make(name)
    itself, inverse = (measured(metric, board, other).item() for other in (board, 1 - board))
    shrinks = abs(itself - inverse) < 1e-3
    assert shrinks == (name in SHRINKING) or name == "vsi"  # whose border is repeated before it is averaged
    assert SHRINKING.get(name, "as it is") in metric.card.preprocessing


@pytest.mark.parametrize(("name", "least"), [("ssim", 11), ("ms-ssim", 161), ("iw-ssim", 161), ("vif", 41)])
def test_pictures_too_small_for_a_formula_are_unmeasurable(name, least, tmp_path):
    random = np.random.default_rng(0)
    for i, side in enumerate((least, least, least - 1, least - 1)):
        PIL.Image.fromarray(random.integers(0, 256, (side, side, 3), dtype=np.uint8)).save(tmp_path / f"{i}.png")
    files = [tmp_path / f"{i}.png" for i in range(4)]
    cache = Cache(tmp_path / "cache.sqlite")
    assert np.isfinite(compare_pairs(make(name), files[:2], np.array([[0, 1]]), cache)).all()
    with pytest.raises(Unmeasurable, match=f"cannot compare such pictures: .*{least - 1}|expected at least {least}"):
        compare_pairs(make(name), files[2:], np.array([[0, 1]]), cache)


@pytest.mark.parametrize("file", ["alex.pth", "alex.pt", "alexnet.ckpt", "vgg.pth", "vgg16.ckpt"])
def test_lpips_is_the_package_with_the_trunk_of_the_file(file, trunks, pictures):
    a, b = pictures
    kind = "alex" if file.startswith("alex") else "vgg"
    metric = make(f"lpips-{kind}", trunks / file)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        package = lpips.LPIPS(net=kind, pnet_rand=True, verbose=False)
    reference = torch.load(trunks / f"{kind}.pth", weights_only=True)
    with torch.no_grad():
        for name, parameter in package.net.named_parameters():
            parameter.copy_(reference["features." + name.partition(".")[2]])
        expected = package(a, b, normalize=True).item()
    assert measured(metric, a, b).item() == pytest.approx(expected, rel=1e-5)
    assert measured(metric, a, a).item() == 0


# LPIPS (AlexNet) from the reference to left and right, in the order of the project page's `triplet_info.txt`. The
# pictures `triplets/tripletN_*.png` are numbered by its lines, and the second of each three is the reference.
PUBLISHED = (
    (0.5848354697, 0.6371653676),
    (0.7032673955, 0.6846778393),
    (0.6661412120, 0.7671132088),
    (0.6822073460, 0.6929465532),
    (0.7918524742, 0.7587180734),
    (0.7936159968, 0.8075497150),
)


@pytest.mark.weights
def test_lpips_of_the_published_triplets_is_as_published():
    """On the six triplets of DreamSim's project page, with the real trunk.

    NIGHTS_PAGE: a clone of github.com/dreamsim-nights/dreamsim-nights.github.io; LPIPS_ALEX: the trunk's file.
    """
    pictures = Path(os.environ["NIGHTS_PAGE"]) / "webpage_assets" / "triplets"
    metric = make("lpips-alex", Path(os.environ["LPIPS_ALEX"]))
    for number, published in enumerate(PUBLISHED, start=1):
        left, reference, right = (metric.read(pictures / f"triplet{number}_{which}.png")[None] for which in (1, 2, 3))
        found = [measured(metric, reference, other).item() for other in (left, right)]
        assert found == pytest.approx(published, abs=1e-4)


def test_dists_is_piqs_with_the_weights_of_the_files(trunks, pictures, monkeypatch):
    a, b = pictures
    metric = make("dists", trunks / "vgg16.ckpt", trunks / "dists.pt")
    own = torch.load(trunks / "dists.pt", weights_only=True)
    total = own["alpha"].sum() + own["beta"].sum()
    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", lambda *_, **__: {k: v / total for k, v in own.items()})
    network = vgg16()
    trunk = torch.load(trunks / "vgg.pth", weights_only=True)
    network.load_state_dict({k: v for k, v in trunk.items() if k.startswith("features")}, strict=False)
    monkeypatch.setattr("piq.perceptual.vgg16", lambda **_: network)
    expected = piq.DISTS(reduction="none")(b, a).item()
    assert measured(metric, a, b).item() == pytest.approx(expected, abs=1e-6)


PACKAGES = {
    "lpips-alex": (lpips.LPIPS, "lpips.normalize_tensor", ["alexnet.ckpt"]),
    "dists": (piq.DISTS, "piq.DISTS.compute_distance", ["vgg16.ckpt", "dists.pt"]),
}


@pytest.mark.parametrize("name", PACKAGES)
def test_a_package_that_changed_inside_is_run_whole(name, trunks, pictures, monkeypatch):
    kind, part, files = PACKAGES[name]
    before, plain = make(name, *(trunks / file for file in files)), kind.forward
    assert len(before.features(pictures[0])) > 1
    monkeypatch.setattr(kind, "forward", lambda module, *given, **told: 2 * plain(module, *given, **told))
    found = make(name, *(trunks / file for file in files))
    assert torch.allclose(measured(found, *pictures), 2 * measured(before, *pictures), rtol=1e-5, atol=0)
    monkeypatch.setattr(kind, "forward", lambda module, a, b, **told: (a - b).abs().mean((1, 2, 3)))
    monkeypatch.delattr(part)
    found = make(name, *(trunks / file for file in files))
    assert torch.equal(measured(found, *pictures), (pictures[0] - pictures[1]).abs().mean((1, 2, 3)))


def test_large_pictures_are_shrunk_for_dists_and_small_ones_left(trunks):
    metric = make("dists", trunks / "vgg16.ckpt", trunks / "dists.pt")
    assert metric.read(CAT).shape == (3, 256, 341) or min(metric.read(CAT).shape[1:]) == 256
    small = to_pixels(CAT, (100, 120))
    assert torch.equal(metric.read(small), small[0])


def test_models_are_those_of_load(tmp_path, pictures):
    folder = write_network(tmp_path, "vit")
    for name in ("mini", str(folder)):
        metric, model = make(name), load(name)
        a, b = (metric.read(picture)[None] for picture in (CAT, COFFEE))
        assert measured(metric, a, b).item() == pytest.approx(model(CAT, COFFEE).item(), abs=1e-6)


def test_published_networks_cut_the_middle_out(monkeypatch):
    """Against torchvision's own transforms, as DINO's and CLIP's authors compose them."""
    import PIL.Image
    from torchvision import transforms

    import benchmarks.metrics.ours as ours

    monkeypatch.setattr(ours, "load", lambda *_, **__: load("mini"))
    for name, side in (("clip-i-b32", 224), ("dino-vits16", 256)):
        metric = find_metrics([name])[name](Options())
        compose = transforms.Compose(
            [
                transforms.Resize(side, transforms.InterpolationMode.BICUBIC),
                transforms.CenterCrop(224),
                transforms.ToTensor(),
            ]
        )
        assert torch.equal(metric.read(CAT), compose(PIL.Image.open(CAT).convert("RGB")))
        a = metric.read(CAT)[None]
        assert measured(metric, a, a).item() == 1
        assert (metric.card.direction, metric.card.range) == ("similarity", (-1, 1))


def test_clip_t_is_open_clips_cosine(tmp_path):
    import open_clip

    torch.manual_seed(0)
    model = open_clip.create_model("ViT-B-32-quickgelu", pretrained=None).eval()
    torch.save(model.state_dict(), tmp_path / "clip.pt")
    metric = make("clip-t-b32", tmp_path / "clip.pt")
    prompts = ["An image of a cat", "An image of a cup"]
    pixels = torch.stack([metric.read(CAT), metric.read(COFFEE)])
    preprocess = open_clip.image_transform(224, is_train=False)
    import PIL.Image

    inputs = torch.stack([preprocess(PIL.Image.open(path).convert("RGB")) for path in (CAT, COFFEE)])
    with torch.inference_mode():
        image = model.encode_image(inputs, normalize=True)
        text = model.encode_text(open_clip.tokenize(prompts), normalize=True)
        found = metric.compare((metric.text(prompts),), metric.features(pixels))
    assert torch.allclose(found, (image * text).sum(-1), atol=1e-5)


def test_keys_change_with_weights_only(trunks, tmp_path):
    first, again = (make("lpips-alex", trunks / "alexnet.ckpt").key() for _ in range(2))
    assert first == again
    state = torch.load(trunks / "alex.pth", weights_only=True)
    state["features.0.bias"][0] += 1
    torch.save(state, tmp_path / "other.pth")
    assert LPIPS("lpips-alex", Options((tmp_path / "other.pth",))).key() != first


BAD_TRUNKS = {
    "another network": ("alex.pth", "vgg", "is it another network's"),
    "fewer layers": ("vgg16.ckpt", "alex", "does not hold the trunk"),
    "not weights": ("text.pth", "alex", "does not hold the trunk"),
    "code in a pickle": ("evil.ckpt", "alex", r"asks for \w+.system, which is refused"),
    "missing": ("gone.pth", "alex", "no such file"),
}


@pytest.mark.parametrize(("file", "kind", "message"), BAD_TRUNKS.values(), ids=BAD_TRUNKS)
def test_files_that_hold_no_trunk_are_refused(file, kind, message, trunks):
    (trunks / "text.pth").write_text("no weights")

    class Evil:
        def __reduce__(self):
            import os

            return os.system, (f"touch {trunks}/was-run",)

    with open(trunks / "evil.ckpt", "wb") as opened:
        pickle.dump({"Net_0": Evil()}, opened)
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        make(f"lpips-{kind}", trunks / file)
    assert not (trunks / "was-run").exists()


def test_trunks_of_all_formats_are_equal(trunks):
    first = read_trunk(trunks / "alex.pth", "alex")
    for name in ("alex.pt", "alexnet.ckpt"):
        other = read_trunk(trunks / name, "alex")
        assert first.keys() == other.keys()
        assert all(torch.equal(first[name], other[name]) for name in first)


def test_every_metric_says_what_its_numbers_mean():
    for name in ("psnr", "ssim", "mini"):
        card = make(name).card
        assert card.name == name
        assert card.preprocessing
        assert card.input
        assert card.range[0] < card.range[1]


def test_unknown_names_are_said_with_the_nearest():
    with pytest.raises(ValueError, match="unknown metric 'lpips-alexnet': did you mean lpips-alex"):
        find_metrics(["lpips-alexnet"])
    with pytest.raises(ValueError, match="two: VGG16's and DISTS' own"):
        make("dists", "one.pt")


def test_a_file_of_ones_own_adds_metrics(tmp_path):
    file = tmp_path / "grey.py"
    file.write_text("METRICS = {'grey': lambda options: 'made'}\n")
    assert find_metrics(["psnr", str(file)])["grey"](Options()) == "made"
    file.write_text("METRIC = 1\n")
    with pytest.raises(ValueError, match="has no dictionary METRICS"):
        find_metrics([str(file)])
    with pytest.raises(FileNotFoundError, match="no such file"):
        find_metrics(["gone.py"])
