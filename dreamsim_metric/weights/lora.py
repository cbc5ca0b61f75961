"""Low-rank adapters (LoRA, Hu et al. 2021, https://arxiv.org/abs/2106.09685) merged into the weights they tune."""

from typing import Any

from torch import Tensor

from dreamsim_metric.messages import list_briefly

_A, _B = ".lora_A.weight", ".lora_B.weight"


def merge_lora(state: dict[str, Tensor], adapter: dict[str, Tensor], config: dict[str, Any]) -> dict[str, Tensor]:
    """Add `alpha / r · B A` to the weights that the adapter tunes.

    Args:
        state: weights by name.
        adapter: tensors `MODULE.lora_A.weight` `(r, in)` and `MODULE.lora_B.weight` `(out, r)`, MODULE as in `state`.
        config: peft's `adapter_config.json`. The scale is read from it: it differs between released checkpoints.

    Returns:
        A new state; the tensors that are not tuned are shared with `state`.

    Raises:
        ValueError: tensors that do not pair, fit or belong, or a kind of adapter other than plain LoRA.
    """
    scale = _scale(config)
    if not adapter:
        raise ValueError("the adapter is empty; expected lora_A and lora_B for modules of the network")
    modules = {name.removesuffix(end) for name in adapter for end in (_A, _B) if name.endswith(end)}
    surplus = sorted(name for name in adapter if not name.endswith((_A, _B)))
    missing = sorted(
        {module + end for module in modules for end in (_A, _B)} - adapter.keys()
        | {module + ".weight" for module in modules} - state.keys()
    )
    if surplus or missing:
        raise ValueError(
            f"the adapter does not fit the network: unknown tensors {list_briefly(surplus, 5) or 'none'}, "
            f"missing {list_briefly(missing, 5) or 'none'}; "
            "expected lora_A and lora_B for modules of the network (adapters of DreamSim v0.1 are not supported)"
        )
    merged = dict(state)
    for module in sorted(modules):
        a, b, weight = adapter[module + _A].double(), adapter[module + _B].double(), state[module + ".weight"]
        shapes, rank = (tuple(b.shape), tuple(a.shape)), config["r"]
        out, into, *kernel = weight.shape
        if kernel not in ([], [1, 1]) or shapes != ((out, rank, *kernel), (rank, into, *kernel)):
            raise ValueError(
                f"the adapter of {module} has B and A of {shapes[0]} and {shapes[1]}; "
                f"expected rank {rank} for a weight {tuple(weight.shape)}"
            )
        change = (b.flatten(1) @ a.flatten(1)).view_as(weight)  # a pointwise convolution is a matrix too
        merged[module + ".weight"] = (weight.double() + scale * change).to(weight.dtype)
    return merged


def _scale(config: dict[str, Any]) -> float:
    rank, alpha = (config.get(name) for name in ("r", "lora_alpha")) if isinstance(config, dict) else (None, None)
    if not isinstance(rank, int) or not isinstance(alpha, int | float) or rank < 1:
        raise ValueError(f"adapter_config.json has r {rank!r} and lora_alpha {alpha!r}; expected peft's configuration")
    unsupported = {
        name: config[name]
        for name in ("use_rslora", "use_dora", "fan_in_fan_out", "rank_pattern", "alpha_pattern", "modules_to_save")
        if config.get(name)
    }
    if config.get("peft_type", "LORA") != "LORA" or config.get("bias", "none") != "none":
        unsupported |= {name: config.get(name) for name in ("peft_type", "bias")}
    if unsupported:
        raise ValueError(f"adapter_config.json asks for {unsupported}; expected plain LoRA without biases")
    return alpha / rank
