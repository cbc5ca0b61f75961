"""Which files a command is about: pictures named, and those in folders."""

import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from dreamsim_metric.files.store import is_url, list_files, make_path
from dreamsim_metric.formats import list_endings, list_undecoded, say_how
from dreamsim_metric.messages import list_briefly


def find_pictures(given: Sequence[str], recursive: bool = False) -> list[str]:
    """List files as given, each once; a folder stands for the pictures in it, as `list_pictures` has them.

    Args:
        given: files and folders, on this machine or URLs of a store that fsspec knows.
        recursive: whether folders in folders count too.

    Raises:
        ValueError: a folder without pictures; the message names a folder inside it that has some.

    Example:
        >>> find_pictures(["examples"])[:3]
        ['examples/astronaut.jpg', 'examples/cat.jpg', 'examples/coffee.jpg']
    """
    files: list[str] = []
    for name in given:
        if not make_path(name).is_dir():
            files.append(name)
            continue
        found = list_pictures(name, recursive)
        if not found:
            hint = "name a folder that does"
            deeper = [] if recursive else _select_by_ending(_list_files(name, recursive=True), list_endings())
            if deeper:
                inside = os.path.dirname(deeper[0])
                hint += f", such as {inside}, or search deeper where a command has --recursive"
            raise ValueError(f"{name} holds no pictures (no file with a picture's ending); {hint}")
        files += found
    return list(dict.fromkeys(files))


def list_pictures(folder: str | Path, recursive: bool = False) -> list[str]:
    """List the pictures in a folder, in the order of their names; none where there is no such folder.

    Pictures are the files with an ending of `dreamsim_metric.formats.list_endings`. Photographs that this installation
    does not decode, such as HEIC without `pillow-heif`, are passed over and named on stderr; hidden files in silence.
    Links to files count as files, also where they lead nowhere: what reads them says so.

    Args:
        folder: path on this machine, or a URL of a store that fsspec knows.
        recursive: folders in folders too; links to folders are not followed, since they can go in circles.

    Returns:
        Names that begin with the folder's.

    Example:
        >>> "examples/cat.jpg" in list_pictures("examples")
        True
    """
    files = _list_files(folder, recursive)
    if undecoded := _select_by_ending(files, list_undecoded()):
        said = list_briefly([os.path.basename(file) for file in undecoded], 3)
        how = say_how(os.path.splitext(undecoded[0])[1])
        print(f"passed over in {folder}, since nothing here decodes them: {said}; {how}", file=sys.stderr)
    return _select_by_ending(files, list_endings())


def _list_files(folder: str | Path, recursive: bool) -> list[str]:
    name = str(folder)
    return list_files(name, recursive) if is_url(name) else list(_list_inside(Path(folder), recursive))


def _select_by_ending(files: Sequence[str], endings: set[str]) -> list[str]:
    return sorted(file for file in files if os.path.splitext(file)[1].lower() in endings)


def _list_inside(folder: Path, recursive: bool) -> Iterator[str]:
    for root, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if recursive and not name.startswith(".")]
        plain = str(Path(root))  # without ./; a Path for each of very many files would take seconds
        plain = "" if plain == "." else plain
        yield from (os.path.join(plain, name) for name in names if not name.startswith("."))
