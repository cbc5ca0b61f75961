#!/bin/sh
# torchvision 0.29.2: a v2 transform of two tensors transforms the first alone.
# Seen: RandomHorizontalFlip(p=1)(a, b) and CenterCrop(4)(a, b): b comes back as it was.
# Expected: both flipped and cropped, as with PIL images and tv_tensors: the transforms are made for several
# inputs at once, and pairs of pictures are usual.
set -e
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv v
v/bin/pip install --quiet torch==2.15.0 torchvision==0.29.2
v/bin/python - <<'END'
import torch
from torchvision import tv_tensors
from torchvision.transforms import v2

a, b = torch.rand(3, 8, 8), torch.rand(3, 8, 8)
for kind in (torch.Tensor, tv_tensors.Image):
    flipped = v2.RandomHorizontalFlip(p=1)(kind(a), kind(b))
    cropped = v2.CenterCrop(4)(kind(a), kind(b))
    print(kind.__name__, "flipped:", [not torch.equal(x, y) for x, y in zip(flipped, (a, b))],
          "sizes:", [tuple(x.shape[1:]) for x in cropped])
    if kind is torch.Tensor:
        assert torch.equal(flipped[1], b) and not torch.equal(flipped[0], a) and cropped[1].shape == (3, 8, 8)
END
