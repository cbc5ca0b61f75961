"""Colour profiles are applied: pictures of the same colours are the same picture, however their numbers are written."""

import io

import numpy as np
import PIL.Image
import pytest
import torch
from PIL import ImageCms

from dreamsim_metric.images.convert import to_pixels
from dreamsim_metric.images.decoding import decode
from dreamsim_metric.images.encoding import encode
from tests.pictures import PHOTOGRAPHS
from tests.profiles import colour_profile, grey_profile, ink_profile, srgb_of_colours, srgb_of_grey, srgb_of_lab

COLOURS = np.stack(np.meshgrid(*3 * [np.linspace(0, 255, 16).astype(np.uint8)]), axis=-1).reshape(64, 64, 3)
GREYS = np.arange(256, dtype=np.uint8).reshape(16, 16)


def levels(picture):
    return 255 * to_pixels(picture, None)[0].permute(1, 2, 0).double().numpy()


def saved(path, image, **options):
    PIL.Image.fromarray(image).save(path, **options)
    return path


@pytest.mark.parametrize("name", ["Display P3", "Adobe RGB", "linear sRGB"])
@pytest.mark.parametrize("ending", ["png", "tiff", "webp"])
def test_a_profile_of_colours_is_applied(name, ending, tmp_path):
    lossless = {"lossless": True} if ending == "webp" else {}
    file = saved(tmp_path / f"a.{ending}", COLOURS, icc_profile=colour_profile(name), **lossless)
    expected = srgb_of_colours(COLOURS, name)
    assert abs(levels(file) - expected).max() < 1.5  # of rounding, twice in eight bits
    with PIL.Image.open(file) as opened:
        assert np.array_equal(levels(opened), levels(file))
    assert abs(COLOURS - expected).max() > 20


@pytest.mark.parametrize("gamma", [1.0, 1.8, 2.2])
@pytest.mark.parametrize("deep", [False, True])
def test_a_profile_of_grey_is_applied(gamma, deep, tmp_path):
    values = GREYS.astype(np.uint16) * 257 if deep else GREYS
    file = saved(tmp_path / "a.png", values, icc_profile=grey_profile(gamma))
    assert abs(levels(file) - srgb_of_grey(GREYS, gamma)).max() < 1.5


def test_a_profile_of_inks_is_applied(tmp_path):
    tones = np.random.default_rng(0).integers((20, -20, -20), (90, 20, 20), (2, 2, 2, 2, 3)).astype(float)
    tones[0, 0, 0, 0], tones[1, 1, 1, 1] = (100, 0, 0), 0
    full = np.stack(np.meshgrid(*4 * [[0, 255]], indexing="ij"), axis=-1).astype(np.uint8).reshape(4, 4, 4)
    file = tmp_path / "a.tiff"
    PIL.Image.fromarray(full, "CMYK").save(file, icc_profile=ink_profile(tones))
    assert abs(levels(file) - srgb_of_lab(tones).reshape(4, 4, 3)).max() < 4  # colours of a profile have 8 bits too


def test_transparency_of_a_picture_with_a_profile_is_laid_over_white(tmp_path):
    alpha = np.tile(np.array([0, 255], np.uint8), (64, 32))
    wide = colour_profile("Display P3")
    file = saved(tmp_path / "a.png", np.dstack([COLOURS, alpha]), icc_profile=wide)
    opaque = levels(saved(tmp_path / "b.png", COLOURS, icc_profile=wide))
    assert np.array_equal(levels(file), np.where(alpha[..., None] == 0, 255, opaque))
    grey = levels(saved(tmp_path / "c.png", np.dstack([GREYS, alpha[:16, :16]]), icc_profile=grey_profile(1.0)))
    assert abs(grey[:, 1::2] - srgb_of_grey(GREYS, 1.0)[:, 1::2]).max() < 1.5
    assert (grey[:, ::2] == 255).all()


def test_palettes_and_rotated_pictures_have_profiles_too(tmp_path):
    exif = PIL.Image.Exif()
    exif[0x0112] = 3
    wide = colour_profile("Display P3")
    turned = levels(saved(tmp_path / "a.png", COLOURS, icc_profile=wide, exif=exif))
    assert np.array_equal(turned[::-1, ::-1], levels(saved(tmp_path / "b.png", COLOURS, icc_profile=wide)))
    palette = PIL.Image.fromarray(COLOURS).quantize(64)
    palette.save(tmp_path / "c.png", icc_profile=wide)
    expected = srgb_of_colours(np.array(palette.convert("RGB")), "Display P3")
    assert abs(levels(tmp_path / "c.png") - expected).max() < 1.5


SAME = {
    "Pillow's sRGB": (COLOURS, ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()),
    "sRGB": (COLOURS, colour_profile("sRGB")),
    "grey with sRGB's curve": (GREYS, grey_profile(None)),
    "colours in a grey picture": (GREYS, colour_profile("Adobe RGB")),
    "grey in a colour picture": (COLOURS, grey_profile(1.0)),
    "text": (COLOURS, b"no profile"),
    "nothing": (COLOURS, b""),
    "cut off": (COLOURS, colour_profile("Display P3")[:300]),
    "without its curves": (COLOURS, colour_profile("Display P3").replace(b"TRC", b"trc")),
}


@pytest.mark.parametrize("case", SAME)
def test_profiles_of_srgb_and_those_that_cannot_be_used_change_nothing(case, tmp_path):
    values, profile = SAME[case]
    plain = levels(saved(tmp_path / "plain.png", values))
    assert np.array_equal(levels(saved(tmp_path / "a.png", values, icc_profile=profile)), plain)


@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_decoders_agree_on_jpegs_with_profiles(mode):
    photograph = PIL.Image.open(PHOTOGRAPHS[0]).convert(mode)
    profile = colour_profile("Display P3") if mode == "RGB" else grey_profile(1.0)
    for applied in (profile, colour_profile("sRGB")):
        data = encode(photograph, "JPEG", quality=95, icc_profile=applied)
        by_pillow, by_torchvision = (decode(data, "a.jpg", None, decoder) for decoder in ("pillow", "torchvision"))
        assert torch.equal(by_pillow, by_torchvision)
        left = decode(data, "a.jpg", None, "torchvision", "cuda")
        assert left.ndim == (3 if applied == profile else 1)  # to be decoded on the device


@pytest.mark.parametrize("name", ["Display P3", "Adobe RGB"])
def test_a_photograph_in_another_colour_space_is_at_no_distance(name, metric, tmp_path):
    """As phones and cameras save it; both copies are rounded to 8 bits in their spaces."""
    wide = ImageCms.ImageCmsProfile(io.BytesIO(colour_profile(name)))
    srgb = ImageCms.createProfile("sRGB")
    for photograph in PHOTOGRAPHS[:2]:
        plain = PIL.Image.open(photograph).convert("RGB")
        there = ImageCms.profileToProfile(plain, srgb, wide, renderingIntent=1)
        there.save(tmp_path / "there.png", icc_profile=wide.tobytes())
        assert metric(plain, tmp_path / "there.png").item() < 3e-4
        there.info.clear()
        assert metric(plain, there).item() > 1e-3
