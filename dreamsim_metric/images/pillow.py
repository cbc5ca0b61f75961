"""Files and images to 8-bit RGB by Pillow: the one way in which pictures are opened."""

import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import numpy as np
import PIL.Image
import PIL.ImageChops
import PIL.ImageFile
import PIL.ImageOps
import torch
from torch import Tensor

from dreamsim_metric.formats import add_plugins, check_file, list_undecoded, say_how
from dreamsim_metric.images.budget import IN_FLIGHT
from dreamsim_metric.images.profiles import needs_conversion, to_srgb
from dreamsim_metric.images.resizing import resize_image
from dreamsim_metric.messages import say_error_with_kind

MAX_PIXELS = "DREAMSIM_METRIC_MAX_PIXELS"
"""The environment variable that says how many pixels a picture may have."""

_ORIENTATION = 0x0112  # EXIF
_ONE_PHOTOGRAPH = ("MPO", "HEIF")  # formats that phones write: a photograph, then its previews
_GREY = ("L", "LA", "La")
_BAND = 1 << 20  # pixels that are converted at once
_END_OF_JPEG = b"\xff\xd9"  # one that is cut off goes to Pillow, which says so


class _UnreadableError(ValueError):
    """A file that decodes, and whose message is already complete."""


def read_file(path: Path, size: tuple[int, int] | None = None) -> Tensor:
    """Read a picture's file: `(1, 3, H, W)` uint8.

    Args:
        path: the file to read.
        size: height and width of the result; None for the picture's own.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it will not decode, or holds what would have to be guessed.
    """
    return to_levels(open_file(path), size)


def read_encoded(source: BinaryIO, name: str, size: tuple[int, int] | None = None) -> Tensor:
    """Decode the contents of a picture's file: `(1, 3, H, W)` uint8.

    Args:
        source: the file, opened.
        name: the picture's name in messages.
        size: height and width of the result; None for the picture's own.

    Raises:
        ValueError: it will not decode, or holds what would have to be guessed.
    """
    return to_levels(open_encoded(source, name), size)


def to_levels(image: PIL.Image.Image, size: tuple[int, int] | None = None) -> Tensor:
    """Copy an RGB image out of Pillow, `(1, 3, H, W)` uint8, resized before: threads copy one after the other."""
    image = image if size is None else resize_image(image, size)
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)[None]


def open_file(path: Path, background: str = "white") -> PIL.Image.Image:
    """Read a picture's file as an RGB image, see `to_rgb`.

    Args:
        path: the file to read.
        background: colour behind what is transparent.

    Raises:
        FileNotFoundError: no such file.
        ValueError: no regular file, or it will not decode, or holds what would have to be guessed.
    """
    check_file(path, str(path))
    # Opened here: by name, Pillow maps plain TIFFs into memory, and turns those that are rotated into noise.
    try:
        file = path.open("rb")
    except OSError as error:
        raise ValueError(f"{path} cannot be opened ({say_error_with_kind(error)})") from error
    with file:
        return open_encoded(file, str(path), background)


def open_encoded(source: BinaryIO, name: str, background: str = "white") -> PIL.Image.Image:
    """Decode the contents of a picture's file as an RGB image, see `to_rgb`.

    Args:
        source: the file, opened.
        name: the picture's name in messages.
        background: colour behind what is transparent.

    Raises:
        ValueError: it will not decode, or holds what would have to be guessed.
    """
    most = _read_most_pixels()
    add_plugins()
    try:
        with PIL.Image.open(source) as image:
            if most is not None and (pixels := image.width * image.height) > most:
                raise PIL.Image.DecompressionBombError(f"{pixels} pixels, {MAX_PIXELS} is {most}")
            if getattr(image, "is_animated", False) and image.format not in _ONE_PHOTOGRAPH:
                raise _UnreadableError(
                    f"{name} has several frames ({image.format}); expected one picture: "
                    "choose one with PIL.Image.open(path).seek(i) and pass that image"
                )
            with IN_FLIGHT.hold(image.width * image.height):
                image.load()  # what goes wrong here is the file's fault, and is said so
                return to_rgb(image, name, background)
    except _UnreadableError:
        raise
    except PIL.UnidentifiedImageError as error:
        ending = os.path.splitext(name)[1].lower()
        hint = f"; {say_how(ending)}" if ending in list_undecoded() else ""
        raise ValueError(f"{name} is not a picture that Pillow can read{hint}") from error
    except (PIL.Image.DecompressionBombError, PIL.Image.DecompressionBombWarning) as error:
        raise ValueError(
            f"{name} has more pixels than are allowed ({error}); if you trust it, set the environment variable "
            f"{MAX_PIXELS} to as many as it has, or raise PIL.Image.MAX_IMAGE_PIXELS"
        ) from error
    except Exception as error:  # decoders raise OSError, SyntaxError, struct.error and more on damaged files
        raise ValueError(f"{name} will not decode ({say_error_with_kind(error)}); is it whole?") from error


def _read_most_pixels() -> int | None:
    """How many pixels a picture may have, told to Pillow too; None for Pillow's own limit."""
    given = os.environ.get(MAX_PIXELS)
    if not given:
        return None
    if not given.isdecimal() or int(given) == 0:
        raise ValueError(f"got {MAX_PIXELS}={given}; expected a number of pixels, such as 500000000")
    PIL.Image.MAX_IMAGE_PIXELS = most = int(given)
    return most


