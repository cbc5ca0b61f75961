"""Small pictures for reports."""

import PIL.Image

from dreamsim_metric.images.encoding import encode


def make_thumbnail(picture: PIL.Image.Image, side: int) -> bytes:
    """Make a JPEG of a picture, its longer side shrunk to `side` pixels if it is larger."""
    small = picture.copy()
    small.thumbnail((side, side), PIL.Image.Resampling.LANCZOS)
    return encode(small, "JPEG", quality=82)
