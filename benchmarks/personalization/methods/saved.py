"""What a fitted method keeps beside its weights: `method.json`."""

import json
from pathlib import Path
from typing import Any

from dreamsim_metric.files.write import write_file

FILE = "method.json"


def write_config(folder: Path, **values: Any) -> None:
    """Write values that JSON has.

    Raises:
        OSError: the disk is full or not writable.
    """
    folder.mkdir(parents=True, exist_ok=True)
    write_file(folder / FILE, (json.dumps(values, indent=2) + "\n").encode())


def read_config(folder: Path) -> dict[str, Any]:
    """Read what `write_config` wrote.

    Raises:
        FileNotFoundError: the folder holds no fitted method.
        ValueError: the file is damaged.
    """
    if not (folder / FILE).is_file():
        raise FileNotFoundError(f"{folder} has no {FILE}; expected a folder that a method's save wrote")
    try:
        return dict(json.loads((folder / FILE).read_text(encoding="utf-8")))
    except ValueError as error:
        raise ValueError(f"{folder / FILE} is damaged ({error}); fit the method again") from error
