"""Many pictures: files to embeddings, folders to shards, pairs to distances, duplicates to groups."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from dreamsim_metric.distances import pair_distances
from dreamsim_metric.files.store import location
from dreamsim_metric.metric import PerceptualMetric
from dreamsim_metric.scale.cache import Cache
from dreamsim_metric.scale.embedding import Embedder, Embeddings, Options
from dreamsim_metric.scale.neighbours import groups, nearest, within
from dreamsim_metric.scale.shards import SHARD_SIZE, begin, is_whole, shard_file, unreadable_in, write_shard

if TYPE_CHECKING:
    import pyarrow

Row = dict[str, Any]
_PAIRS = 1024  # whose distances are computed at once


def embed_files(
    files: Sequence[str], metric: PerceptualMetric, cache: Cache | None = None, **options: Any
) -> Embeddings:
    """Embed files: each is read once, contents that are equal are embedded once.

    Args:
        files: names.
        metric: as `load` gives it.
        cache: of what was embedded before; a killed run goes on from there.
        options: see `dreamsim_metric.scale.embedding.Options`.

    Returns:
        What could be read, and why the rest could not.

    Raises:
        ValueError, OSError: a file cannot be read and `on_error="raise"`; an option is wrong; the cache cannot be
            written.

    Example:
        >>> from dreamsim_metric import load
        >>> found = embed_files(["examples/cat.jpg", "examples/coffee.jpg", "none.jpg"], load("mini"))
        >>> found.units.shape, found.unreadable
        (torch.Size([2, 2560]), {'none.jpg': 'no such picture: none.jpg'})
    """
    return Embedder(metric, cache, Options(**options))(list(map(str, files)))


def embed_shard(
    files: Sequence[str], metric: PerceptualMetric, cache: Cache | None = None, **options: Any
) -> "pyarrow.Table":
    """Embed files into one table, the unit of work of `embed_folder`.

    Args:
        files, metric, cache, options: as for `embed_files`.

    Returns:
        One row a file, in the order given: `path` (string), `sha256` (string), `embedding` (fixed-size list of
        float32), `error` (string). Of a file that cannot be read the embedding and the sha256 are null, of one that
        can the error is.

    Raises:
        As `embed_files`.
    """
    return to_table(files, embed_files(files, metric, cache, **options))


def to_table(files: Sequence[str], found: Embeddings) -> "pyarrow.Table":
    """The table of `embed_shard`: one row a file of `files`, all of which are in `found`."""
    import pyarrow as pa

    names, rows = list(map(str, files)), found.rows()
    units = np.zeros((len(names), found.units.shape[1]), dtype=np.float32)
    there = [i for i, name in enumerate(names) if name in rows]
    units[there] = found.units.numpy()[[rows[names[i]] for i in there]]
    missing = pa.array([name not in rows for name in names], pa.bool_())
    return pa.table(
        {
            "path": pa.array(names, pa.string()),
            "sha256": pa.array([found.contents[rows[name]] if name in rows else None for name in names], pa.string()),
            "embedding": pa.FixedSizeListArray.from_arrays(pa.array(units.ravel()), units.shape[1], mask=missing),
            "error": pa.array([found.unreadable.get(name) for name in names], pa.string()),
        }
    )


@dataclass(frozen=True)
class Embedded:
    """What `embed_folder` has made.

    Attributes:
        pictures: files in the folder's shards, readable or not.
        shards: their number.
        there: those of them that were there already.
        unreadable: why, by file.
    """

    pictures: int
    shards: int
    there: int
    unreadable: dict[str, str]


def embed_folder(
    files: Sequence[str],
    out: str | Path,
    metric: PerceptualMetric,
    cache: Cache | None = None,
    *,
    shard_size: int = SHARD_SIZE,
    **options: Any,
) -> Embedded:
    """Embed any number of files into a folder of Parquet shards, in memory for one of them.

    A run that was stopped goes on with the first shard that is not there, and ends with the same bytes.

    Args:
        files: names, as `dreamsim_metric.files.pictures.find_pictures` lists them.
        out: folder, on this machine or a URL (see `storage`), for `settings.json` and `embeddings-00000.parquet` …,
            whose columns are those of `embed_shard`.
        metric, cache, options: as for `embed_files`.
        shard_size: files a shard.

    Raises:
        ValueError: the folder holds embeddings of other files, or with other settings; the message names what differs.
        OSError: it cannot be written.
        Further as `embed_files`.
    """
    embedder = Embedder(metric, cache, Options(**options))
    names = list(dict.fromkeys(map(str, files)))
    folder = location(out)
    begin(folder, names, metric, embedder.options.decoder, shard_size)
    unreadable: dict[str, str] = {}
    there = 0
    shards = range(0, len(names), shard_size)
    hidden = None if embedder.options.progress else True
    with tqdm(total=len(names), unit="picture", disable=hidden) as bar:
        for number, start in enumerate(shards):
            some, file = names[start : start + shard_size], shard_file(folder, number)
            if is_whole(file, len(some)):
                there += 1
                bar.initial = getattr(bar, "initial", 0) + len(some)  # else the rate would count them
                bar.update(len(some))
            else:
                write_shard(file, to_table(some, embedder(some, bar)))
            unreadable |= unreadable_in(file)
    return Embedded(len(names), len(shards), there, unreadable)


def score_pairs(
    a: Sequence[str], b: Sequence[str], metric: PerceptualMetric, cache: Cache | None = None, **options: Any
) -> tuple[Tensor, dict[str, str]]:
    """Distances between `a[i]` and `b[i]`; each file is embedded once, however many pairs it is in.

    Args:
        a, b: names of files, as many in both.
        metric, cache: as for `embed_files`.
        options: as for `embed_files`; `on_error` is `raise` unless said otherwise.

    Returns:
        `(N,)` float32, NaN where a file cannot be read, and why, by file.

    Raises:
        ValueError: unequal numbers.
        Further as `embed_files`.

    Example:
        >>> from dreamsim_metric import load
        >>> d, _ = score_pairs(["examples/vest_1.jpg"], ["examples/vest_2.jpg"], load("mini"))
        >>> round(d.item(), 2)
        0.11
    """
    if len(a) != len(b):
        raise ValueError(f"got {len(a)} and {len(b)} files; expected pairs")
    found = embed_files([*a, *b], metric, cache, **{"on_error": "raise", **options})
    return distances_of(found, a, b), found.unreadable


def distances_of(found: Embeddings, a: Sequence[str], b: Sequence[str]) -> Tensor:
    """Distances between `a[i]` and `b[i]` of files that were embedded: `(N,)`, NaN where one could not be read."""
    rows = found.rows()
    index = torch.tensor([[rows.get(str(x), -1), rows.get(str(y), -1)] for x, y in zip(a, b, strict=True)])
    d = torch.full((len(a),), math.nan)
    for some in (index.reshape(-1, 2) >= 0).all(1).nonzero()[:, 0].split(_PAIRS):
        d[some] = pair_distances(found.units[index[some, 0]], found.units[index[some, 1]])
    return d


def rank(queries: Embeddings, pictures: Embeddings, top: int = 10, *, approximate: bool = False) -> Iterator[Row]:
    """The pictures that are nearest to each query.

    Args:
        queries, pictures: from `embed_files` or `dreamsim_metric.scale.shards.read_shards`.
        top: how many a query.
        approximate: through faiss; see `dreamsim_metric.scale.neighbours.nearest`.

    Yields:
        Rows with `query`, `rank` (from 1), `picture`, `distance`, nearest first.
    """
    distances, found = nearest(queries.units, pictures.units, top, approximate=approximate)
    for query, d, row in zip(queries.files, distances.tolist(), found.tolist(), strict=True):
        for place, (distance, i) in enumerate(zip(d, row, strict=True), start=1):
            if i >= 0:
                yield {"query": query, "rank": place, "picture": pictures.files[i], "distance": distance}


def duplicates(pictures: Embeddings, below: float, *, approximate: bool = False) -> list[Row]:
    """Pairs of pictures that look nearly the same.

    Args:
        pictures: as for `rank`.
        below: pairs that are nearer than this count.
        approximate: as for `rank`.

    Returns:
        Rows with `group`, `a`, `b`, `distance`, group by group. Groups are numbered from 1; pictures that are joined
        through others are in one.
    """
    pairs, distances = within(pictures.units, below, approximate=approximate)
    group = groups(len(pictures.files), pairs)
    numbers: dict[int, int] = {}
    rows = [
        {
            "group": numbers.setdefault(group[i], len(numbers) + 1),
            "a": pictures.files[i],
            "b": pictures.files[j],
            "distance": d,
        }
        for (i, j), d in zip(pairs.tolist(), distances.tolist(), strict=True)
    ]
    return sorted(rows, key=lambda row: row["group"])
