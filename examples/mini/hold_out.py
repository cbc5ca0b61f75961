"""How a recipe does on materials that it never saw: the table of `triplets.py` without some of them.

    python -m examples.mini.hold_out DATA OUT SEED

20 materials, chosen by SEED, leave the training triplets; the triplets of these 20 alone become the split `held`.
"""

import csv
import os
import sys
from pathlib import Path

import numpy as np

from dreamsim_metric.files.table import write_csv
from dreamsim_metric.judgements.columns import TRIPLET_FILE, TRIPLET_PATHS

HELD = 20


def main(data: str, out: str, seed: str) -> None:
    with open(Path(data) / TRIPLET_FILE, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    materials = sorted({row[path] for row in rows for path in TRIPLET_PATHS if "sources/materials" in row[path]})
    held = set(np.random.default_rng(int(seed)).choice(materials, HELD, replace=False))
    Path(out).mkdir(parents=True, exist_ok=True)
    kept = []
    for row in rows:
        count = sum(row[path] in held for path in TRIPLET_PATHS)
        if count in (0, len(TRIPLET_PATHS)):
            moved = {path: os.path.relpath(Path(data, row[path]), out) for path in TRIPLET_PATHS}
            kept.append(row | moved | ({"split": "held"} if count else {}))
    write_csv(Path(out) / TRIPLET_FILE, kept)


if __name__ == "__main__":
    main(*sys.argv[1:])
