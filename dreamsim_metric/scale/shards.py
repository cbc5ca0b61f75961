"""A folder of embeddings: `settings.json` and Parquet files of so many pictures, each whole or not there."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from dreamsim_metric.bounds import check_least
from dreamsim_metric.files.json_file import format_json, read_json
from dreamsim_metric.files.store import is_file, make_path, write
from dreamsim_metric.files.table import check_names
from dreamsim_metric.images.decoding import Decoder, name_decoder_version
from dreamsim_metric.metric import PerceptualMetric
from dreamsim_metric.scale.embedding import Embeddings
from dreamsim_metric.version import __version__
from dreamsim_metric.weights.folder import digest

if TYPE_CHECKING:
    import pyarrow

SETTINGS = "settings.json"
SHARD_SIZE = 4096
COLUMNS = ("path", "sha256", "embedding", "error")
_PATTERN = "embeddings-*.parquet"
_ROUNDING = 1e-3  # of lengths
_DEPEND = ("model", "card", "weights", "precision", "decoder", "image_size", "dreamsim_metric")  # numbers, on these


def name_shard_file(folder: Path, number: int) -> Path:
    """Name the file of shard `number`, from 0."""
    return folder / f"embeddings-{number:05d}.parquet"


def is_shards(folder: str | Path) -> bool:
    """Look whether this is such a folder."""
    there = make_path(folder)
    return is_file(there / SETTINGS) and next(there.glob(_PATTERN), None) is not None


def read_settings(metric: PerceptualMetric, decoder: Decoder) -> dict[str, Any]:
    """List what embeddings depend on."""
    card = json.dumps(asdict(metric.card), sort_keys=True)
    return {
        "model": metric.card.name,
        "card": hashlib.sha256(card.encode()).hexdigest(),
        "weights": digest(metric.state_dict()),
        "precision": metric.precision + (", compiled" if metric.is_compiled else ""),
        "decoder": name_decoder_version(decoder),
        "image_size": metric.card.image_size,
        "embedding_size": metric.card.embedding_size,
        "dreamsim_metric": __version__,
    }


def begin(folder: Path, files: Sequence[str], metric: PerceptualMetric, decoder: Decoder, shard_size: int) -> None:
    """Begin a folder, or be sure that what is there is the beginning of the same.

    Args:
        folder: the folder of the shards.
        files: all files that are to be in it, in order.
        metric: the metric that embeds them.
        decoder: the decoder of their pictures.
        shard_size: number of files a shard.

    Raises:
        ValueError: names that are not UTF-8; it holds embeddings of other files, or with other settings.
        OSError: it cannot be written.
    """
    check_least("shard_size", shard_size)
    check_names(files)
    names = hashlib.sha256("\0".join(files).encode()).hexdigest()
    settings = read_settings(metric, decoder) | {"shard_size": shard_size, "pictures": len(files), "files": names}
    if not is_file(folder / SETTINGS):
        if next(folder.glob(_PATTERN), None) is not None:
            raise ValueError(f"{folder} holds shards without {SETTINGS}; choose another folder, or remove them")
        folder.mkdir(parents=True, exist_ok=True)
        write(folder / SETTINGS, format_json(settings))
        return
    _compare(folder, _read_settings(folder), settings)


def check_settings(folder: Path, metric: PerceptualMetric, decoder: Decoder) -> None:
    """Be sure that embeddings in a folder can be compared to those that a metric makes now.

    Args:
        folder: the folder of the shards.
        metric: the metric of now.
        decoder: the decoder of now.

    Raises:
        ValueError: they cannot; the message names what differs.
    """
    settings = read_settings(metric, decoder)
    _compare(folder, _read_settings(folder), {name: settings[name] for name in _DEPEND})


def write_shard(file: Path, table: "pyarrow.Table") -> None:
    """Write a table of embeddings: whole or not at all, and the same bytes every time.

    Args:
        file: the shard to write.
        table: what `scoring.to_table` makes.

    Raises:
        OSError: the disk is full or not writable.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    buffer = pa.BufferOutputStream()
    # Unit vectors of floats neither repeat nor compress.
    pq.write_table(table, buffer, use_dictionary=False, compression="none", write_page_checksum=True)
    write(file, buffer.getvalue().to_pybytes())


