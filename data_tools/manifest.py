"""The record of a generation: `settings.json`, fixed when it begins, and `manifest.jsonl`, a line each picture.

Lines are only ever appended, and only after the picture is on the disk: a process killed at any moment leaves a record
that is true, but for a last line that may be cut, which counts as not written.
"""

import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from filelock import FileLock

from dreamsim_metric.files.json_file import parse_json, read_json, write_json
from dreamsim_metric.files.lock import LOCK, lock_folder
from dreamsim_metric.files.write import write_file

SETTINGS, MANIFEST = "settings.json", "manifest.jsonl"


def open_run(folder: Path, settings: Mapping[str, Any]) -> None:
    """Begin a run in a folder, or go on with the one that is there.

    Raises:
        ValueError: the run there has other settings: which, and both values.
        FileExistsError: the folder holds something else.
        OSError: the disk is full or not writable.
    """
    file = folder / SETTINGS
    if file.is_file():
        before = read_settings(folder)
        differ = [
            f"{name} was {_shorten(before.get(name))}, now {_shorten(settings.get(name))}"
            for name in sorted({*before, *settings})
            if before.get(name) != settings.get(name)
        ]
        if differ:
            raise ValueError(
                f"{folder} was begun with other settings: {'; '.join(differ)}. Its pictures would not go together: "
                "repeat the first settings to go on, or choose another folder"
            )
        return
    check_folder_of_run(folder)
    folder.mkdir(parents=True, exist_ok=True)
    write_json(file, settings, sort_keys=True)


def check_folder_of_run(folder: Path) -> None:
    """Be sure that a run can begin in a folder, or has begun.

    Raises:
        FileExistsError: the folder holds something else.
    """
    if not (folder / SETTINGS).is_file() and folder.is_dir() and any(file.name != LOCK for file in folder.iterdir()):
        raise FileExistsError(f"{folder} is not empty and no generation of ours; choose another folder")


@contextmanager
def begin_run(folder: Path, settings: Mapping[str, Any], state: Any) -> Iterator[None]:
    """Begin a run or go on with it, see `open_run`; one that fails before its first row leaves no folder.

    Args:
        folder: folder of the run.
        settings: settings that all its pictures depend on.
        state: accelerate's `PartialState`, of which one process takes the folder away.

    Raises:
        As `open_run`.
    """
    fresh = not folder.exists()
    with lock_folder(folder) if state.is_main_process else nullcontext():
        with state.main_process_first():
            open_run(folder, settings)
        try:
            yield
        except Exception:
            if fresh and state.is_main_process and not (folder / MANIFEST).is_file():
                shutil.rmtree(folder)
            raise


def read_settings(folder: Path) -> dict[str, Any]:
    """Read what `open_run` wrote.

    Raises:
        FileNotFoundError: the folder is no generation.
        ValueError: the file is damaged.
    """
    file = folder / SETTINGS
    if not file.is_file():
        raise FileNotFoundError(f"{folder} has no {SETTINGS}; expected a folder that `dreamsim-data generate` made")
    return read_json(file, "remove the folder and generate again")


def append_rows(folder: Path, rows: Iterable[dict[str, Any]], name: str = MANIFEST) -> None:
    """Add lines, whole, whatever other processes add meanwhile.

    Args:
        folder: folder of the run.
        rows: rows to add, a line each.
        name: name of the file in the folder.

    Raises:
        OSError: the disk is full; the lines before are intact.
    """
    data = _format_lines(rows)
    with FileLock(folder / f".{name}.lock"), open(folder / name, "a+b") as file:
        file.seek(0, os.SEEK_END)
        if file.tell():
            file.seek(-1, os.SEEK_END)
            if file.read(1) != b"\n":  # cut when the process was killed
                file.truncate(_read_whole(folder / name))
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def read_rows(folder: Path, name: str = MANIFEST, columns: Sequence[str] = ()) -> list[dict[str, Any]]:
    """Read all whole lines of a file, as they were added; a cut last one is left out.

    Args:
        folder: folder of the run.
        name: name of the file in the folder.
        columns: names that each line must have.

    Raises:
        ValueError: a line is damaged, lacks columns, as those of another version may, or names a picture outside the
            folder; the message has its number.
    """
    file = folder / name
    if not file.is_file():
        return []
    hint, rows = "remove it, or begin again in another folder", []
    for number, line in enumerate(file.read_bytes()[: _read_whole(file)].splitlines(), start=1):
        row = parse_json(line, f"{file} line {number}", hint, sorted(columns))
        if "path" in columns and _check_leaves(folder, row["path"]):
            raise ValueError(f"{file} line {number} names {row['path']!r}, which is not in that folder; {hint}")
        rows.append(row)
    return rows


def _check_leaves(folder: Path, path: Any) -> bool:
    """Whether what a line names is outside the folder: by its path, or as a link."""
    return not isinstance(path, str) or not (folder / path).resolve().is_relative_to(folder.resolve())


def replace_rows(folder: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Put these lines in place of all others, at once.

    Raises:
        OSError: the disk is full; the lines before are intact.
    """
    write_file(folder / MANIFEST, _format_lines(rows))


def _format_lines(rows: Iterable[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(row, sort_keys=True) + "\n" for row in rows).encode()


def _read_whole(file: Path) -> int:
    return file.read_bytes().rfind(b"\n") + 1


def _shorten(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "…"
