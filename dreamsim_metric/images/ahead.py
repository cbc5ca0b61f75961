"""Pictures decoded in threads, ahead of who uses them."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar, cast

import torch
from torch import Tensor

from dreamsim_metric.images.convert import Pictures, batches, from_file
from dreamsim_metric.images.resizing import resize_levels

T = TypeVar("T")
R = TypeVar("R")


def in_order(pool: Executor, work: Callable[[T], R], items: Iterable[T], ahead: int) -> Iterator[R]:
    """Map in other threads, at most `ahead` items before the one that is wanted: memory stays bounded."""
    waiting: deque = deque()
    for item in items:
        waiting.append(pool.submit(work, item))
        if len(waiting) > ahead:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def worker_count(workers: int | None) -> int:
    """Count the threads: as many as asked for, else one a core, at most 16.

    Raises:
        ValueError: fewer than one.
    """
    if workers is None:
        return min(16, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
    if workers < 1:
        raise ValueError(f"got workers={workers}; expected 1 or more")
    return workers


def read_ahead(pictures: Pictures, batch_size: int, size: int, device: torch.device) -> Iterator[Pictures]:
    """Yield pictures in batches, of which files are decoded in threads while those before are used.

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
