"""Painted pictures on the page, as far as they are still there: by subject, the best and worst, trees and rounds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.personalization.layout import CLASS, FITS
from benchmarks.personalization.subjects import PLACEHOLDER
from benchmarks.report.examples import encode_uri
from benchmarks.report.figures import format_number
from benchmarks.thumbnails import make_thumbnail
from dreamsim_metric.images.convert import to_image

_SIDE, _TREE = 112, 720  # pixels of thumbnails
_PROMPTS = 4  # of a subject
_CASES = 2  # best, and worst, of a method
_FED = ("liked", "disliked")  # folders of a fit that looks at pictures


class Album:
    """Thumbnails, read when they are asked for and once each; empty where a file is gone or will not open.

    Args:
        folder: folder that painted pictures' paths are relative to; None: there are none.
        photographs: photographs of each subject.
    """

    def __init__(self, folder: Path | None, photographs: Mapping[str, Sequence[Path]]) -> None:
        self._folder, self._photographs = folder, photographs
        self._read: dict[Path, str] = {}

    def painted(self, path: str) -> str:
        """Turn one of a method's pictures into a part of the page."""
        return self.uri(self._folder / path) if self._folder else ""

    def photographs(self, subject: str) -> list[str]:
        """List the photographs of a subject that are there."""
        return [uri for file in self._photographs.get(subject, ()) if (uri := self.uri(file))]

    def uri(self, file: Path, side: int = _SIDE) -> str:
        """Turn any picture into a part of the page."""
        if file not in self._read:
            try:
                self._read[file] = encode_uri(make_thumbnail(to_image(file), side))
            except (OSError, ValueError):
                self._read[file] = ""
        return self._read[file]


@dataclass(frozen=True)
class Shot:
    """A painted picture: as a part of the page, what a metric says of it, and what it was to be."""

    uri: str
    value: str
    caption: str


@dataclass(frozen=True)
class Grid:
    """A subject: its photographs, and each method's pictures of the same prompts and seeds.

    Attributes:
        subject, noun: names of the subject and its class.
        photographs: photographs as parts of the page.
        heads: prompt and seed of each column.
        rows: pictures of each method; None where it has no such picture.
    """

    subject: str
    noun: str
    photographs: list[str]
    heads: list[tuple[str, int]]
    rows: dict[str, list[Shot | None]]


@dataclass(frozen=True)
class Cases:
    """A method's pictures that are nearest to a photograph, nearest first, and farthest, farthest first."""

    method: str
    best: list[tuple[Shot, str]]  # with a photograph of the subject
    worst: list[tuple[Shot, str]]


def make_grids(rows: pd.DataFrame, methods: Sequence[str], album: Album) -> list[Grid]:
    """Make a grid of each subject that a picture is there of.

    Args:
        rows: rows of the table `pictures` for one metric.
        methods: names in the order of the page.
        album: album of the pictures.
    """
    asked = rows[rows["kind"] != CLASS]
    found = []
    for (subject, noun), some in asked.groupby(["subject", "noun"], sort=True):
        heads = _choose_shared(some)
        shots = {
            (row.method, row.prompt, row.seed): _make_shot(row, album)
            for row in some.itertuples()
            if (row.prompt, row.seed) in heads
        }
        if any(shot.uri for shot in shots.values()):
            by_method = {name: [shots.get((name, *head)) for head in heads] for name in methods}
            filled = {name: shown for name, shown in by_method.items() if any(shown)}
            said = [(_find_prompt(prompt, noun), seed) for prompt, seed in heads]
            found.append(Grid(str(subject), str(noun), album.photographs(str(subject)), said, filled))
    return found


def _choose_shared(rows: pd.DataFrame) -> list[tuple[str, int]]:
    """Choose prompts that most methods have, spread over the list, each with the first seed that most have of it."""
    counts = rows.groupby(["prompt", "seed"], sort=False)["method"].nunique()
    best = [
        (str(prompt), int(seeds.droplevel(0).sort_index().idxmax()), int(seeds.max()))
        for prompt, seeds in counts.groupby(level=0, sort=False)
    ]
    most = max(count for *_, count in best)
    full = [(prompt, seed) for prompt, seed, count in best if count == most]
    shown = min(_PROMPTS, len(full))
    return [full[i * len(full) // shown] for i in range(shown)]


def choose_cases(rows: pd.DataFrame, methods: Sequence[str], distance: bool, album: Album) -> list[Cases]:
    """Choose the extremes of each method by its nearest photograph, no subject twice while there are others.

    Args:
        rows: rows of the table `pictures` for one metric.
        methods: names in the order of the page.
        distance: whether less is nearer.
        album: album of the pictures.
    """
    asked = rows[(rows["kind"] != CLASS) & rows["nearest"].notna()]
    found = []
    for method in methods:
        mine = asked[asked["method"] == method].sort_values("nearest", ascending=distance, kind="stable")
        if len(mine):
            best, worst = _choose_few(mine), _choose_few(mine[::-1])
            found.append(Cases(method, *([_place_beside(row, album) for row in few] for few in (best, worst))))
    return found


def _choose_few(ordered: pd.DataFrame) -> list[Any]:
    again = ordered["subject"].duplicated()
    return list(pd.concat([ordered[~again], ordered[again]]).head(_CASES).itertuples())


def _place_beside(row: Any, album: Album) -> tuple[Shot, str]:
    return _make_shot(row, album), next(iter(album.photographs(row.subject)), "")


def _make_shot(row: Any, album: Album) -> Shot:
    caption = f"{row.subject}, {_find_prompt(row.prompt, row.noun)}, seed {row.seed}"
    return Shot(album.painted(row.path), format_number(row.nearest), caption)


def _find_prompt(text: str, noun: str) -> str:
    return text.replace(PLACEHOLDER, noun)


def list_trees(home: Path | None, album: Album) -> list[tuple[str, str]]:
    """List trees of concepts that fits drew: whose they are, and the picture.

    Args:
        home: folder of the run; None: there is none.
        album: album that reads the trees.
    """
    files = sorted(home.glob(f"{FITS}/*/*/tree.png")) if home else []
    return [(f"{file.parts[-2]}, {file.parts[-3]}", uri) for file in files if (uri := album.uri(file, _TREE))]


def list_rounds(home: Path | None, album: Album) -> list[tuple[str, dict[str, list[str]]]]:
    """List feedback that fits were given: whose it is, and the pictures by what became of them.

    Fits that only look at the subject's photographs have liked pictures alone, which are in the grids already.

    Args:
        home: folder of the run; None: there is none.
        album: album that reads the pictures in `liked`, `disliked` and all folders called `round…`.
    """
    found = []
    for fit in sorted(path for path in home.glob(f"{FITS}/*/*") if path.is_dir()) if home else []:
        said = [fit / name for name in _FED]
        asked = sorted(path for path in fit.glob("round*") if path.is_dir())
        groups = {
            folder.name: [uri for file in _list_pngs(folder) if (uri := album.uri(file))] for folder in asked + said
        }
        groups = {name: uris for name, uris in groups.items() if uris}
        if groups.keys() - {_FED[0]}:
            found.append((f"{fit.name}, {fit.parent.name}", groups))
    return found


def _list_pngs(folder: Path) -> list[Path]:
    return sorted(file for file in folder.rglob("*.png") if not file.name.startswith("reference"))
