"""Colour profiles (ICC) applied: the colours that a picture's numbers stand for, as sRGB.

By LittleCMS, which Pillow has: relative colorimetric, with black point compensation.
"""

import io
from collections.abc import Callable
from functools import lru_cache, partial

import numpy as np
import PIL.Image
import PIL.ImageCms

_SPACES = {"RGB": "RGB", "L": "GRAY", "CMYK": "CMYK"}  # a profile's by the mode of its pixels
_FLAGS = {"L": PIL.ImageCms.Flags.NOOPTIMIZE}  # whose 33 steps are too few for dark greys
_STEPS = 9  # of each channel, where a profile is compared with sRGB
_SAME = 1  # level of 255: no profile of sRGB is farther from another


def to_srgb(image: PIL.Image.Image, profile: bytes | None) -> PIL.Image.Image:
    """Convert an opaque picture to sRGB.

    A profile of sRGB changes nothing, not even by rounding. One that is broken, or that is of another kind of pixels
    (of grey in a colour picture), is ignored, as browsers do.

    Args:
        image: picture of mode RGB, L or CMYK, whose colours the profile describes; others are only converted.
        profile: contents of the ICC profile; None where there is none.

    Example:
        >>> grey = PIL.Image.new("L", (1, 1), 128)
        >>> to_srgb(grey, b"broken").getpixel((0, 0))
        (128, 128, 128)
    """
    convert = _make_conversion(profile, image.mode) if profile and image.mode in _SPACES else None
    if convert is not None:
        return convert(image)
    return image if image.mode == "RGB" else image.convert("RGB")


def needs_conversion(image: PIL.Image.Image) -> bool:
    """Tell whether the picture's profile is one that changes its colours; nothing is decoded for it."""
    profile = image.info.get("icc_profile")
    return bool(profile) and image.mode in _SPACES and _make_conversion(profile, image.mode) is not None


@lru_cache(maxsize=16)
def _make_conversion(profile: bytes, mode: str) -> Callable[[PIL.Image.Image], PIL.Image.Image] | None:
    """What converts pixels of this mode to sRGB; None where that would change nothing, or cannot be done."""
    try:
        source = PIL.ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if source.profile.xcolor_space.strip() != _SPACES[mode]:
            return None
        transform = PIL.ImageCms.buildTransform(
            source,
            PIL.ImageCms.createProfile("sRGB"),
            mode,
            "RGB",
            PIL.ImageCms.Intent.RELATIVE_COLORIMETRIC,
            PIL.ImageCms.Flags.BLACKPOINTCOMPENSATION | _FLAGS.get(mode, 0),
        )
    except (OSError, PIL.ImageCms.PyCMSError, TypeError, ValueError):
        return None
    if mode == "CMYK":
        return transform.apply
    colours = _list_colours(mode)
    plain, converted = (np.asarray(some, dtype=int) for some in (colours.convert("RGB"), transform.apply(colours)))
    if abs(plain - converted).max() <= _SAME:
        return None
    return transform.apply if mode == "RGB" else partial(_look_up, converted.astype(np.uint8).tobytes())


def _list_colours(mode: str) -> PIL.Image.Image:
    if mode == "L":
        return PIL.Image.fromarray(np.arange(256, dtype=np.uint8)[None])
    levels = np.linspace(0, 255, _STEPS).round().astype(np.uint8)
    return PIL.Image.fromarray(np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(1, -1, 3))


def _look_up(table: bytes, grey: PIL.Image.Image) -> PIL.Image.Image:
    palette = grey.copy()
    palette.putpalette(table)
    return palette.convert("RGB")
