"""Pictures as the tuned part of a metric takes them: each is decoded once a run, and embedded once where it can be."""

import math
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from tqdm import tqdm

from dreamsim_metric.files.write import check_space
from dreamsim_metric.images.convert import to_pixels
from dreamsim_metric.metric import PerceptualMetric

_AHEAD = 4  # pictures decoded ahead, a worker: bounds the memory


def decode(files: Sequence[Path], size: int, workers: int = 4) -> Iterator[np.ndarray | str]:
    """Yield pictures in order, decoded and resized by threads.

    Args:
        files: picture files.
        size: height and width of the results.
        workers: threads that decode.

    Yields:
        uint8 `(3, size, size)`, exactly what the metric sees of the file; or why it cannot be read.
    """
    ahead: deque[Future[np.ndarray | str]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        for file in files:
            ahead.append(pool.submit(_decode, file, size))
            if len(ahead) > workers * _AHEAD:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()


def _decode(file: Path, size: int) -> np.ndarray | str:
    try:
        return (to_pixels(file, (size, size))[0] * 255).round().byte().numpy()
    except (ValueError, OSError) as error:
        return str(error)


def embed_files(
    metric: PerceptualMetric, files: Sequence[Path], *, batch_size: int = 32, workers: int = 4, raw: bool = False
) -> tuple[torch.Tensor, dict[Path, str]]:
    """Embed picture files, decoded beside the network's work; progress on stderr.

    Args:
        metric: what embeds.
        files: picture files.
        batch_size: pictures embedded at once.
        workers: threads that decode.
        raw: features in front of the head, in place of unit embeddings.

    Returns:
        float32 `(N, D)` on the CPU, and the files that cannot be read with the reason; their rows are zeros.
    """
    out = torch.zeros(len(files), metric.card.embedding_size)
    unreadable: dict[Path, str] = {}
    batch: list[tuple[int, np.ndarray]] = []

    @torch.inference_mode()
    def work() -> None:
        pixels = torch.from_numpy(np.stack([pixels for _, pixels in batch])).to(metric.device).float() / 255
        features = metric.features(pixels)
        values = metric.pool(features) if raw else metric.to_unit(features)
        out[[i for i, _ in batch]] = values.cpu()
        batch.clear()

    decoded = decode(files, metric.card.image_size, workers)
    for i, pixels in enumerate(tqdm(decoded, total=len(files), desc="embedding", unit="picture", disable=None)):
        if isinstance(pixels, str):
            unreadable[files[i]] = pixels
            continue
        batch.append((i, pixels))
        if len(batch) == batch_size:
            work()
    if batch:
        work()
    return out, unreadable


def write_features(metric: PerceptualMetric, files: Sequence[Path], target: Path, workers: int) -> dict[Path, str]:
    """Write the features of all pictures, `np.load`'s float32 `(N, D)`, unless some picture cannot be read.

    Returns:
        The files that cannot be read, with the reason.

    Raises:
        OSError: the disk is full or not writable.
    """
    features, unreadable = embed_files(metric, files, workers=workers, raw=True)
    if not unreadable:
        with _array(target, np.dtype(np.float32), tuple(features.shape)) as file:
            file.write(features.numpy().data)
    return unreadable


def write_pixels(files: Sequence[Path], size: int, target: Path, workers: int) -> dict[Path, str]:
    """Write all pictures, `np.load`'s uint8 `(N, 3, size, size)`, unless one cannot be read.

    On disk and not in memory, where a data set of some ten thousand pictures would not fit.

    Returns:
        The files that cannot be read, with the reason.

    Raises:
        OSError: the disk is full or not writable.
    """
    unreadable = {}
    progress = tqdm(decode(files, size, workers), total=len(files), desc="decoding", unit="picture", disable=None)
    with _array(target, np.dtype(np.uint8), (len(files), 3, size, size)) as file:
        for i, pixels in enumerate(progress):
            if isinstance(pixels, str):
                unreadable[files[i]] = pixels
            elif not unreadable:
                file.write(pixels.data)
    if unreadable:
        target.unlink()
    return unreadable


def pick(inputs: np.ndarray, pictures: np.ndarray) -> torch.Tensor:
    """Pick rows into memory of torch's: matrix products differ in the last bits by how data is aligned."""
    return torch.from_numpy(inputs[pictures]).clone()


@contextmanager
def _array(target: Path, dtype: np.dtype, shape: tuple[int, ...]) -> Iterator[BinaryIO]:
    """A file in NumPy's format, its header written, that gets its name when it is whole.

    Written and not mapped: on a full disk a mapped file would end the process without a word.
    """
    check_space(target, dtype.itemsize * math.prod(shape))
    beside = target.with_name(f".{target.name}.part")
    header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    try:
        with open(beside, "wb") as file:
            np.lib.format.write_array_header_1_0(file, header)
            yield file
        beside.replace(target)
    finally:
        beside.unlink(missing_ok=True)
