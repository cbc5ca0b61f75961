"""BAPPS, the Berkeley-Adobe perceptual patch similarity data (Zhang et al., CVPR 2018), in its authors' folders."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from dreamsim_metric.files.pictures import list_pictures
from dreamsim_metric.files.table import RowError
from dreamsim_metric.judgements.rows import Judgement
from dreamsim_metric.messages import say_error_with_kind

_SPLITS = ("train", "val")
_VOTES = {("2afc", "train"): 2, ("2afc", "val"): 5, ("jnd", "train"): 3, ("jnd", "val"): 3}  # section 3


def read_rows(root: Path, task: str, parts: tuple[str, ...], answer: str) -> Iterator[Judgement | str]:
    """Yield the rows of a task, `2afc` (`ref`, `p0`, `p1`, `judge`) or `jnd` (`p0`, `p1`, `same`).

    Each part is a folder, and the files of a row have one name in all of them.

    Args:
        root: the data set's folder.
        task: the part of the data set, `2afc` or `jnd`.
        parts: names of the folders with the pictures of a row, in order.
        answer: name of the folder with what people said.

    Yields:
        Rows, or texts that say what is wrong with one.

    Raises:
        ValueError: the folder is not laid out so.
    """
    found = find_folders(root, task, answer)
    if not found:
        raise ValueError(f"{root} is not BAPPS; expected train/ or val/ with */{answer}/, in it or in {task}/")
    for folder in found:
        split, subset = Path(os.path.abspath(folder)).parts[-2:]
        files = {part: _find_stems(list_pictures(folder / part)) for part in parts}
        files[answer] = _find_stems(map(str, (folder / answer).glob("[!.]*.npy")))
        absent = [part for part, names in files.items() if not names]
        if absent:
            yield f"{split}/{subset}: nothing in {', '.join(absent)}"
            continue
        for stem in sorted(set().union(*files.values())):
            where = f"{split}/{subset}/{stem}"
            missing = [part for part, names in files.items() if stem not in names]
            if missing:
                yield f"{where}: no file in {', '.join(missing)}"
                continue
            try:
                share = _share(files[answer][stem])
            except RowError as error:
                yield f"{where}: {error}"
                continue
            paths = tuple(files[part][stem] for part in parts)
            yield Judgement(where, paths, share, where, _VOTES[task, split], split, subset)


def find_folders(root: Path, task: str, answer: str) -> list[Path]:
    """Find the folders of kinds of distortion, `2afc/val/cnn` and so on, whichever of the folders above is named.

    Args:
        root: the folder that has `dataset/`, `dataset` itself, `2afc`, `2afc/val`, or `2afc/val/cnn`.
        task: the part of the data set, `2afc` or `jnd`.
        answer: name of the folder with what people said.
    """
    place = Path(os.path.abspath(root))
    levels = [[root] if place.parent.name in _SPLITS else [], sorted(root.glob("*")) if place.name in _SPLITS else []]
    for base in (root, root / task, root / "dataset" / task):
        levels.append([subset for split in _SPLITS for subset in sorted((base / split).glob("*"))])
    for subsets in levels:
        found = [subset for subset in subsets if (subset / "p0").is_dir()]
        if any((folder / answer).is_dir() for folder in found):
            return found
    return []


def _share(file: str) -> float:
    try:
        answer = np.load(file, allow_pickle=False)
    except Exception as error:  # damaged files raise ValueError, EOFError, BadZipFile and more
        raise RowError(f"{file} is not a NumPy file ({say_error_with_kind(error)})") from error
    if not isinstance(answer, np.ndarray) or answer.size != 1 or answer.dtype.kind not in "fiu":
        raise RowError(f"{file} holds {getattr(answer, 'shape', 'several arrays')}; expected one number")
    return float(answer.item())


def _find_stems(files: Iterable[str]) -> dict[str, str]:
    """Find the files of one folder by name without ending."""
    return {os.path.splitext(os.path.basename(file))[0]: file for file in files}
