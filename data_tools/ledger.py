"""The file that holds a study's votes: one SQLite database, written by one process, which notices what others do to it.

A transaction is on the disk before its sender hears of it; those that come at the same time share one wait for the
disk, as databases' group commit does it. After a clean end everything is in the one file, and nothing beside it.
"""

import logging
import os
import secrets
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from dreamsim_metric.files.write import create_file

VOTES = "votes.sqlite"
CHECKPOINT = 200  # transactions after which they are moved from the file beside into the file
_Marks = tuple[tuple[int, ...], tuple[int, ...]]
_log = logging.getLogger(__name__)


class Ledger:
    """The database of a study's votes, safe to use from several threads of one process.

    Attributes:
        db: the connection.
        lock: the lock under which it is used.
    """

    def __init__(self, folder: Path, begin: Callable[[sqlite3.Connection], None]) -> None:
        """Open the file, or begin it.

        Args:
            folder: folder of the study.
            begin: called with the database of a new file, to make its tables.

        Raises:
            ValueError: it is no such file, or an empty one.
            OSError: it is in use by another process, or cannot be written.
        """
        self.file, self.lock = folder / VOTES, threading.RLock()
        self._beside = folder / f"{VOTES}-wal"
        self._syncing, self._closed, self._spoilt = threading.Lock(), False, ""
        self._written = self._synced = 0  # transactions
        _check_writable(folder)
        self._served = FileLock(f"{self.file}.lock", timeout=0)
        try:
            self._served.acquire()
        except Timeout as error:  # two would each give out the same question
            raise OSError(f"{folder} is served already, by another process") from error
        try:
            self._make(begin)
            self._open()
        except BaseException as error:
            self._served.release()
            if not isinstance(error, sqlite3.DatabaseError):
                raise
            if isinstance(error, sqlite3.OperationalError) and "no such table" not in str(error):
                raise OSError(f"cannot open {self.file} ({error})") from error
            raise ValueError(f"{self.file} is no file of votes ({error}); {_RESTORE}") from error

    def _make(self, begin: Callable[[sqlite3.Connection], None]) -> None:
        if self.file.is_file():
            if not self.file.stat().st_size:
                raise ValueError(f"{self.file} is empty, where votes must be; {_RESTORE}")
            return
        if os.path.lexists(self.file):
            raise ValueError(f"{self.file} is no file; {_RESTORE}")
        if self._beside.exists():
            raise ValueError(f"{self._beside} has votes, and the {VOTES} that they belong to is gone; {_RESTORE}")
        with create_file(self.file) as file, closing(sqlite3.connect(str(file.name))) as db:
            os.fchmod(file.fileno(), 0o600)  # tokens of raters are in it; SQLite's other files follow it
            begin(db)
            db.commit()

    def _open(self) -> None:
        self.db = sqlite3.connect(
            f"{self.file.resolve().as_uri()}?mode=rw", uri=True, isolation_level=None, check_same_thread=False
        )
        try:
            # Moving the log into the file is ours alone, so that whatever else changes the file is not.
            for name in ("journal_mode = WAL", "synchronous = NORMAL", "temp_store = MEMORY", "wal_autocheckpoint = 0"):
                self.db.execute(f"PRAGMA {name}")
            self.db.execute("BEGIN IMMEDIATE")
            self.db.execute("UPDATE study SET format = format")  # storage that cannot be written is known now
            self.db.execute("COMMIT")
            self._log = os.open(self._beside, os.O_RDONLY)
            self._checkpoint()
        except BaseException:
            self.db.close()
            raise

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Begin one transaction, which is written whole or not at all.

        Raises:
            OSError: the file is not the one that was opened any more.
        """
        with self.lock:
            self._check()
            self.db.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                if self.db.in_transaction:
                    self.db.execute("ROLLBACK")
                self._marks = self._look()
                raise
            self.db.execute("COMMIT")
            self._written += 1
            if self._written % CHECKPOINT:
                self._marks = self._look()
            else:
                self._checkpoint()

    def sync(self) -> None:
        """Return once all that was written before is on the disk: whoever waits first does it for all."""
        written = self._written
        with self._syncing:
            if self._synced < written:
                covered = self._written
                os.fsync(self._log)
                self._synced = covered

    def close(self) -> None:
        """Move everything into the one file, close it and let others open it; closed twice it stays closed."""
        with self.lock:
            if self._closed:
                return
            self._closed = True
            with suppress(OSError):
                self._check()
            os.close(self._log)
            if not self._spoilt:
                with suppress(sqlite3.OperationalError):  # somebody reads: what is beside the file stays
                    self.db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
                    self.db.execute("PRAGMA journal_mode = DELETE")
            self.db.close()
            self._served.release()

    def _checkpoint(self) -> None:
        self.db.execute("PRAGMA wal_checkpoint(PASSIVE)")
        self._marks = self._look()

    def _look(self) -> _Marks | None:
        """What tells the two files from others, and from themselves after a change; None where one is gone."""
        try:
            marks = [os.stat(file) for file in (self.file, self._beside)]
        except OSError:
            return None
        first, second = ((one.st_dev, one.st_ino, one.st_size, one.st_mtime_ns) for one in marks)
        return first, second

    def _check(self) -> None:
        """Be sure that the files are those that this process wrote to last."""
        if self._closed and not self._spoilt:
            raise OSError(f"{self.file} is closed")
        if not self._spoilt and (self._marks is None or self._look() != self._marks):
            self._spoilt = f"{self.file} was removed, replaced or written to by another program while it was served"
            self._rescue()
        if self._spoilt:
            raise OSError(f"{self._spoilt}: no answer is taken; stop the server and look at it")

    def _rescue(self) -> None:
        """Save what this process still sees of its votes: a file that was removed is there while it is open."""
        kept = self.file.with_name(f"votes-rescued-{secrets.token_hex(4)}.sqlite")
        try:
            _copy(self.db, kept)
            _log.error("%s; the votes up to then are in %s", self._spoilt, kept.name)
        except (sqlite3.Error, OSError) as error:
            _log.error("%s, and its votes cannot be read any more (%s)", self._spoilt, error)


_RESTORE = "put a backup in its place, or move it away to begin anew"


def check_votes(folder: Path) -> Path:
    """Find the file of a study's votes.

    Raises:
        FileNotFoundError: nobody was asked yet.
    """
    file = folder / VOTES
    if not file.is_file():
        raise FileNotFoundError(f"{folder} has no {VOTES}; dreamsim-data serve makes it")
    return file


@contextmanager
def open_to_read(folder: Path) -> Iterator[sqlite3.Connection]:
    """Open the file of a study's votes to read it; while it is served, too.

    Raises:
        FileNotFoundError: nobody was asked yet.
        ValueError: it is a file of something else, or an empty one.
    """
    file = check_votes(folder)
    try:
        with closing(sqlite3.connect(f"{file.resolve().as_uri()}?mode=ro", uri=True)) as db:
            yield db
    except sqlite3.DatabaseError as error:
        raise ValueError(f"{file} is no file of votes ({error})") from error


def read_rows(db: sqlite3.Connection, query: str, values: Sequence[Any] = ()) -> list[dict[str, Any]]:
    """Read the rows that a query finds, by column."""
    db.row_factory = sqlite3.Row
    return [dict(row) for row in db.execute(query, values)]


def copy_votes(folder: Path, out: Path) -> int:
    """Copy a study's votes into one file, whole, while raters answer or not.

    Args:
        folder: folder of the study.
        out: file to write or replace; it can be put in the place of `votes.sqlite`.

    Returns:
        The number of responses in it.

    Raises:
        FileNotFoundError, ValueError: Same as in `open_to_read`; or `out` is the file of the votes itself.
        OSError: the disk is full or not writable; what was there before is intact.
    """
    file = check_votes(folder)
    if out.name.startswith(VOTES) and out.parent.resolve() == file.parent.resolve():
        raise ValueError(f"got {out}, which is the study's own; name another file for the backup")
    with open_to_read(folder) as db:
        db.execute("SELECT 1 FROM study").fetchone()
        _copy(db, out)
    with closing(sqlite3.connect(f"{out.resolve().as_uri()}?mode=ro", uri=True)) as copy:
        return int(copy.execute("SELECT count(*) FROM responses").fetchone()[0])


def _copy(db: sqlite3.Connection, out: Path) -> None:
    with create_file(out) as file:
        os.fchmod(file.fileno(), 0o600)  # tokens of raters are in it
        with closing(sqlite3.connect(str(file.name))) as to:
            db.backup(to)
            to.execute("PRAGMA journal_mode = DELETE")  # one file, which read-only storage can hold


def _check_writable(folder: Path) -> None:
    """Be sure that the folder and the file can be written, which SQLite says only with the first answer."""
    for path in (folder, folder / VOTES):
        marked = path.exists() and not path.stat().st_mode & 0o222  # root may write there; it was not meant to
        if marked or (path.exists() and not os.access(path, os.W_OK)):
            raise PermissionError(f"{path} cannot be written, and votes are kept there; make it writable")
