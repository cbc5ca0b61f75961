#!/bin/sh
# torchmetrics 1.9.0: BootStrapper(sampling_strategy="multinomial") sees no uncertainty where pictures come
# one at a time.
# Seen: 100 values in batches of one: standard deviation 0; the same values in one batch: 0.16.
# Expected: the same whichever way they are fed: each batch is resampled by itself, and of one picture there
# is one resample.
set -e
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv v
v/bin/pip install --quiet torch==2.15.0 torchmetrics==1.9.0
v/bin/python - <<'END'
import torch
from torchmetrics import BootStrapper, MeanSquaredError

values, deviation = torch.randn(100, generator=torch.Generator().manual_seed(0)), {}
for size in (100, 1):
    torch.manual_seed(0)
    metric = BootStrapper(MeanSquaredError(), num_bootstraps=50, sampling_strategy="multinomial")
    for batch in values.split(size):
        metric.update(batch, torch.zeros_like(batch))
    deviation[size] = metric.compute()["std"].item()
    print(f"batches of {size}: standard deviation {deviation[size]:.4f}")
assert deviation[1] < 1e-5 and deviation[100] > 0.1
END
