#!/bin/sh
# peft 0.21.2: add_weighted_adapter(combination_type="linear") is not the linear combination of the adapters.
# Seen: half of one adapter and half of another, random and of equal rank: the made change has a cosine of
# 0.71 with half the sum of both, and is as far from it as 0 is; combination_type="cat" is that sum.
# Expected: 0.5 A + 0.5 B, the changes that two active adapters of these weights make. A and B's factors are
# each combined, so that products of one's with the other's come in.
set -e
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv v
v/bin/pip install --quiet torch==2.15.0 peft==0.21.2
v/bin/python - <<'END'
import torch
from peft import LoraConfig, get_peft_model

torch.manual_seed(0)
config = LoraConfig(r=4, target_modules=["0"], init_lora_weights=False)
model = get_peft_model(torch.nn.Sequential(torch.nn.Linear(64, 64, bias=False)), config, adapter_name="a")
model.add_adapter("b", config)
layer = model.base_model.model[0]
expected = 0.5 * layer.get_delta_weight("a") + 0.5 * layer.get_delta_weight("b")
cosine = {}
for kind in ("cat", "linear"):
    model.add_weighted_adapter(["a", "b"], [0.5, 0.5], kind, combination_type=kind)
    found = layer.get_delta_weight(kind)
    cosine[kind] = torch.nn.functional.cosine_similarity(found.flatten(), expected.flatten(), 0).item()
    print(f"{kind}: cosine {cosine[kind]:.3f}, relative error {((found - expected).norm() / expected.norm()).item():.3f}")
assert cosine["cat"] > 0.9999 and cosine["linear"] < 0.9
END
