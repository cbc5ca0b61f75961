"""Votes become a data set: the NIGHTS layout for triplets, a table for pairs, which training and evaluation read."""

import math
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from data_tools.categories import read_categories
from data_tools.filtering import drop_off_time, drop_too_soon, drop_unproven, keep, keep_counted, tally, to_frame
from data_tools.simulation import BUILD
from data_tools.spreadsheet import escape_formula
from data_tools.stimuli import open_stimulus
from data_tools.study import Item, Study
from data_tools.votes import read_responses
from dreamsim_metric.files.digest import digest_file
from dreamsim_metric.files.json_file import write_json
from dreamsim_metric.files.table import write_csv
from dreamsim_metric.files.write import create_folder
from dreamsim_metric.judgements.columns import (
    EXPORT_FILE,
    PAIR_FILE,
    PAIR_PATHS,
    SAME,
    TRIPLET_FILE,
    TRIPLET_PATHS,
    TRIPLET_SHARES,
)
from dreamsim_metric.messages import list_briefly

SHARES = {"train": 0.8, "val": 0.1, "test": 0.1}  # of the pictures' prompts; NIGHTS has 80 : 10 : 10 of its triplets


def assign_splits(categories: Sequence[str], shares: Mapping[str, float], seed: int = 0) -> dict[str, str]:
    """Give each category a split, so that no prompt is in two.

    Args:
        categories: category of each question, `(N,)`, repeated as often as it is asked about.
        shares: share of the questions wanted in each split; whole categories come as near to it as they can.
        seed: seed of the order in which categories are given out.

    Raises:
        ValueError: shares that do not sum to 1.

    Example:
        >>> assign_splits(["cat", "cat", "cat", "dog"], {"train": 0.75, "test": 0.25})
        {'cat': 'train', 'dog': 'test'}
    """
    if not shares or abs(sum(shares.values()) - 1) > 1e-6 or min(shares.values()) < 0:
        raise ValueError(f"got shares {dict(shares)}; expected some that sum to 1")
    names, counts = np.unique(np.array(categories, dtype=object).astype(str), return_counts=True)
    have = dict.fromkeys(shares, 0.0)
    found = {}
    # Large categories first: what is left to even out is small.
    order = np.random.default_rng(seed).permutation(len(names))
    for i in sorted(order, key=lambda i: -counts[i]):
        split = max(shares, key=lambda name: shares[name] * len(categories) - have[name])
        found[str(names[i])] = split
        have[split] += counts[i]
    return found


def write_data_set(
    study: Study, counts: pd.DataFrame, out: Path, about: Mapping[str, Any], shares: Mapping[str, float] = SHARES
) -> dict[str, int]:
    """Write a data set: whole or not at all.

    Triplets: `ref/`, `distort/` and `data.csv` as in NIGHTS. Pairs: `pairs/` and `jnd.csv`. And `export.json`: what it
    was made from, and how.

    Args:
        study: study that was answered.
        counts: votes for each answer to each question (`filtering.tally`), filtered.
        out: folder that is not there yet, or empty.
        about: more facts for `export.json`.
        shares: share of the questions in each split; categories stay whole.

    Returns:
        The number of rows by split.

    Raises:
        FileExistsError: the folder holds something.
        ValueError: no question is left.
        OSError: a picture is missing, or the disk is full; nothing is left behind.
    """
    if out.is_dir() and any(out.iterdir()):
        raise FileExistsError(f"{out} is not empty; choose another folder")
    items = {item.id: item for item in study.items() if item.kind == "main"}
    unknown = [name for name in counts.index if name not in items]
    if unknown:
        raise ValueError(f"{len(unknown)} questions are not of this study: {list_briefly(unknown)}")
    kept = [items[name] for name in counts.index]
    if not kept:
        raise ValueError("no question is left after filtering: ask more people, or ask for fewer votes")
    by_category = assign_splits([item.category for item in kept], shares, study.seed)
    with create_folder(out) as beside:
        write = _make_triplets if study.task == "2afc" else _make_pairs
        rows = write(study, kept, counts, by_category, beside)
        write_csv(beside / (TRIPLET_FILE if study.task == "2afc" else PAIR_FILE), rows)
        sizes = {split: sum(row["split"] == split for row in rows) for split in shares}
        facts = {**about, "study": study.id, "task": study.task, "shares": dict(shares), "rows": sizes}
        write_json(beside / EXPORT_FILE, facts)
    return sizes


