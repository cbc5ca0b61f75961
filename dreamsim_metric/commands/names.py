"""What the names on a command line tell before anything heavy is imported: a slip is answered seconds earlier."""

from collections.abc import Iterable
from pathlib import Path

from dreamsim_metric.files.store import is_url
from dreamsim_metric.models import MODELS, default_model, unknown_model
from dreamsim_metric.weights.folder import is_checkpoint, read_card

_LIBRARIES = ("timm:", "open_clip:")


def check_model(name: str | None, weights: Path | None = None) -> str:
    """Be sure that a name can be a model's.

    Args:
        name: what `--model` says; by default the default model.
        weights: what `--weights` says.

    Returns:
        The name.

    Raises:
        FileNotFoundError: no such weights, or a folder that is no model's.
        ValueError: an unknown name, or weights for a model that brings its own.
    """
    name = name or default_model()
    if weights is not None and not weights.exists():
        raise FileNotFoundError(f"no such file or folder: {weights}; expected the weights of {name}")
    if name in MODELS or name.startswith(_LIBRARIES) or is_checkpoint(Path(name)):
        return name
    if weights is not None:
        known = ", ".join([*MODELS, "timm:NAME", "open_clip:ARCH/TAG"])
        raise ValueError(f"got --weights with {name}, which brings its own; expected one of {known}")
    if name != "mini" and not name.startswith("hf:"):
        if not Path(name).is_dir():
            raise unknown_model(name)
        read_card(Path(name))
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


def check_data(data: Path) -> None:
    """Be sure that judgements are there.

    Raises:
        FileNotFoundError: they are not.
    """
    if not data.exists():
        raise FileNotFoundError(f"no such data set: {data}; expected a folder or a table")
