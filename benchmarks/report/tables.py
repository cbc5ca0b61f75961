"""Tables that the benchmarks wrote."""

from pathlib import Path
from typing import Any

import pandas as pd

from dreamsim_metric.files.json_file import read_json


def read_table(folder: Path, name: str) -> pd.DataFrame:
    """Read a table of a folder.

    Args:
        folder: folder that the benchmark wrote to.
        name: name of the Parquet file.

    Raises:
        FileNotFoundError: it is not there.
        ValueError: it is damaged.
    """
    file = folder / name
    if not file.is_file():
        raise FileNotFoundError(f"no {name} in {folder}; measure again into that folder")
    try:
        return pd.read_parquet(file)
    except Exception as error:  # pyarrow's many kinds
        raise ValueError(f"{file} is damaged ({error}); measure again into that folder") from error


def read_settings(file: Path) -> dict[str, Any]:
    """Read what a run wrote down of itself, as JSON.

    Raises:
        ValueError: the file is damaged.
    """
    return read_json(file, "run again into that folder")
