#!/bin/sh
# SSIM-PIL 1.0.14: compare_ssim() does not look at the last columns and rows.
# Seen: two 68 x 68 pictures that share their first 63 columns and rows only: 1.0.
# Expected: below 1. Tiles of 7 pixels are compared, and what is left over at the right and below is passed
# over.
set -e
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv v
v/bin/pip install --quiet SSIM-PIL==1.0.14 pillow==13.0.0 numpy==2.4.6
v/bin/python - <<'END'
import numpy as np
from PIL import Image
from SSIM_PIL import compare_ssim

a = np.random.default_rng(0).integers(0, 256, (68, 68, 3), dtype=np.uint8)
b = 255 - a
b[:63, :63] = a[:63, :63]
found = compare_ssim(Image.fromarray(a), Image.fromarray(b), GPU=False)
print("SSIM of pictures that differ in", f"{(a != b).any(2).mean():.0%} of their pixels:", found)
assert found == 1
END
