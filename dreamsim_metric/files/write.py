"""Files and folders written whole or not at all: beside, then renamed."""

import errno
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

FULL_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)  # errors after which nothing else can be written either


def write_file(path: Path, data: bytes) -> None:
    """Write or replace a file: a process killed or a disk full meanwhile leaves what was there.

    Args:
        path: the file to write.
        data: what it will hold.

    Raises:
        OSError: the disk is full or not writable.
    """
    write_files({path: data})


def write_files(files: Mapping[Path, bytes]) -> None:
    """Write or replace files that belong together: a process killed or a disk full meanwhile leaves what was there.

    Args:
        files: what each file will hold.

    Raises:
        OSError: the disk is full or not writable.
    """
    beside = {path: _name_beside(path) for path in files}
    path = next(iter(files))
    try:
        for path, data in files.items():
            with open(beside[path], "xb") as file:
                file.write(data)
                _sync(file)
        for path in files:
            beside[path].replace(path)
    except OSError as error:
        for part in beside.values():
            part.unlink(missing_ok=True)
        raise _say_cannot_write(path, error) from error


@contextmanager
def create_file(path: Path) -> Iterator[BinaryIO]:
    """Open a file for what does not fit into memory: it gets its name, and replaces what had it, when it is whole.

    After an error nothing of it is left, and what was there before is intact.

    Raises:
        OSError: the disk is full or not writable.

    Example:
        >>> with create_file(Path("numbers.txt")) as file:  # doctest: +SKIP
        ...     file.writelines(b"%d\\n" % number for number in range(10**9))
    """
    beside = _name_beside(path)
    try:
        with open(beside, "xb") as file:
            yield file
            _sync(file)
        beside.replace(path)
    except OSError as error:
        if not _is_full_disk(error):
            raise
        raise _say_cannot_write(path, error) from error
    finally:
        beside.unlink(missing_ok=True)


@contextmanager
def create_folder(folder: Path) -> Iterator[Path]:
    """Make a folder to fill, which gets its name when it is whole; after an error nothing of it is left.

    Until then it lies, hidden, where `folder` is to be. All users may read it.

    Args:
        folder: not there yet, or empty; folders above it are made.

    Raises:
        OSError: the disk is full or not writable, or `folder` holds something.

    Example:
        >>> with create_folder(Path("model")) as beside:  # doctest: +SKIP
        ...     (beside / "card.json").write_text("{}")
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        beside.chmod(0o755)  # mkdtemp's 0700 would shut other users out of a shared cache
        yield beside
        beside.replace(folder)
    except OSError as error:
        if not _is_full_disk(error):
            raise
        raise _say_cannot_write(folder, error) from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def check_space(file: Path, needed: int) -> None:
    """Raise `OSError` unless there is room for `needed` bytes where `file` is to be."""
    free = shutil.disk_usage(file.parent).free
    if free < needed:
        raise OSError(
            errno.ENOSPC,
            f"{file.parent} has {free / 1e9:.2f} GB free and {needed / 1e9:.2f} GB are needed; "
            "make room, or choose a larger disk (DREAMSIM_METRIC_CACHE for the cache)",
        )


def _name_beside(path: Path) -> Path:
    """A name that nobody can have put a link at, and that no other process writes to at the same time."""
    return path.with_name(f".{path.name[:100]}.{secrets.token_hex(8)}.part")


def _sync(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())  # else a power cut could leave an empty file under the final name


def _say_cannot_write(path: Path, error: OSError) -> OSError:
    return OSError(error.errno, f"cannot write {path} ({error.strerror}); what was there before is intact: make room")


def _is_full_disk(error: OSError) -> bool:
    """Whether the system says so, in words that name no file; ours name one."""
    return error.errno in FULL_DISK and error.strerror == os.strerror(error.errno)
