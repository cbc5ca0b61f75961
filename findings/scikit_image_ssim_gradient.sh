#!/bin/sh
# scikit-image 0.26.0: structural_similarity(gradient=True) is not the gradient of the number beside it.
# Seen: on 96 x 96 pixels the gradient is 0.80 times that by finite differences inside, and 13 times as large
# two pixels from the edge (with the Gaussian window of the paper).
# Expected: the gradient of the returned mean, which leaves a margin out. The gradient is of the mean over all
# pixels, so that a step along it favours the margin, which the number does not see.
set -e
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv v
v/bin/pip install --quiet scikit-image==0.26.0
v/bin/python - <<'END'
import numpy as np
from skimage.metrics import structural_similarity

draw = np.random.default_rng(0)
a = draw.random((96, 96))
b = np.clip(a + 0.1 * draw.standard_normal(a.shape), 0, 1)
options = {"data_range": 1, "gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
gradient = structural_similarity(a, b, gradient=True, **options)[1]


def ratio(place):
    values = []
    for step in (1e-5, -1e-5):
        moved = b.copy()
        moved[place] += step
        values.append(structural_similarity(a, moved, **options))
    return gradient[place] / ((values[0] - values[1]) / 2e-5)


inside, edge = ratio((40, 50)), ratio((2, 48))
print(f"given / finite differences: {inside:.3f} inside, {edge:.1f} two pixels from the edge")
assert abs(inside - 0.8025) < 0.001 and edge > 10
END
