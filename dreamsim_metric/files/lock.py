"""One process at a time in a folder that is being filled."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

LOCK = ".lock"


@contextmanager
def lock_folder(folder: Path) -> Iterator[None]:
    """Keep other processes out of a folder while this one fills it.

    What killed processes left half written is removed. A store (`s3://…`) knows no locks, and is not locked.

    Args:
        folder: the folder to lock; made where it is not there, and removed in the end if nothing was put into it.

    Raises:
        FileExistsError: it is a file.
        OSError: another process holds it, or it cannot be written.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as place, lock_folder(Path(place) / "run"):
        ...     (Path(place) / "run" / "settings.json").write_bytes(b"{}")
        2
    """
    if not isinstance(folder, Path):
        yield
        return
    if folder.is_file():
        raise FileExistsError(f"{folder} is a file; choose another folder")
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / LOCK, timeout=0)
    try:
        lock.acquire()
    except Timeout as error:
        raise OSError(
            errno.EBUSY, f"another process is at work in {folder}: let it end, or choose another folder"
        ) from error
    try:
        for left in folder.glob(".*.part"):
            left.unlink()
        yield
    finally:
        if folder.is_dir() and {file.name for file in folder.iterdir()} == {LOCK}:
            (folder / LOCK).unlink()
            folder.rmdir()
        lock.release()
