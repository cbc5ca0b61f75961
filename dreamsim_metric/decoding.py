"""Files → pixels → device, in threads and ahead of the model, with what cannot be read beside what can."""

import io
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any, Literal, TypeVar, cast, get_args

import PIL
import PIL.Image
import torch
from torch import Tensor

from dreamsim_metric.images import Pictures, batches, from_encoded, from_file
from dreamsim_metric.resize import resize, resize_levels, unit_range

Decoder = Literal["pillow", "torchvision"]
DECODERS: tuple[str, ...] = get_args(Decoder)
_ORIENTATION = 0x0112  # EXIF
_END_OF_IMAGE = b"\xff\xd9"  # of a JPEG; one without it is cut off, which Pillow shall judge

T = TypeVar("T")
R = TypeVar("R")


def decode(data: bytes, file: str, size: int | None, decoder: str = "pillow", device: str = "cpu") -> Tensor:
    """An encoded picture → `(3, size, size)` uint8, squashed by Pillow's bicubic.

    Args:
        data: a picture file's bytes.
        file: its name, for messages.
        size: side of the result; None for the picture's own height and width.
        decoder: `pillow`, the reference, or `torchvision` for JPEGs that are RGB or grey and not rotated by EXIF (all
            others go through Pillow).
        device: where the pixels are to be. For `torchvision` and CUDA a JPEG is left as it is, `(bytes,)` uint8, for
            `to_device` to decode there.

    Raises:
        ValueError: it will not decode.
    """
    if decoder == "torchvision" and _is_plain_jpeg(data):
        encoded = torch.frombuffer(bytearray(data), dtype=torch.uint8)
        if device.startswith("cuda"):
            return encoded
        pixels = _by_torchvision(encoded, "cpu")
    else:
        pixels = None
    sides = None if size is None else (size, size)
    if pixels is None:  # for Pillow, which also says what is wrong
        pixels = from_encoded(io.BytesIO(data), file, sides)[0]
    return pixels if sides is None else resize_levels(pixels, sides).contiguous()


def _is_plain_jpeg(data: bytes) -> bool:
    try:
        with PIL.Image.open(io.BytesIO(data)) as image:
            plain = image.format == "JPEG" and image.mode in ("RGB", "L") and image.getexif().get(_ORIENTATION, 1) == 1
    except Exception:
        return False
    return plain and data.rstrip(b"\0").endswith(_END_OF_IMAGE)


def _by_torchvision(encoded: Any, device: str) -> Any:
    """One picture or a list of them; None where it fails."""
    from torchvision.io import ImageReadMode, decode_jpeg

    try:
        return decode_jpeg(encoded, mode=ImageReadMode.RGB, device=device)
    except RuntimeError:
        return None


def decoder_version(decoder: str) -> str:
    """Name and version of what decodes: numbers depend on it."""
    version = f"Pillow {PIL.__version__}"
    if decoder == "torchvision":
        import torchvision

        version = f"torchvision {torchvision.__version__}, {version}"
    return version


def on_host(picture: Tensor, file: str) -> Tensor:
    """What `decode` gave, decoded by Pillow if it was left as it was: `(3, H, W)` uint8.

    Raises:
        ValueError: it will not decode.
    """
    return picture if picture.ndim == 3 else from_encoded(io.BytesIO(picture.numpy().tobytes()), file)[0]


def check_decoder(decoder: str) -> None:
    """Raises `ValueError` unless there is such a decoder, and this installation has it."""
    if decoder not in DECODERS:
        raise ValueError(f"got decoder={decoder!r}; expected {' or '.join(map(repr, DECODERS))}")
    if decoder == "torchvision":
        import torchvision.io

        if not hasattr(torchvision.io, "decode_jpeg"):  # deprecated since 0.29
            raise ValueError(f"torchvision {torchvision.__version__} decodes no pictures; use decoder='pillow'")


