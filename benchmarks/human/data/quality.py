"""Data sets of image quality, in the folders that their authors distribute, and tables of rated pairs of your own."""

import csv
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.human.sources import Source
from benchmarks.human.tables import Ratings
from dreamsim_metric.files.pictures import list_pictures
from dreamsim_metric.files.table import Record, RowError, Sheet, parse_number
from dreamsim_metric.judgements.rows import Judgement, assemble

_LIVE = {"jp2k": 227, "jpeg": 233, "wn": 174, "gblur": 174, "fastfading": 174}  # in the order of its .mat files
_CSIQ = {
    "noise": ("awgn", "AWGN"),
    "awgn": ("awgn", "AWGN"),
    "jpeg": ("jpeg", "JPEG"),
    "jpeg2000": ("jpeg2000", "jpeg2000"),
    "fnoise": ("fnoise", "fnoise"),
    "blur": ("blur", "BLUR"),
    "contrast": ("contrast", "contrast"),
}


def read_ratings(root: Path) -> Ratings:
    """Read a table of rated pairs: a file of any format, or `ratings.csv` in a folder.

    A row a pair, with the columns `ref_path`, `path` and either `alike` (larger the more alike) or `different` (larger
    the more different: DMOS). Optional: `id`, `split` (else `test`), `subset`, `votes`, `spread` (standard deviation).
    Paths are relative to the table.

    Raises:
        FileNotFoundError, ValueError, DataError: no such table, columns missing, or no row that can be used.
    """
    sheet = Sheet(root / "ratings.csv" if root.is_dir() else root)
    column = "different" if "different" in sheet.columns else "alike"
    sheet.require(("ref_path", "path", column), " (alike or different)")

    def row(record: Record) -> Judgement:
        return Judgement(
            record.where,
            (record.path("ref_path"), record.path("path")),
            _make_signed(record.text(column), column),
            record.id,
            votes=record.number("votes", "1"),
            split=record.text("split", "test"),
            subset=record.cells.get("subset", ""),
            spread=record.number("spread") if "spread" in sheet.columns else None,
        )

    return assemble(Ratings, root, sheet.rows(row))


def read_tid2013(root: Path) -> Ratings:
    """Read TID2013: `mos_with_names.txt`, `reference_images/`, `distorted_images/`; subsets are the 24 distortions."""
    return assemble(Ratings, root, _read_tid(root))


def _read_tid(root: Path) -> Iterator[Judgement | str]:
    references, pictures = _list_names(root / "reference_images"), _list_names(root / "distorted_images")
    for where, (mos, name) in _read_lines(root / "mos_with_names.txt", 2):
        stem = Path(name).stem.lower()
        reference, distortion = stem.partition("_")[0], stem.split("_")[1:2]
        if not distortion:
            yield f"{where}: {name}; expected a name like i01_02_3.bmp"
            continue
        values = {"id": stem, "subset": distortion[0]}
        yield _assemble_ratings(where, references.get(reference), pictures.get(stem), name, mos, "alike", values)


def read_kadid10k(root: Path) -> Ratings:
    """Read KADID-10k: `dmos.csv` (larger for better pictures) and `images/`; subsets are 25 distortions."""
    sheet = Sheet(root / "dmos.csv")
    sheet.require(("dist_img", "ref_img", "dmos"))
    pictures = _list_names(root / "images")

    def row(record: Record) -> Judgement:
        name, reference = record.text("dist_img"), record.text("ref_img")
        values: dict[str, Any] = {"id": Path(name).stem, "subset": Path(name).stem.split("_")[1], "votes": 30}
        if "var" in sheet.columns:
            values["spread"] = record.number("var") ** 0.5
        found = pictures.get(Path(reference).stem.lower()), pictures.get(Path(name).stem.lower())
        made = _assemble_ratings(record.where, *found, f"{reference} or {name}", record.text("dmos"), "alike", values)
        if isinstance(made, str):
            raise RowError(made.partition(": ")[2])
        return made

    return assemble(Ratings, root, sheet.rows(row))


def read_pipal(root: Path) -> Ratings:
    """Read PIPAL's training part: `Train_Label/*.txt`, `Train_Ref/`, and `Train_Dist/` or the folders `Distortion_*`.

    Its scores are Elo ratings, larger for better pictures. Subsets are the kinds of distortion in the file names.
    """
    return assemble(Ratings, root, _read_pipal(root))


