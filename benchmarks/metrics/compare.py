"""A metric's numbers for pairs of pictures, or of prompts and pictures: each picture goes through its network once."""

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from benchmarks.metrics.base import Features, Metric, Unmeasurable
from dreamsim_metric.files.store import Content
from dreamsim_metric.images.ahead import count_workers, map_in_order, start_threads
from dreamsim_metric.scale.cache import Cache, compute_digests
from dreamsim_metric.scale.embedding import FileEmbedder, Options

_HELD = 3 << 30  # bytes of features held at once, of metrics whose features are large
_AT_ONCE = 16 << 20  # bytes of features compared at once: more does not fit in the processor's cache
_SAVED = 200  # pairs after which the cache is written


def compare_pairs(
    metric: Metric,
    pictures: Sequence[Path],
    pairs: np.ndarray,
    cache: Cache,
    *,
    batch_size: int = 32,
    workers: int | None = None,
) -> np.ndarray:
    """Compute a metric's numbers for pairs of pictures, each picture through its network once.

    Args:
        metric: metric that compares pictures.
        pictures: picture files.
        pairs: `(N, 2)` positions among them, the reference first.
        cache: store of what was computed before.
        batch_size: pictures that go through a network at once, neighbours of one size together.
        workers: threads that decode; None for one a core, at most 16.

    Returns:
        `(N,)` float64, in the metric's own direction.

    Raises:
        Unmeasurable: the metric cannot take these pictures, and why.
        OSError: the cache cannot be written.
    """
    if metric.embeds:
        units = _embed(metric, pictures, cache, batch_size, workers)
        return _check_finite(_compare_rows(metric, units, units, pairs))
    return _check_finite(_pair_distances(metric, pictures, pairs, cache, batch_size, workers))


def compare_prompts(
    metric: Metric,
    prompts: list[str],
    pictures: Sequence[Path],
    pairs: np.ndarray,
    cache: Cache,
    *,
    batch_size: int = 32,
    workers: int | None = None,
) -> np.ndarray:
    """Compute a metric's numbers for prompts and pictures.

    Args:
        metric: metric that has `text`.
        prompts: texts that the metric is given.
        pictures: picture files.
        pairs: `(N, 2)` positions: of a prompt among the prompts, of a picture among the pictures.
        cache: store of what was computed before.
        batch_size: pictures that go through a network at once, neighbours of one size together.
        workers: threads that decode; None for one a core, at most 16.

    Returns:
        `(N,)` float64, in the metric's own direction.

    Raises:
        Unmeasurable: the metric cannot take these pictures, or prompts, and why.
        OSError: the cache cannot be written.
    """
    if metric.text is None:
        raise Unmeasurable("it compares pictures with pictures, not with prompts")
    units = _embed(metric, pictures, cache, batch_size, workers)
    texts = torch.cat([metric.text(prompts[i : i + batch_size]) for i in range(0, len(prompts), batch_size)]).cpu()
    return _check_finite(_compare_rows(metric, texts, units, pairs))


def _check_finite(d: np.ndarray) -> np.ndarray:
    if not np.isfinite(d).all():
        raise Unmeasurable(f"it gave {np.count_nonzero(~np.isfinite(d))} numbers that are not finite")
    return d


