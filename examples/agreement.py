"""How often a metric takes the side of the majority: 2AFC agreement on a table of judged triplets.

    python examples/agreement.py FOLDER --split train --model mini

FOLDER holds `data.csv` with ref_path, left_path, right_path, split and either left_votes and right_votes (counts) or
left_vote and right_vote (shares). Ties among people are left out; a tie of the metric counts half.
"""

import argparse
import csv
from pathlib import Path

import numpy as np

from dreamsim_metric import embed, load


def agreement(folder: Path, split: str, model: str) -> tuple[float, float, int]:
    """Percent of triplets where the metric is with the majority, its standard error over references, and how many."""
    with open(folder / "data.csv", newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == split]
    suffix = "s" if "right_votes" in rows[0] else ""
    votes = np.array([float(row[f"right_vote{suffix}"]) - float(row[f"left_vote{suffix}"]) for row in rows])
    files = sorted({row[f"{role}_path"] for row in rows for role in ("ref", "left", "right")})
    u = embed([folder / file for file in files], model=load(model), progress=True).numpy()
    index = {file: i for i, file in enumerate(files)}
    ref, left, right = (u[[index[row[f"{role}_path"]] for row in rows]] for role in ("ref", "left", "right"))
    nearer_right = np.square(ref - left).sum(1) - np.square(ref - right).sum(1)
    correct = (np.sign(nearer_right) * np.sign(votes) + 1) / 2
    judged = votes != 0
    references = np.array([row["ref_path"] for row in rows])[judged]
    return 100 * correct[judged].mean(), 100 * _bootstrap_error(correct[judged], references), int(judged.sum())


def _bootstrap_error(correct: np.ndarray, references: np.ndarray) -> float:
    """Triplets of one reference are not independent: resample references."""
    groups = [correct[references == name] for name in np.unique(references)]
    sums, sizes = np.array([[group.sum(), len(group)] for group in groups]).T
    draws = np.random.default_rng(0).integers(0, len(groups), (1000, len(groups)))
    return float((sums[draws].sum(1) / sizes[draws].sum(1)).std())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--split", default="train")
    parser.add_argument("--model", default="mini")
    given = parser.parse_args()
    percent, error, n = agreement(given.folder, given.split, given.model)
    print(f"{given.model} on {given.folder.name}, {given.split}: {percent:.2f} % ± {error:.2f} of {n} triplets")
