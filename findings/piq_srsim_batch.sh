#!/bin/sh
# piq 0.8.0: srsim() of a pair depends on the other pairs in the batch.
# Seen: one pair alone and beside another pair: 0.934 and 0.928.
# Expected: the same number, as with piq's ssim, fsim, vsi, mdsi and haarpsi: reduction="none" gives one a
# pair.
set -e
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv v
v/bin/pip install --quiet torch==2.15.0 torchvision==0.29.2 piq==0.8.0
v/bin/python - <<'END'
import piq
import torch

torch.manual_seed(0)
a = torch.rand(1, 3, 128, 128)
b = 0.6 * a + 0.2 * torch.rand_like(a)
c = torch.nn.functional.interpolate(torch.rand(1, 3, 6, 6), (128, 128), mode="bicubic").clamp(0, 1)
pairs = torch.cat([a, c]), torch.cat([b, 0.9 * c + 0.05])
moved = {}
for name in ("ssim", "fsim", "vsi", "mdsi", "haarpsi", "srsim"):
    alone, beside = getattr(piq, name)(a, b).item(), getattr(piq, name)(*pairs, reduction="none")[0].item()
    moved[name] = abs(alone - beside)
    print(f"{name}: {alone:.5f} alone, {beside:.5f} beside another pair")
assert moved.pop("srsim") > 1e-3 and max(moved.values()) < 1e-5
END
