"""Known changes of a picture, from weak to strong, to see what a metric minds: functions of pictures, no network."""

import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import PIL.ImageChops
import PIL.ImageEnhance
import PIL.ImageFilter
import PIL.ImageOps

from dreamsim_metric.files.pictures import find_pictures
from dreamsim_metric.images.convert import to_image, to_mask
from dreamsim_metric.images.encoding import encode

Image = PIL.Image.Image
_LONGEST = 512  # pixels: larger pictures are shrunk, for speed
_BICUBIC = PIL.Image.Resampling.BICUBIC


@dataclass(frozen=True)
class Scene:
    """A picture to change.

    Attributes:
        name: name of its file.
        picture: picture in RGB.
        mask: mask of the same size, 255 where the object is; None where that is not known.
        other: scene with a mask whose background or object is swapped in.
    """

    name: str
    picture: Image
    mask: Image | None = None
    other: "Scene | None" = None


@dataclass(frozen=True)
class Change:
    """A way to change a picture.

    Attributes:
        name: name of the change.
        unit: unit of its levels.
        levels: levels from weak to strong.
        apply: function of scene and level that gives the changed picture, of the same size but for `size`.
        invariance: whether people would call the result the same picture.
        needs_mask: whether the scene must have a mask and another scene.
    """

    name: str
    unit: str
    levels: tuple[float, ...]
    apply: Callable[[Scene, float], Image]
    invariance: bool = False
    needs_mask: bool = False


