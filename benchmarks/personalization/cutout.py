"""Subjects cut out by their masks, so that a metric sees them and not what is around."""

import hashlib
from pathlib import Path

import numpy as np
import PIL.Image

from dreamsim_metric.images.convert import to_mask, to_pixels

GREY = 0.5  # of what is around
_INSIDE = 128  # masks are white where the subject is; from this level on


def cut_out(picture: Path, mask: Path, folder: Path) -> Path:
    """Write a picture as it is where its mask is white, and mid-grey everywhere else; nothing is cropped or moved.

    Args:
        picture: picture of any kind.
        mask: mask of the picture's size.
        folder: folder to write to.

    Returns:
        The file, named after the picture's and the mask's path.

    Raises:
        ValueError: a mask that cannot be read, of another size, or black all over.
    """
    pixels = to_pixels(picture, None)[0].permute(1, 2, 0).numpy()
    try:
        inside = np.asarray(to_mask(mask)) >= _INSIDE
    except (OSError, ValueError) as error:
        raise ValueError(f"{mask} cannot be read ({error}); replace or remove it") from error
    if inside.shape != pixels.shape[:2]:
        sizes = (f"{shape[1]} × {shape[0]}" for shape in (inside.shape, pixels.shape))
        raise ValueError("{} is {}, its picture {} {}; expected one size".format(mask, next(sizes), picture, *sizes))
    if not inside.any():
        raise ValueError(f"{mask} is black all over; expected white where the subject is")
    shown = np.where(inside[..., None], pixels, GREY)
    file = folder / (hashlib.sha256(f"{picture.absolute()}\n{mask.absolute()}".encode()).hexdigest()[:24] + ".png")
    PIL.Image.fromarray((255 * shown).round().astype(np.uint8)).save(file, compress_level=1)
    return file