def _read_pipal(root: Path) -> Iterator[Judgement | str]:
    folders = {folder.name.lower(): folder for folder in root.iterdir() if folder.is_dir()} if root.is_dir() else {}
    labels = folders.get("train_label", root / "Train_Label")
    references = _list_names(folders.get("train_ref", root / "Train_Ref"))
    pictures: dict[str, str] = {}
    for name, folder in sorted(folders.items()):
        if name.startswith(("train_dist", "distortion")):
            pictures |= _list_names(folder)
    files = sorted(labels.glob("*.txt"))
    if not files:
        raise FileNotFoundError(f"no labels in {labels}; expected PIPAL's Train_Label/A0001.txt and so on")
    for file in files:
        for where, (name, score) in _read_lines(file, 2, ","):
            stem = Path(name).stem.lower()
            values = {"id": stem, "subset": stem.split("_")[1] if "_" in stem else "", "split": "train"}
            reference = references.get(stem.partition("_")[0])
            yield _assemble_ratings(where, reference, pictures.get(stem), name, score, "alike", values)


def read_csiq(root: Path) -> Ratings:
    """Read CSIQ: `src_imgs/`, `dst_imgs/KIND/`, and `csiq.DMOS.xlsx` or the text made of it, `csiq_label.txt`."""
    return assemble(Ratings, root, _read_csiq(root))


def _read_csiq(root: Path) -> Iterator[Judgement | str]:
    references = _list_names(root / "src_imgs")
    pictures: dict[str, str] = {}
    for folder in sorted((root / "dst_imgs").glob("*")):
        pictures |= _list_names(folder)
    text = root / "csiq_label.txt"
    for where, name, dmos, spread in (
        _read_csiq_text(text) if text.is_file() else _read_csiq_sheet(root / "csiq.DMOS.xlsx")
    ):
        stem = name.lower().removesuffix(".png")
        kind = stem.split(".")[1] if stem.count(".") == 2 else ""
        values = {"id": stem, "subset": kind, "spread": spread}
        reference = references.get(stem.partition(".")[0])
        yield _assemble_ratings(where, reference, pictures.get(stem), name, dmos, "different", values)


def _read_csiq_text(file: Path) -> Iterator[tuple[str, str, str, float | None]]:
    for where, (name, dmos) in _read_lines(file, 2):
        yield where, name, dmos, None


def _read_csiq_sheet(file: Path) -> Iterator[tuple[str, str, str, float | None]]:
    import openpyxl

    if not file.is_file():
        raise FileNotFoundError(f"no such table: {file}, nor csiq_label.txt beside it")
    sheet = openpyxl.load_workbook(file, data_only=True)["all_by_image"]
    columns: dict[str, int] = {}
    for number, cells in enumerate(sheet.iter_rows(values_only=True), start=1):
        texts = ["" if cell is None else str(cell).strip() for cell in cells]
        if not columns:
            if {"image", "dst_type", "dst_lev", "dmos"} <= set(texts):  # below and right of notes
                columns = {name: texts.index(name) for name in texts if name}
            continue
        if not texts[columns["dmos"]]:
            continue
        kind = texts[columns["dst_type"]].replace(" ", "").lower()
        _, label = _CSIQ.get(kind, (kind, kind))
        spread = parse_number(texts[columns["dmos_std"]]) if "dmos_std" in columns else None
        image, level = (re.sub(r"\.0$", "", texts[columns[name]]) for name in ("image", "dst_lev"))
        yield f"{file.name} row {number}", f"{image}.{label}.{level}.png", texts[columns["dmos"]], spread
    if not columns:
        raise ValueError(f"{file} has no row image, dst_type, dst_lev, dmos in its sheet all_by_image")


def read_live(root: Path) -> Ratings:
    """Read LIVE release 2: `refimgs/`, five folders of `img1.bmp` …, `refnames_all.mat` and `dmos_realigned.mat`.

    Where there is only `dmos.mat`, that is read. Undistorted copies among the pictures are left out. Subsets are the
    five distortions.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: they do not hold 982 pictures.
    """
    return assemble(Ratings, root, _read_live(root))


