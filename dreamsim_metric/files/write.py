"""Files written whole or not at all: beside, then renamed."""

import errno
import os
import shutil
from collections.abc import Mapping
from pathlib import Path


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
    beside = {path: path.with_name(f".{path.name}.part") for path in files}
    path = next(iter(files))
    try:
        for path, data in files.items():
            with open(beside[path], "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())  # else a power cut could leave an empty file under the final name
        for path in files:
            beside[path].replace(path)
    except OSError as error:
        for part in beside.values():
            part.unlink(missing_ok=True)
        raise OSError(
            error.errno, f"cannot write {path} ({error.strerror}); what was there before is intact: make room"
        ) from error


def check_space(file: Path, needed: int) -> None:
    """Raise `OSError` unless there is room for `needed` bytes where `file` is to be."""
    free = shutil.disk_usage(file.parent).free
    if free < needed:
        raise OSError(
            errno.ENOSPC,
            f"{file.parent} has {free / 1e9:.2f} GB free and {needed / 1e9:.2f} GB are needed; "
            "make room, or choose a larger disk (DREAMSIM_METRIC_CACHE for the cache)",
        )
