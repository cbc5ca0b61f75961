"""DreamSim releases with seeded random weights, and the released package on them, without a network.

Random weights take as long as trained ones, and what both packages make of the same files must be the same numbers.
"""

import contextlib
import io
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dreamsim_metric.files.write import create_folder
from dreamsim_metric.models import OFFICIAL_TYPES
from dreamsim_metric.weights.dreamsim import find_adapter_folder

# Rank and alpha differ by type, so that only a loader that reads adapter_config.json gets them right.
ADAPTERS = {name: (4 + 2 * i, 3 + 5 * i) for i, name in enumerate(OFFICIAL_TYPES)}

_VIT_OF_RELEASE = "from dreamsim.feature_extraction.vision_transformer import vit_base"
HUBCONF = """
import os
import torch
{code}
dependencies = ["torch"]

def {name}(pretrained=True):
    network = {make}
    path = os.path.join(torch.hub.get_dir(), "checkpoints", "{file}")
    network.load_state_dict(torch.load(path, weights_only=True), strict=True)
    return network
"""


def make_dino_vitb16() -> torch.nn.Module:
    """Make DINO's ViT-B/16 from the released package's ViT."""
    from dreamsim.feature_extraction.vision_transformer import vit_base

    return vit_base(patch_size=16)


def make_dinov2_vitb14() -> torch.nn.Module:
    """Make DINOv2's ViT-B/14 from the released package's ViT: 37 × 37 positions and LayerScale."""
    from dreamsim.feature_extraction.vision_transformer import Block, VisionTransformer

    class LayerScale(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gamma = torch.nn.Parameter(torch.ones(768, dtype=torch.float32, device="cpu"))

        def forward(self, x: Tensor) -> Tensor:
            return x * self.gamma

    class ScaledBlock(Block):
        def forward(self, x: Tensor, return_attention: bool = False) -> Tensor:
            x = x + self.ls1(self.attn(self.norm1(x))[0])
            return x + self.ls2(self.mlp(self.norm2(x)))

    network = VisionTransformer(
        img_size=[518],
        patch_size=14,
        embed_dim=768,
        depth=12,
        num_heads=12,
        qkv_bias=True,
        norm_layer=lambda width: torch.nn.LayerNorm(width, eps=1e-6),
    )
    network.mask_token = torch.nn.Parameter(torch.zeros(1, 768, dtype=torch.float32, device="cpu"))
    for block in network.blocks:
        block.__class__ = ScaledBlock
        block.ls1, block.ls2 = LayerScale(), LayerScale()
    return network


def write_release(folder: Path, name: str, seed: int = 0) -> Path:
    """Write what the released package finds in its `cache_dir` after downloading a type.

    Args:
        folder: new folder to write in.
        name: name of a released type.
        seed: seed of the weights.

    Returns:
        The folder.

    Raises:
        OSError: the disk is full or not writable.
    """
    from peft import LoraConfig
    from safetensors.torch import save_file

    random = torch.Generator().manual_seed(seed)
    checkpoints = folder / "checkpoints"
    checkpoints.mkdir(parents=True)
    for branch in OFFICIAL_TYPES[name]:
        _write_base(folder, branch, random)
    rank, alpha = ADAPTERS[name]
    adapter = folder / find_adapter_folder(name)
    adapter.mkdir()
    LoraConfig(r=rank, lora_alpha=alpha, lora_dropout=0.3, bias="none", target_modules=["qkv"]).save_pretrained(
        str(adapter)
    )
    tensors = {}
    for index in range(len(OFFICIAL_TYPES[name])):
        for block in range(12):
            key = f"base_model.model.extractor_list.{index}.model.blocks.{block}.attn.qkv.lora_"
            tensors[f"{key}A.weight"] = _draw_normal((rank, 768), 0.05, random)
            tensors[f"{key}B.weight"] = _draw_normal((2304, rank), 0.05, random)
    save_file(tensors, adapter / "adapter_model.safetensors")
    return folder


def _write_base(folder: Path, branch: str, random: torch.Generator) -> None:
    if branch in ("dino_vitb16", "dinov2_vitb14"):
        repository = "dino" if branch == "dino_vitb16" else "dinov2"
        file = {"dino": "dino_vitbase16_pretrain.pth", "dinov2": "dinov2_vitb14_pretrain.pth"}[repository]
        code = folder / f"facebookresearch_{repository}_main"
        code.mkdir(exist_ok=True)
        place = _VIT_OF_RELEASE if repository == "dino" else "from benchmarks.speed import releases"
        make = "vit_base(patch_size=16)" if repository == "dino" else "releases.dinov2_vitb14()"
        (code / "hubconf.py").write_text(HUBCONF.format(name=branch, file=file, code=place, make=make))
        network = make_dino_vitb16() if repository == "dino" else make_dinov2_vitb14()
        torch.save(_randomise(network.state_dict(), random), folder / "checkpoints" / file)
    if branch == "dino_vitb16":
        # The archive's own DINO file: a head, and backbone weights that a right loader does not read.
        decoy = {f"module.backbone.{key}": value for key, value in _randomise(network.state_dict(), random).items()}
        shapes = {"mlp.0": (2048, 768), "mlp.2": (2048, 2048), "mlp.4": (256, 2048)}
        for layer, shape in shapes.items():
            decoy[f"module.head.{layer}.weight"] = _draw_normal(shape, 0.02, random)
            decoy[f"module.head.{layer}.bias"] = _draw_normal(shape[:1], 0.02, random)
        decoy["module.head.last_layer.weight"] = _draw_normal((2048, 256), 0.02, random)
        torch.save({"student": decoy}, folder / "dino_vitb16_pretrain.pth")
    elif branch == "dinov2_vitb14":
        torch.save({}, folder / "dinov2_vitb14_pretrain.pth")  # checked for existence only
    elif branch == "synclr_vitb16":
        state = _randomise(make_dino_vitb16().state_dict(), random)
        renamed = {f"module.visual.{key}": value for key, value in state.items()}
        torch.save({"model": renamed}, folder / "synclr_vit_b_16.pth")
    else:
        from dreamsim.feature_extraction.vision_transformer import vit_base

        network = vit_base(patch_size=int(branch[-2:]))
        network.pos_drop = torch.nn.LayerNorm(768)
        state = _randomise(network.state_dict(), random)
        state["patch_embed.proj.bias"] = torch.zeros(768, dtype=torch.float32, device="cpu")
        state["proj"] = _draw_normal((768, 512), 0.05, random)
        torch.save({"state_dict": state}, folder / f"{branch}_pretrain.pth.tar")


def _randomise(state: dict[str, Tensor], random: torch.Generator) -> dict[str, Tensor]:
    """Make every tensor random, and of a size that keeps activations from vanishing or exploding."""
    out = {}
    for name, tensor in state.items():
        scale = tensor.shape[-1] ** -0.5 if name.endswith("weight") and tensor.ndim == 2 else 0.1
        offset = 1.0 if tensor.ndim == 1 and name.endswith(("weight", "gamma")) else 0.0
        out[name] = offset + _draw_normal(tuple(tensor.shape), scale, random)
    return out


def _draw_normal(shape: tuple[int, ...], scale: float, random: torch.Generator) -> Tensor:
    return torch.randn(shape, generator=random, dtype=torch.float32, device="cpu") * scale


def keep_release(home: Path, name: str) -> Path:
    """Write a release in a folder that keeps it, once: the ensemble takes 1.5 GB."""
    folder = home / name
    if not folder.is_dir():
        with create_folder(folder) as beside:
            write_release(beside, name)
    return folder


def load_released(name: str, folder: Path, device: str | torch.device = "cpu") -> tuple[Any, Any]:
    """Load the released package's model and preprocessing, the way of its README.

    Args:
        name: name of a released type.
        folder: folder of `write_release`; the package's `cache_dir`.
        device: device to put the model on.
    """
    import dreamsim

    hub: Any = torch.hub
    found, place = getattr(hub, "_parse_repo_info", None), getattr(hub, "_hub_dir", None)
    # It asks GitHub for the default branch of DINOv2 even when the files are there, and moves torch.hub's folder.
    if found is not None:
        hub._parse_repo_info = lambda github: (*github.split(":")[0].split("/"), "main")
    try:
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stdout(io.StringIO()) as out,
            contextlib.redirect_stderr(out),
        ):
            warnings.simplefilter("ignore")  # of adapters and weight_norm, in its own code
            return dreamsim.dreamsim(
                device=str(device),
                cache_dir=str(folder),
                dreamsim_type=name.removesuffix("_patch"),
                use_patch_model=name.endswith("_patch"),
            )
    finally:
        if found is not None:
            hub._parse_repo_info = found
        hub._hub_dir = place
