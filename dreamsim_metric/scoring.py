"""Many pictures: files to embeddings, folders to shards, pairs to distances, duplicates to groups."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .cache import Cache
from .embedding import Embedder, Embeddings, Options
from .metric import PerceptualMetric

if TYPE_CHECKING:
    import pyarrow


def embed_files(
    files: Sequence[str], metric: PerceptualMetric, cache: Cache | None = None, **options: Any
) -> Embeddings:
    """Embed files: each is read once, contents that are equal are embedded once.

    Args:
        files: names.
        metric: as `load` gives it.
        cache: of what was embedded before; a killed run goes on from there.
        options: see `dreamsim_metric.embedding.Options`.

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