def _compare_rows(metric: Metric, a: torch.Tensor, b: torch.Tensor, pairs: np.ndarray) -> np.ndarray:
    """Of embeddings `a[i]` and `b[j]`, some pairs at a time: each picture may be in many."""
    size = max(1, _AT_ONCE // max(1, a[0].nbytes))
    found = [
        _compare(metric, (a[some[:, 0]],), (b[some[:, 1]],))
        for some in (pairs[start : start + size] for start in range(0, len(pairs), size))
    ]
    return np.concatenate(found)


def _compare(metric: Metric, a: Features, b: Features) -> np.ndarray:
    size = max(1, _AT_ONCE // max(1, sum(part[0].nbytes for part in a)))
    found = []
    for start in range(0, len(a[0]), size):
        some = slice(start, start + size)
        left, right = (tuple(part[some].to(metric.device) for part in side) for side in (a, b))
        found.append(metric.compare(left, right).double().cpu().numpy())
    return np.concatenate(found)


class _Embedder(FileEmbedder):
    """Files → embeddings of a metric that `embeds`."""

    def __init__(self, metric: Metric, cache: Cache, options: Options) -> None:
        super().__init__(cache, options)
        self._metric = metric

    def key(self) -> str:
        return self._metric.key()

    def decode(self, content: Content) -> torch.Tensor:
        return self._metric.read(Path(content.file))

    def compute(self, pictures: list[torch.Tensor]) -> torch.Tensor:
        return torch.stack([features[0] for features in _run_all(self._metric, pictures)])


def _embed(
    metric: Metric, pictures: Sequence[Path], cache: Cache, batch_size: int, workers: int | None
) -> torch.Tensor:
    """A row a picture, on the CPU."""
    names = list(map(str, pictures))
    embedder = _Embedder(metric, cache, Options(batch_size=batch_size, workers=workers, on_error="raise"))
    with tqdm(total=len(set(names)), desc=metric.card.name, unit="picture", disable=None, leave=False) as bar:
        found = embedder(names, bar)
    if found.files == names:
        return found.units
    rows = found.rows()
    return found.units[[rows[name] for name in names]]


def _compute_features(
    metric: Metric, pictures: Sequence[Path], batch_size: int, workers: int | None = None
) -> Iterator[Features]:
    """Of each picture, on the CPU, in order; decoded ahead, as many as there are threads: pictures may be large."""
    bar = tqdm(total=len(pictures), desc=metric.card.name, unit="picture", disable=None, leave=False)
    with start_threads(workers) as pool, bar:
        pixels = map_in_order(pool, metric.read, pictures, count_workers(workers))
        while batch := list(islice(pixels, batch_size)):
            for features in _run_all(metric, batch):
                yield features
                bar.update()


def _run_all(metric: Metric, pictures: list[torch.Tensor]) -> Iterator[Features]:
    """Features of each picture of a batch, which is used up; neighbours of one size go through the network together."""
    while pictures:
        alike = next((i for i, some in enumerate(pictures) if some.shape != pictures[0].shape), len(pictures))
        batch = torch.stack(pictures[:alike])
        del pictures[:alike]  # they may be large
        parts = _run(metric, batch)
        for i in range(alike):
            yield tuple(part[i] for part in parts)


def _run(metric: Metric, batch: torch.Tensor) -> Features:
    with torch.inference_mode():
        try:
            return tuple(part.cpu() for part in metric.features(batch.to(metric.device)))
        except (ValueError, RuntimeError, AssertionError) as error:  # too small for the network, say
            raise Unmeasurable(f"it cannot take pictures of {batch.shape[-2]} × {batch.shape[-1]}: {error}") from error


def _pair_distances(
    metric: Metric,
    pictures: Sequence[Path],
    pairs: np.ndarray,
    cache: Cache,
    batch_size: int,
    workers: int | None,
) -> np.ndarray:
    key, contents = metric.key(), compute_digests(pictures)
    names = [contents[picture] for picture in pictures]
    keys = [f"{names[a]} {names[b]}" for a, b in pairs]
    found = cache.get(key, keys)
    missing = {name: tuple(pair) for name, pair in zip(keys, pairs.tolist(), strict=True) if name not in found}
    made: dict[str, np.ndarray] = {}
    bar = tqdm(total=len(missing), desc=metric.card.name, unit="pair", disable=None, leave=False)
    with bar, torch.inference_mode():
        for some, d in _compare_in_blocks(metric, pictures, missing, batch_size, workers):
            made |= {name: np.array([value], dtype=np.float32) for name, value in zip(some, d, strict=True)}
            bar.update(len(some))
            if len(made) >= _SAVED:
                cache.put(key, made)
                found |= made
                made = {}
    cache.put(key, made)
    found |= made
    return np.array([found[name][0] for name in keys], dtype=np.float64)


def _compare_in_blocks(
    metric: Metric, pictures: Sequence[Path], pairs: dict[str, tuple[int, int]], batch_size: int, workers: int | None
) -> Iterator[tuple[list[str], np.ndarray]]:
    """Names and distances of pairs, ordered so that few pictures' features are held and few are computed twice."""
    if not pairs:
        return
    used = sorted({position for pair in pairs.values() for position in pair})
    one = next(_compute_features(metric, [pictures[used[0]]], 1, 1))
    block = max(1, int(_HELD / 2 / sum(part.nbytes for part in one)))
    block_of = {position: i // block for i, position in enumerate(used)}
    groups: dict[tuple[int, int], list[str]] = {}
    for name, pair in pairs.items():
        low, high = sorted(block_of[position] for position in pair)
        groups.setdefault((low, high), []).append(name)
    held: dict[int, Features] = {}
    for group in sorted(groups):
        needed = sorted({position for name in groups[group] for position in pairs[name]})
        held = {position: held[position] for position in needed if position in held}
        new = [position for position in needed if position not in held]
        held |= dict(zip(new, _compute_features(metric, [pictures[i] for i in new], batch_size, workers), strict=True))
        batch = max(1, min(_SAVED, _AT_ONCE // max(1, sum(part.nbytes for part in held[needed[0]]))))
        for start in range(0, len(groups[group]), batch):
            some = groups[group][start : start + batch]
            yield some, _compute_distances(metric, pictures, [pairs[name] for name in some], held)


def _compute_distances(
    metric: Metric, pictures: Sequence[Path], pairs: list[tuple[int, int]], held: dict[int, Features]
) -> np.ndarray:
    shapes = [tuple(tuple(part.shape for part in held[position]) for position in pair) for pair in pairs]
    d = np.empty(len(pairs))
    for shape in dict.fromkeys(shapes):
        alike = [i for i, other in enumerate(shapes) if other == shape]
        sides: list[Features] = []
        for side in (0, 1):
            features = [held[pairs[i][side]] for i in alike]
            if side == 1 and shape[0] != shape[1]:  # seen at the size of its reference
                features = [_resize(metric, pictures[pairs[i][1]], pictures[pairs[i][0]]) for i in alike]
            # Of one pair nothing is copied: its features may be a hundred megabytes.
            sides.append(
                tuple(
                    parts[0][None] if len(parts) == 1 else torch.stack(parts) for parts in zip(*features, strict=True)
                )
            )
        try:
            d[alike] = _compare(metric, *sides)
        except (ValueError, RuntimeError, AssertionError) as error:
            raise Unmeasurable(f"it cannot compare such pictures: {error}") from error
    return d


def _resize(metric: Metric, picture: Path, reference: Path) -> Features:
    size = metric.own_size(reference)
    parts = _run(metric, metric.read(picture, size)[None])
    return tuple(part[0] for part in parts)
