"""What was computed before, kept by content: a killed run goes on where it was, a second one costs seconds."""

import hashlib
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dreamsim_metric.files.digest import digest_file
from dreamsim_metric.version import __version__
from dreamsim_metric.weights.download import find_cache_dir
from dreamsim_metric.weights.folder import digest

if TYPE_CHECKING:
    from torch import nn

_AT_ONCE = 500  # keys in one question to the database
_CHECKSUM = 8  # bytes before each vector


class Cache:
    """An SQLite file of arrays by metric and content.

    Args:
        file: the database, made if it is not there; None keeps it in memory.

    Raises:
        OSError: it cannot be written, or is something else.

    Example:
        >>> cache = Cache(None)
        >>> cache.put("brightness", {"sha256 of a picture": np.array([0.5])})
        >>> cache.get("brightness", ["sha256 of a picture", "of another"])
        {'sha256 of a picture': array([0.5], dtype=float32)}
    """

    def __init__(self, file: Path | None) -> None:
        self._file = file
        try:
            if file is not None:
                file.parent.mkdir(parents=True, exist_ok=True)
            self._base = sqlite3.connect(":memory:" if file is None else file, timeout=60)
            self._base.execute("PRAGMA journal_mode = WAL")
            self._base.execute(
                "CREATE TABLE IF NOT EXISTS found (metric TEXT, content TEXT, value BLOB, "
                "PRIMARY KEY (metric, content)) WITHOUT ROWID"
            )
            self._base.execute("SELECT metric, content, value FROM found LIMIT 0")  # which another version may not have
        except sqlite3.Error as error:
            raise self._failure(error, "use") from error

    def get(self, metric: str, contents: Iterable[str]) -> dict[str, np.ndarray]:
        """Get float32 vectors by content, those that there are; damaged ones are not.

        Args:
            metric: what `key` gives, or another name for all that the vectors depend on.
            contents: digests of the pictures' bytes.
        """
        wanted, found = list(dict.fromkeys(contents)), {}
        for start in range(0, len(wanted), _AT_ONCE):
            some = wanted[start : start + _AT_ONCE]
            marks = ",".join("?" * len(some))
            query = f"SELECT content, value FROM found WHERE metric = ? AND content IN ({marks})"
            try:
                rows = self._base.execute(query, (metric, *some)).fetchall()
            except sqlite3.Error as error:
                raise self._failure(error, "read from") from error
            for content, value in rows:
                if not isinstance(value, bytes):
                    continue
                if value[:_CHECKSUM] == _compute_checksum(metric, content, value[_CHECKSUM:]):
                    found[content] = np.frombuffer(value, dtype=np.float32, offset=_CHECKSUM)
        return found

    def put(self, metric: str, values: Mapping[str, np.ndarray]) -> None:
        """Keep float32 vectors by content.

        Args:
            metric: what `key` gives, or another name for all that the vectors depend on.
            values: vectors by digest of the picture's bytes.

        Raises:
            OSError: the disk is full.
        """
        vectors = {content: np.asarray(value, dtype=np.float32).tobytes() for content, value in values.items()}
        rows = [(metric, content, _compute_checksum(metric, content, data) + data) for content, data in vectors.items()]
        try:
            with self._base:
                self._base.executemany("INSERT OR REPLACE INTO found (metric, content, value) VALUES (?, ?, ?)", rows)
        except sqlite3.Error as error:
            raise self._failure(error, "write to") from error

    def _failure(self, error: sqlite3.Error, what: str) -> OSError:
        if "locked" in str(error):
            hint = "another process holds it: wait for that to end, or name another file"
        elif what == "write to" and "full" in str(error):
            hint = "what was there before is intact: make room"
        else:
            hint = "name another file, or remove it"
        return OSError(f"cannot {what} {self._file or 'memory'} as cache ({error}); {hint}")


def _compute_checksum(metric: str, content: str, data: bytes) -> bytes:
    return hashlib.blake2b(f"{metric} {content} ".encode() + data, digest_size=_CHECKSUM).digest()


def compute_digests(files: Sequence[Path]) -> dict[Path, str]:
    """Digest files' contents by sha256.

    Args:
        files: the files to read.

    Raises:
        OSError: one cannot be read.
    """
    return {file: digest_file(file) for file in dict.fromkeys(files)}


def name_cache_file() -> Path:
    """Tell where embeddings are kept unless another file is named: in the package's cache folder.

    Example:
        >>> name_cache_file().name
        'embeddings.sqlite'
    """
    return find_cache_dir() / "embeddings.sqlite"


def compute_key(parts: Iterable[str], modules: Iterable["nn.Module"]) -> str:
    """Digest all that a metric's numbers depend on, for `Cache` and for what is to go on later.

    Args:
        parts: texts that describe the metric: its card, what decodes the pictures.
        modules: the metric's networks, with their weights and the precision they run in.
    """
    given = [f"dreamsim_metric {__version__}", *parts]
    for module in modules:
        state = module.state_dict()
        dtypes = sorted({str(tensor.dtype) for tensor in state.values()})  # which the digest does not tell
        how = (getattr(module, "precision", ""), "compiled" if getattr(module, "is_compiled", False) else "")
        given.append(" ".join((digest(state), *dtypes, *how)))
    return hashlib.sha256("\n".join(given).encode()).hexdigest()
