"""Pictures as the tuned part of a metric takes them: each is decoded once a run, and embedded once where it can be."""

import hashlib
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from tqdm import tqdm

from dreamsim_metric.files.digest import digest_file
from dreamsim_metric.files.store import read_content
from dreamsim_metric.files.write import check_space, create_file, write_file
from dreamsim_metric.images.ahead import decode_files
from dreamsim_metric.judgements.tables import Triplets
from dreamsim_metric.metric import PerceptualMetric
from dreamsim_metric.scale.embedding import Embedder, Options


def write_features(
    metric: PerceptualMetric, files: Sequence[Path], target: Path, workers: int | None = None
) -> dict[Path, str]:
    """Write the features of all pictures, `np.load`'s float32 `(N, D)`, unless some picture cannot be read.

    Args:
        metric: metric whose features in front of the head are written.
        files: picture files, each once.
        target: the file to write.
        workers: threads that decode; None for one a core, at most 16.

    Returns:
        The files that cannot be read, with the reason.

    Raises:
        OSError: the disk is full or not writable.
    """
    embedder = Embedder(metric, options=Options(workers=workers, progress=True), raw=True)
    found = embedder(list(map(str, files)))
    if not found.unreadable:
        with _create_array(target, np.dtype(np.float32), tuple(found.units.shape)) as file:
            file.write(found.units.numpy().data)
    return {Path(name): why for name, why in found.unreadable.items()}


def write_pixels(files: Sequence[Path], size: int, target: Path, workers: int | None = None) -> dict[Path, str]:
    """Write all pictures, `np.load`'s uint8 `(N, 3, size, size)`, unless one cannot be read.

    On disk and not in memory, where a data set of some ten thousand pictures would not fit.

    Args:
        files: picture files, each once.
        size: height and width of what is written.
        target: the file to write.
        workers: threads that decode; None for one a core, at most 16.

    Returns:
        The files that cannot be read, with the reason.

    Raises:
        OSError: the disk is full or not writable.
    """
    unreadable = {}
    found = decode_files(files, size, workers=workers)
    progress = tqdm(zip(files, found, strict=True), total=len(files), desc="decoding", unit="picture", disable=None)
    with _create_array(target, np.dtype(np.uint8), (len(files), 3, size, size)) as file:
        for path, pixels in progress:
            if isinstance(pixels, Exception):
                unreadable[path] = " ".join(str(pixels).split())
            elif not unreadable:
                file.write(np.ascontiguousarray(pixels).data)
    if unreadable:
        target.unlink()
    return unreadable


def digest_table(table: Triplets) -> str:
    """Digest what people judged: names of pictures, answers and splits."""
    found = hashlib.sha256("\n".join(map(str, table.pictures)).encode(errors="surrogateescape"))
    for values in (table.index, table.right, table.votes):
        found.update(np.ascontiguousarray(values).data)
    found.update("\n".join(table.splits).encode())
    return found.hexdigest()


def digest_contents(pictures: Sequence[Path]) -> str:
    """Digest what picture files hold; those that cannot be read are said later, all at once."""
    found = hashlib.sha256()
    for path in pictures:
        found.update(read_content(str(path)).sha256.encode() + b"\n")
    return found.hexdigest()


def pick(inputs: np.ndarray, pictures: np.ndarray) -> torch.Tensor:
    """Pick rows into memory of torch's: matrix products differ in the last bits by how data is aligned."""
    return torch.from_numpy(inputs[pictures]).clone()


@contextmanager
def _create_array(target: Path, dtype: np.dtype, shape: tuple[int, ...]) -> Iterator[BinaryIO]:
    """A file in NumPy's format, its header written, that gets its name when it is whole.

    Written and not mapped: on a full disk a mapped file would end the process without a word.
    """
    check_space(target, dtype.itemsize * math.prod(shape))
    header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    with create_file(target) as file:
        np.lib.format.write_array_header_1_0(file, header)
        yield file
    write_file(_digest_of(target), digest_file(target).encode())


def is_sound(target: Path) -> bool:
    """Tell whether the inputs of a run that was stopped are there, as they were written."""
    digest = _digest_of(target)
    return target.is_file() and digest.is_file() and digest.read_bytes() == digest_file(target).encode()


def _digest_of(target: Path) -> Path:
    return target.with_suffix(".sha256")
