"""The formats that human judgements come in, each read into the tables of `datasets`.

- `nights`: NIGHTS as DreamSim publishes it (Fu, Tamir, Sundaram et al., NeurIPS 2023): `data.csv`, `ref/`, `distort/`.
- `table`: your own, a CSV file with a row a triplet or pair; paths are relative to its folder.
- `bapps`: BAPPS (Zhang, Isola, Efros, Shechtman, Wang, CVPR 2018): folders of pictures, one `.npy` file an answer.
- `materials`: A Similarity Measure for Material Appearance (Lagunas et al., SIGGRAPH 2019), the authors' repository.
"""

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from .csv_table import Record, RowError, Sheet, as_number
from .datasets import DataError, Pairs, Triplets

Format = Literal["nights", "table", "bapps", "materials"]
FORMATS: tuple[Format, ...] = get_args(Format)

_SUM_TOLERANCE = 1e-3  # shares rounded to three decimals
_NIGHTS_VOTES = 6  # fewer are left out of DreamSim's training and evaluation
_BAPPS_VOTES = {("2afc", "train"): 2, ("2afc", "val"): 5, ("jnd", "train"): 3, ("jnd", "val"): 3}  # section 3
_MATERIALS_PICTURES = "havran1_ennis_298x298_LDR"
_MATERIALS_ANSWERS = {"train": "answers_processed_train.json", "test": "answers_processed_test.json"}
_PICTURES = (".png", ".jpg", ".jpeg")


def read_triplets(
    root: str | os.PathLike[str], format: Format | None = None, *, min_votes: float | None = None
) -> Triplets:
    """Read two-alternative forced choices, all splits in one table.

    Rows that cannot be used are left out and named in the table's `problems`, which `datasets.check` raises.

    Args:
        root: the data set's folder, or a `.csv` file of your own (`data.csv` in a folder). That has a row a triplet
            and the columns `ref_path`, `left_path`, `right_path`, and either `left_votes` and `right_votes` (how many
            chose each) or `left_vote` and `right_vote` (shares that sum to 1; counts too, if any sum exceeds 1).
            Optional: `id` (else the row's number), `votes` beside shares (else 1), `split` (else `train`),
            `subset`, `is_imagenet` (subsets `imagenet` and `no_imagenet`, as DreamSim reports NIGHTS), `prompt`.
        format: see the module; by default as the files in `root` suggest.
        min_votes: leave out triplets that fewer people judged; by default 6 for `nights`, as DreamSim does, else 0.

    Returns:
        The table. In `materials` the majority's choice is always on the left, as the authors publish it.

    Raises:
        FileNotFoundError: no such file or folder.
        ValueError: the files are of no known format or not what their names say, columns are missing, or no triplet
            has enough votes.
        DataError: no row at all could be used.
    """
    root = Path(root)
    format = _checked(root, format, _TRIPLETS)
    if min_votes is None:
        min_votes = _NIGHTS_VOTES if format == "nights" else 0
    return Triplets(**_columns(root, _TRIPLETS[format].rows(root), min_votes, "right"))


def read_pairs(root: str | os.PathLike[str], format: Format | None = None) -> Pairs:
    """Read just-noticeable differences, all splits in one table.

    Rows that cannot be used are left out and named in the table's `problems`, which `datasets.check` raises.

    Args:
        root: the data set's folder, or a `.csv` file of your own (`jnd.csv` in a folder). That has a row a pair and
            the columns `a_path`, `b_path` and `same` (the share of people who said so). Optional: `id` (else the
            row's number), `votes` (else 1), `split` (else `train`).
        format: `table` or `bapps`; by default as the files in `root` suggest.

    Raises:
        FileNotFoundError, ValueError, DataError: as `read_triplets` does.
    """
    root = Path(root)
    format = _checked(root, format, _PAIRS)
    return Pairs(**_columns(root, _PAIRS[format].rows(root), 0, "same"))


@dataclass(frozen=True)
class _Row:
    where: str
    id: str
    paths: tuple[str, ...]
    target: float
    votes: float
    split: str
    subset: str = ""
    prompt: str = ""


