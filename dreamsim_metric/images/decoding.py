"""Files → pixels → device, in threads and ahead of the model, with what cannot be read beside what can."""

import io
from typing import Any, Literal, get_args

import PIL.features
import torch
from torch import Tensor

from dreamsim_metric.images.pillow import is_plain_jpeg, read_encoded
from dreamsim_metric.images.resizing import resize_levels

Decoder = Literal["pillow", "torchvision"]
"""What decodes files: `pillow` is the reference, `torchvision` takes plain JPEGs, on CUDA by nvJPEG."""

DECODERS: tuple[Decoder, ...] = get_args(Decoder)


def decode(data: bytes, file: str, size: int | None, decoder: Decoder = "pillow", device: str = "cpu") -> Tensor:
    """Decode a picture to `(3, size, size)` uint8, squashed by Pillow's bicubic.

    Args:
        data: a picture file's bytes.
        file: the file's name in messages.
        size: side of the result; None for the picture's own height and width.
        decoder: `pillow`, the reference, or `torchvision` for JPEGs that are RGB or grey, not rotated by EXIF and
            without a colour profile other than sRGB (all others go through Pillow).
        device: the device that will hold the pixels. For `torchvision` and CUDA a JPEG is left as it is, `(bytes,)`
            uint8, for `ToDevice` to decode there.

    Raises:
        ValueError: it will not decode.
    """
    if decoder == "torchvision" and is_plain_jpeg(data):
        encoded = torch.frombuffer(bytearray(data), dtype=torch.uint8)
        if device.startswith("cuda"):
            return encoded
        pixels = decode_by_torchvision(encoded, "cpu")
    else:
        pixels = None
    sides = None if size is None else (size, size)
    if pixels is None:  # for Pillow, which also says what is wrong
        pixels = read_encoded(io.BytesIO(data), file, sides)[0]
    return pixels if sides is None else resize_levels(pixels, sides).contiguous()


def decode_by_torchvision(encoded: Any, device: str) -> Any:
    """Decode one JPEG or a list of them; None where it fails."""
    from torchvision.io import ImageReadMode, decode_jpeg

    try:
        return decode_jpeg(encoded, mode=ImageReadMode.RGB, device=device)
    except RuntimeError:
        return None


def name_decoder_version(decoder: Decoder) -> str:
    """Name the decoder and its version: numbers depend on it."""
    version = f"Pillow {PIL.__version__}, LittleCMS {PIL.features.version('littlecms2')}"
    if decoder == "torchvision":
        import torchvision

        version = f"torchvision {torchvision.__version__}, {version}"
    return version


def finish_on_host(picture: Tensor, file: str) -> Tensor:
    """Finish what `decode` gave, by Pillow if it was left as it was: `(3, H, W)` uint8.

    Args:
        picture: pixels, or the bytes of a JPEG.
        file: the file's name in messages.

    Raises:
        ValueError: it will not decode.
    """
    return picture if picture.ndim == 3 else read_encoded(io.BytesIO(picture.numpy().tobytes()), file)[0]


def check_decoder(decoder: str) -> None:
    """Raise `ValueError` unless there is such a decoder, and this installation has it."""
    if decoder not in DECODERS:
        raise ValueError(f"got decoder={decoder!r}; expected {' or '.join(map(repr, DECODERS))}")
    if decoder == "torchvision":
        import torchvision.io

        if not hasattr(torchvision.io, "decode_jpeg"):  # deprecated since 0.29
            raise ValueError(f"torchvision {torchvision.__version__} decodes no pictures; use decoder='pillow'")
