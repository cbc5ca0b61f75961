"""Which files a command is about: pictures named, and those in folders."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePath

from dreamsim_metric.files.store import is_url, list_files, location


def find_pictures(given: Sequence[str], recursive: bool = False) -> list[str]:
    """List files as given, each once; a folder stands for the pictures in it, in the order of their names.

    Hidden files are passed over. Links to files count as files, also where they lead nowhere: what reads them says so.

    Args:
        given: files and folders, on this machine or URLs of a store that fsspec knows.
        recursive: whether folders in folders count too; links to folders are not followed, since they can go in
            circles.

    Raises:
        ValueError: a folder without pictures.

    Example:
        >>> find_pictures(["examples"])[:3]
        ['examples/astronaut.jpg', 'examples/cat.jpg', 'examples/coffee.jpg']
    """
    endings = _endings()
    files: list[str] = []
    for name in given:
        if not location(name).is_dir():
            files.append(name)
            continue
        inside = list_files(name, recursive) if is_url(name) else map(str, _inside(Path(name), recursive))
        found = sorted(file for file in inside if PurePath(file).suffix.lower() in endings)
        if not found:
            hint = "name a folder that does" if recursive else "name a folder that does, or search deeper: --recursive"
            raise ValueError(f"{name} holds no pictures (no file with a picture's ending); {hint}")
        files += found
    return list(dict.fromkeys(files))


def _endings() -> set[str]:
    import PIL.Image

    return {ending for ending, kind in PIL.Image.registered_extensions().items() if kind in PIL.Image.OPEN}


def _inside(folder: Path, recursive: bool) -> Iterator[Path]:
    for root, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if recursive and not name.startswith(".")]
        yield from (Path(root) / name for name in names if not name.startswith("."))