def in_order(pool: Executor, work: Callable[[T], R], items: Iterable[T], ahead: int) -> Iterator[R]:
    """`map` in other threads, at most `ahead` items before the one that is wanted: memory stays bounded."""
    waiting: deque = deque()
    for item in items:
        waiting.append(pool.submit(work, item))
        if len(waiting) > ahead:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def worker_count(workers: int | None) -> int:
    """As asked, else one a core, at most 16.

    Raises:
        ValueError: fewer than one.
    """
    if workers is None:
        return min(16, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
    if workers < 1:
        raise ValueError(f"got workers={workers}; expected 1 or more")
    return workers


def read_ahead(pictures: Pictures, batch_size: int, size: int, device: torch.device) -> Iterator[Pictures]:
    """`images.batches`, of which files are decoded in threads while those before are used.

    A list of files comes as `(N, 3, size, size)` uint8 on the device, with the pixels of `images.to_pixels`.
    """
    some_at_a_time = batches(pictures, batch_size)
    if not (isinstance(pictures, (list, tuple)) and len(pictures) > 1 and all(map(_is_path, pictures))):
        yield from some_at_a_time
        return

    def levels(file: Any) -> Tensor:
        return resize_levels(from_file(Path(file), (size, size))[0], (size, size))

    workers = worker_count(None)
    pool = ThreadPoolExecutor(workers)
    try:
        decoded = in_order(pool, levels, pictures, batch_size + workers)
        for some in some_at_a_time:
            yield torch.stack(list(islice(decoded, len(cast(Sequence, some))))).to(device)
    finally:
        pool.shutdown(cancel_futures=True)


def _is_path(picture: Any) -> bool:
    return isinstance(picture, (str, os.PathLike))


class NotOnDeviceError(RuntimeError):
    """A JPEG that nvJPEG does not take."""


class ToDevice:
    """Decoded pictures → one batch on the device, copied while the batch before is computed.

    On CUDA, uint8 goes through pinned memory on a stream of its own: four times less to copy than floats. JPEGs that
    `decode` left as they are are decoded there (nvJPEG), and pictures of other sizes are resized there.

    Args:
        device: of the model.
        size: side of the pictures in pixels.
    """

    def __init__(self, device: torch.device, size: int) -> None:
        self._device, self._size = device, (size, size)
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None

    def __call__(self, pictures: Sequence[Tensor]) -> Tensor:
        """`(3, H, W)` uint8, or JPEGs as `(bytes,)`, on the CPU → `(N, 3, S, S)` float32 in [0, 1] on the device.

        Raises:
            NotOnDeviceError: a JPEG will not decode there; `on_host` may decode it, or says what is wrong.
        """
        if self._stream is None:
            return self._floats(list(pictures))
        with torch.cuda.stream(self._stream):
            floats = self._floats(list(pictures))
        current = torch.cuda.current_stream(self._device)
        current.wait_stream(self._stream)
        floats.record_stream(current)
        return floats

    def _floats(self, pictures: list[Tensor]) -> Tensor:
        encoded = [i for i, picture in enumerate(pictures) if picture.ndim == 1]
        if encoded:
            decoded = _by_torchvision([pictures[i] for i in encoded], str(self._device))
            if decoded is None:
                raise NotOnDeviceError("one of these JPEGs will not decode on the device")
            for i, picture in zip(encoded, decoded, strict=True):
                pictures[i] = picture
        if all(picture.shape[-2:] == self._size and picture.device.type == "cpu" for picture in pictures):
            return unit_range(self._copied(torch.stack(pictures)))
        return torch.cat([self._resized(picture[None]) for picture in pictures])

    def _resized(self, picture: Tensor) -> Tensor:
        moved = self._copied(picture)
        return unit_range(moved) if moved.shape[-2:] == self._size else resize(moved, self._size)

    def _copied(self, levels: Tensor) -> Tensor:
        if self._stream is None or levels.device.type == "cuda":
            return levels.to(self._device)
        return levels.contiguous().pin_memory().to(self._device, non_blocking=True)
