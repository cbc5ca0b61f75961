"""Rows about LoRA, pipelines and their files."""

import copy
import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from data_tools.pipelines import MINI_DIFFUSION
from examples.differences.rows import Row, Value, or_error


def adapted(network: nn.Module, name: str = "default") -> Any:
    """Add a LoRA of rank 4 and alpha 8 with random weights to every layer named `layer`."""
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(0)
    config = LoraConfig(r=4, lora_alpha=8, target_modules=["layer"], init_lora_weights=False)
    return get_peft_model(network, config, adapter_name=name)


def block(size: int) -> nn.Module:
    """Make a network of one linear layer, named `layer`."""
    torch.manual_seed(1)
    return nn.ModuleDict({"layer": nn.Linear(size, size, bias=False)})


def numbered() -> Row:
    """Save one of two adapters that have numbers for names."""

    def saved(names: tuple[str, str]) -> float:
        from peft import LoraConfig
        from safetensors import safe_open

        layers = nn.ModuleList(nn.ModuleDict({"layer": nn.Linear(8, 8)}) for _ in range(12))
        model = adapted(layers, names[0])
        model.add_adapter(names[1], LoraConfig(r=4, target_modules=["layer"]))
        with tempfile.TemporaryDirectory() as folder:
            model.save_pretrained(folder, selected_adapters=[names[0]])
            (file,) = Path(folder).rglob("adapter_model.safetensors")
            with safe_open(file, "pt") as opened:
                return float(len(list(opened.keys())))

    return Row(
        "Tensors in the file of one of two adapters on 12 layers (expected: 24)",
        {
            'peft: named "a" and "b"': lambda: saved(("a", "b")),
            'peft: named "0" and "1"': lambda: saved(("0", "1")),
        },
        "a tensor with the other adapter's name anywhere in its path is left out",
        "an adapter that does not cover what its configuration names is refused",
        tolerance=0,
    )


def attention() -> Row:
    """Adapt the output projection of PyTorch's attention."""

    def ratio() -> float:
        torch.manual_seed(0)
        plain = nn.MultiheadAttention(32, 2, batch_first=True)
        x = torch.randn(1, 5, 32)

        def run(attention: Any) -> Tensor:
            with torch.no_grad():
                found: Tensor = attention(x, x, x, need_weights=False)[0]
            return found

        before = run(plain)
        model = adapted(nn.ModuleDict({"layer": copy.deepcopy(plain)}))
        layer = model.base_model.model["layer"]
        with torch.no_grad():
            layer.lora_B["default"].weight.zero_()  # the inputs' part, so that only the output's is left
        outputs = layer.base_layer.out_proj
        change = outputs.get_delta_weight("default")
        by_hand = copy.deepcopy(plain)
        with torch.no_grad():
            by_hand.out_proj.weight += change
        expected = run(by_hand) - before
        return float((run(layer) - before).norm() / expected.norm())

    return Row(
        "LoRA on `nn.MultiheadAttention`: size of what the output projection's adapter changes (expected: 1)",
        {"peft": lambda: or_error(ratio)},
        "the change is in the merged weight and is added once more",
        "refused",
        tolerance=0.01,
    )


def merged_in_half() -> Row:
    """Merge in half precision, with the check for broken weights and without."""

    def differing() -> float:
        network = block(256).half()

        def merged(safe: bool) -> Tensor:
            found: Tensor = adapted(copy.deepcopy(network)).merge_and_unload(safe_merge=safe)["layer"].weight
            return found

        return float(100 * (merged(True) != merged(False)).double().mean())

    return Row(
        "Weights that `merge_and_unload(safe_merge=True)` makes otherwise than `safe_merge=False`, float16, %",
        {"peft": differing},
        "the change is rounded to half precision before it is added, or after",
        "merged in float64, rounded once",
        tolerance=5,
    )


def kohya() -> Row:
    """Write a LoRA under kohya's names."""

    def alpha() -> float:
        from diffusers.utils import convert_state_dict_to_kohya

        layer = "unet.down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q"
        weights = {f"{layer}.lora_A.weight": torch.zeros(8, 16), f"{layer}.lora_B.weight": torch.zeros(16, 8)}
        (found,) = [value for name, value in convert_state_dict_to_kohya(weights).items() if name.endswith(".alpha")]
        return float(found)

    return Row(
        "Alpha in the file that `convert_state_dict_to_kohya` makes of an adapter of rank 8 and alpha 16",
        {"diffusers": alpha},
        "the rank is written in its place, so that the file does half of what was trained",
        "trained with alpha = rank",
        tolerance=0,
    )


def half_pipeline() -> Row:
    """Save a pipeline in half precision and load it."""

    def loaded() -> Value:
        from diffusers import DiffusionPipeline

        with tempfile.TemporaryDirectory() as folder:
            DiffusionPipeline.from_pretrained(MINI_DIFFUSION, torch_dtype=torch.float16).save_pretrained(folder)
            pipeline = DiffusionPipeline.from_pretrained(folder)
        parts = {"UNet": pipeline.unet, "VAE": pipeline.vae, "text encoder": pipeline.text_encoder}
        return ", ".join(f"{name} {str(part.dtype).removeprefix('torch.')}" for name, part in parts.items())

    return Row(
        "A pipeline saved in float16 and loaded with no dtype named",
        {"diffusers": loaded},
        "diffusers loads as float32, transformers as what the file holds; painting then ends in an error",
        "one dtype is always named",
    )


def thousand_steps() -> Row:
    """Run DDIM's schedule with as many steps as it has."""

    def steps(count: int) -> Value:
        from diffusers import DDIMScheduler

        schedule = DDIMScheduler(
            beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False,
            set_alpha_to_one=False, steps_offset=1,
        )  # fmt: skip
        schedule.set_timesteps(count)
        sample = torch.zeros(1, 1, 2, 2)

        def run() -> float:
            for time in schedule.timesteps:
                schedule.step(sample, time, sample)
            return float(len(schedule.timesteps))

        return or_error(run)

    return Row(
        "Steps that DDIM takes on Stable Diffusion's schedule of 1,000",
        {"diffusers: 999 asked for": lambda: steps(999), "diffusers: 1,000 asked for": lambda: steps(1000)},
        "`steps_offset` moves the first step out of the table",
        "ask for 999",
        tolerance=0,
    )


def rank_stabilised() -> Row:
    """Ask LyCORIS for a rank-stabilised adapter."""

    def scale(stabilised: bool) -> float:
        from lycoris import create_lycoris

        torch.manual_seed(0)
        network = create_lycoris(nn.Sequential(nn.Linear(64, 64)), 1.0, linear_dim=16, linear_alpha=16, algo="lora",
                                 rs_lora=stabilised)  # fmt: skip
        return float(network.loras[0].scale)

    return Row(
        "Scale of a LyCORIS adapter of rank 16 and alpha 16 (expected: 1, rank-stabilised 4)",
        {"lycoris-lora": lambda: scale(False), "lycoris-lora: rs_lora=True": lambda: scale(True)},
        "the argument is not passed on",
        "not used",
    )


ROWS = (numbered, attention, merged_in_half, kohya, rank_stabilised, half_pipeline, thousand_steps)
