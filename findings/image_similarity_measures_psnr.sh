#!/bin/sh
# image-similarity-measures 0.3.6: psnr, rmse and ssim take pictures for 12-bit ones.
# Seen: two 8-bit pictures: PSNR 24.1 dB above that of the definition, from Python and from the command line;
# SSIM nearer to 1.
# Expected: a peak of 255 for uint8 arrays and for PNG files, as their type says; the command has no option
# for it.
set -e
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv v
v/bin/pip install --quiet image-similarity-measures==0.3.6
v/bin/python - <<'END'
import numpy as np
from image_similarity_measures.quality_metrics import psnr, ssim
from skimage.metrics import structural_similarity

draw = np.random.default_rng(0)
a = draw.integers(0, 256, (64, 64, 3), dtype=np.uint8)
b = np.clip(a + draw.integers(-9, 10, a.shape), 0, 255).astype(np.uint8)
defined = 10 * np.log10(255**2 / np.mean((a.astype(float) - b) ** 2))
exact = structural_similarity(a, b, channel_axis=2)
print(f"PSNR {psnr(a, b):.2f}, by the definition {defined:.2f}; SSIM {ssim(a, b):.4f}, for 8 bits {exact:.4f}")
assert abs(psnr(a, b) - defined - 20 * np.log10(4095 / 255)) < 0.1 and ssim(a, b) > exact
END
