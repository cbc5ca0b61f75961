"""Files of tensors as trainers write them: safetensors, or pickles of which nothing but tensors is taken."""

import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from dreamsim_metric.messages import list_briefly, say_error
from dreamsim_metric.weights.folder import read_tensors

SAFE = ".safetensors"
PICKLES = (".bin", ".pt", ".pth", ".ckpt")


def find_file(path: Path, names: Sequence[str]) -> Path:
    """Find the file of tensors in a folder: one of these names, or the only one; a file is itself.

    Raises:
        FileNotFoundError: there is none, or no such path.
        ValueError: several, none of which has one of the names.
    """
    if path.is_file():
        return path
    for name in names:
        if (path / name).is_file():
            return path / name
    for endings in ((SAFE,), PICKLES):
        found = sorted(file for file in path.glob("*") if file.suffix in endings and file.is_file())
        if len(found) > 1:
            which = list_briefly([file.name for file in found])
            raise ValueError(f"{path} holds {which}, and it is not told which one is meant: name the file")
        if found:
            return found[0]
    raise FileNotFoundError(f"{path} holds none of {', '.join(names)}, nor another file of tensors")


def read_file(file: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """Read what a file holds, and its metadata if it has any; a pickle runs no code.

    Raises:
        ValueError: it is damaged, or a pickle of more than tensors.
    """
    if file.suffix == SAFE:
        return read_tensors(file)
    try:
        with torch.serialization.safe_globals([nn.ParameterDict]):  # of the first textual inversions
            held = torch.load(file, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, AttributeError, LookupError) as error:
        raise ValueError(
            f"{file} is damaged, or holds more than tensors, which could run code when it is read "
            f"({say_error(error)[:100]}); get it as .safetensors"
        ) from error
    if not isinstance(held, dict):
        held = {file.stem: held}
    return held, {}
