"""Files by name: on this machine's disks, or in a store that fsspec knows by a URL (s3://…, gs://…, sftp://…)."""

import hashlib
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any, cast

from dreamsim_metric.files.write import write_file
from dreamsim_metric.formats import check_file
from dreamsim_metric.messages import say_error

_OWN = ("file", "local", "memory")  # this machine
# A put is whole or not there, and a rename would be a copy.
_OBJECT_STORES = ("abfs", "abfss", "adl", "az", "gcs", "gs", "oci", "oss", "r2", "s3", "s3a")


def is_url(name: str) -> bool:
    """Tell a URL from a path; `C:/` is a drive."""
    return re.match(r"[A-Za-z][\w+.-]+://", name) is not None


def is_address(name: str) -> bool:
    """Tell a URL that names the machine it is fetched from (https://, sftp://) from one of a store (s3://, gs://).

    Which machine that is, who wrote the URL decides: one that only this machine can reach, say.

    Example:
        >>> is_address("https://example.org/cat.png"), is_address("s3://bucket/cat.png"), is_address("cat.png")
        (True, False, False)
    """
    return is_url(name) and ("::" in name or name.partition("://")[0].lower() not in (*_OBJECT_STORES, *_OWN))


def make_path(name: str | Path) -> Path:
    """Make a path with pathlib's methods, also of URLs (universal_pathlib's `UPath`); file:// is the path behind it.

    Args:
        name: a path or URL.

    Raises:
        ImportError: a URL, and the packages for it are not installed.
        ValueError: fsspec knows no such store.
    """
    if not (isinstance(name, str) and is_url(name)):
        return Path(name) if isinstance(name, str) else name
    try:
        from upath import UPath

        path = UPath(name)
        path.fs  # noqa: B018 -- imports what the store needs
    except ImportError as error:
        raise ImportError(
            f"{name} needs more packages ({error}): pip install 'dreamsim_metric[ray]', and s3fs for s3://, gcsfs for gs://"
        ) from error
    except ValueError as error:
        raise ValueError(f"got {name}; expected a store that fsspec knows, such as s3:// or gs:// ({error})") from error
    return Path(path.path) if path.protocol in ("file", "local") else cast(Path, path)


def read(name: str) -> bytes:
    """Read the bytes of a file.

    Args:
        name: a path or URL.

    Raises:
        FileNotFoundError, ValueError, OSError: none, a folder, unreadable; the message names it.
    """
    if not is_url(name):
        return read_local(name)
    try:
        return make_path(name).read_bytes()
    except FileNotFoundError as error:
        raise FileNotFoundError(f"no such picture: {name}") from error
    except ImportError:
        raise
    except Exception as error:  # a store's own
        raise OSError(f"{name} cannot be read ({say_error(error)})") from error


def write(path: Path, data: bytes) -> None:
    """Write or replace a file: whole or not at all.

    Args:
        path: a place that `make_path` gave.
        data: what the file will hold.

    Raises:
        OSError: the disk or store is full or not writable.
    """
    if isinstance(path, Path):
        write_file(path, data)
        return
    remote: Any = path
    try:
        if remote.protocol in _OBJECT_STORES:
            remote.write_bytes(data)
        else:
            beside = remote.with_name(f".{path.name}.{secrets.token_hex(8)}.part")
            beside.write_bytes(data)
            remote.fs.mv(beside.path, remote.path)
    except Exception as error:
        raise OSError(f"cannot write {path} ({say_error(error)})") from error


def is_file(path: Path) -> bool:
    """Look whether there is such a file now, whatever a store's client remembers of its listings."""
    if not isinstance(path, Path):
        cast(Any, path).fs.invalidate_cache()
    return path.is_file()


def list_files(folder: str, recursive: bool) -> list[str]:
    """List the URLs of the files in a folder of a store, without hidden ones, in no order."""
    store, root = _store(folder)
    names = [store.unstrip_protocol(file) for file in store.find(root, maxdepth=None if recursive else 1)]
    return [name for name in names if not any(part.startswith(".") for part in cut_to_folder(name, folder).parts)]


def cut_to_folder(file: str, folder: str) -> PurePath:
    """Cut a file's name to what it is inside the folder that it was found in."""
    if not is_url(folder):
        return PurePath(file).relative_to(folder)
    store, root = _store(folder)
    return PurePath(file.removeprefix(store.unstrip_protocol(root)).lstrip("/"))


def _store(url: str) -> tuple[Any, str]:
    """fsspec's file system and the path in it."""
    from fsspec.core import url_to_fs

    return url_to_fs(url)


@dataclass(frozen=True)
class Content:
    """What a file holds.

    Attributes:
        file: the file's name.
        sha256: digest of the bytes; empty where the file cannot be read.
        data: the bytes themselves.
        error: what went wrong where it cannot be read.
    """

    file: str
    sha256: str = ""
    data: bytes = b""
    error: Exception | None = None


def read_local(file: str) -> bytes:
    """Read the bytes of a file on this machine.

    Args:
        file: the file's path.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a folder, pipe, socket or device, empty or larger than any picture; the message names it.
        OSError: it is unreadable.
    """
    path = Path(file)
    try:
        check_file(path, file)
        return path.read_bytes()
    except FileNotFoundError:
        raise
    except OSError as error:
        raise OSError(f"{file} cannot be read ({error.strerror or error})") from error


def read_content(file: str, read: Callable[[str], bytes] = read_local) -> Content:
    """Read a file; what goes wrong is in `error`."""
    try:
        data = read(file)
        if not data:
            raise ValueError(f"{file} is an empty file (0 bytes); expected a picture")
    except Exception as error:  # a store's own errors too
        return Content(file, error=error)
    return Content(file, hashlib.sha256(data).hexdigest(), data)
