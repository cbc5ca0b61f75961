"""Which files a command is about: pictures named, and those in folders."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from dreamsim_metric.files.store import is_url, list_files, location


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
        if not location(name).is_dir():
            files.append(name)
            continue
        found = list_pictures(name, recursive)
        if not found:
            hint = "name a folder that does"
            deeper = [] if recursive else list_pictures(name, recursive=True)
            if deeper:
                inside = os.path.dirname(deeper[0])
                hint += f", such as {inside}, or search deeper where a command has --recursive"
            raise ValueError(f"{name} holds no pictures (no file with a picture's ending); {hint}")
        files += found
    return list(dict.fromkeys(files))


def list_pictures(folder: str | Path, recursive: bool = False) -> list[str]:
    """List the pictures in a folder, in the order of their names; none where there is no such folder.

    Pictures are the files whose endings Pillow knows. Hidden files are passed over. Links to files count as files, also
    where they lead nowhere: what reads them says so.

    Args:
        folder: path on this machine, or a URL of a store that fsspec knows.
        recursive: folders in folders too; links to folders are not followed, since they can go in circles.

    Returns:
        Names that begin with the folder's.

    Example:
        >>> "examples/cat.jpg" in list_pictures("examples")
        True
    """
    endings = _endings()
    name = str(folder)
    inside = list_files(name, recursive) if is_url(name) else _inside(Path(folder), recursive)
    return sorted(file for file in inside if os.path.splitext(file)[1].lower() in endings)


def _endings() -> set[str]:
    import PIL.Image

    return {ending for ending, kind in PIL.Image.registered_extensions().items() if kind in PIL.Image.OPEN}


def _inside(folder: Path, recursive: bool) -> Iterator[str]:
    for root, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if recursive and not name.startswith(".")]
        plain = str(Path(root))  # without ./; a Path for each of very many files would take seconds
        plain = "" if plain == "." else plain
        yield from (os.path.join(plain, name) for name in names if not name.startswith("."))
