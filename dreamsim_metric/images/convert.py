"""Anything image-like in, `(N, 3, H, W)` pixels out; what cannot be read without guessing is an error that says why."""

import io
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set, Sized
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, TypeVar, cast

import numpy as np
import PIL.Image
import torch
from torch import Tensor

from dreamsim_metric.bounds import check_least
from dreamsim_metric.images.pillow import open_encoded, open_file, to_levels, to_rgb
from dreamsim_metric.images.resizing import resize

SinglePicture = str | os.PathLike[str] | PIL.Image.Image | bytes | BinaryIO | Mapping[str, Any]
"""What is one picture by its type: a path, an image, a file's bytes, an opened file, or a dict with `bytes` or `path`.

An array or tensor may be a batch.
"""

Picture = SinglePicture | np.ndarray | Tensor
"""A picture: one by its type (`SinglePicture`), a uint8 array or tensor, or a float array or tensor in [0, 1]."""

Pictures = Picture | Iterable[Picture]
"""One picture, a batch `(N, …)`, or whatever gives pictures one by one: a list, a column of a table, a generator."""

P = TypeVar("P", bound=Picture)
Many = list[P] | tuple[P, ...]
"""What are several pictures by their type."""

_ACCEPTED = (
    "a path, a PIL image, a file's bytes, an opened file, a uint8 array or tensor (HWC or CHW, or batches of those), "
    "a float array or tensor in [0, 1] (CHW or NCHW), or a list of those"
)
_CHANNELS = (1, 3, 4)
_OBJECTS = "OUT"  # kinds of NumPy arrays whose elements are pictures: objects and names
_BYTES = (bytes, bytearray, memoryview)
_SINGLE = (str, os.PathLike, PIL.Image.Image, Mapping, *_BYTES)
_BAND = 1 << 20  # pixels that are laid over white at once
_RANGE_TOLERANCE = 1e-5  # rounding of honest arithmetic in float32, far below one 8-bit level (4e-3)


def is_single(pictures: Pictures) -> bool:
    """Tell one picture from several.

    One is what is so by its type (`SinglePicture`), and an array or tensor of two or three dimensions. Several are one
    with four, and whatever else gives its elements one by one.
    """
    if isinstance(pictures, np.ndarray) and pictures.dtype.kind in _OBJECTS:
        return pictures.ndim != 1
    if isinstance(pictures, (np.ndarray, Tensor)):
        return pictures.ndim != 4
    return isinstance(pictures, _SINGLE) or hasattr(pictures, "read") or not isinstance(pictures, Iterable)


def are_one_by_one(pictures: Pictures) -> bool:
    """Tell pictures that come one by one, sizes mixed, from one picture and from a batch in one array."""
    return not is_single(pictures) and not (isinstance(pictures, Tensor) or _is_batch(pictures))


def hold(pictures: Pictures) -> Pictures:
    """Keep what can be gone through only once, such as a generator, in a list; all else stays as it is.

    Raises:
        ValueError: a set, which has no order, or a table instead of its column.
    """
    if isinstance(pictures, Set):
        raise ValueError("got a set of pictures, which has no order; expected a list")
    if hasattr(pictures, "columns"):
        raise ValueError(f"got a table ({type(pictures).__name__}); expected its column of pictures")
    if is_single(pictures) or (isinstance(pictures, Sized) and not isinstance(pictures, Iterator)):
        return pictures
    return list(cast(Iterable[Picture], pictures))


def count(pictures: Pictures) -> int:
    """Count the pictures.

    Raises:
        ValueError: there are none.
    """
    n = 1 if is_single(pictures) else len(cast(Sequence[Picture], pictures))
    if n == 0:
        raise ValueError("got no pictures (an empty list or batch); expected at least one")
    return n


def split_batches(pictures: Pictures, batch_size: int) -> Iterator[Pictures]:
    """Yield the same pictures, at most `batch_size` at a time."""
    check_least("batch_size", batch_size)
    n = count(pictures)
    if is_single(pictures):
        yield pictures
    elif isinstance(pictures, (list, tuple, np.ndarray, Tensor)):
        for start in range(0, n, batch_size):
            yield pictures[start : start + batch_size]
    else:  # a column of a table, say, whose slices are its own affair
        one_by_one = iter(cast(Iterable[Picture], pictures))
        while some := list(islice(one_by_one, batch_size)):
            yield some


