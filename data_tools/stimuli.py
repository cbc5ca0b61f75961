"""The pictures that a study shows: files inside its folder of pictures, whoever wrote the table that names them."""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import BinaryIO

import PIL.Image

FORMATS = {"PNG": "image/png", "JPEG": "image/jpeg", "WEBP": "image/webp", "GIF": "image/gif", "AVIF": "image/avif"}
LARGEST = 64_000_000  # bytes of a file


class StimulusError(ValueError):
    """An error: what a table names is no picture of the study."""


@contextmanager
def open_stimulus(root: Path, path: str) -> Iterator[tuple[BinaryIO, str]]:
    """Open a picture of a study.

    Args:
        root: folder of the study's pictures.
        path: the picture's path relative to it, as the table has it.

    Yields:
        The file, at its beginning, and the media type of what it is, whatever its name says.

    Raises:
        FileNotFoundError: no such file.
        StimulusError: it is outside of the folder, no regular file, too large, or no picture that browsers show.
    """
    inside = PurePosixPath(path)
    if not path.isprintable() or inside.is_absolute() or PureWindowsPath(path).drive or ".." in inside.parts:
        raise StimulusError(f"{path!r} is not inside of {root}; expected a path relative to it, without ..")
    real = (root / path).resolve()
    if not real.is_relative_to(root.resolve()):
        raise StimulusError(f"{path!r} is a link to outside of {root}; put the picture itself there")
    # What has become a link since is not followed, and a pipe does not keep the server waiting.
    descriptor = os.open(real, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    about = os.fstat(descriptor)
    if not stat.S_ISREG(about.st_mode):
        os.close(descriptor)
        raise StimulusError(f"{path!r} in {root} is no regular file")
    with open(descriptor, "rb") as file:
        if about.st_size > LARGEST:
            raise StimulusError(f"{path!r} in {root} has {about.st_size} bytes; expected {LARGEST} at most")
        yield file, _find_media_type(file, path, root)


def _find_media_type(file: BinaryIO, path: str, root: Path) -> str:
    try:
        with PIL.Image.open(file, formats=list(FORMATS)) as picture:
            kind = FORMATS[str(picture.format)]
    except (OSError, ValueError, SyntaxError, PIL.Image.DecompressionBombError) as error:
        raise StimulusError(f"{path!r} in {root} is no picture; expected {', '.join(FORMATS)}") from error
    file.seek(0)
    return kind


def find_faults(root: Path, paths: Iterator[str]) -> tuple[list[str], list[str]]:
    """Look at all pictures of a study.

    Returns:
        The paths of those that are missing, and what is wrong with others.
    """
    missing, faults = [], []
    for path in paths:
        try:
            with open_stimulus(root, path):
                pass
        except StimulusError as error:
            faults.append(str(error))
        except OSError:
            missing.append(str(root / path))
    return missing, faults