def _read_live(root: Path) -> Iterator[Judgement | str]:
    from scipy.io import loadmat

    table = next((root / name for name in ("dmos_realigned.mat", "dmos.mat") if (root / name).is_file()), None)
    if table is None or not (root / "refnames_all.mat").is_file():
        raise FileNotFoundError(f"{root} lacks dmos_realigned.mat (or dmos.mat) or refnames_all.mat; expected LIVE's")
    scores, names = loadmat(table), loadmat(root / "refnames_all.mat")["refnames_all"].ravel()
    dmos = scores["dmos_new" if "dmos_new" in scores else "dmos"].ravel()
    spread = scores["dmos_std"].ravel() if "dmos_std" in scores else [None] * len(dmos)
    kinds = [(kind, i) for kind, count in _LIVE.items() for i in range(1, count + 1)]
    if not len(dmos) == len(names) == len(kinds):
        raise ValueError(f"{table} has {len(dmos)} scores and {len(names)} names; expected {len(kinds)}")
    references = _list_names(root / "refimgs")
    folders = {kind: _list_names(root / kind) for kind in _LIVE}
    for (kind, i), name, score, std, original in zip(kinds, names, dmos, spread, scores["orgs"].ravel(), strict=True):
        if not original:
            values = {"id": f"{kind}/img{i}", "subset": kind, "spread": std}
            reference = references.get(Path(str(name[0])).stem.lower())
            yield _assemble_ratings(
                f"{kind}/img{i}", reference, folders[kind].get(f"img{i}"), f"img{i}.bmp", score, "different", values
            )


def _assemble_ratings(
    where: str, reference: str | None, picture: str | None, name: str, score: Any, column: str, values: dict[str, Any]
) -> Judgement | str:
    if reference is None or picture is None:
        return f"{where}: no {'picture' if reference else 'reference'} for {name}"
    try:
        return Judgement(where, (reference, picture), _make_signed(str(score), column), **values)
    except RowError as error:
        return f"{where}: {error}"


def _make_signed(text: str, column: str) -> float:
    value = parse_number(text)
    if value != value:
        raise RowError(f"{column} is {text!r}; expected a number")
    return -value if column == "different" else value


def _list_names(folder: Path) -> dict[str, str]:
    """List the pictures of a folder by names in small letters without ending: releases mix I03.BMP and i03.bmp."""
    return {os.path.splitext(os.path.basename(file))[0].lower(): file for file in list_pictures(folder)}


def _read_lines(file: Path, cells: int, delimiter: str = " ") -> Iterator[tuple[str, list[str]]]:
    if not file.is_file():
        raise FileNotFoundError(f"no such table: {file}")
    with file.open(encoding="utf-8", newline="") as opened:
        for number, found in enumerate(csv.reader(opened, delimiter=delimiter, skipinitialspace=True), start=1):
            row = [cell.strip() for cell in found if cell.strip()]
            if row:
                yield f"{file.name} line {number}", (row + [""] * cells)[:cells]


def _make_source(
    title: str, read: Callable[[Path], Ratings], sign: str, get: str, citation: str = "", count: int = 0
) -> Source:
    kind = "rated pictures beside their originals"
    return Source(
        title,
        kind,
        lambda root: [read(root)],
        lambda root: any(root.glob(sign)),
        ("test",),
        get,
        citation=citation,
        rows={"test": count} if count else {},
    )


SOURCES = {
    "tid2013": _make_source(
        "TID2013",
        read_tid2013,
        "mos_with_names.txt",
        "https://www.ponomarenko.info/tid2013.htm: mos_with_names.txt, reference_images/, distorted_images/",
        citation="Ponomarenko et al. Image database TID2013. SPIC 2015",
        count=3000,
    ),
    "kadid10k": _make_source(
        "KADID-10k",
        read_kadid10k,
        "dmos.csv",
        "https://database.mmsp-kn.de/kadid-10k-database.html: dmos.csv, images/",
        citation="Lin, Hosu, Saupe. KADID-10k. QoMEX 2019",
        count=10125,
    ),
    "pipal": replace(
        _make_source(
            "PIPAL",
            read_pipal,
            "[Tt]rain_[Ll]abel",
            "https://github.com/HaomingCai/PIPAL-dataset: Train_Label/, Train_Ref/, Distortion_*/ (or Train_Dist/)",
            citation="Gu et al. PIPAL. ECCV 2020",
        ),
        splits=("train",),
        rows={"train": 23200},
    ),
    "csiq": _make_source(
        "CSIQ",
        read_csiq,
        "src_imgs",
        "https://s2.smu.edu/~eclarson/csiq.html: csiq.DMOS.xlsx, src_imgs/, dst_imgs/KIND/",
        citation="Larson, Chandler. Most apparent distortion. JEI 2010",
        count=866,
    ),
    "live": _make_source(
        "LIVE release 2",
        read_live,
        "refnames_all.mat",
        "https://live.ece.utexas.edu/research/quality/subjective.htm: refimgs/, five folders, the .mat files",
        citation="Sheikh, Sabir, Bovik. TIP 2006",
        count=779,
    ),
    "ratings": _make_source(
        "", read_ratings, "ratings.csv", "your own: ratings.csv with ref_path, path, alike or different"
    ),
}