def to_pixels(pictures: Pictures, size: tuple[int, int] | None, *, check: bool = True) -> Tensor:
    """Read, convert to RGB and resize (Pillow's bicubic, aspect ratio ignored, as DreamSim was trained).

    Args:
        pictures: a path, PIL image, a file's bytes, an opened file, a dict with `bytes` or `path` (as `datasets` has
            them), uint8 array or tensor (0…255; HWC/NHWC or CHW/NCHW where that is unambiguous), float array or tensor
            in [0, 1] (CHW/NCHW), or a list, column or generator of those with sizes mixed. EXIF rotation and colour
            profiles are applied; greyscale, palette and CMYK become RGB; transparency is laid over white; 16-bit is
            scaled to 8-bit.
        size: height and width of the result; None for the pictures' own, which must then all have one.
        check: whether values outside [0, 1] are looked for. This reads the pixels back from a GPU; switch it off inside
            a loop.

    Returns:
        `(N, 3, *size)` float32 in [0, 1], on the device of the tensors given (else the CPU), differentiable with
        respect to float tensors.

    Raises:
        ValueError: not image-like, ambiguous, outside the value range, or a file that will not decode.
        FileNotFoundError: no such file.

    Example:
        >>> to_pixels(["examples/cat.jpg", "examples/coffee.jpg"], (224, 224)).shape
        torch.Size([2, 3, 224, 224])
        >>> to_pixels(np.full((2, 2, 3), 255, dtype=np.uint8), None)[0, :, 0, 0]
        tensor([1., 1., 1.])
        >>> to_pixels(torch.full((3, 8, 8), 200.0), None)
        Traceback (most recent call last):
        ValueError: got float values from 200 to 200; expected [0, 1]: if these are 8-bit levels, divide by 255 or \
pass uint8; otherwise .clamp(0, 1)
    """
    stacks = to_stacks(pictures, size, check)
    resized = [resize(stack, size or (stack.shape[-2], stack.shape[-1])) for stack in stacks]
    if len(sizes := {f"{some.shape[-2]} × {some.shape[-1]}" for some in resized}) > 1:
        raise ValueError(f"got pictures of sizes {', '.join(sorted(sizes))} and no size=; expected one size")
    return torch.cat(resized)


def to_stacks(pictures: Pictures, size: tuple[int, int] | None, check: bool) -> list[Tensor]:
    """Read pictures: stacks `(N, 3, H, W)` of one size each, uint8 or float32; files of `size` where they can be.

    Raises:
        ValueError, FileNotFoundError: as `to_pixels`.
    """
    pictures = hold(pictures)
    if are_one_by_one(pictures):
        count(pictures)
        pictures = list(cast(Iterable[Picture], pictures))
        devices = sorted({str(picture.device) if isinstance(picture, Tensor) else "cpu" for picture in pictures})
        if len(devices) > 1:
            raise ValueError(
                f"got pictures on {' and '.join(devices)}; expected one device: move them with .to(device)"
            )
        return [_convert_one(picture, size, check) for picture in pictures]
    return [_stack(cast(Picture, pictures), size, check)]


def to_image(picture: Picture) -> PIL.Image.Image:
    """Read one picture as `to_pixels` does, at its own size, as an RGB image of its own, without profile or EXIF.

    Raises:
        ValueError, FileNotFoundError: as `to_pixels`.

    Example:
        >>> to_image("examples/cat.jpg").mode
        'RGB'
    """
    image = _open(picture)
    if image is not None:
        return PIL.Image.fromarray(np.array(image))
    levels = (to_pixels(picture, None)[0] * 255).round().to(torch.uint8)
    return PIL.Image.fromarray(levels.permute(1, 2, 0).cpu().numpy())