_Rows = Iterator[_Row | str]  # a text is what is wrong with a row


def kinds(root: str | os.PathLike[str]) -> set[str]:
    """What a data set holds, as far as its files tell: `triplets`, `pairs`, both or nothing that is known."""
    root = Path(root)
    if root.is_file():
        return {"pairs" if "a_path" in Sheet(root).columns else "triplets"}
    layouts = {"triplets": _TRIPLETS, "pairs": _PAIRS}
    return {kind for kind, known in layouts.items() if any(layout.fits(root) for layout in known.values())}


@dataclass(frozen=True)
class _Layout:
    files: str  # what it is recognised by, in words
    fits: Callable[[Path], bool]
    rows: Callable[[Path], _Rows]


def _checked(root: Path, format: Format | None, layouts: Mapping[Format, _Layout]) -> Format:
    """The format asked for, or else the first that fits."""
    if not root.exists():
        raise FileNotFoundError(f"no such data set: {root}; expected a folder or a .csv file")
    if format is None:
        format = next((name for name, layout in layouts.items() if layout.fits(root)), None)
    if format is None:
        looked_for = "; ".join(f"{layout.files} ({name})" for name, layout in layouts.items())
        raise ValueError(f"{root} is of no known format; looked for {looked_for}")
    if format not in layouts:
        raise ValueError(f"got format {format!r}; expected one of {', '.join(layouts)}")
    return format


def _columns(root: Path, rows: _Rows, min_votes: float, target: str) -> dict[str, Any]:
    """The arguments of `Triplets` or `Pairs`, from the rows that can be used."""
    kept: list[_Row] = []
    problems, too_few = [], 0
    for row in rows:
        if isinstance(row, str):
            problems.append(row)
        elif row.votes < min_votes:
            too_few += 1
        elif row.votes == 0:
            problems.append(f"{row.where}: it has no votes; expected at least 1")
        elif not 0 <= row.target <= 1:
            problems.append(f"{row.where}: the share of votes is {row.target:g}; expected one in [0, 1]")
        else:
            kept.append(row)
    if not kept and problems:
        raise DataError(problems)
    if not kept:
        why = f"all {too_few} have fewer than {min_votes:g} votes" if too_few else "it is empty"
        raise ValueError(f"{root} has no rows to use: {why}")
    place = Path(os.path.abspath(root))
    positions: dict[str, int] = {}
    # Two spellings of one path are one picture.
    index = [[positions.setdefault(os.path.normpath(path), len(positions)) for path in row.paths] for row in kept]
    columns = {
        "name": place.parent.name if place.is_file() else place.name,
        "ids": tuple(row.id for row in kept),
        "pictures": tuple(map(Path, positions)),
        "index": np.array(index, dtype=np.int64),
        target: np.array([row.target for row in kept], dtype=np.float64),
        "votes": np.array([row.votes for row in kept], dtype=np.float64),
        "splits": tuple(row.split for row in kept),
        "rows": tuple(row.where for row in kept),
        "problems": tuple(problems),
    }
    for name, values in (("subsets", [row.subset for row in kept]), ("prompts", [row.prompt for row in kept])):
        if all(values):
            columns[name] = tuple(values)
    return columns


def _triplet_table(root: Path, nights: bool = False) -> _Rows:
    sheet = Sheet(_table_path(root, "data.csv"))
    named = not nights and {"left_votes", "right_votes"} <= set(sheet.columns)
    sides = ("left_votes", "right_votes") if named else ("left_vote", "right_vote")
    sheet.require(("ref_path", "left_path", "right_path", *sides), "" if nights else " (or left_votes, right_votes)")
    sheet.require(("id", "votes", "split") if nights else ())
    counted = named or (not nights and _are_counts(sheet, sides))

    def row(record: Record) -> _Row:
        left, right = (record.number(side, whole=counted) for side in sides)
        both = left + right
        votes = both if named else record.number("votes", str(both) if counted else "1")
        if counted and votes != both:
            raise RowError(
                f"{left:g} and {right:g} are counts, as a row exceeds 1; expected the sum of {votes:g} votes"
            )
        if not counted and votes and abs(both - 1) > _SUM_TOLERANCE:
            raise RowError(f"left_vote {left:g} and right_vote {right:g} do not sum to 1")
        share = right / (votes or 1) if counted else right
        paths = tuple(record.path(column) for column in ("ref_path", "left_path", "right_path"))
        split, prompt = record.text("split", "train"), record.cells.get("prompt", "")
        return _Row(record.where, record.id, paths, share, votes, split, _subset(record), prompt)

    return sheet.rows(row)


