"""LoRAs of other trainers (Hu et al. 2022): diffusers, peft and kohya's sd-scripts.

diffusers loads them. It drops what it does not know with a line in a log, so that here every tensor is looked for in
the pipeline afterwards. Alphas are multiplied into the weights first, whichever way a file tells them.
"""

import hashlib
import json
import re
import warnings
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from data_tools.trained.files import find_file, read_file
from dreamsim_metric.files.json_file import read_json
from dreamsim_metric.messages import list_briefly, say_error

FILES = ("pytorch_lora_weights.safetensors", "pytorch_lora_weights.bin")
_PEFT, _PEFT_CONFIG = ("adapter_model.safetensors", "adapter_model.bin"), "adapter_config.json"
_MARKS = re.compile(r"lora_(down|up|A|B)\b|_lora\.(down|up)\.")
_OLD = re.compile(r"\.lora(_linear_layer)?\.(down|up)\.")  # diffusers' names, which it may mix with peft's in one file
_PEFT_WAYS = {"down": "A", "up": "B"}
_OTHERS = {  # parts of names, and what they are of
    r"\.hada_": "a LoHa",
    r"\.lokr_": "a LoKr",
    r"\.b?oft_": "an OFT",
    r"\.lora_mid\.": "a LoCon with Tucker decomposition",
    r"\.dora_scale|\.lora_magnitude_vector": "a DoRA",
    r"\.on_input$": "an IA³",
    r"\.diff(_b)?$": "full differences of weights",
    r"\.[ab]1\.weight$": "a GLoRA",
    r"\.w_norm$": "norms",
}


def is_lora(path: Path) -> bool:
    """Tell whether a file or folder holds a LoRA, or what is like one."""
    try:
        names = _read(path)[0]
    except (FileNotFoundError, ValueError):
        return False
    return any(_MARKS.search(name) or any(re.search(mark, name) for mark in _OTHERS) for name in names)


def add_lora(pipeline: Any, path: Path) -> list[str]:
    """Add a LoRA to a pipeline, in place, and name the parts of it that have one now.

    Args:
        pipeline: pipeline of diffusers.
        path: file, or folder with `pytorch_lora_weights`, peft's `adapter_model` (for one part, or in folders
            named by the parts), or one file of another name.

    Raises:
        FileNotFoundError: no LoRA there.
        ValueError: another kind of adapter, a damaged file, or one of another pipeline: tensors without a place.
    """
    raw, configs = _read(path)
    kinds = sorted({kind for name in raw for mark, kind in _OTHERS.items() if re.search(mark, name)})
    if kinds:
        raise ValueError(
            f"{path} is {' with '.join(kinds)}, which is not read; expected a LoRA, or merge it in its trainer"
        )
    if not any(_MARKS.search(name) for name in raw):
        raise ValueError(f"{path} holds no LoRA: its tensors are named {list_briefly(list(raw))}")
    if not hasattr(pipeline, "load_lora_weights"):
        raise ValueError(f"{type(pipeline).__name__} takes no LoRA")
    parts = {name: part for name, part in pipeline.components.items() if isinstance(part, nn.Module)}
    raw, scaled = _fold(_place(raw, parts, path), configs, path)
    name = _name_adapter(parts)
    try:
        unet = {"unet_config": pipeline.unet.config} if hasattr(pipeline, "unet") else {}
        expected = pipeline.lora_state_dict(dict(raw), **unet)
        expected = expected[0] if isinstance(expected, tuple) else expected
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Already found a `peft_config`", UserWarning)  # of an earlier LoRA
            pipeline.load_lora_weights(dict(raw), adapter_name=name)
    except (ValueError, RuntimeError, LookupError, AttributeError, TypeError) as error:
        raise ValueError(
            f"{path} is of another pipeline than this {_find_kind(pipeline)}: {say_error(error)[:300]}"
        ) from error
    taught = [one for one, part in parts.items() if name in getattr(part, "peft_config", {})]
    what = f"{path} is of another pipeline than this {_find_kind(pipeline)}"
    _check_all_there(expected, [parts[one] for one in taught], name, what)
    for one in taught:
        layer: Any  # of peft, of which only what is asked for is known
        for layer in parts[one].modules():
            if scaled and name in getattr(layer, "scaling", {}):
                layer.scaling[name] = 1.0
            if hasattr(layer, "set_adapter") and hasattr(layer, "lora_A"):
                layer.set_adapter(list(layer.lora_A))  # all that it has, not the newest alone
        parts[one].requires_grad_(False)
    return taught


def _name_adapter(parts: Mapping[str, nn.Module]) -> str:
    """Choose a name that no LoRA has yet; the first has peft's own."""
    taken = {name for part in parts.values() for name in getattr(part, "peft_config", {})}
    return next(name for name in ("default", *(f"default_{i}" for i in range(1, 1000))) if name not in taken)