def to_mask(file: Path) -> PIL.Image.Image:
    """Read a mask, white where something is, as a grey image; what is transparent in it counts as black.

    Raises:
        ValueError, FileNotFoundError: as `to_pixels`.
    """
    return open_file(file, "black").convert("L")


def _convert_one(picture: Picture, size: tuple[int, int] | None, check: bool) -> Tensor:
    if not is_single(picture):
        array = isinstance(picture, (np.ndarray, Tensor))
        what = f"shape {tuple(cast(Tensor, picture).shape)}" if array else f"a {type(picture).__name__}"
        raise ValueError(f"got {what} inside a list; expected one picture each: pass a batch by itself, or flatten it")
    return _stack(picture, size, check)


def _stack(pictures: Picture, size: tuple[int, int] | None, check: bool) -> Tensor:
    """`(N, 3, H, W)`, uint8 or float32, of `size` or not yet."""
    image = _open(pictures)
    if image is not None:
        return to_levels(image, size)
    if isinstance(pictures, np.ndarray):
        return _convert_tensor(_convert_numpy(pictures), check)
    if isinstance(pictures, Tensor):
        return _convert_tensor(pictures, check)
    raise ValueError(f"got {type(pictures).__name__}; expected {_ACCEPTED}")


def _is_batch(pictures: Any) -> bool:
    return isinstance(pictures, np.ndarray) and pictures.dtype.kind not in _OBJECTS


def _open(picture: Picture) -> PIL.Image.Image | None:
    """What is one picture by its type as an RGB image; None for all else."""
    if isinstance(picture, np.ndarray) and picture.dtype.kind in _OBJECTS and picture.ndim == 0:
        picture = picture.item()
    if isinstance(picture, (str, os.PathLike)):
        return open_file(Path(picture))
    if isinstance(picture, PIL.Image.Image):
        return to_rgb(picture, "the PIL image")
    if isinstance(picture, Mapping):
        return _read_record(picture)
    if isinstance(picture, _BYTES):
        return _read_bytes(picture, "the picture's file")
    if hasattr(picture, "read"):
        file = cast(BinaryIO, picture)
        name = f"the file {file.name}" if isinstance(getattr(file, "name", None), str) else "the opened file"
        if file.seekable():
            file.seek(0)  # as Pillow does: the same file may come again
        data = file.read()
        if isinstance(data, str):
            raise ValueError(f"{name} is opened as text; expected a file opened with mode 'rb'")
        return _read_bytes(data, name)
    return None


def _read_bytes(data: bytes | bytearray | memoryview, name: str) -> PIL.Image.Image:
    if len(data) == 0:
        raise ValueError(f"{name} is empty (0 bytes); expected a picture")
    return open_encoded(io.BytesIO(data), name)


def _read_record(record: Mapping[str, Any]) -> PIL.Image.Image:
    """A picture as the library `datasets` keeps it, its bytes or its path, either of which may be None."""
    data, path = record.get("bytes"), record.get("path")
    if isinstance(data, _BYTES):
        return _read_bytes(data, str(path or "the picture's file"))
    if data is None and isinstance(path, (str, os.PathLike)):
        return open_file(Path(path))
    raise ValueError(
        f"got a dict of {', '.join(map(str, record)) or 'nothing'}; expected bytes or path of a picture: "
        "of a table's row, pass the picture"
    )


def _convert_numpy(array: np.ndarray) -> Tensor:
    if array.dtype.kind not in "uifb" or array.dtype.itemsize > 8:
        raise ValueError(f"got an array of {array.dtype}; expected {_ACCEPTED}")
    # A copy: PyTorch takes neither negative strides nor foreign byte order, and warns of read-only memory.
    return torch.from_numpy(np.array(array, dtype=array.dtype.newbyteorder("="), order="C"))


