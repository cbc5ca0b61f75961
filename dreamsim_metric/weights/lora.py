"""Low-rank adapters (LoRA, Hu et al. 2021, https://arxiv.org/abs/2106.09685) merged into the weights they tune."""

import math
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from dreamsim_metric.messages import list_briefly

if TYPE_CHECKING:
    from torch import Tensor

PEFT_PREFIX = "base_model.model."  # of the names in peft's files
_A, _B = ".lora_A.weight", ".lora_B.weight"

# Of peft's configuration: what is read below, and what does not bear on the weights. Whatever else is set, an option
# that a later peft has too, changes what an adapter computes, or may.
_READ = ("peft_type", "r", "lora_alpha", "rank_pattern", "alpha_pattern", "use_rslora", "bias", "init_lora_weights")
_TARGETS = ("target_modules", "exclude_modules", "layers_to_transform", "layers_pattern")
_IDLE = (
    *("auto_mapping", "base_model_name_or_path", "inference_mode", "lora_dropout", "peft_version", "revision"),
    *("task_type", "megatron_core", "qalora_group_size", "runtime_config"),
    # init_lora_weights says whether one of these counts
    *("eva_config", "corda_config", "lora_ga_config", "loftq_config"),
)
# Others (PiSSA, OLoRA, CorDA, LoftQ, LoRA-GA) change the base weights, which the adapter's file does not hold.
_INITIALISATIONS = (True, False, "gaussian", "eva", "orthogonal", "mica")


def merge_lora(state: dict[str, "Tensor"], adapter: dict[str, "Tensor"], config: dict[str, Any]) -> dict[str, "Tensor"]:
    """Add `alpha / r · B A` to the weights that the adapter tunes.

    Args:
        state: weights by name.
        adapter: tensors `MODULE.lora_A.weight` `(r, in)` and `MODULE.lora_B.weight` `(out, r)`, MODULE as in `state`.
        config: peft's `adapter_config.json`. Modules, ranks and scales are read from it: they differ between released
            checkpoints.

    Returns:
        A new state; the tensors that are not tuned are shared with `state`.

    Raises:
        ValueError: tensors that do not pair, fit or belong, that the configuration promises and are not there, or that
            are not finite; or a kind of adapter other than LoRA on weights that it leaves as they were.
    """
    _check_kind(config)
    if not adapter:
        raise ValueError("the adapter is empty; expected lora_A and lora_B for modules of the network")
    targets = _find_targets(config, state)
    modules = {name.removesuffix(end) for name in adapter for end in (_A, _B) if name.endswith(end)}
    untold = {name for name in adapter if not name.endswith((_A, _B))}
    untold |= {module + end for module in modules - targets for end in (_A, _B) if module + ".weight" in state}
    modules |= targets
    missing = {module + end for module in modules for end in (_A, _B)} - adapter.keys()
    missing |= {module + ".weight" for module in modules} - state.keys()
    if untold or missing:
        raise ValueError(
            f"the adapter does not fit the network: unknown tensors {list_briefly(sorted(untold), 5) or 'none'}, "
            f"missing {list_briefly(sorted(missing), 5) or 'none'}; expected lora_A and lora_B for every module of the "
            "network that adapter_config.json targets (adapters of DreamSim v0.1 are not supported)"
        )
    broken = sorted(name for name, tensor in adapter.items() if not tensor.isfinite().all())
    if broken:
        raise ValueError(f"the adapter has numbers that are not finite in {list_briefly(broken, 5)}")
    merged = dict(state)
    for module in sorted(modules):
        a, b, weight = adapter[module + _A].double(), adapter[module + _B].double(), state[module + ".weight"]
        rank, scale = _rank_and_scale(config, module)
        out, into, *kernel = (*weight.shape, 0, 0) if weight.ndim < 2 else weight.shape
        shapes, expected = (tuple(b.shape), tuple(a.shape)), ((out, rank, *(1 for _ in kernel)), (rank, into, *kernel))
        if shapes != expected:
            raise ValueError(
                f"the adapter of {module} has B and A of {shapes[0]} and {shapes[1]}; "
                f"expected rank {rank} for a weight {tuple(weight.shape)}"
            )
        change = (b.flatten(1) @ a.flatten(1)).view_as(weight)  # a convolution is a matrix too
        merged[module + ".weight"] = (weight.double() + scale * change).to(weight.dtype)
    return merged


