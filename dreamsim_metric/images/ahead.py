"""Pictures decoded in threads, ahead of who uses them."""

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import closing, contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar, cast

import torch
from torch import Tensor
from tqdm import tqdm

from dreamsim_metric.bounds import check_least
from dreamsim_metric.images.convert import Pictures, count, is_single, split_batches
from dreamsim_metric.images.pillow import read_file
from dreamsim_metric.images.resizing import resize_levels

T = TypeVar("T")
R = TypeVar("R")


def map_in_order(pool: Executor, work: Callable[[T], R], items: Iterable[T], ahead: int) -> Iterator[R]:
    """Map in other threads, at most `ahead` items before the one that is wanted: memory stays bounded."""
    waiting: deque = deque()
    for item in items:
        waiting.append(pool.submit(work, item))
        if len(waiting) > ahead:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def count_workers(workers: int | None) -> int:
    """Count the threads: as many as asked for, else one a core, at most 16.

    Raises:
        ValueError: fewer than one.
    """
    if workers is None:
        return min(16, count_cores())
    check_least("workers", workers)
    return workers


def count_cores() -> int:
    """Count the processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def start_threads(workers: int | None) -> Iterator[Executor]:
    """Keep as many threads as `count_workers` says; what nobody wants any more, as after an error, is not begun."""
    pool = ThreadPoolExecutor(count_workers(workers))
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def decode_files(
    files: Iterable[str | Path], size: int | None = None, *, workers: int | None = None, at_once: int = 1
) -> Generator[Tensor | OSError | ValueError, None, None]:
    """Decode files in threads, with the pixels of `images.to_pixels`.

    Args:
        files: names of picture files.
        size: height and width of the results; None for the pictures' own.
        workers: threads that decode; None for one a core, at most 16.
        at_once: pictures that are wanted at once; so many, and one a thread, are decoded ahead.

    Yields:
        Of each file in order `(3, size, size)` uint8, or why it cannot be read.
    """

    def levels(file: str | Path) -> Tensor | OSError | ValueError:
        try:
            if size is None:
                return read_file(Path(file))[0]
            return resize_levels(read_file(Path(file), (size, size))[0], (size, size))
        except (OSError, ValueError) as error:
            return error

    with start_threads(workers) as pool:
        yield from map_in_order(pool, levels, files, at_once + count_workers(workers))


def find_unreadable(files: Iterable[str | Path], *, workers: int | None = None) -> dict[Path, str]:
    """Decode files as `decode_files` does, to see whether they can be; progress on stderr.

    Returns:
        Why, by file, of those that cannot.
    """
    paths = list(dict.fromkeys(map(Path, files)))
    with tqdm(total=len(paths), desc="decoding", unit="picture", disable=None, leave=False) as bar:
        found = {}
        for path, pixels in zip(paths, decode_files(paths, workers=workers), strict=True):
            if isinstance(pixels, Exception):
                found[path] = " ".join(str(pixels).split())
            bar.update()
    return found


def read_ahead(pictures: Pictures, batch_size: int, size: int, device: torch.device) -> Iterator[Pictures]:
    """Yield pictures in batches, of which files are decoded in threads while those before are used.

    Many files come as `(N, 3, size, size)` uint8 on the device, with the pixels of `images.to_pixels`.

    Raises:
        OSError, ValueError: a file cannot be read.
    """
    some_at_a_time = split_batches(pictures, batch_size)
    if is_single(pictures) or not (count(pictures) > 1 and all(map(_is_path, cast(Iterable[Any], pictures)))):
        yield from some_at_a_time
        return
    files = cast(Iterable[str | Path], pictures)
    with closing(decode_files(files, size, at_once=batch_size)) as found:
        for some in some_at_a_time:
            yield torch.stack([_raise(pixels) for pixels in islice(found, len(cast(Sequence, some)))]).to(device)


def _raise(pixels: Tensor | Exception) -> Tensor:
    if isinstance(pixels, Exception):
        raise pixels
    return pixels


def _is_path(picture: Any) -> bool:
    return isinstance(picture, (str, os.PathLike))