def _find_kind(pipeline: Any) -> str:
    return type(pipeline).__name__


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read tensors, and configurations of peft by the part they are of ("" where nothing says)."""
    folders = [path, *(sorted(one for one in path.iterdir() if one.is_dir()) if path.is_dir() else [])]
    adapters = [one for one in folders if (one / _PEFT_CONFIG).is_file()]
    if path.is_file() and path.name in _PEFT and (path.parent / _PEFT_CONFIG).is_file():
        adapters = [path.parent]
    if not adapters:
        tensors, metadata = read_file(find_file(path, FILES))
        told = json.loads(metadata.get("lora_adapter_metadata", "{}"))
        configs: dict[str, Any] = {}
        for name, value in told.items():
            part, _, key = name.partition(".")
            configs.setdefault(part, {})[key] = value
        held = {str(name): value for name, value in tensors.items() if isinstance(value, Tensor)}
        return {_OLD.sub(lambda found: f".lora_{_PEFT_WAYS[found[2]]}.", name): held[name] for name in held}, configs
    found: dict[str, Tensor] = {}
    configs = {}
    for folder in adapters:
        part = "" if folder == path or path.is_file() else folder.name
        configs[part] = read_json(folder / _PEFT_CONFIG, "save the adapter again")
        kind = configs[part].get("peft_type", "LORA")
        if kind != "LORA":
            raise ValueError(f"{folder} is a {kind} of peft, which is not read; expected a LoRA, or merge it with peft")
        tensors, _ = read_file(find_file(folder, _PEFT))
        found |= {f"{part}|{name.removeprefix('base_model.model.')}": value for name, value in tensors.items()}
    return found, configs


def _place(raw: Mapping[str, Tensor], parts: Mapping[str, nn.Module], path: Path) -> dict[str, Tensor]:
    """Put the part that they are of before names of peft, which are those of its modules alone."""
    placed = {}
    for name, value in raw.items():
        part, bar, inside = name.partition("|")
        if not bar:
            return dict(raw)
        module = inside.partition(".lora_")[0]
        homes = [one for one in ([part] if part else parts) if one in parts and _has(parts[one], module)]
        if not homes:
            raise ValueError(f"{path} is of another pipeline: {module} is in none of {', '.join(parts)}")
        placed[f"{homes[0]}.{inside}"] = value
    return placed


def _has(part: nn.Module, module: str) -> bool:
    try:
        part.get_submodule(module.removeprefix("text_model.") if not hasattr(part, "text_model") else module)
    except AttributeError:
        return False
    return True


def _fold(raw: Mapping[str, Tensor], configs: Mapping[str, Any], path: Path) -> tuple[dict[str, Tensor], bool]:
    """Multiply alphas, told as tensors or by a configuration, into the second factors; tell whether there were any."""
    folded, scaled = {}, bool(configs)
    for name, value in raw.items():
        if name.endswith(".alpha"):
            scaled = True
            continue
        folded[name] = value
        up = re.search(r"lora_up|lora_B|(?<=_lora\.)up", name)
        if up is None:
            continue
        down = name[: up.start()] + {"lora_up": "lora_down", "lora_B": "lora_A", "up": "down"}[up[0]] + name[up.end() :]
        if down not in raw:
            raise ValueError(f"{path} has {name} without {down}; it is damaged")
        rank, alpha = raw[down].shape[0], raw.get(f"{name[: up.start()].rstrip('.')}.alpha")
        scale = 1.0 if alpha is None else float(alpha) / rank
        part, _, module = name[: up.start()].rstrip(".").partition(".")
        if config := configs.get(part) or configs.get(""):
            scale = _scale(config, module, rank)
        if scale != 1:
            folded[name] = (value.float() * scale).to(value.dtype)
    return folded, scaled


def _scale(config: Mapping[str, Any], module: str, rank: int) -> float:
    """Compute what peft multiplies a product with: α / r, or α / √r (Kalajdzievski 2023)."""
    patterns = config.get("alpha_pattern") or {}
    fits = [key for key in patterns if re.match(rf"(.*\.)?({key})$", module)]
    alpha = patterns[fits[0]] if fits else config.get("lora_alpha", rank)
    return float(alpha) / (rank**0.5 if config.get("use_rslora") else rank)


def _check_all_there(expected: Mapping[str, Tensor], parts: list[nn.Module], adapter: str, what: str) -> None:
    """Be sure that each tensor is in a pipeline, by its numbers: names differ between formats."""
    held = {
        name: value
        for i, part in enumerate(parts)
        for name, value in ((f"{i}.{key}", one) for key, one in part.named_parameters())
        if f".{adapter}." in f"{name}." and "lora_" in name
    }
    dtypes = {value.dtype for value in held.values()} or {torch.float32}
    there = Counter(_print(value) for value in held.values())
    left = []
    for name, value in expected.items():
        prints = {_print(value.to(dtype)) for dtype in dtypes}
        match = next((one for one in prints if there[one] > 0), None)
        if match is None:
            left.append(name)
        else:
            there[match] -= 1
    if left:
        raise ValueError(f"{what}: {len(left)} of {len(expected)} tensors find no place in it: {list_briefly(left)}")


def _print(value: Tensor) -> tuple[Any, ...]:
    plain = value.detach().cpu().contiguous()
    return (
        tuple(plain.shape),
        plain.dtype,
        hashlib.sha256(plain.reshape(-1).view(torch.uint8).numpy().tobytes()).digest(),
    )
