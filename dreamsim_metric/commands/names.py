"""What the names on a command line tell before anything heavy is imported: a slip is answered seconds earlier."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from dreamsim_metric.files.store import is_url
from dreamsim_metric.models import (
    MODELS,
    check_library_name,
    choose_default_model,
    is_of_library,
    make_unknown_model_error,
)
from dreamsim_metric.weights.folder import WEIGHTS, is_checkpoint, read_card


def check_model(name: str | None, weights: Sequence[Path] | None = None) -> str:
    """Be sure that a name can be a model's.

    Args:
        name: what `--model` says; by default the default model.
        weights: what `--weights` says.

    Returns:
        The name.

    Raises:
        FileNotFoundError: no such weights, or a folder that is no model's.
        ValueError: an unknown name, weights for a model that brings its own, or for another number of models.
    """
    name = name or choose_default_model()
    for file in weights or ():
        if not file.exists():
            raise FileNotFoundError(f"no such file or folder: {file}; expected the weights of {name}")
    if is_of_library(name):
        check_library_name(name, tagged=not weights)
    if name.startswith("hf:") or is_checkpoint(Path(name)):  # what it tuned, its card says, or its files
        return name
    if name in MODELS or is_of_library(name):
        tuned: tuple[str, ...] = (name,)
    elif name == "mini":
        tuned = ()
    elif Path(name).is_dir():
        card = read_card(Path(name))
        tuned = () if (Path(name) / WEIGHTS).is_file() else card.base
    else:
        raise make_unknown_model_error(name)
    if weights and not tuned:
        known = ", ".join([*MODELS, "timm:NAME", "open_clip:ARCH/TAG"])
        raise ValueError(f"got --weights with {name}, which brings its own; expected one of {known}")
    if weights and len(weights) != len(tuned):
        raise ValueError(f"got {len(weights)} --weights; expected one for each of {', '.join(tuned)}, in this order")
    return name


def check_pictures(names: Iterable[str]) -> None:
    """Be sure that files and folders are there; what a URL names is looked for when it is read.

    Raises:
        FileNotFoundError: one is not.
    """
    for name in names:
        if not is_url(name) and not Path(name).exists():
            raise FileNotFoundError(f"no such picture: {name}")


def check_folder(folder: str | Path, what: str = "folder") -> None:
    """Be sure that a folder is there.

    Raises:
        FileNotFoundError: it is not.
    """
    if not (isinstance(folder, str) and is_url(folder)) and not Path(folder).is_dir():
        raise FileNotFoundError(f"no such {what}: {folder}")


def check_new(folder: Path | None) -> None:
    """Be sure that a folder that is to be made, if one is, is not there yet.

    Raises:
        FileExistsError: it is.
    """
    if folder is not None and folder.exists():
        raise FileExistsError(f"{folder} exists already; remove it or choose another name")


def check_data(data: Path) -> None:
    """Be sure that judgements are there.

    Raises:
        FileNotFoundError: they are not.
    """
    if not data.exists():
        raise FileNotFoundError(f"no such data set: {data}; expected a folder or a table")
