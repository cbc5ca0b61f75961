"""THINGS odd-one-out judgements (Hebart et al., Nature Human Behaviour 2020), as DreamSim reads them."""

import os
from collections.abc import Iterator
from pathlib import Path

from benchmarks.human.sources import Source
from benchmarks.human.tables import OddOneOut
from dreamsim_metric.files.pictures import list_pictures
from dreamsim_metric.judgements.rows import Judgement, assemble

_TABLE = "things_valset.txt"


def read_things(root: Path) -> OddOneOut:
    """Read a folder with `things_valset.txt` (osf.io/b2a4j) and the pictures, in it or in `images/`.

    A line has the names of three pictures without ending. The third is the odd one out: the first two are those that
    the person found most alike.

    Raises:
        FileNotFoundError: no such table.
        DataError: no line can be used.
    """
    return assemble(OddOneOut, root, _list_rows(root))


def _list_rows(root: Path) -> Iterator[Judgement | str]:
    file = root / _TABLE
    if not file.is_file():
        raise FileNotFoundError(f"no such table: {file}; expected {_TABLE} beside the pictures")
    folder = root / "images" if (root / "images").is_dir() else root
    pictures = {os.path.splitext(file)[0]: file for file in list_pictures(folder, recursive=True)}
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), start=1):
        names = line.split()
        where = f"{_TABLE} line {number}"
        if not names:
            continue
        if len(names) != 3:
            yield f"{where}: {len(names)} names; expected three"
            continue
        wanted = {name: str(folder / name) for name in names}
        absent = [name for name, path in wanted.items() if path not in pictures]
        if absent:
            yield f"{where}: no picture {', '.join(absent)}.png in {folder}"
            continue
        yield Judgement(where, tuple(pictures[wanted[name]] for name in names), 2, str(number), split="val")


SOURCES = {
    "things": Source(
        title="THINGS",
        kind="odd one out of three photographs of objects",
        read=lambda root: [read_things(root)],
        fits=lambda root: (root / _TABLE).is_file(),
        splits=("val",),
        get="things_valset.txt from https://osf.io/b2a4j; its pictures from https://osf.io/jum2f, beside it",
        licence="CC0 (judgements); pictures for research only",
        citation="Hebart et al. Nature Human Behaviour 2020; THINGS-data, eLife 2023",
        people={"odd-one-out, %": 66.67},  # noise ceiling: Muttenthaler et al., Nature 2025
    )
}
