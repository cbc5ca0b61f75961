#!/bin/sh
# torchmetrics 1.9.0: FleissKappa takes votes that are missing for disagreement.
# Seen: six questions of two to four votes each, four of them unanimous: 0.15; the three with four votes
# alone: 0.66.
# Expected: 0.49, with each question's own number of votes, or an error (statsmodels refuses such a table). It
# takes the largest number of votes for all questions.
set -e
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv v
v/bin/pip install --quiet torch==2.15.0 torchmetrics==1.9.0
v/bin/python - <<'END'
import torch
from torchmetrics.nominal import FleissKappa

votes = torch.tensor([[4, 0], [3, 1], [0, 2], [1, 1], [0, 4], [2, 0]])
whole = FleissKappa(mode="counts")(votes).item()
full = FleissKappa(mode="counts")(votes[votes.sum(1) == 4]).item()
print(f"two to four votes each: {whole:.3f}; those with four votes: {full:.3f}")
share = votes / votes.sum(1, keepdim=True)
agree = ((votes * (votes - 1)).sum(1) / (votes.sum(1) * (votes.sum(1) - 1))).mean()
chance = (votes.sum(0) / votes.sum()).square().sum()
print(f"with each question's own number of votes: {((agree - chance) / (1 - chance)).item():.3f}")
assert abs(whole - 0.1456) < 0.001 and full > 0.6
END