def read_scenes(folder: Path) -> list[Scene]:
    """Read the pictures of a folder, by name; `masks/NAME.png` in it is the mask of the picture of that name.

    Raises:
        FileNotFoundError: no such folder.
        ValueError: it holds no pictures, one cannot be read, or a mask has another size than its picture.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"no such folder of pictures: {folder}")
    scenes = [_draw_scene(Path(file)) for file in find_pictures([str(folder)])]
    masked = [scene for scene in scenes if scene.mask is not None]
    far = max(1, len(masked) // 2)  # neighbours by name are often two pictures of one thing
    others = {scene.name: masked[(i + far) % len(masked)] for i, scene in enumerate(masked) if len(masked) > 1}
    return [Scene(scene.name, scene.picture, scene.mask, others.get(scene.name)) for scene in scenes]


def _draw_scene(file: Path) -> Scene:
    try:
        picture = to_image(file)
    except (OSError, ValueError) as error:
        raise ValueError(f"{file} cannot be read as a picture ({error})") from error
    path = file.parent / "masks" / f"{file.stem}.png"
    mask = None
    if path.is_file():
        mask = to_mask(path)
        if mask.size != picture.size:
            raise ValueError(f"{path} is {mask.size[0]} × {mask.size[1]}; expected the size of {file.name}")
    scale = _LONGEST / max(picture.size)
    if scale < 1:
        size = round(scale * picture.width), round(scale * picture.height)
        picture, mask = picture.resize(size, _BICUBIC), mask and mask.resize(size)
    return Scene(file.stem, picture, mask)


def apply_changes(scene: Scene) -> Iterator[tuple[Change, float, Image]]:
    """Yield all that can be made of a scene, a level at a time."""
    for change in CHANGES.values():
        if not change.needs_mask or scene.other is not None:
            for level in change.levels:
                yield change, level, change.apply(scene, level)


def _reflect(picture: Image, margin: int) -> Image:
    """Surround a picture by its own mirror image, so that turning or shifting it bares no black."""
    pixels = np.asarray(picture)
    return PIL.Image.fromarray(np.pad(pixels, ((margin, margin), (margin, margin), (0, 0)), mode="symmetric"))


def _rotate(scene: Scene, degrees: float) -> Image:
    width, height = scene.picture.size
    margin = min(width, height) // 2
    turned = _reflect(scene.picture, margin).rotate(degrees, _BICUBIC)
    return turned.crop((margin, margin, margin + width, margin + height))


def _shift(scene: Scene, part: float) -> Image:
    width, height = scene.picture.size
    margin = round(part * width)
    return _reflect(scene.picture, margin).crop((0, margin, width, margin + height))


def _crop(scene: Scene, part: float) -> Image:
    width, height = scene.picture.size
    x, y = part * width / 2, part * height / 2
    return scene.picture.resize((width, height), _BICUBIC, (x, y, width - x, height - y))


def _turn_hue(scene: Scene, degrees: float) -> Image:
    hue, saturation, value = scene.picture.convert("HSV").split()
    turned = hue.point(lambda level: (level + round(degrees * 256 / 360)) % 256)
    return PIL.Image.merge("HSV", (turned, saturation, value)).convert("RGB")


def _enhance(kind: Callable[[Image], Any]) -> Callable[[Scene, float], Image]:
    return lambda scene, less: kind(scene.picture).enhance(1 - less)


def _blur(scene: Scene, percent: float) -> Image:
    return scene.picture.filter(PIL.ImageFilter.GaussianBlur(percent / 100 * scene.picture.width))


def _add_noise(scene: Scene, levels: float) -> Image:
    random = np.random.default_rng(zlib.crc32(f"{scene.name} {levels}".encode()))
    pixels = np.asarray(scene.picture, dtype=np.float64)
    return PIL.Image.fromarray((pixels + random.normal(0, levels, pixels.shape)).round().clip(0, 255).astype(np.uint8))


def _encode(picture: Image, format: str, **options: int | bool) -> Image:
    return to_image(encode(picture, format, **options))


def _compress_jpeg(scene: Scene, loss: float) -> Image:
    return _encode(scene.picture, "JPEG", quality=round(100 - loss))


def _flip(how: PIL.Image.Transpose) -> Callable[[Scene, float], Image]:
    return lambda scene, _: scene.picture.transpose(how)


def _swap_background(scene: Scene, share: float) -> Image:
    mask, other = _split_parts(scene)
    theirs = _remove_object(other).resize(scene.picture.size, _BICUBIC)
    return PIL.Image.composite(scene.picture, PIL.Image.blend(scene.picture, theirs, share), mask)


def _swap_object(scene: Scene, share: float) -> Image:
    mask, other = _split_parts(scene)
    box, their_mask = mask.getbbox(), other.mask
    assert their_mask is not None
    theirs = their_mask.getbbox()
    if box is None or theirs is None:
        raise ValueError(f"the mask of {scene.name} or {other.name} is empty; expected the object to be white")
    size = box[2] - box[0], box[3] - box[1]
    swapped = _remove_object(scene)
    pasted = PIL.ImageOps.fit(other.picture.crop(theirs), size, _BICUBIC)
    swapped.paste(pasted, box[:2], PIL.ImageOps.fit(their_mask.crop(theirs), size, _BICUBIC))
    return PIL.Image.blend(scene.picture, swapped, share)


def _split_parts(scene: Scene) -> tuple[Image, Scene]:
    if scene.mask is None or scene.other is None:
        raise ValueError(f"{scene.name} has no mask or no other scene; expected both for a swap")
    return scene.mask, scene.other


def _remove_object(scene: Scene) -> Image:
    """Paint the background over the object: what is around it spreads into its place, wide blurs first."""
    assert scene.mask is not None
    hole = scene.mask.filter(PIL.ImageFilter.MaxFilter(7))  # soft edges belong to the object
    known = np.asarray(PIL.ImageOps.invert(hole), dtype=np.float32)[..., None] / 255
    pixels = np.asarray(scene.picture, dtype=np.float32) * known
    filled = np.zeros_like(pixels)
    for radius in (0.5, 0.25, 0.1, 0.05, 0.02):
        spread = PIL.ImageFilter.GaussianBlur(radius * max(scene.picture.size))
        colours = np.asarray(PIL.Image.fromarray(pixels.astype(np.uint8)).filter(spread), dtype=np.float32)
        weights = np.asarray(PIL.ImageOps.invert(hole).filter(spread), dtype=np.float32)[..., None] / 255
        sure = np.clip(4 * weights, 0, 1)
        filled = sure * colours / np.maximum(weights, 1e-3) + (1 - sure) * filled
    return PIL.Image.fromarray((pixels + (1 - known) * filled.clip(0, 255)).round().clip(0, 255).astype(np.uint8))


def _shrink(scene: Scene, part: float) -> Image:
    size = (max(1, round((1 - part) * side)) for side in scene.picture.size)
    return scene.picture.resize((next(size), next(size)), PIL.Image.Resampling.LANCZOS)


def _reencode(scene: Scene, step: float) -> Image:
    if step == 1:
        return _encode(scene.picture, "PNG")
    if step == 2:
        return _encode(scene.picture, "JPEG", quality=95)
    return _encode(scene.picture, "WEBP", quality=90)


CHANGES = {
    change.name: change
    for change in (
        Change("rotation", "degrees", (2, 5, 10, 20, 45), _rotate),
        Change("shift", "of the width", (0.02, 0.05, 0.1, 0.2, 0.3), _shift),
        Change("crop", "cut off", (0.05, 0.1, 0.2, 0.35, 0.5), _crop),
        Change("hue", "degrees", (10, 25, 60, 120, 180), _turn_hue),
        Change("saturation", "less", (0.2, 0.4, 0.6, 0.8, 1), _enhance(PIL.ImageEnhance.Color)),
        Change("brightness", "less", (0.1, 0.2, 0.35, 0.5, 0.7), _enhance(PIL.ImageEnhance.Brightness)),
        Change("contrast", "less", (0.1, 0.25, 0.4, 0.6, 0.8), _enhance(PIL.ImageEnhance.Contrast)),
        Change("blur", "% of the width", (0.2, 0.5, 1, 2, 4), _blur),
        Change("noise", "levels of 255", (4, 8, 16, 32, 64), _add_noise),
        Change("JPEG", "100 − quality", (20, 50, 70, 85, 95), _compress_jpeg),
        Change("flip", "left to right", (1,), _flip(PIL.Image.Transpose.FLIP_LEFT_RIGHT)),
        Change("upside down", "", (1,), _flip(PIL.Image.Transpose.FLIP_TOP_BOTTOM)),
        Change("background swap", "share", (0.25, 0.5, 0.75, 1), _swap_background, needs_mask=True),
        Change("object swap", "share", (0.25, 0.5, 0.75, 1), _swap_object, needs_mask=True),
        Change("size", "smaller by", (0.25, 0.5, 0.75), _shrink, invariance=True),
        Change("re-encoding", "PNG, JPEG 95, WebP 90", (1, 2, 3), _reencode, invariance=True),
    )
}
"""All changes, by name."""
