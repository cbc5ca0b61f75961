"""Small pictures for reports."""

import io

import PIL.Image


def thumbnail(picture: PIL.Image.Image, side: int) -> bytes:
    """Make a JPEG of a picture, its longer side shrunk to `side` pixels if it is larger."""
    small = picture.copy()
    small.thumbnail((side, side), PIL.Image.Resampling.LANCZOS)
    data = io.BytesIO()
    small.save(data, "JPEG", quality=82)
    return data.getvalue()
