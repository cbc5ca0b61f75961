"""What a fitted method keeps beside its weights: `method.json`."""

from pathlib import Path
from typing import Any

from dreamsim_metric.files.json_file import read_json, write_json

FILE = "method.json"


def write_config(folder: Path, **values: object) -> None:
    """Write values that JSON has.

    Raises:
        OSError: the disk is full or not writable.
    """
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / FILE, values)


def has_config(folder: Path) -> bool:
    """Tell whether `write_config` wrote to a folder; what other trainers wrote has none."""
    return (folder / FILE).is_file()


def read_config(folder: Path, *keys: str) -> dict[str, Any]:
    """Read what `write_config` wrote.

    Args:
        folder: folder of the fitted method.
        keys: names that there must be.

    Raises:
        FileNotFoundError: the folder holds no fitted method.
        ValueError: the file is damaged, or lacks keys, as that of another version may.
    """
    if not has_config(folder):
        raise FileNotFoundError(f"{folder} has no {FILE}; expected a folder that a method's save wrote")
    return read_json(folder / FILE, "fit the method again", keys)
