"""Find, fetch, verify and keep files of weights. Nothing here knows what is inside them."""

import http.client
import os
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import platformdirs
from filelock import FileLock
from tqdm import tqdm

from dreamsim_metric.card import Download
from dreamsim_metric.files.digest import digest_file
from dreamsim_metric.files.write import check_space
from dreamsim_metric.messages import say_error

_CHUNK = 1 << 20
_TIMEOUT = 60  # seconds without a byte
_FORMAT = "v1"  # a new folder in the cache whenever what we keep there changes meaning


def find_cache_dir() -> Path:
    """Tell where weights are kept: `$DREAMSIM_METRIC_CACHE`, else the user's cache folder of this system.

    Example:
        >>> find_cache_dir().name
        'dreamsim_metric'
    """
    return Path(os.environ.get("DREAMSIM_METRIC_CACHE") or platformdirs.user_cache_dir("dreamsim_metric"))


def find_downloads_dir() -> Path:
    """Tell where downloads lie until what they hold is installed."""
    return find_cache_dir() / "downloads"


def find_model_dir(name: str) -> Path:
    """Tell where a named model is kept once converted."""
    return find_cache_dir() / _FORMAT / name


@contextmanager
def lock(name: str) -> Iterator[None]:
    """Let one process at a time make a model; the others wait and find it made.

    Args:
        name: the model's name.

    Raises:
        OSError: the cache cannot be written.
    """
    with _lock(find_cache_dir() / _FORMAT / f"{name}.lock"):
        yield


@contextmanager
def _lock(path: Path) -> Iterator[None]:
    with _name_full_disk(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


@contextmanager
def _name_full_disk(folder: Path) -> Iterator[None]:
    """Errors of the disk, but not those of the network, say what to do about the folder."""
    try:
        yield
    except ConnectionError:
        raise
    except OSError as error:
        raise OSError(
            error.errno,
            f"cannot write in {folder} ({error.strerror}); make room and make it writable, "
            "or set DREAMSIM_METRIC_CACHE to another folder",
        ) from error


def fetch(download: Download, folder: Path) -> Path:
    """Download a file, resuming what an earlier try left; it gets its name only when it is whole and verified.

    Several processes may ask for one file at once: one downloads it, the others wait.

    Args:
        download: the file to fetch; size and sha256 are checked where they are known, the server's own length always.
        folder: the folder to put it in, under the base name of `download.path`.

    Returns:
        The file.

    Raises:
        ConnectionError: no network, an answer other than the file, or a transfer that broke off.
        ValueError: whole, but of the wrong size or digest. The partial file is removed.
        OSError: the disk is full or not writable.
    """
    target = folder / Path(download.path).name
    if target.exists():
        return target
    with _lock(target.with_name(target.name + ".lock")):
        if target.exists():  # another process was quicker
            return target
        part = target.with_name(target.name + ".part")
        try:
            _transfer(download, part)
        except ConnectionError as error:
            raise ConnectionError(
                f"cannot download {download.url} ({error}). Without network: put the file at {target}, "
                "or name a copy with source=… (command line: --weights …). "
                "A broken download goes on where it stopped when tried again."
            ) from error
        _verify(download, part)
        part.replace(target)
    return target


def _transfer(download: Download, part: Path) -> None:
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE"):
        raise ConnectionError("HF_HUB_OFFLINE is set")
    have = part.stat().st_size if part.exists() else 0
    if have and have == download.size:
        return
    headers = {"User-Agent": "dreamsim_metric"} | ({"Range": f"bytes={have}-"} if have else {})
    try:
        response = urllib.request.urlopen(urllib.request.Request(download.url, headers=headers), timeout=_TIMEOUT)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code != 416 or not have:
            raise ConnectionError(f"the server answered {error.code} {error.reason}") from error
        if error.headers.get("Content-Range") == f"bytes */{have}":  # nothing after it: it is whole
            return
        part.unlink()  # longer than the file on the server: not the beginning of it
        return _transfer(download, part)
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", error)  # urllib wraps it
        raise ConnectionError(say_error(reason if isinstance(reason, Exception) else error)) from error
    with response:
        if have and response.status != 206:  # the server does not resume: from the start
            have = 0
        left = response.headers.get("Content-Length")
        total = have + int(left) if left else None
        if download.size and total and total != download.size:
            raise ValueError(
                f"{download.url} has {total:,} bytes; expected {download.size:,}: it is not the known file"
            )
        check_space(part, (total or download.size or 0) - have)
        with (
            _name_full_disk(part.parent),
            open(part, "ab" if have else "wb") as file,
            tqdm(total=total, initial=have, unit="B", unit_scale=True, desc=part.stem, disable=None) as bar,
        ):
            for chunk in _read_chunks(response):
                file.write(chunk)
                bar.update(len(chunk))
    if total and (got := part.stat().st_size) < total:
        raise ConnectionError(f"the transfer broke off at {got:,} of {total:,} bytes")


def _read_chunks(response: Any) -> Iterator[bytes]:
    try:
        while chunk := response.read(_CHUNK):
            yield chunk
    except (OSError, http.client.HTTPException) as error:
        raise ConnectionError(f"the transfer broke off: {say_error(error)}") from error


def _verify(download: Download, part: Path) -> None:
    size = part.stat().st_size
    problem = f"{size:,} bytes, not {download.size:,}" if download.size not in (None, size) else ""
    if not problem and download.sha256:
        digest = digest_file(part)
        if not digest.startswith(download.sha256):
            problem = f"sha256 {digest}, not {download.sha256}"
    if problem:
        part.unlink()
        raise ValueError(
            f"{download.url} gave {problem}: the file is damaged or not the known one, and was removed; try again"
        )
