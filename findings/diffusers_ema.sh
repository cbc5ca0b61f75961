#!/bin/sh
# diffusers 0.42.1: EMAModel(decay=0.9999, use_ema_warmup=False) warms up.
# Seen: after 100 steps the decay is 0.917, after 1,000 steps 0.991: (1 + n) / (10 + n) until that is more
# than what was asked for, 90,000 steps later.
# Expected: 0.9999 from the first step: use_ema_warmup is False. It chooses between two ways of warming up.
set -e
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv v
v/bin/pip install --quiet torch==2.15.0 diffusers==0.42.1
v/bin/python - <<'END'
import torch
from diffusers.training_utils import EMAModel

weights, decay = [torch.nn.Parameter(torch.zeros(1))], {}
mean = EMAModel(weights, decay=0.9999, use_ema_warmup=False)
for step in range(1, 1001):
    mean.step(weights)
    decay[step] = mean.cur_decay_value
print({step: round(decay[step], 4) for step in (1, 10, 100, 1000)})
assert decay[100] < 0.95 and decay[1000] < 0.995
END
