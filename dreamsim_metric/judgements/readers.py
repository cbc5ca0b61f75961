"""The formats that human judgements come in, each read into tables.

- `nights`: NIGHTS as DreamSim publishes it (Fu, Tamir, Sundaram et al., NeurIPS 2023): `data.csv`, `ref/`, `distort/`;
  unfiltered, `nights_raw.csv`; pairs, `jnd_votes.csv`.
- `table`: your own, a CSV file with a row a triplet or pair; paths are relative to its folder.
- `bapps`: BAPPS (Zhang, Isola, Efros, Shechtman, Wang, CVPR 2018): folders of pictures, one `.npy` file an answer.
- `materials`: A Similarity Measure for Material Appearance (Lagunas et al., SIGGRAPH 2019), the authors' repository.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from dreamsim_metric.files.columns import is_table
from dreamsim_metric.files.table import Record, RowError, Sheet, parse_number
from dreamsim_metric.judgements import bapps, materials, nights
from dreamsim_metric.judgements.columns import (
    EXPORT_FILE,
    PAIR_FILE,
    PAIR_PATHS,
    SAME,
    TRIPLET_COUNTS,
    TRIPLET_FILE,
    TRIPLET_PATHS,
    TRIPLET_SHARES,
)
from dreamsim_metric.judgements.formats import Format
from dreamsim_metric.judgements.rows import Judgement, assemble
from dreamsim_metric.judgements.tables import Pairs, Triplets

_SUM_TOLERANCE = 1e-3  # shares rounded to three decimals
_NIGHTS_VOTES = 6  # fewer are left out of DreamSim's training and evaluation


def read_triplets(
    root: str | os.PathLike[str], format: Format | None = None, *, min_votes: float | None = None
) -> Triplets:
    """Read two-alternative forced choices, all splits in one table.

    Rows that cannot be used are left out and named in the table's `problems`, which `check` raises.

    Args:
        root: the data set's folder, or a table of your own (`data.csv` in a folder). That has a row a triplet
            and the columns `ref_path`, `left_path`, `right_path`, and either `left_votes` and `right_votes` (how many
            chose each) or `left_vote` and `right_vote` (shares that sum to 1; counts too, if any sum exceeds 1).
            Optional: `id` (else the row's number), `votes` beside shares (else 1), `split` (else `train`),
            `subset`, `is_imagenet` (subsets `imagenet` and `no_imagenet`, as DreamSim reports NIGHTS), `prompt`.
        format: the layout of the data; by default the one that the files in `root` suggest.
        min_votes: the fewest people who judged a triplet that is kept; by default 6 for `nights`, as DreamSim does,
            1 for its `nights_raw.csv`, else 0.

    Returns:
        The table. In `materials` the majority's choice is always on the left, as the authors publish it.

    Raises:
        FileNotFoundError: no such file or folder.
        ValueError: the files are of no known format or not what their names say, columns are missing, or no triplet
            has enough votes.
        DataError: no row at all could be used.

    Example:
        >>> triplets = read_triplets("examples/judged")
        >>> len(triplets), triplets[0]
        (6, ('examples/vest_1.jpg', 'examples/vest_2.jpg', 'examples/cat.jpg', 0.0))
        >>> triplets.split("test").right
        array([0.3, 0.4, 0.2])
    """
    root = Path(root)
    format = _choose_format(root, format, _TRIPLETS)
    if min_votes is None:
        min_votes = 0 if format != "nights" else 1 if _is_raw(root) else _NIGHTS_VOTES
    return assemble(Triplets, root, _TRIPLETS[format].rows(root), min_votes)


def read_pairs(root: str | os.PathLike[str], format: Format | None = None) -> Pairs:
    """Read just-noticeable differences, all splits in one table.

    Rows that cannot be used are left out and named in the table's `problems`, which `check` raises.

    Args:
        root: the data set's folder, or a table of your own (`jnd.csv` in a folder). That has a row a pair and
            the columns `a_path`, `b_path` and `same` (the share of people who said so). Optional: `id` (else the
            row's number), `votes` (else 1), `split` (else `train`).
        format: `table`, `nights` or `bapps`; by default the one that the files in `root` suggest.

    Raises:
        FileNotFoundError: no such file or folder.
        ValueError: the files are of no known format or not what their names say, or columns are missing.
        DataError: no row at all could be used.

    Example:
        >>> pairs = read_pairs("examples/judged")
        >>> len(pairs), pairs[0]
        (4, ('examples/vest_1.jpg', 'examples/vest_2.jpg', 0.3))
    """
    root = Path(root)
    format = _choose_format(root, format, _PAIRS)
    return assemble(Pairs, root, _PAIRS[format].rows(root))


def find_kinds(root: str | os.PathLike[str]) -> set[str]:
    """Look what a data set holds, by its files: `triplets`, `pairs`, both or nothing that is known."""
    root = Path(root)
    if root.is_file():
        is_pairs = root.name == nights.JND_FILE or PAIR_PATHS[0] in Sheet(root).columns
        return {"pairs" if is_pairs else "triplets"}
    layouts = {"triplets": _TRIPLETS, "pairs": _PAIRS}
    return {kind for kind, known in layouts.items() if any(layout.fits(root) for layout in known.values())}


Rows = Iterator[Judgement | str]  # a text is what is wrong with a row


@dataclass(frozen=True)
class _Layout:
    files: str  # what it is recognised by, in words
    fits: Callable[[Path], bool]
    rows: Callable[[Path], Rows]


def _choose_format(root: Path, format: Format | None, layouts: Mapping[Format, _Layout]) -> Format:
    """The format asked for, or else the first that fits."""
    if not root.exists():
        raise FileNotFoundError(f"no such data set: {root}; expected a folder or a table")
    if format is None:
        format = next((name for name, layout in layouts.items() if layout.fits(root)), None)
    if format is None:
        looked_for = "; ".join(f"{layout.files} ({name})" for name, layout in layouts.items())
        raise ValueError(f"{root} is of no known format; looked for {looked_for}")
    if format not in layouts:
        raise ValueError(f"got format {format!r}; expected one of {', '.join(layouts)}")
    return format


def _read_triplet_table(root: Path, published: bool = False, split: str = "train") -> Rows:
    sheet = Sheet(_find_table(root, TRIPLET_FILE))
    named = not published and set(TRIPLET_COUNTS) <= set(sheet.columns)
    sides = TRIPLET_COUNTS if named else TRIPLET_SHARES
    sheet.require((*TRIPLET_PATHS, *sides), "" if published else f" (or {', '.join(TRIPLET_COUNTS)})")
    sheet.require(("id", "votes", "split") if published else ())
    counted = named or (not published and _are_counts(sheet, sides))

    def row(record: Record) -> Judgement:
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
        paths = tuple(record.path(column) for column in TRIPLET_PATHS)
        prompt = record.cells.get("prompt", "")
        part = record.text("split", split)
        return Judgement(record.where, paths, share, record.id, votes, part, _select_subset(record), prompt)

    return sheet.rows(row)


def _select_subset(record: Record) -> str:
    imagenet = record.truth("is_imagenet")
    return record.cells.get("subset", "") if imagenet is None else "imagenet" if imagenet else "no_imagenet"


def _are_counts(sheet: Sheet, sides: tuple[str, str]) -> bool:
    """Whether any row sums to more than 1, unless most rows hold fractions: then that row is the mistake."""
    pairs = [[parse_number(record.cells[side]) for side in sides] for record in sheet.records]
    fractions = sum(any(value % 1 > 0 for value in pair) for pair in pairs)
    return any(sum(pair) > 1 + _SUM_TOLERANCE for pair in pairs) and fractions <= len(pairs) / 2


def _pair_table(root: Path) -> Rows:
    sheet = Sheet(_find_table(root, PAIR_FILE))
    sheet.require((*PAIR_PATHS, SAME))

    def row(record: Record) -> Judgement:
        paths = tuple(record.path(column) for column in PAIR_PATHS)
        votes, split = record.number("votes", "1"), record.text("split", "train")
        subset = record.cells.get("subset", "")
        return Judgement(record.where, paths, record.number(SAME), record.id, votes, split, subset)

    return sheet.rows(row)


def _find_table(root: Path, name: str) -> Path:
    return root / name if root.is_dir() else root


def _is_nights(root: Path) -> bool:
    folder = root.parent if root.name == TRIPLET_FILE else root
    exported = (folder / EXPORT_FILE).exists()  # by dreamsim-data, with as many votes as its owner asked for
    return not exported and all((folder / name).exists() for name in (TRIPLET_FILE, "ref", "distort"))


def _is_raw(root: Path) -> bool:
    return not (root / TRIPLET_FILE).is_file() and nights.find_file(root, nights.RAW_FILE) is not None


def _read_nights_triplets(root: Path) -> Rows:
    raw = nights.find_file(root, nights.RAW_FILE)
    return (
        _read_triplet_table(raw, split="test") if raw and _is_raw(root) else _read_triplet_table(root, published=True)
    )


def _has_file(root: Path, name: str) -> bool:
    return (root / name).is_file()


def _has_table(root: Path, name: str) -> bool:
    return _has_file(root, name) or (root.is_file() and is_table(root))


# In the order of recognition: NIGHTS is a table too.
_TRIPLETS: dict[Format, _Layout] = {
    "nights": _Layout(
        f"{TRIPLET_FILE} with ref/ and distort/, or {nights.RAW_FILE}",
        lambda root: _is_nights(root) or _is_raw(root),
        _read_nights_triplets,
    ),
    "table": _Layout(f"{TRIPLET_FILE}, or a .csv file", partial(_has_table, name=TRIPLET_FILE), _read_triplet_table),
    "materials": _Layout(
        f"{materials.ANSWERS['train']}, in it or in data/",
        lambda root: materials.find_folder(root) is not None,
        materials.read_rows,
    ),
    "bapps": _Layout(
        "train/ or val/ with */judge/, in it or in 2afc/",
        lambda root: bool(bapps.find_folders(root, "2afc", "judge")),
        partial(bapps.read_rows, task="2afc", parts=("ref", "p0", "p1"), answer="judge"),
    ),
}
_PAIRS: dict[Format, _Layout] = {
    "nights": _Layout(
        nights.JND_FILE,
        lambda root: not _has_file(root, PAIR_FILE) and nights.has_pairs(root),
        nights.read_pairs_of_nights,
    ),
    "table": _Layout(f"{PAIR_FILE}, or a .csv file", partial(_has_table, name=PAIR_FILE), _pair_table),
    "bapps": _Layout(
        "train/ or val/ with */same/, in it or in jnd/",
        lambda root: bool(bapps.find_folders(root, "jnd", "same")),
        partial(bapps.read_rows, task="jnd", parts=("p0", "p1"), answer="same"),
    ),
}
