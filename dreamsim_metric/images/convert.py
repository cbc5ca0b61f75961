"""Anything image-like in, `(N, 3, H, W)` pixels out; what cannot be read without guessing is an error that says why."""

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, TypeVar, cast

import numpy as np
import PIL.Image
import PIL.ImageOps
import torch
from torch import Tensor

from dreamsim_metric.bounds import check_least
from dreamsim_metric.images.resizing import resize, resize_image
from dreamsim_metric.messages import say_error_with_kind

SinglePicture = str | os.PathLike[str] | PIL.Image.Image
"""What is one picture by its type; an array or tensor may be a batch."""

Picture = SinglePicture | np.ndarray | Tensor
"""A picture: a path, a PIL image, a uint8 array or tensor, or a float array or tensor in [0, 1]."""

Pictures = Picture | Sequence[Picture]
"""One picture, a batch `(N, …)` or a list of pictures, sizes mixed; `to_pixels` says what is accepted."""

P = TypeVar("P", bound=Picture)
Many = list[P] | tuple[P, ...]
"""What are several pictures by their type."""

_ACCEPTED = (
    "a path, a PIL image, a uint8 array or tensor (HWC or CHW, or batches of those), "
    "a float array or tensor in [0, 1] (CHW or NCHW), or a list of those"
)
_CHANNELS = (1, 3, 4)
_ORIENTATION = 0x0112  # EXIF
_RANGE_TOLERANCE = 1e-5  # rounding of honest arithmetic in float32, far below one 8-bit level (4e-3)


def is_single(pictures: Pictures) -> bool:
    """Tell one picture (a path, a PIL image, an array of 2 or 3 dimensions) from a batch or a list."""
    if isinstance(pictures, (list, tuple)):
        return False
    return not (isinstance(pictures, (np.ndarray, Tensor)) and pictures.ndim == 4)


def count(pictures: Pictures) -> int:
    """Count the pictures.

    Raises:
        ValueError: there are none.
    """
    n = 1 if is_single(pictures) else len(cast(Sequence[Picture], pictures))
    if n == 0:
        raise ValueError("got no pictures (an empty list or batch); expected at least one")
    return n


def batches(pictures: Pictures, batch_size: int) -> Iterator[Pictures]:
    """Yield the same pictures, at most `batch_size` at a time."""
    check_least("batch_size", batch_size)
    n = count(pictures)
    if is_single(pictures):
        yield pictures
    else:
        for start in range(0, n, batch_size):
            yield cast(Sequence[Picture], pictures)[start : start + batch_size]