def _subset(record: Record) -> str:
    imagenet = record.truth("is_imagenet")
    return record.cells.get("subset", "") if imagenet is None else "imagenet" if imagenet else "no_imagenet"


def _are_counts(sheet: Sheet, sides: tuple[str, str]) -> bool:
    """Whether any row sums to more than 1, unless most rows hold fractions: then that row is the mistake."""
    pairs = [[as_number(record.cells[side]) for side in sides] for record in sheet.records]
    fractions = sum(any(value % 1 > 0 for value in pair) for pair in pairs)
    return any(sum(pair) > 1 + _SUM_TOLERANCE for pair in pairs) and fractions <= len(pairs) / 2


def _pair_table(root: Path) -> _Rows:
    sheet = Sheet(_table_path(root, "jnd.csv"))
    sheet.require(("a_path", "b_path", "same"))

    def row(record: Record) -> _Row:
        paths = (record.path("a_path"), record.path("b_path"))
        votes, split = record.number("votes", "1"), record.text("split", "train")
        return _Row(record.where, record.id, paths, record.number("same"), votes, split, record.cells.get("subset", ""))

    return sheet.rows(row)


def _table_path(root: Path, name: str) -> Path:
    return root / name if root.is_dir() else root


def _bapps(root: Path, task: str, parts: tuple[str, ...], answer: str) -> _Rows:
    folders = _bapps_folders(root, task, answer)
    if not folders:
        raise ValueError(f"{root} is not BAPPS; expected train/ or val/ with */{answer}/, in it or in {task}/")
    for folder in folders:
        split, subset = folder.parts[-2:]
        files = {part: _stems(folder / part, _PICTURES) for part in parts}
        files[answer] = _stems(folder / answer, (".npy",))
        absent = [part for part, stems in files.items() if not stems]
        if absent:
            yield f"{split}/{subset}: nothing in {', '.join(absent)}"
            continue
        for stem in sorted(set().union(*files.values())):
            where = f"{split}/{subset}/{stem}"
            missing = [part for part, stems in files.items() if stem not in stems]
            if missing:
                yield f"{where}: no file in {', '.join(missing)}"
                continue
            try:
                share = _share(files[answer][stem])
            except RowError as error:
                yield f"{where}: {error}"
                continue
            paths = tuple(files[part][stem] for part in parts)
            yield _Row(where, where, paths, share, _BAPPS_VOTES[task, split], split, subset)


def _bapps_folders(root: Path, task: str, answer: str) -> list[Path]:
    for base in (root, root / task):
        subsets = (subset for split in ("train", "val") for subset in sorted((base / split).glob("*")))
        folders = [subset for subset in subsets if (subset / "p0").is_dir()]
        if any((folder / answer).is_dir() for folder in folders):
            return folders
    return []


def _stems(folder: Path, suffixes: Sequence[str]) -> dict[str, str]:
    """The files with one of the suffixes, by name without it."""
    names = sorted(os.listdir(folder)) if folder.is_dir() else []
    split = [os.path.splitext(name) for name in names]
    return {stem: os.path.join(folder, stem + suffix) for stem, suffix in split if suffix.lower() in suffixes}


def _share(file: str) -> float:
    try:
        answer = np.load(file, allow_pickle=False)
    except Exception as error:  # damaged files raise ValueError, EOFError, BadZipFile and more
        raise RowError(f"{file} is not a NumPy file ({type(error).__name__}: {error})") from error
    if not isinstance(answer, np.ndarray) or answer.size != 1 or answer.dtype.kind not in "fiu":
        raise RowError(f"{file} holds {getattr(answer, 'shape', 'several arrays')}; expected one number")
    return float(answer.item())


