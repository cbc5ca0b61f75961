"""Two-alternative forced choices and just-noticeable differences, in the formats that `dreamsim_metric` trains on."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from benchmarks.human.sources import Source
from benchmarks.human.tables import Judgements
from dreamsim_metric.files.columns import is_table
from dreamsim_metric.judgements import bapps, materials, nights
from dreamsim_metric.judgements.columns import PAIR_FILE, TRIPLET_FILE
from dreamsim_metric.judgements.formats import Format
from dreamsim_metric.judgements.readers import find_kinds, read_pairs, read_triplets


def _read(format: Format | None, root: Path) -> Sequence[Judgements]:
    if root.is_file():
        return [read_pairs(root, format)] if find_kinds(root) == {"pairs"} else [read_triplets(root, format)]
    found: list[Judgements] = []
    if "triplets" in find_kinds(root):
        found.append(read_triplets(root, format))
    if "pairs" in find_kinds(root):
        found.append(read_pairs(root, None if format == "nights" else format))
    return found or [read_triplets(root, format)]  # which says what it looked for


def _has(*names: str) -> Callable[[Path], bool]:
    return lambda root: all(any(root.glob(name)) for name in names)


def _is_nights(root: Path) -> bool:
    raw = nights.find_file(root, nights.RAW_FILE)
    return _has(TRIPLET_FILE, "ref", "distort")(root) or raw is not None or nights.has_pairs(root)


def _is_table(root: Path) -> bool:
    return (root.is_file() and is_table(root)) or any((root / name).is_file() for name in (TRIPLET_FILE, PAIR_FILE))


SOURCES = {
    "nights": Source(
        title="NIGHTS",
        kind="2AFC on generated pictures of one prompt, nights_raw.csv too (and JND: jnd.csv or jnd_votes.csv)",
        read=partial(_read, "nights"),
        fits=_is_nights,
        splits=("val", "test", "test_imagenet", "test_no_imagenet"),
        get="https://data.csail.mit.edu/nights/nights.zip (58 GB unpacked): data.csv, ref/, distort/",
        citation="Fu, Tamir, Sundaram et al. DreamSim. NeurIPS 2023. arXiv:2306.09344",
        rows={"train": 13900, "val": 1720, "test": 1824},
    ),
    "bapps": Source(
        title="BAPPS",
        kind="2AFC and JND on patches, by kind of distortion",
        read=partial(_read, "bapps"),
        fits=lambda root: bool(bapps.find_folders(root, "2afc", "judge") or bapps.find_folders(root, "jnd", "same")),
        splits=("val", "val_*"),
        get="github.com/richzhang/PerceptualSimilarity, scripts/download_dataset.sh: 2afc/val/KIND/, jnd/val/KIND/",
        licence="BSD-2-Clause (code); pictures as their sources",
        citation="Zhang, Isola, Efros, Shechtman, Wang. CVPR 2018. arXiv:1801.03924",
    ),
    "materials": Source(
        title="Material appearance",
        kind="2AFC on rendered materials",
        read=partial(_read, None),
        fits=lambda root: materials.find_folder(root) is not None,
        splits=("test",),
        get="git clone https://github.com/mlagunas/material-appearance-similarity",
        licence="GPL-2.0",
        citation="Lagunas, Malpica, Serrano et al. A Similarity Measure for Material Appearance. SIGGRAPH 2019",
        rows={"train": 22801, "test": 3000},
    ),
    "table": Source(
        title="",
        kind="2AFC (data.csv) or JND (jnd.csv) of your own",
        read=partial(_read, None),
        fits=_is_table,
        splits=("test",),
        get="your own: see docs/training.md; `dreamsim-data collect` writes it",
    ),
}
