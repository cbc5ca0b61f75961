#!/bin/sh
# datasets 5.2.0: map() with a function that returns the picture as it came compresses it once more.
# Seen: a JPEG of quality 95 held as bytes: after a map that changes nothing, pixels differ by up to 65 levels
# (JPEG at Pillow's quality 75); with another column changed, or a picture that is no longer a JPEG to Pillow,
# by 0.
# Expected: the same pixels: nothing was done to them.
set -e
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv v
v/bin/pip install --quiet datasets==5.2.0 pillow==13.0.0 numpy==2.4.6
v/bin/python - <<'END'
import io

import datasets
import numpy as np
from PIL import Image

datasets.disable_progress_bars()
datasets.disable_caching()
noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
file = io.BytesIO()
Image.fromarray(noise).resize((256, 256)).save(file, "JPEG", quality=95)
before = np.asarray(Image.open(file)).astype(int)
table = datasets.Dataset.from_dict({"image": [{"bytes": file.getvalue(), "path": None}]})
table = table.cast_column("image", datasets.Image())


def moved(function):
    return int(np.abs(np.asarray(table.map(function)[0]["image"]) - before).max())


same = moved(lambda row: {"image": row["image"]})
other = moved(lambda row: {"label": 1})
print("levels of 255: picture returned as it came", same, "- another column", other)
assert same > 10 and other == 0
END
