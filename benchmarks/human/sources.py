"""From names on the command line to data sets, what is known of each, and whether what is on disk is whole."""

import importlib
import pkgutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

import benchmarks.human.data
from benchmarks.files import import_file
from benchmarks.human.tables import KINDS, Judgements
from benchmarks.names import check_source
from dreamsim_metric.judgements.tables import check


@dataclass(frozen=True)
class Source:
    """A data set: how to read it, what to report of it, and where to get it.

    Attributes:
        title: title for reports.
        kind: kind of judgements, in words.
        read: function from the folder to tables, all splits in each.
        fits: function that tells whether a folder looks like this data set.
        splits: splits that are reported; `val_*` stands for every subset of `val`. Those that are not there are left
            out.
        get: place where it can be had, and the layout to unpack it into.
        licence: licence of pictures and judgements.
        citation: citation of the paper.
        rows: published numbers of judgements, by split, to check what is on disk.
        people: published agreement of people, by protocol, where the data itself does not tell.
    """

    title: str
    kind: str
    read: Callable[[Path], Sequence[Judgements]]
    fits: Callable[[Path], bool]
    splits: tuple[str, ...]
    get: str
    licence: str = "see the authors' page"
    citation: str = ""
    rows: Mapping[str, int] = field(default_factory=dict)
    people: Mapping[str, float] = field(default_factory=dict)


def collect_sources() -> dict[str, Source]:
    """Collect all data sets that are known by name."""
    names = sorted(module.name for module in pkgutil.iter_modules(benchmarks.human.data.__path__))
    modules = (importlib.import_module(f"benchmarks.human.data.{name}") for name in names)
    return {name: source for module in modules for name, source in module.SOURCES.items()}


@dataclass(frozen=True)
class Part:
    """A split of a table, as it is reported.

    Attributes:
        data: name of the data set.
        split: name of the split.
        table: rows of the table in that split.
        source: description of the data set.
    """

    data: str
    split: str
    table: Judgements
    source: Source

    @property
    def kind(self) -> str:
        """The kind of judgements, in a word."""
        return KINDS[type(self.table)]


def find_source(name: str) -> tuple[str, Source]:
    """Find a data set by name, or the one of a `.py` file with a dictionary `SOURCES`.

    Raises:
        FileNotFoundError: no such file.
        ValueError: an unknown name, with the nearest ones.
    """
    check_source(name)
    if name.endswith(".py"):
        found = import_file(Path(name), "SOURCES")
        if len(found) != 1:
            raise ValueError(f"{name} has {len(found)} entries in SOURCES; expected one")
        return next(iter(found.items()))
    return name, collect_sources()[name]


def read_parts(given: str, splits: Sequence[str] = ()) -> list[Part]:
    """Read a data set and check it.

    Args:
        given: `NAME=FOLDER`, or a folder or table alone, which is then recognised by its files.
        splits: splits to report in place of those that the data set is usually reported on.

    Raises:
        FileNotFoundError: no such folder.
        ValueError: an unknown name or layout, or a split that is not there.
        DataError: rows malformed or pictures missing: all of them, by row.
    """
    name, _, folder = given.rpartition("=")
    root = Path(folder)
    if not root.exists():
        raise FileNotFoundError(f"no such data set: {root}; expected NAME=FOLDER, or a folder or a table")
    if name:
        label, source = find_source(name)
    else:
        fitting = [(known, source) for known, source in collect_sources().items() if source.fits(root)]
        if not fitting:
            raise ValueError(f"{root} looks like none of {', '.join(collect_sources())}; say which: NAME={root}")
        label, source = fitting[0]
        label = root.resolve().parent.name if label == "table" and root.is_file() else label
        label = root.resolve().name if label == "table" else label
    tables = source.read(root)
    check(tables, shared_pictures=True)
    wanted = splits or source.splits
    parts = [Part(label, split, table.split(split), source) for table in tables for split in _expand(table, wanted)]
    found = {part.split for part in parts}
    if not parts or not all(split in found or split.endswith("_*") for split in splits):
        there = ", ".join(dict.fromkeys(split for table in tables for split in ("all", *_check_there(table))))
        raise ValueError(f"got splits {', '.join(wanted)}; expected some of those in {root}: {there}")
    return parts


def _check_there(table: Judgements) -> list[str]:
    return [name for name, mask in table.split_masks().items() if mask.any()]


def _expand(table: Judgements, splits: Sequence[str]) -> list[str]:
    """List the wanted splits that are there; `val_*` is every subset of `val`."""
    there = ["all", *_check_there(table)]
    return [name for split in splits for name in there if fnmatchcase(name, split)]


def report_missing_rows(source: Source, tables: Sequence[Judgements]) -> list[str]:
    """Say where the numbers of judgements on disk are not the published ones, a line each."""
    counts: dict[str, int] = {}
    for table in tables:
        for split, mask in table.split_masks().items():
            counts[split] = counts.get(split, 0) + int(mask.sum())
    return [
        f"split {split} has {counts.get(split, 0)} judgements; published are {expected}"
        for split, expected in source.rows.items()
        if counts.get(split, 0) != expected
    ]
