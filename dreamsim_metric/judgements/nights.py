"""NIGHTS (Fu, Tamir, Sundaram et al., NeurIPS 2023) as its authors publish it beside `data.csv`.

- `nights_raw.csv`: all 100,000 triplets with whatever votes they have, in the columns of a table of triplets.
- `jnd_votes.csv`: trials of just-noticeable differences. The authors do not describe its columns, so they are told by
  their names: what people said to be the same, of two pictures, or of a reference with a left and a right one.
"""

import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

from dreamsim_metric.files.table import Record, RowError, Sheet, parse_number
from dreamsim_metric.judgements.columns import TRIPLET_FILE, TRIPLET_PATHS
from dreamsim_metric.judgements.rows import Judgement

RAW_FILE, JND_FILE = "nights_raw.csv", "jnd_votes.csv"
_PICTURES = ("ref", "distort")


def find_file(root: Path, name: str) -> Path | None:
    """Find a file of NIGHTS: the path itself, in the folder, or, where the authors' script puts it, beside the folder.

    Args:
        root: the data set's folder or a file of it.
        name: the file's name.
    """
    if root.is_file():
        return root if root.name == name else None
    if (root / name).is_file():
        return root / name
    beside = root / ".." / name
    is_nights = (root / TRIPLET_FILE).is_file() and all((root / folder).is_dir() for folder in _PICTURES)
    return beside if is_nights and beside.is_file() else None


def has_pairs(root: Path) -> bool:
    """Tell whether `jnd_votes.csv` is there, with columns that can be told; a folder is more than this one file."""
    file = find_file(root, JND_FILE)
    if file is None or root.is_file():
        return file is not None
    try:
        return bool(_tell_columns(Sheet(file)))
    except ValueError as error:
        _say_once(f"passed over: {error}")
        return False


@cache
def _say_once(text: str) -> None:
    print(text, file=sys.stderr)


def read_pairs_of_nights(root: Path) -> Iterator[Judgement | str]:
    """Yield the pairs of `jnd_votes.csv`: two a row where it has a left and a right picture.

    Args:
        root: the data set's folder, or the file; paths are relative to the folder that has `ref/`.

    Yields:
        Rows, or texts that say what is wrong with one.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the columns cannot be told by their names.
    """
    file = find_file(root, JND_FILE)
    if file is None:
        raise FileNotFoundError(f"{root} has no {JND_FILE}")
    sheet = Sheet(file)
    told = _tell_columns(sheet)
    counted = any(parse_number(record.cells[answer]) > 1 for record in sheet.records for _, answer in told)
    shares = {answer: _read_share(sheet, answer, counted) for _, answer in told}
    folder = (
        root if root.is_dir() else next((f for f in (file.parent, file.parent / "nights") if _has_ref(f)), file.parent)
    )
    for paths, answer in told:

        def row(record: Record, paths: tuple[str, str] = paths, answer: str = answer) -> Judgement:
            share, votes = shares[answer](record)
            places = (str(folder / record.text(column)) for column in paths)
            name = record.id if len(told) == 1 else f"{record.id}-{answer.partition('_')[0]}"
            return Judgement(record.where, tuple(places), share, name, votes, record.text("split", "test"))

        yield from sheet.rows(row)


def _has_ref(folder: Path) -> bool:
    return (folder / "ref").is_dir()


def _tell_columns(sheet: Sheet) -> list[tuple[tuple[str, str], str]]:
    """Two columns of paths and the column of what was said of them, once or twice a row."""
    rest = [name for name in sheet.columns if "path" not in name]
    if set(TRIPLET_PATHS) <= set(sheet.columns):
        sides = {side: [name for name in rest if name.startswith(side + "_")] for side in ("left", "right")}
        sides = {side: [name for name in names if "same" in name] or names for side, names in sides.items()}
        if all(len(names) == 1 for names in sides.values()):
            return [((TRIPLET_PATHS[0], f"{side}_path"), names[0]) for side, names in sides.items()]
    else:
        paths = [name for name in sheet.columns if "path" in name]
        same = [name for name in rest if "same" in name]
        if len(paths) == 2 and len(same) == 1:
            return [((paths[0], paths[1]), same[0])]
    raise ValueError(
        f"{sheet.path} has columns {', '.join(sheet.columns)}; expected two of paths and one of votes for the same, or "
        f"{', '.join(TRIPLET_PATHS)} and a column of votes for each side; make a jnd.csv of it: a_path, b_path, same"
    )


def _read_share(sheet: Sheet, answer: str, counted: bool) -> Callable[[Record], tuple[float, float]]:
    """Share and number of votes: of counts, `votes` has the sum, or another column has who said "different"."""
    other = answer.replace("same", "different") if "same" in answer else ""
    total = "votes" if "votes" in sheet.columns else None
    if counted and other not in sheet.columns and total is None:
        raise ValueError(f"{sheet.path} has counts in {answer}, and no column votes with their sum")

    def read(record: Record) -> tuple[float, float]:
        value = record.number(answer)
        if counted and other in sheet.columns:
            votes = value + record.number(other)
        else:
            votes = record.number(total) if total else 1.0
        if counted and value > votes:
            raise RowError(f"{answer} is {value:g} of {votes:g} votes")
        return (value / (votes or 1) if counted else value), votes

    return read