def _convert_tensor(tensor: Tensor, check: bool) -> Tensor:
    shape = tuple(tensor.shape)
    if tensor.dtype != torch.uint8 and not tensor.is_floating_point():
        raise ValueError(
            f"got {tensor.dtype} of shape {shape}; expected uint8 in 0…255 or floating point in [0, 1]: "
            "convert with .to(torch.uint8) if its values are 8-bit, or divide by its maximum value"
        )
    if tensor.ndim == 2:
        tensor = tensor[None, None]
    elif tensor.ndim in (3, 4):
        tensor = _put_channels_first(tensor)
        tensor = tensor if tensor.ndim == 4 else tensor[None]
    else:
        raise ValueError(f"got {tensor.ndim} dimensions, shape {shape}; expected {_ACCEPTED}")
    if tensor.numel() == 0:
        raise ValueError(f"got shape {shape}, which has no pixels; expected at least one picture of at least 1 × 1")
    if tensor.is_floating_point():
        # Data-dependent control flow would break the graph of torch.compile, so compiled code is not checked.
        if check and not torch.compiler.is_compiling():
            _check_range(tensor)
        tensor = tensor.float()
    return _lay_over_white(tensor)


def _put_channels_first(tensor: Tensor) -> Tensor:
    shape = tuple(tensor.shape)
    first, last = shape[-3] in _CHANNELS, shape[-1] in _CHANNELS
    if tensor.is_floating_point():
        if not first:
            hint = f"it looks channels-last: use .permute({'0, 3, 1, 2' if len(shape) == 4 else '2, 0, 1'})"
            raise ValueError(
                f"got floats of shape {shape}; expected channels first, (3, H, W) or (N, 3, H, W)"
                + (f": {hint} (np.moveaxis for arrays)" if last else f" with 1, 3 or 4 channels, not {shape[-3]}")
            )
        return tensor
    if first and last:
        raise ValueError(
            f"got uint8 of shape {shape}, which reads as channels first and as channels last; "
            "pass it as floats in [0, 1], which are always channels first, or through PIL.Image.fromarray"
        )
    if not first and not last:
        raise ValueError(f"got uint8 of shape {shape}; expected 1, 3 or 4 channels, first (CHW) or last (HWC)")
    return tensor if first else tensor.movedim(-1, -3)


def _check_range(tensor: Tensor) -> None:
    try:
        low, high = (bound.item() for bound in tensor.detach().aminmax())
    except RuntimeError:  # mapped by vmap, or traced: there are no values, or many
        return
    if low >= -_RANGE_TOLERANCE and high <= 1 + _RANGE_TOLERANCE:
        return
    if not (np.isfinite(low) and np.isfinite(high)):
        hint = "it holds NaN or infinity"
    elif low >= 0:
        hint = "if these are 8-bit levels, divide by 255 or pass uint8; otherwise .clamp(0, 1)"
    elif low >= -1 and high <= 1:
        hint = "if these are in [-1, 1], use (x + 1) / 2; otherwise .clamp(0, 1)"
    else:
        hint = "undo any mean/std normalisation (the metric does its own), then .clamp(0, 1)"
    raise ValueError(f"got float values from {low:.6g} to {high:.6g}; expected [0, 1]: {hint}")


def _lay_over_white(tensor: Tensor) -> Tensor:
    """`(N, 1 | 3 | 4, H, W)` → `(N, 3, H, W)`: grey repeated, alpha composited on white as Pillow rounds it."""
    if tensor.shape[1] == 1:
        return tensor.expand(-1, 3, -1, -1)
    if tensor.shape[1] == 3:
        return tensor
    colour, alpha = tensor[:, :3], tensor[:, 3:]
    if tensor.dtype != torch.uint8:
        return colour * alpha + (1 - alpha)
    rows = max(1, _BAND // max(1, len(tensor) * tensor.shape[3]))  # at a time: int32 takes four times the memory
    return torch.cat([_blend(*some) for some in zip(colour.split(rows, 2), alpha.split(rows, 2), strict=True)], 2)


def _blend(colour: Tensor, alpha: Tensor) -> Tensor:
    colour, alpha = colour.int(), alpha.int()
    blend = (colour * alpha + 255 * (255 - alpha) + 128) << 7  # AlphaComposite.c, 7 extra bits of precision
    return ((((blend >> 8) + blend) >> 8) >> 7).to(torch.uint8)
