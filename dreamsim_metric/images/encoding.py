"""A picture to the bytes of a file."""

import io
from typing import Any

import PIL.Image


def encode(picture: PIL.Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    """Encode a picture.

    Args:
        picture: any that the kind of file can hold.
        kind: one of Pillow's formats that can be written, such as PNG or JPEG.
        options: what Pillow's writer of that format takes, such as `quality`.

    Example:
        >>> encode(PIL.Image.new("RGB", (2, 2)))[1:4]
        b'PNG'
    """
    data = io.BytesIO()
    picture.save(data, kind, **options)
    return data.getvalue()
