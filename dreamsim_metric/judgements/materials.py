"""A Similarity Measure for Material Appearance (Lagunas et al., SIGGRAPH 2019), in its authors' repository."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dreamsim_metric.files.pictures import list_pictures
from dreamsim_metric.judgements.rows import Judgement
from dreamsim_metric.messages import say_error_with_kind

ANSWERS = {"train": "answers_processed_train.json", "test": "answers_processed_test.json"}
_FOLDER = "havran1_ennis_298x298_LDR"


def find_folder(root: Path) -> Path | None:
    """Find where the answers are: in the repository's `data/`, or in the folder itself."""
    return next((folder for folder in (root, root / "data") if (folder / ANSWERS["train"]).is_file()), None)


def read_rows(root: Path) -> Iterator[Judgement | str]:
    """Yield triplets; the majority's choice is always on the left, as published."""
    place = find_folder(root)
    if place is None:
        raise FileNotFoundError(f"no {ANSWERS['train']} in {root} or its data/")
    pictures = list_pictures(place / _FOLDER)
    if not pictures:
        raise FileNotFoundError(f"no pictures in {place / _FOLDER}; the answers refer to their order")
    highest = -1
    for split, name in ANSWERS.items():
        if not (place / name).is_file():
            continue
        triplets, votes = _read_answers(place / name)
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
            yield Judgement(where, paths, share, f"{split}/{i}", sum(counts), split)
    if highest + 1 < len(pictures):  # one picture too many shifts all that follow it
        yield f"{place / _FOLDER}: {len(pictures)} pictures; expected {highest + 1}, as the answers count"


def _read_answers(file: Path) -> tuple[list[Any], list[Any]]:
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
        triplets, votes = data["answers"], data["agreement"]
        if not isinstance(triplets, list) or not isinstance(votes, list):
            raise TypeError("they are not lists")
    except (UnicodeDecodeError, json.JSONDecodeError, KeyError, TypeError) as error:
        raise ValueError(
            f"{file} is not as published ({say_error_with_kind(error)}); expected JSON with answers and agreement"
        ) from error
    return triplets, votes


def _are_integers(values: Any, count: int) -> bool:
    return isinstance(values, list) and len(values) == count and all(type(v) is int and v >= 0 for v in values)