def collect(
    folder: Path,
    out: Path,
    *,
    quick_ms: float = 0.0,
    max_quick: float = 1.0,
    tolerance_ms: float | None = None,
    min_votes: int | None = None,
    disputed: bool = False,
) -> dict[str, Any]:
    """Filter a study's votes and write what is left.

    Args:
        folder: folder of the study.
        out: folder for the data set.
        quick_ms: milliseconds below which an answer is left out.
        max_quick: largest share of such answers that a rater may have; the others are left out.
        tolerance_ms: milliseconds by which a pair's pictures and masks may have been shown longer or shorter than 500;
            answers to others are left out. Default: the study's; infinite to keep all.
        min_votes: votes that a question needs. Default: those of all rounds for triplets, one for pairs.
        disputed: whether triplets that people disagree on are kept. Pairs are kept whatever people say of them.

    Returns:
        What was there, what was left out and why, what was written.

    Raises:
        FileExistsError, FileNotFoundError, ValueError, OSError: Same as in `write_data_set`, `Study.read` and
        `votes.read_responses`.
    """
    study = Study.read(folder)
    everything = to_frame(read_responses(folder, study))
    tolerance = study.tolerance_ms if tolerance_ms is None else tolerance_ms
    votes = keep_counted(everything, study, quick_ms, max_quick, tolerance)
    all_counts = tally(votes, study.task)
    triplets = study.task == "2afc"
    least = min_votes or (sum(study.rounds) if triplets else 1)
    counts = keep(all_counts, least, unanimous=triplets and not disputed)
    simulated = int((everything.build == BUILD).sum())
    about = {
        "responses": len(everything),
        "responses left out": len(everything) - len(votes),
        "responses off time": len(everything) - len(drop_off_time(everything, tolerance)),
        "responses too soon": len(everything) - len(drop_too_soon(everything, study.soonest_ms)),
        "raters who answered too little": int(
            everything.rater.nunique() - drop_unproven(everything, study).rater.nunique()
        ),
        "tolerance ms": tolerance if math.isfinite(tolerance) else None,
        "raters": int(everything.rater.nunique()),
        "raters left out": int(everything.rater.nunique() - votes.rater.nunique()),
        "questions with votes": len(all_counts),
        "questions kept": len(counts),
        "min votes": least,
        "simulated responses": simulated,
    }
    sizes = write_data_set(study, counts, out, about)
    return {**about, **sizes}


def _make_triplets(
    study: Study, kept: Sequence[Item], counts: pd.DataFrame, splits: Mapping[str, str], out: Path
) -> list[dict[str, Any]]:
    imagenet, rows = set(read_categories("imagenet")), []
    for index, item in enumerate(kept):
        folder, number = f"{index // 1000:03}", f"{index % 1000:03}"
        paths = [f"ref/{folder}/{number}.png", f"distort/{folder}/{number}_0.png", f"distort/{folder}/{number}_1.png"]
        _copy(study, item, paths, out)
        left, votes = (int(counts.at[item.id, column]) for column in ("left", "votes"))
        shares = zip(TRIPLET_SHARES, (round(left / votes, 6), round(1 - left / votes, 6)), strict=True)
        rows.append(
            {
                "id": index,
                **dict(shares),
                "votes": votes,
                **dict(zip(TRIPLET_PATHS, paths, strict=True)),
                "split": splits[item.category],
                "is_imagenet": item.category in imagenet,
                "prompt": escape_formula(item.prompt),
            }
        )
    return rows


def _make_pairs(
    study: Study, kept: Sequence[Item], counts: pd.DataFrame, splits: Mapping[str, str], out: Path
) -> list[dict[str, Any]]:
    rows = []
    for index, item in enumerate(kept):
        files = [Path(study.pictures) / path for path in item.pictures]
        for path in item.pictures:
            with open_stimulus(Path(study.pictures), path):
                pass  # before it is read as a whole: it may be anything
        names = [digest_file(file)[:24] for file in files]  # a picture has several variations
        paths = [f"pairs/{name[:2]}/{name}.png" for name in names]
        _copy(study, item, paths, out)
        same, votes = (int(counts.at[item.id, column]) for column in ("same", "votes"))
        rows.append(
            {
                "id": index,
                **dict(zip(PAIR_PATHS, paths, strict=True)),
                SAME: round(same / votes, 6),
                "votes": votes,
                "split": splits[item.category],
                "prompt": escape_formula(item.prompt),
            }
        )
    return rows


def _copy(study: Study, item: Item, paths: Sequence[str], out: Path) -> None:
    for source, path in zip(item.pictures, paths, strict=True):
        (out / path).parent.mkdir(parents=True, exist_ok=True)
        if not (out / path).exists():
            with open_stimulus(Path(study.pictures), source):
                shutil.copyfile(Path(study.pictures) / source, out / path)