def _check_kind(config: Any) -> None:
    rank, alpha = (config.get(name) for name in ("r", "lora_alpha")) if isinstance(config, dict) else (None, None)
    if not (_is_rank(rank) and _is_alpha(alpha)):
        raise ValueError(f"adapter_config.json has r {rank!r} and lora_alpha {alpha!r}; expected peft's configuration")
    unsupported = {name: value for name, value in config.items() if value and name not in (*_READ, *_TARGETS, *_IDLE)}
    if config.get("peft_type", "LORA") != "LORA" or config.get("bias", "none") != "none":
        unsupported |= {name: config.get(name) for name in ("peft_type", "bias")}
    patterns = {name: config.get(name) or {} for name in ("rank_pattern", "alpha_pattern")}
    for (name, pattern), fits in zip(patterns.items(), (_is_rank, _is_alpha), strict=True):
        if not isinstance(pattern, dict) or not all(map(fits, pattern.values())):
            unsupported[name] = pattern
    if unsupported:
        raise ValueError(
            f"adapter_config.json asks for {unsupported}; expected plain LoRA without biases "
            "(peft's merge_and_unload gives merged weights of other kinds)"
        )
    start = config.get("init_lora_weights", True)
    if start not in _INITIALISATIONS and str(start).lower() not in _INITIALISATIONS:
        raise ValueError(
            f"adapter_config.json has init_lora_weights {start!r}, which changes the base weights, so that the adapter "
            "does not belong to those at hand; expected one that was saved by peft's "
            "save_pretrained(…, path_initial_model_for_weight_conversion=…)"
        )


def _is_rank(value: Any) -> bool:
    return type(value) is int and value >= 1


def _is_alpha(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


def _rank_and_scale(config: Mapping[str, Any], module: str) -> tuple[int, float]:
    rank, alpha = (
        next((value for key, value in (config.get(pattern) or {}).items() if _matches(rf"(.*\.)?({key})", module)), own)
        for pattern, own in (("rank_pattern", config["r"]), ("alpha_pattern", config["lora_alpha"]))
    )
    return rank, alpha / (math.sqrt(rank) if config.get("use_rslora") else rank)


def _find_targets(config: Mapping[str, Any], state: Mapping[str, "Tensor"]) -> set[str]:
    """Find the modules that a configuration of peft tunes, by peft's rules."""
    named, layers = config.get("target_modules"), config.get("layers_to_transform")
    if isinstance(named, str) and named.lower() == "all-linear":
        named = [name.removesuffix(".weight") for name in state if name.endswith(".weight") and state[name].ndim == 2]
    modules = {name.rpartition(".")[0] for name in state}
    found = {module for module in modules if _is_named(named, module)}
    found -= {module for module in found if _is_named(config.get("exclude_modules"), module)}
    if layers is not None and layers != [] and not isinstance(named, str):
        wanted = [layers] if isinstance(layers, int) else layers
        found = {module for module in found if module in (named or ()) or _find_layer(config, module) in wanted}
    if not found:
        raise ValueError(
            f"adapter_config.json targets {named!r}, and no module of the network is called so; "
            "expected the adapter of another network, or none"
        )
    return found


def _is_named(names: Any, module: str) -> bool:
    if isinstance(names, str):
        return _matches(names, module)
    return any(module == name or module.endswith(f".{name}") for name in names or ())


def _find_layer(config: Mapping[str, Any], module: str) -> int | None:
    """Number of the layer that a module is in: the first number behind one of the names of lists of layers."""
    names = config.get("layers_pattern")
    patterns = [rf"(?:.*?\.)?{name}" for name in ([names] if isinstance(names, str) else names or ())]
    for pattern in patterns or [r".*?\.[^.]*"]:
        if match := re.match(rf"{pattern}\.(\d+)\.", module):
            return int(match[1])
    return None


def _matches(pattern: str, module: str) -> bool:
    try:
        return re.fullmatch(pattern, module) is not None
    except re.error as error:
        raise ValueError(f"adapter_config.json has {pattern!r}, which is no pattern of names ({error})") from error
