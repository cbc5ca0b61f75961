#!/bin/sh
# datasets 5.2.0: imagefolder with a class called "train" reads that class alone, without labels.
# Seen: folders bicycle, bus and train of three pictures each: a split of three pictures, all of the trains,
# no column "label".
# Expected: nine pictures with three labels. "train" is a category of COCO and of CIFAR-100; nothing says that
# six pictures were passed over.
set -e
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv v
v/bin/pip install --quiet datasets==5.2.0 pillow==13.0.0
v/bin/python - <<'END'
import os

import datasets
from PIL import Image

datasets.disable_progress_bars()


def load(names):
    folder = "-".join(names)
    for name in names:
        os.makedirs(f"{folder}/{name}")
        for i in range(3):
            Image.new("RGB", (8, 8), (80 * i, 0, 0)).save(f"{folder}/{name}/{i}.png")
    return datasets.load_dataset("imagefolder", data_dir=folder, cache_dir="cache")["train"]


for names in (("bicycle", "bus", "tram"), ("bicycle", "bus", "train")):
    read = load(names)
    print(names, len(read), "pictures, columns", read.column_names)
assert len(read) == 3 and read.column_names == ["image"]
END