def read_shard(file: Path, rows: int, width: int) -> "pyarrow.Table | None":
    """Read a shard, if it is there and sound: by its checksums, its rows, and the length of its embeddings.

    Args:
        file: the shard to read.
        rows: number of files that it is of.
        width: length of their embeddings.

    Returns:
        What `scoring.to_table` made, or None, so that it must be made again.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        if count_rows(file) != rows:
            return None
        with file.open("rb") as opened:
            table = pq.read_table(opened, page_checksum_verification=True)
    except (pa.ArrowException, OSError):
        return None
    if table.schema.field("embedding").type != pa.list_(pa.float32(), width):
        return None
    lengths = _read_embeddings(table, width).norm(dim=1)
    return table if ((lengths - 1).abs() < _ROUNDING).all() else None  # not so of NaN


def count_rows(file: Path) -> int:
    """Count the rows of a shard, by its last bytes; -1 where there is none with all columns."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        if not is_file(file):
            return -1
        with file.open("rb") as opened:
            held = pq.ParquetFile(opened)
            return held.metadata.num_rows if set(COLUMNS) <= set(held.schema_arrow.names) else -1
    except (pa.ArrowException, OSError):
        return -1


def _read_embeddings(table: "pyarrow.Table", width: int) -> torch.Tensor:
    """The embeddings of the rows that have one."""
    flat = table["embedding"].combine_chunks().drop_null().flatten().to_numpy()
    return torch.from_numpy(flat.reshape(-1, width).copy())


def list_unreadable(file: Path) -> dict[str, str]:
    """Read why pictures of a shard have no embedding, by path."""
    import pyarrow.parquet as pq

    with file.open("rb") as opened:
        return _read_errors(pq.read_table(opened, columns=["path", "error"]))


def _read_errors(table: "pyarrow.Table") -> dict[str, str]:
    columns = zip(table["path"].to_pylist(), table["error"].to_pylist(), strict=True)
    return {path: error for path, error in columns if error is not None}


def read_shards(folder: str | Path) -> Embeddings:
    """Read all embeddings of a folder, in the order of its files.

    Args:
        folder: what `embed_folder` wrote, on this machine or a URL.

    Raises:
        ValueError: a shard is missing or damaged: the run is not done, or went wrong.

    Example:
        >>> import tempfile
        >>> from dreamsim_metric import load
        >>> from dreamsim_metric.scale import embed_folder
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     made = embed_folder(["examples/cat.jpg", "examples/coffee.jpg"], folder, load("mini"))
        ...     read_shards(folder).units.shape
        torch.Size([2, 2560])
    """
    folder = make_path(folder)
    settings = _read_settings(folder)
    count, size, width = (settings[name] for name in ("pictures", "shard_size", "embedding_size"))
    starts = range(0, count, size)
    for number, start in enumerate(starts):  # before there is memory for them: settings may be damaged too
        if count_rows(name_shard_file(folder, number)) != min(size, count - start):
            raise _say_damaged(name_shard_file(folder, number))
    if is_file(name_shard_file(folder, len(starts))):
        raise ValueError(
            f"{folder} holds more than the {count} pictures in {len(starts)} shards of {SETTINGS}; embed them again"
        )
    units = torch.empty(count, width, dtype=torch.float32, device="cpu")
    files: list[str] = []
    contents: list[str] = []
    unreadable: dict[str, str] = {}
    for number, start in enumerate(starts):
        file = name_shard_file(folder, number)
        table = read_shard(file, min(size, count - start), width)
        if table is None:
            raise _say_damaged(file)
        unreadable |= _read_errors(table)
        table = table.filter(table["embedding"].is_valid())
        units[len(files) : len(files) + table.num_rows] = _read_embeddings(table, width)
        files += table["path"].to_pylist()
        contents += table["sha256"].to_pylist()
    return Embeddings(files, units[: len(files)], contents, unreadable)


def _say_damaged(file: Path) -> ValueError:
    return ValueError(f"{file} is missing or damaged; run again what makes it: dreamsim-metric embed")


def _read_settings(folder: Path) -> dict[str, Any]:
    hint, least = "remove the folder and embed again", {"pictures": 0, "shard_size": 1, "embedding_size": 1}
    found = read_json(folder / SETTINGS, hint, least)
    for name, smallest in least.items():
        if type(found[name]) is not int or found[name] < smallest:
            raise ValueError(f"{folder / SETTINGS} has {name} {found[name]!r}; expected {smallest} or more: {hint}")
    return found


def _compare(folder: Path, there: dict[str, Any], now: dict[str, Any]) -> None:
    differences = [
        f"{name} ({_shorten(there.get(name))} there, {_shorten(value)} now)"
        for name, value in now.items()
        if there.get(name) != value
    ]
    if differences:
        raise ValueError(
            f"{folder} holds embeddings with other settings: {', '.join(differences)}; "
            "choose another folder, or remove it"
        )


def _shorten(value: Any) -> str:
    return f"{value[:8]}…" if isinstance(value, str) and len(value) == 64 else str(value)
