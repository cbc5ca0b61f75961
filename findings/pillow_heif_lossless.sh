#!/bin/sh
# pillow-heif 1.8.1: the documented lossless setting, quality=-1 with chroma=444, changes pixels.
# Seen: an RGB picture comes back up to 1 level of 255 off, without chroma=444 up to 79; exactly only with
# matrix_coefficients=0 as well.
# Expected: the same pixels. The documentation's note on lossless encoding names chroma=444 alone; the turn to
# YCbCr and back rounds.
set -e
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv v
v/bin/pip install --quiet pillow-heif==1.8.1 pillow==13.0.0 numpy==2.4.6
v/bin/python - <<'END'
import io

import numpy as np
import pillow_heif
from PIL import Image

pillow_heif.register_heif_opener()
noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
picture = Image.fromarray(noise).resize((256, 256))
off = []
for options in ({}, {"chroma": 444}, {"chroma": 444, "matrix_coefficients": 0}):
    file = io.BytesIO()
    picture.save(file, "HEIF", quality=-1, **options)
    off.append(int(np.abs(np.asarray(Image.open(file).convert("RGB")).astype(int) - np.asarray(picture)).max()))
    print("quality=-1", options, "largest difference", off[-1])
assert off[0] > 30 and off[1] > 0 and off[2] == 0
END
