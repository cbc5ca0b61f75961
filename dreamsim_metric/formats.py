"""Which files are pictures: raster formats that Pillow decodes by itself, or by a plugin that is installed."""

import inspect
import re
from functools import cache
from pathlib import Path

LARGEST = 4 << 30  # bytes of a picture's file; what a stranger's folder holds may be larger than memory

_ELSEWHERE = {"EPS", "MPEG", "WMF"}  # Pillow knows them, and leaves the decoding to other programs
_CODECS = {"AVIF": "avif", "JPEG2000": "jpg_2000", "WEBP": "webp"}  # which some builds of Pillow are without
_PHOTOGRAPHS = (
    *(".heic", ".heif", ".hif", ".avif", ".jxl", ".webp", ".jp2"),
    *(".arw", ".cr2", ".cr3", ".dng", ".nef", ".orf", ".raf", ".rw2"),  # raw data of cameras
)


@cache
def add_plugins() -> None:
    """Let Pillow read HEIC and HEIF where `pillow-heif` is installed."""
    try:
        import pillow_heif
    except ImportError:
        return
    pillow_heif.register_heif_opener()


def list_endings() -> set[str]:
    """List the endings of files that are pictures, in lower case.

    Those of raster formats that Pillow decodes by itself, or by plugins. Vector formats and films, which it hands to
    other programs (EPS, WMF, MPEG), containers that it only recognises (HDF5, GRIB, BUFR) and what it only writes (PDF)
    are none.

    Example:
        >>> {".jpg", ".png", ".tif"} <= list_endings()
        True
        >>> {".eps", ".h5", ".mpg", ".pdf"} & list_endings()
        set()
    """
    import PIL.Image

    add_plugins()
    return {ending for ending, kind in PIL.Image.registered_extensions().items() if _is_decoded(kind)}


def _is_decoded(kind: str) -> bool:
    import PIL.features
    import PIL.Image
    import PIL.ImageFile

    if kind not in PIL.Image.OPEN or kind in _ELSEWHERE:
        return False
    factory = PIL.Image.OPEN[kind][0]
    stub = inspect.isclass(factory) and issubclass(factory, PIL.ImageFile.StubImageFile)
    return not stub and (kind not in _CODECS or PIL.features.check(_CODECS[kind]) is not False)


def list_undecoded() -> set[str]:
    """List the endings of photographs that this installation does not decode, which users should be told of."""
    return set(_PHOTOGRAPHS) - list_endings()


def say_how(ending: str) -> str:
    """Say what would let photographs with this ending be read.

    Example:
        >>> say_how(".heic")
        'pip install pillow-heif'
    """
    return "pip install pillow-heif" if ending.lower() in (".heic", ".heif", ".hif") else "convert them to PNG"


def check_file(path: Path, name: str) -> None:
    """Be sure that a path leads to what may be a picture's file, before it is opened.

    Args:
        path: the path.
        name: the path as it was given, for messages.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a folder, pipe, socket or device, empty, or larger than any picture.

    Example:
        >>> check_file(Path("examples"), "examples")
        Traceback (most recent call last):
        ValueError: examples is a folder; expected a picture file: pass a list of the files in it
    """
    if not path.exists():
        hint = "; download it first" if re.match(r"\w\w+:/", name) else ""  # C:/ is a drive
        raise FileNotFoundError(f"no such picture: {name}{hint}")
    if path.is_dir():
        raise ValueError(f"{name} is a folder; expected a picture file: pass a list of the files in it")
    if not path.is_file():  # reading a pipe or a device may never end
        raise ValueError(f"{name} is no regular file but a pipe, socket or device; expected a picture file")
    size = path.stat().st_size
    if size == 0:
        raise ValueError(f"{name} is an empty file (0 bytes); expected a picture")
    if size > LARGEST:
        raise ValueError(f"{name} has {size:,} bytes; expected a picture, of {LARGEST:,} at most")
