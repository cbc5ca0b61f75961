"""JSON files: written whole, and what is no JSON named."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from dreamsim_metric.files.write import write_file


def format_json(value: Any, *, sort_keys: bool = False) -> bytes:
    """Write a value as the content of a JSON file: indented, in UTF-8, with a line feed at its end.

    Example:
        >>> format_json({"seed": 0})
        b'{\\n  "seed": 0\\n}\\n'
    """
    return (json.dumps(value, indent=2, sort_keys=sort_keys) + "\n").encode()


def write_json(file: Path, value: Any, *, sort_keys: bool = False) -> None:
    """Write or replace a JSON file; see `format_json`.

    Raises:
        OSError: the disk is full or not writable; what was there before is intact.
    """
    write_file(file, format_json(value, sort_keys=sort_keys))


def parse_json(content: bytes, name: object, hint: str, keys: Iterable[str] = ()) -> dict[str, Any]:
    """Read the content of a file that holds a JSON object.

    Args:
        content: the bytes of the file.
        name: what the error calls the file.
        hint: what to do about a file that is damaged, for the error.
        keys: names that the object must have.

    Raises:
        ValueError: not JSON, not an object, or one without some of the keys.

    Example:
        >>> parse_json(b"{", "settings.json", "run again into that folder")
        Traceback (most recent call last):
            ...
        ValueError: settings.json is not JSON (Expecting property name enclosed in double quotes: line 1 column 2 \
(char 1)); run again into that folder
        >>> parse_json(b"{}", "settings.json", "run again into that folder", ("seed",))
        Traceback (most recent call last):
            ...
        ValueError: settings.json lacks seed, perhaps as one of another version; run again into that folder
    """
    try:
        found = json.loads(content)
    except (ValueError, RecursionError) as error:  # of the syntax, the encoding or the depth
        raise ValueError(f"{name} is not JSON ({error}); {hint}") from error
    if not isinstance(found, dict):
        raise ValueError(f"{name} is not a JSON object (it is a {type(found).__name__}); {hint}")
    missing = [key for key in keys if key not in found]
    if missing:
        raise ValueError(f"{name} lacks {', '.join(missing)}, perhaps as one of another version; {hint}")
    return found


def read_json(file: Path, hint: str, keys: Iterable[str] = ()) -> dict[str, Any]:
    """Read a file that holds a JSON object.

    Args:
        file: path on this machine, or a `make_path` in a store.
        hint: what to do about a file that is damaged, for the error.
        keys: names that the object must have.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not JSON, not an object, or one without some of the keys.
    """
    return parse_json(file.read_bytes(), file, hint, keys)