def to_pixels(pictures: Pictures, size: tuple[int, int] | None, *, check: bool = True) -> Tensor:
    """Read, convert to RGB and resize (Pillow's bicubic, aspect ratio ignored, as DreamSim was trained).

    Args:
        pictures: a path, PIL image, uint8 array or tensor (0…255; HWC/NHWC or CHW/NCHW where that is unambiguous),
            float array or tensor in [0, 1] (CHW/NCHW), or a list of those with sizes mixed. EXIF rotation is applied;
            greyscale, palette and CMYK become RGB; transparency is laid over white; 16-bit is scaled to 8-bit.
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
    if isinstance(pictures, (list, tuple)):
        count(pictures)
        devices = sorted({str(picture.device) if isinstance(picture, Tensor) else "cpu" for picture in pictures})
        if len(devices) > 1:
            raise ValueError(
                f"got pictures on {' and '.join(devices)}; expected one device: move them with .to(device)"
            )
        return [_one(picture, size, check) for picture in pictures]
    return [_stack(cast(Picture, pictures), size, check)]


def to_image(picture: Picture) -> PIL.Image.Image:
    """Read one picture as `to_pixels` does, at its own size, as an RGB image.

    Raises:
        ValueError, FileNotFoundError: as `to_pixels`.

    Example:
        >>> to_image("examples/cat.jpg").mode
        'RGB'
    """
    if isinstance(picture, (str, os.PathLike)):
        levels = from_file(Path(picture))[0]
    else:
        levels = (to_pixels(picture, None)[0] * 255).round().to(torch.uint8)
    return PIL.Image.fromarray(levels.permute(1, 2, 0).cpu().numpy())


def _one(picture: Picture, size: tuple[int, int] | None, check: bool) -> Tensor:
    if isinstance(picture, (list, tuple)) or not is_single(picture):
        what = f"shape {tuple(picture.shape)}" if isinstance(picture, (np.ndarray, Tensor)) else "a list"
        raise ValueError(f"got {what} inside a list; expected one picture each: pass a batch by itself, or flatten it")
    return _stack(picture, size, check)


def _stack(pictures: Picture, size: tuple[int, int] | None, check: bool) -> Tensor:
    """`(N, 3, H, W)`, uint8 or float32, of `size` or not yet."""
    if isinstance(pictures, (str, os.PathLike)):
        return from_file(Path(pictures), size)
    if isinstance(pictures, PIL.Image.Image):
        return _from_pil(pictures, "the PIL image", size)
    if isinstance(pictures, np.ndarray):
        return _from_tensor(_from_numpy(pictures), check)
    if isinstance(pictures, Tensor):
        return _from_tensor(pictures, check)
    raise ValueError(f"got {type(pictures).__name__}; expected {_ACCEPTED}")


def from_file(path: Path, size: tuple[int, int] | None = None) -> Tensor:
    """Read a picture's file: `(1, 3, H, W)` uint8.

    Args:
        path: the file to read.
        size: height and width to resize to where `from_encoded` can; None for the picture's own.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it will not decode, or holds what would have to be guessed.
    """
    if not path.exists():
        hint = "; download it first" if re.match(r"\w\w+:/", str(path)) else ""  # C:/ is a drive
        raise FileNotFoundError(f"no such picture: {path}{hint}")
    if path.is_dir():
        raise ValueError(f"{path} is a folder; expected a picture file: pass a list of the files in it")
    if path.stat().st_size == 0:
        raise ValueError(f"{path} is an empty file (0 bytes); expected a picture")
    return from_encoded(path, str(path), size)


def from_encoded(source: Path | BinaryIO, name: str, size: tuple[int, int] | None = None) -> Tensor:
    """Decode a picture's file, or its contents, by Pillow: `(1, 3, H, W)` uint8.

    Args:
        source: a file, or its opened contents.
        name: the picture's name in messages.
        size: height and width to resize to where that can be done before pixels are copied out of Pillow, which
            threads would have to do one after the other; a picture with transparency keeps its own size.

    Raises:
        ValueError: it will not decode, or holds what would have to be guessed.
    """
    try:
        with PIL.Image.open(source) as image:
            # A multi-picture JPEG (MPO, as phones write) holds one photograph and its previews.
            if getattr(image, "is_animated", False) and image.format != "MPO":
                raise _UnreadableError(
                    f"{name} has several frames ({image.format}); expected one picture: "
                    "choose one with PIL.Image.open(path).seek(i) and pass that image"
                )
            image.load()
            return _from_pil(image, name, size)
    except _UnreadableError:
        raise
    except PIL.UnidentifiedImageError as error:
        raise ValueError(f"{name} is not a picture that Pillow can read") from error
    except PIL.Image.DecompressionBombError as error:
        raise ValueError(
            f"{name} is larger than Pillow allows ({error}); if you trust it, raise PIL.Image.MAX_IMAGE_PIXELS"
        ) from error
    except Exception as error:  # decoders raise OSError, SyntaxError, struct.error and more on damaged files
        raise ValueError(f"{name} will not decode ({say_error_with_kind(error)}); is it whole?") from error


class _UnreadableError(ValueError):
    """A file that decodes, and whose message is already complete."""


def _from_pil(image: PIL.Image.Image, name: str, size: tuple[int, int] | None) -> Tensor:
    format_, mode = image.format, image.mode
    if 0 in image.size:
        raise _UnreadableError(f"{name} has no pixels (size {image.size}); expected at least 1 × 1")
    try:
        if image.getexif().get(_ORIENTATION, 1) != 1:  # else it would be copied
            image = PIL.ImageOps.exif_transpose(image)
        if mode.startswith("I;16") or (mode == "I" and format_ in ("PNG", "PPM")):  # both hold 0…65535
            values = np.array(image).astype(np.int64)
            levels = (values * 255 + 32767) // 65535
            levels[values == image.info.get("transparency", -1)] = 255
            return _from_tensor(torch.from_numpy(levels.astype(np.uint8)), check=False)
        if mode in ("I", "F"):
            raise _UnreadableError(
                f"{name} has mode {mode}, whose value range is not defined; expected 8 or 16 bits: "
                "scale it to 0…255 and .convert('L') first"
            )
        if image.has_transparency_data:
            image = image.convert("LA") if mode == "La" else image
            image = image.convert("RGBA")
        else:
            image = image if image.mode == "RGB" else image.convert("RGB")
            image = image if size is None else resize_image(image, size)
    except _UnreadableError:
        raise
    except Exception as error:
        raise ValueError(f"{name} (mode {mode}) will not convert to RGB ({say_error_with_kind(error)})") from error
    return _over_white(torch.from_numpy(np.array(image)).permute(2, 0, 1)[None])


def _from_numpy(array: np.ndarray) -> Tensor:
    if array.dtype.kind not in "uifb" or array.dtype.itemsize > 8:
        raise ValueError(f"got an array of {array.dtype}; expected {_ACCEPTED}")
    # A copy: PyTorch takes neither negative strides nor foreign byte order, and warns of read-only memory.
    return torch.from_numpy(np.array(array, dtype=array.dtype.newbyteorder("="), order="C"))


def _from_tensor(tensor: Tensor, check: bool) -> Tensor:
    shape = tuple(tensor.shape)
    if tensor.dtype != torch.uint8 and not tensor.is_floating_point():
        raise ValueError(
            f"got {tensor.dtype} of shape {shape}; expected uint8 in 0…255 or floating point in [0, 1]: "
            "convert with .to(torch.uint8) if its values are 8-bit, or divide by its maximum value"
        )
    if tensor.ndim == 2:
        tensor = tensor[None, None]
    elif tensor.ndim in (3, 4):
        tensor = _channels_first(tensor)
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
    return _over_white(tensor)


def _channels_first(tensor: Tensor) -> Tensor:
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


def _over_white(tensor: Tensor) -> Tensor:
    """`(N, 1 | 3 | 4, H, W)` → `(N, 3, H, W)`: grey repeated, alpha composited on white as Pillow rounds it."""
    if tensor.shape[1] == 1:
        return tensor.expand(-1, 3, -1, -1)
    if tensor.shape[1] == 3:
        return tensor
    colour, alpha = tensor[:, :3], tensor[:, 3:]
    if tensor.dtype != torch.uint8:
        return colour * alpha + (1 - alpha)
    colour, alpha = colour.int(), alpha.int()
    blend = (colour * alpha + 255 * (255 - alpha) + 128) << 7  # AlphaComposite.c, 7 extra bits of precision
    return ((((blend >> 8) + blend) >> 8) >> 7).to(torch.uint8)
