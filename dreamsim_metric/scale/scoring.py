"""Many pictures: files to embeddings, folders to shards, pairs to distances, duplicates to groups."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from dreamsim_metric.distances import pair_distances
from dreamsim_metric.files.lock import lock_folder
from dreamsim_metric.files.store import make_path
from dreamsim_metric.files.table import Row, check_ending, write_columns
from dreamsim_metric.metric import PerceptualMetric
from dreamsim_metric.scale.cache import Cache
from dreamsim_metric.scale.comparisons import read_comparisons
from dreamsim_metric.scale.embedding import Embedder, Embeddings, Options
from dreamsim_metric.scale.neighbours import find_nearest, find_within, group_pairs
from dreamsim_metric.scale.shards import SHARD_SIZE, begin, list_unreadable, name_shard_file, read_shard, write_shard

if TYPE_CHECKING:
    import pyarrow

_PAIRS = 1024  # whose distances are computed at once
_STRICT = Options(on_error="raise")


def embed_files(
    files: Sequence[str], metric: PerceptualMetric, cache: Cache | None = None, options: Options | None = None
) -> Embeddings:
    """Embed files: each is read once, contents that are equal are embedded once.

    Args:
        files: paths or URLs.
        metric: the metric that embeds them.
        cache: the store of what was embedded before; a killed run goes on from there.
        options: batch size, decoder, what happens at files that cannot be read and more; default `Options()`.

    Returns:
        What could be read, and why the rest could not.

    Raises:
        ValueError, OSError: a file cannot be read and `on_error` is `raise`; the cache cannot be written.

    Example:
        >>> from dreamsim_metric import load
        >>> found = embed_files(["examples/cat.jpg", "examples/coffee.jpg", "none.jpg"], load("mini"))
        >>> found.units.shape, found.unreadable
        (torch.Size([2, 2560]), {'none.jpg': 'no such picture: none.jpg'})
    """
    return Embedder(metric, cache, options)(list(map(str, files)))


def to_table(files: Sequence[str], found: Embeddings) -> "pyarrow.Table":
    """Make a shard's table.

    Args:
        files: files of the shard, in order.
        found: their embeddings, and why some cannot be read.

    Returns:
        One row a file, in the order given: `path` (string), `sha256` (string), `embedding` (fixed-size list of
        float32), `error` (string). Of a file that cannot be read the embedding and the sha256 are null, of one that
        can the error is.
    """
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
        pictures: number of files in the folder's shards, readable or not.
        shards: number of shards.
        there: number of shards that were there already.
        unreadable: reasons why files could not be read, by file.

    Example:
        >>> Embedded(pictures=5000, shards=2, there=1, unreadable={}).shards
        2
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
    options: Options | None = None,
    shard_size: int = SHARD_SIZE,
) -> Embedded:
    """Embed any number of files into a folder of Parquet shards, in memory for one of them.

    A run that was stopped goes on with the first shard that is not there, and ends with the same bytes.

    Args:
        files: paths or URLs, in the form of `dreamsim_metric.files.find_pictures`.
        out: the folder to write, on this machine or a URL: `settings.json` and `embeddings-00000.parquet` …, with the
            columns `path`, `sha256`, `embedding` and `error`.
        metric: the metric that embeds them.
        cache: the store of what was embedded before.
        options: batch size, decoder, what happens at files that cannot be read and more; default `Options()`.
        shard_size: number of files a shard.

    Raises:
        ValueError: the folder holds embeddings of other files, or with other settings; the message names what differs.
        ValueError, OSError: a file cannot be read and `on_error` is `raise`; the folder or the cache cannot be written,
            or another process fills the folder.

    Example:
        >>> import tempfile
        >>> from dreamsim_metric import load
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     embed_folder(["examples/cat.jpg", "none.jpg"], folder, load("mini"))
        Embedded(pictures=2, shards=1, there=0, unreadable={'none.jpg': 'no such picture: none.jpg'})
    """
    embedder = Embedder(metric, cache, options)
    names = list(dict.fromkeys(map(str, files)))
    folder = make_path(out)
    unreadable: dict[str, str] = {}
    there = 0
    hidden = None if embedder.options.progress else True
    with lock_folder(folder), tqdm(total=len(names), unit="picture", disable=hidden) as bar:
        begin(folder, names, metric, embedder.options.decoder, shard_size)
        shards = range(0, len(names), shard_size)
        for number, start in enumerate(shards):
            some, file = names[start : start + shard_size], name_shard_file(folder, number)
            if read_shard(file, len(some), metric.card.embedding_size) is not None:
                there += 1
                bar.initial = getattr(bar, "initial", 0) + len(some)  # else the rate would count them
                bar.update(len(some))
            else:
                write_shard(file, to_table(some, embedder(some, bar)))
            unreadable |= list_unreadable(file)
    return Embedded(len(names), len(shards), there, unreadable)


def score_pairs(
    a: Sequence[str],
    b: Sequence[str],
    metric: PerceptualMetric,
    cache: Cache | None = None,
    options: Options = _STRICT,
) -> tuple[Tensor, dict[str, str]]:
    """Compute the distances between `a[i]` and `b[i]`; each file is embedded once, however many pairs it is in.

    Args:
        a, b: paths or URLs, as many in both.
        metric: the metric that embeds them.
        cache: the store of what was embedded before; a killed run goes on from there.
        options: batch size, decoder, what happens at files that cannot be read and more; default
            `Options(on_error="raise")`.

    Returns:
        `(N,)` float32, NaN where a file cannot be read, and why, by file.

    Raises:
        ValueError: unequal numbers.
        ValueError, OSError: a file cannot be read and `on_error` is `raise`; the cache cannot be written.

    Example:
        >>> from dreamsim_metric import load
        >>> d, _ = score_pairs(["examples/vest_1.jpg"], ["examples/vest_2.jpg"], load("mini"))
        >>> round(d.item(), 2)
        0.11
    """
    if len(a) != len(b):
        raise ValueError(f"got {len(a)} and {len(b)} files; expected pairs")
    found = embed_files([*a, *b], metric, cache, options)
    return compute_distances(found, a, b), found.unreadable


def score_table(
    table: str | Path,
    out: str | Path,
    metric: PerceptualMetric,
    cache: Cache | None = None,
    *,
    columns: Sequence[str] = (),
    options: Options = _STRICT,
    fetch: bool = False,
) -> tuple[Tensor, dict[str, str]]:
    r"""Write a table of pairs anew as it is, with a column `distance` behind all others.

    Args:
        table: a table, on this machine or a URL: CSV, TSV, Parquet or JSON lines (docs/scoring.md). Paths in it are
            relative to its folder, and stay as they are.
        out: the file to write: `.csv`, `.tsv`, `.parquet` or `.jsonl`.
        metric: the metric that embeds them.
        cache: the store of what was embedded before; a killed run goes on from there.
        columns: names of the two columns of pictures; by default `a` and `b`, else `reference` and `picture`, else
            `a_path` and `b_path`.
        options: batch size, decoder, what happens at files that cannot be read and more; default
            `Options(on_error="raise")`. With `skip`, a column `error` says why rows have no distance.
        fetch: whether addresses in the table that name a machine, such as https://, are fetched.

    Returns:
        `(N,)` float32, NaN where a row has no distance, and why, by file.

    Raises:
        FileNotFoundError: no such table, or no folder for the result.
        ValueError: the table is not what its name says, has no such columns, or cannot be written so.
        ValueError, OSError: a row cannot be used or a file cannot be read, and `on_error` is `raise`; the cache or the
            result cannot be written.

    Example:
        >>> import tempfile
        >>> from dreamsim_metric import load
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     pairs, scored = Path(folder, "pairs.csv"), Path(folder, "scored.csv")
        ...     cat = Path("examples/cat.jpg").resolve()
        ...     _ = pairs.write_text(f"id,a,b\n007,{cat},{cat}\n")
        ...     _ = score_table(pairs, scored, load("mini"))
        ...     scored.read_text().replace(str(cat), "cat.jpg")
        'id,a,b,distance\n007,cat.jpg,cat.jpg,0.0\n'
    """
    out, skip = Path(out), options.on_error == "skip"
    check_ending(out)
    pairs = read_comparisons(make_path(table), columns, fetch=fetch)
    pairs.check(skip=skip, out=out)
    found = embed_files(pairs.files(), metric, cache, options)
    d = compute_distances(found, pairs.a, pairs.b)
    write_columns(out, pairs.scored(d.tolist(), found.unreadable if skip else None))
    return d, found.unreadable


def compute_distances(found: Embeddings, a: Sequence[str], b: Sequence[str]) -> Tensor:
    """Compute distances between `a[i]` and `b[i]` of embedded files: `(N,)`, NaN where one could not be read."""
    rows = found.rows()
    places = [[rows.get(str(file), -1) for file in side] for side in (a, b)]
    index = torch.tensor(places, dtype=torch.int64, device="cpu").T
    d = torch.full((len(a),), math.nan, dtype=torch.float32, device="cpu")
    for some in (index >= 0).all(1).nonzero()[:, 0].split(_PAIRS):
        d[some] = pair_distances(found.units[index[some, 0]], found.units[index[some, 1]])
    return d


def rank(queries: Embeddings, pictures: Embeddings, top: int = 10, *, approximate: bool = False) -> Iterator[Row]:
    """Yield the pictures that are nearest to each query.

    Args:
        queries, pictures: embeddings that `embed_files` or `read_shards` gave.
        top: number of pictures a query.
        approximate: whether faiss searches, which is quicker among very many and misses some.

    Yields:
        Rows with `query`, `rank` (from 1), `picture`, `distance`, nearest first.

    Raises:
        ValueError: `top` below 1, or no pictures.
        ModuleNotFoundError: approximate, and faiss is not installed.

    Example:
        >>> from dreamsim_metric import load
        >>> found = embed_files(["examples/vest_1.jpg", "examples/vest_2.jpg", "examples/cat.jpg"], load("mini"))
        >>> for row in rank(found.only(["examples/cat.jpg"]), found, top=2):
        ...     row["rank"], row["picture"], round(row["distance"], 2)
        (1, 'examples/cat.jpg', 0.0)
        (2, 'examples/vest_1.jpg', 1.02)
    """
    distances, found = find_nearest(queries.units, pictures.units, top, approximate=approximate)
    for query, d, row in zip(queries.files, distances.tolist(), found.tolist(), strict=True):
        for place, (distance, i) in enumerate(zip(d, row, strict=True), start=1):
            if i >= 0:
                yield {"query": query, "rank": place, "picture": pictures.files[i], "distance": distance}


def find_duplicates(pictures: Embeddings, below: float, *, approximate: bool = False) -> list[Row]:
    """Find pairs of pictures that look nearly the same.

    Args:
        pictures: embeddings that `embed_files` or `read_shards` gave.
        below: distance under which two pictures count as the same.
        approximate: whether faiss searches, which is quicker among very many and misses some.

    Returns:
        Rows with `group`, `a`, `b`, `distance`, group by group. Groups are numbered from 1; pictures that are joined
        through others are in one.

    Raises:
        ValueError: `below` is not a number above 0, or there are over ten million pairs.
        ModuleNotFoundError: approximate, and faiss is not installed.

    Example:
        >>> from dreamsim_metric import load
        >>> found = embed_files(["examples/vest_1.jpg", "examples/cat.jpg", "examples/vest_2.jpg"], load("mini"))
        >>> [(row["group"], row["a"], row["b"], round(row["distance"], 2)) for row in find_duplicates(found, below=0.2)]
        [(1, 'examples/vest_1.jpg', 'examples/vest_2.jpg', 0.11)]
    """
    pairs, distances = find_within(pictures.units, below, approximate=approximate)
    group = group_pairs(len(pictures.files), pairs)
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
