"""Python files that a user names: metrics and data sets that are in no package."""

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any


def import_file(file: Path, table: str) -> dict[str, Any]:
    """Import a dictionary from a Python file that is in no package.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it has no dictionary of that name.
    """
    if not file.is_file():
        raise FileNotFoundError(f"no such file: {file}")
    specification = importlib.util.spec_from_file_location(file.stem, file)
    assert specification is not None
    assert specification.loader is not None
    module: ModuleType = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    if not isinstance(getattr(module, table, None), dict):
        raise ValueError(f"{file} has no dictionary {table}; expected {table} = {{'name': …}}, as in CONTRIBUTING.md")
    return getattr(module, table)
