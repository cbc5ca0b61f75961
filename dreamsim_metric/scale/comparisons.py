"""Which pictures are compared: the rows of a table, or two folders whose files have the same names."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path, PurePath

from dreamsim_metric.files.columns import Column, Columns, read_columns
from dreamsim_metric.files.pictures import find_pictures
from dreamsim_metric.files.store import cut_to_folder, is_address
from dreamsim_metric.files.table import check_columns, resolve
from dreamsim_metric.judgements.columns import PAIR_PATHS
from dreamsim_metric.messages import list_briefly

SIDES = (("a", "b"), ("reference", "picture"), PAIR_PATHS)
_DISTANCE, _ERROR = "distance", "error"


@dataclass(frozen=True)
class Comparisons:
    """Pictures to compare, two a row.

    Attributes:
        table: the table that says so, as it is.
        a, b: the files of each row, paths or URLs; both "" in rows that are blank or cannot be used.
        problems: why rows cannot be used, by their index.
    """

    table: Columns
    a: list[str]
    b: list[str]
    problems: dict[int, str] = field(default_factory=dict)

    def files(self) -> list[str]:
        """List the files to read, each once."""
        return [file for file in dict.fromkeys([*self.a, *self.b]) if file]

    def report(self) -> list[str]:
        """Say which rows cannot be used, and why."""
        name = self.table.path.name if self.table.path else "pairs"
        return [f"{name} row {self.table.numbers[row]}: {problem}" for row, problem in sorted(self.problems.items())]

    def check(self, *, skip: bool, out: Path | None = None) -> None:
        """Be sure that the table can be given back, with nothing lost.

        Args:
            skip: whether rows that cannot be used are left out, and a column `error` says why.
            out: the file that the table will be written to; None for rows to print.

        Raises:
            ValueError: there are such rows, and they are not left out; `error` is a column of another meaning; `out` is
                the table itself, or of a format that cannot hold it.
        """
        table = self.table.path
        if self.problems and not skip:
            problems = list_briefly(self.report(), between="; ")
            raise ValueError(f"{problems}; leave such rows out with --on-error skip (on_error='skip')")
        if skip and _ERROR in self.table.names and _DISTANCE not in self.table.names:
            raise ValueError(f"{table} has a column {_ERROR} of its own, which would be lost; rename it")
        if out and out.exists() and isinstance(table, Path) and out.samefile(table):
            raise ValueError(f"got {out} for the result, which is the table itself; name another file")
        check_columns(out, self.table)

    def scored(self, distances: Sequence[float], unreadable: Mapping[str, str] | None = None) -> Columns:
        """Give the table back as it was, with a column `distance` behind all others.

        A table with such a column has been scored before: that column, and then `error` too, is replaced.

        Args:
            distances: the distance of each row; NaN where there is none.
            unreadable: reasons why files could not be read, by file. If given, a column `error` says why rows have no
                distance.
        """
        names = self.table.names
        ours = (_DISTANCE, _ERROR) if _DISTANCE in names else ()
        columns = [column for column, name in zip(self.table.columns, names, strict=True) if name not in ours]
        columns.append(Column(_DISTANCE, [None if math.isnan(d) else d for d in distances], float))
        if unreadable is not None:
            columns.append(Column(_ERROR, [self._reason(row, unreadable) for row in range(len(self.a))], str))
        return replace(self.table, columns=columns)

    def _reason(self, row: int, unreadable: Mapping[str, str]) -> str | None:
        files = dict.fromkeys((self.a[row], self.b[row]))
        return self.problems.get(row) or "; ".join(unreadable[file] for file in files if file in unreadable) or None


def read_comparisons(table: Path, columns: Sequence[str] = (), *, fetch: bool = False) -> Comparisons:
    """Read which pictures a table says are to be compared; paths are relative to its folder.

    Args:
        table: a table in any format of `dreamsim_metric.files.columns.read_columns`.
        columns: names of the two columns of pictures; by default `a` and `b`, else `reference` and `picture`, else
            `a_path` and `b_path`.
        fetch: whether addresses that name a machine, such as https://, are fetched. Who wrote the table may be a
            stranger, and the machine one that only this one reaches: without, such rows are problems.

    Returns:
        What is to be compared. Rows with too few or many cells, or an empty one of these two, are problems; rows that
        are blank altogether are none.

    Raises:
        FileNotFoundError: no such table.
        ValueError: it is not what its name says, or has no such columns or no rows.
    """
    found = read_columns(table)
    first, second = columns or next((sides for sides in SIDES if set(sides) <= set(found.names)), SIDES[0])
    others = ", nor ".join(" and ".join(sides) for sides in SIDES[1:])
    found.require([first, second], "" if columns else f" (nor {others}; --columns, or columns=, names yours)")
    if not found.numbers:
        raise ValueError(f"{table} has no rows; expected pairs of pictures")
    place = cache(lambda text: resolve(text, table))  # a file in many rows is one text in memory
    a, b = (
        [place(text) if (text := cell.lstrip()) else "" for cell in found.find(name).texts()]
        for name in (first, second)
    )
    problems = dict(found.ragged)
    for row, files in enumerate(zip(a, b, strict=True)):
        empty = [name for name, file in zip((first, second), files, strict=True) if not file]
        if len(empty) == 1 or (empty and not found.is_blank(row)):
            problems.setdefault(row, f"{' and '.join(empty)} {'is' if len(empty) == 1 else 'are'} empty")
        if not fetch and (
            addresses := [file for file in files if is_address(file) and not file.startswith(f"{table.parent}/")]
        ):
            problems.setdefault(row, f"{addresses[0]} would be fetched; allow that with --fetch (fetch=True)")
        if any("\0" in file for file in files):
            problems.setdefault(row, "a path holds a NUL character")
    for row in problems:
        a[row] = b[row] = ""
    return Comparisons(found, a, b, problems)


def pair_folders(one: str, other: str, recursive: bool = False) -> tuple[Comparisons, list[str]]:
    """Pair the pictures of two folders by their names, without their endings where that leaves no doubt.

    Args:
        one, other: folders, on this machine or URLs.
        recursive: whether folders in folders count too.

    Returns:
        What is to be compared, as a table of `a` and `b`, and the files that are in one folder only.

    Raises:
        ValueError: a folder without pictures, or nothing that pairs up.
    """
    sides = [
        {cut_to_folder(file, folder): file for file in find_pictures([folder], recursive)} for folder in (one, other)
    ]
    pairs = {name: name for name in sides[0] if name in sides[1]}
    stems = [_group_by_stem(name for name in side if name not in pairs) for side in sides]
    pairs |= {name: stems[1][stem] for stem, name in stems[0].items() if stem in stems[1]}
    if not pairs:
        raise ValueError(
            f"no picture in {one} has the name of one in {other}; expected pairs such as {one}/1.png and {other}/1.png"
        )
    alone = [file for name, file in sides[0].items() if name not in pairs]
    taken = set(pairs.values())
    alone += [file for name, file in sides[1].items() if name not in taken]
    names = [name for name in sides[0] if name in pairs]
    a, b = [sides[0][name] for name in names], [sides[1][pairs[name]] for name in names]
    return Comparisons(Columns([Column("a", a, str), Column("b", b, str)]), a, b), alone


def _group_by_stem(names: Iterable[PurePath]) -> dict[PurePath, PurePath]:
    names = list(names)
    count = Counter(name.with_suffix("") for name in names)
    return {name.with_suffix(""): name for name in names if count[name.with_suffix("")] == 1}