def _materials_folder(root: Path) -> Path | None:
    return next((folder for folder in (root, root / "data") if (folder / _MATERIALS_ANSWERS["train"]).is_file()), None)


def _materials(root: Path) -> _Rows:
    folder = _materials_folder(root)
    if folder is None:
        raise FileNotFoundError(f"no {_MATERIALS_ANSWERS['train']} in {root} or its data/")
    pictures = sorted(_stems(folder / _MATERIALS_PICTURES, _PICTURES).values())
    if not pictures:
        raise FileNotFoundError(f"no pictures in {folder / _MATERIALS_PICTURES}; the answers refer to their order")
    highest = -1
    for split, name in _MATERIALS_ANSWERS.items():
        if not (folder / name).is_file():
            continue
        triplets, votes = _materials_answers(folder / name)
        if len(triplets) != len(votes):
            yield f"{name}: {len(triplets)} answers and {len(votes)} agreements; expected one for each, left all out"
            highest = len(pictures)  # so much is wrong already
            continue
        for i, (triplet, counts) in enumerate(zip(triplets, votes, strict=True)):
            where = f"{name} answer {i}"
            if not _are_integers(triplet, 3) or not _are_integers(counts, 2):
                yield f"{where}: {triplet} with votes {counts}; expected three positions and two counts"
                continue
            highest = max(highest, *triplet)
            if max(triplet) >= len(pictures):
                yield f"{where}: picture {max(triplet)}; expected less than {len(pictures)}, the number of pictures"
                continue
            paths = tuple(pictures[position] for position in triplet)
            share = counts[1] / (sum(counts) or 1)
            yield _Row(where, f"{split}/{i}", paths, share, sum(counts), split)
    if highest + 1 < len(pictures):  # one picture too many shifts all that follow it
        yield f"{folder / _MATERIALS_PICTURES}: {len(pictures)} pictures; expected {highest + 1}, as the answers count"


def _materials_answers(file: Path) -> tuple[list[Any], list[Any]]:
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
        triplets, votes = data["answers"], data["agreement"]
        if not isinstance(triplets, list) or not isinstance(votes, list):
            raise TypeError("they are not lists")
    except (UnicodeDecodeError, json.JSONDecodeError, KeyError, TypeError) as error:
        raise ValueError(
            f"{file} is not as published ({type(error).__name__}: {error}); expected JSON with answers and agreement"
        ) from error
    return triplets, votes


def _are_integers(values: Any, count: int) -> bool:
    return isinstance(values, list) and len(values) == count and all(type(v) is int and v >= 0 for v in values)


def _is_nights(root: Path) -> bool:
    folder = root.parent if root.name == "data.csv" else root
    return all((folder / name).exists() for name in ("data.csv", "ref", "distort"))


def _has_table(root: Path, name: str) -> bool:
    return (root / name).is_file() or (root.is_file() and root.suffix == ".csv")


# In the order of recognition: NIGHTS is a table too.
_TRIPLETS: dict[Format, _Layout] = {
    "nights": _Layout(
        "data.csv with ref/ and distort/",
        _is_nights,
        partial(_triplet_table, nights=True),
    ),
    "table": _Layout("data.csv, or a .csv file", partial(_has_table, name="data.csv"), _triplet_table),
    "materials": _Layout(
        f"{_MATERIALS_ANSWERS['train']}, in it or in data/",
        lambda root: _materials_folder(root) is not None,
        _materials,
    ),
    "bapps": _Layout(
        "train/ or val/ with */judge/, in it or in 2afc/",
        lambda root: bool(_bapps_folders(root, "2afc", "judge")),
        partial(_bapps, task="2afc", parts=("ref", "p0", "p1"), answer="judge"),
    ),
}
_PAIRS: dict[Format, _Layout] = {
    "table": _Layout("jnd.csv, or a .csv file", partial(_has_table, name="jnd.csv"), _pair_table),
    "bapps": _Layout(
        "train/ or val/ with */same/, in it or in jnd/",
        lambda root: bool(_bapps_folders(root, "jnd", "same")),
        partial(_bapps, task="jnd", parts=("p0", "p1"), answer="same"),
    ),
}