def to_rgb(image: PIL.Image.Image, name: str, background: str = "white") -> PIL.Image.Image:
    """Convert an image of any kind to 8-bit sRGB.

    EXIF rotation and colour profiles are applied; greyscale, palette and CMYK become RGB; 16-bit is scaled to 8-bit.

    Args:
        image: image to convert; it stays as it is.
        name: the picture's name in messages.
        background: colour behind what is transparent.

    Raises:
        ValueError: it will not decode, has no pixels, or holds numbers whose range is not known.
    """
    if 0 in image.size:
        raise _UnreadableError(f"{name} has no pixels (size {image.size}); expected at least 1 × 1")
    format_, mode, profile = image.format, image.mode, image.info.get("icc_profile")
    try:
        _load(image)
        if image.getexif().get(_ORIENTATION, 1) != 1:  # else it would be copied
            image = PIL.ImageOps.exif_transpose(image)
        is_16_bit = mode.startswith("I;16") or (mode == "I" and format_ in ("PNG", "PPM"))  # both hold 0…65535
        if image.mode in ("I", "F") and not is_16_bit:
            raise _UnreadableError(
                f"{name} has mode {mode}, whose value range is not defined; expected 8 or 16 bits: "
                "scale it to 0…255 and .convert('L') first"
            )
        see_through = image.has_transparency_data or (is_16_bit and "transparency" in image.info)
        if is_16_bit and not see_through:
            image = _convert_in_bands(image, "L", _convert_16_bits)
        if see_through and image.mode in ("P", "L"):
            return _lay_over_in_table(image, profile, background)
        if see_through and image.mode in ("RGBA", "LA"):
            return _lay_over(image, profile, background)
        if see_through:
            levels = _convert_16_bits if is_16_bit else PIL.Image.Image.copy
            return _convert_in_bands(image, "RGB", lambda band: _lay_over(levels(band), profile, background))
        if image.mode not in ("RGB", "L", "CMYK"):
            image = image.convert("RGB")
        return to_srgb(image, profile)
    except _UnreadableError:
        raise
    except Exception as error:
        raise ValueError(f"{name} (mode {mode}) will not convert to RGB ({say_error_with_kind(error)})") from error


def _load(image: PIL.Image.Image) -> None:
    """Decode an image that may have been opened by name, of which Pillow would map plain TIFFs into memory.

    Those that are rotated become noise then, see `open_file`.
    """
    if isinstance(image, PIL.ImageFile.ImageFile) and image.tile:
        name, image.filename = image.filename, ""
        try:
            image.load()
        finally:
            image.filename = name


def _convert_in_bands(
    image: PIL.Image.Image, mode: str, convert: Callable[[PIL.Image.Image], PIL.Image.Image]
) -> PIL.Image.Image:
    """Convert some rows at a time, since what is between takes several times the memory of the whole."""
    made = PIL.Image.new(mode, image.size)
    rows = max(1, _BAND // image.width)
    for top in range(0, image.height, rows):
        band = image.crop((0, top, image.width, min(top + rows, image.height)))
        made.paste(convert(band), (0, top))
    return made


def _lay_over(image: PIL.Image.Image, profile: bytes | None, background: str) -> PIL.Image.Image:
    """Lay an image with transparency over a colour: with the bits of Pillow's `alpha_composite`, in less time."""
    grey = image.mode in _GREY
    if image.mode not in ("RGBA", "LA"):
        image = image.convert("LA" if grey else "RGBA")
    colours = to_srgb(image.getchannel("L") if grey else image.convert("RGB"), profile)
    colours.paste(background, mask=PIL.ImageChops.invert(image.getchannel("A")))
    return colours


def _lay_over_in_table(image: PIL.Image.Image, profile: bytes | None, background: str) -> PIL.Image.Image:
    """Lay an image of 256 levels or palette entries over a colour: each of them once, and not each pixel."""
    entries = image.crop((0, 0, 256, 1))
    entries.putdata(range(256))
    image = image.copy()
    image.info.pop("transparency", None)
    image.putpalette(_lay_over(entries, profile, background).tobytes())
    return image.convert("RGB")


def _convert_16_bits(image: PIL.Image.Image) -> PIL.Image.Image:
    values = np.array(image).astype(np.int64)
    grey = PIL.Image.fromarray(((values * 255 + 32767) // 65535).astype(np.uint8))
    if "transparency" in image.info:
        grey.putalpha(PIL.Image.fromarray(np.where(values == image.info["transparency"], 0, 255).astype(np.uint8)))
    return grey


def is_plain_jpeg(data: bytes) -> bool:
    """Tell whether a file is a whole JPEG in RGB or grey, which every decoder turns into the same picture."""
    try:
        with PIL.Image.open(io.BytesIO(data)) as image:
            plain = image.format == "JPEG" and image.mode in ("RGB", "L") and not needs_conversion(image)
            plain = plain and image.getexif().get(_ORIENTATION, 1) == 1
    except Exception:
        return False
    return plain and data.rstrip(b"\0").endswith(_END_OF_JPEG)
