"""Low-rank adapters (LoRA, Hu et al. 2021, https://arxiv.org/abs/2106.09685): trained with peft, merged to score."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

if TYPE_CHECKING:
    from peft import LoraConfig

    from dreamsim_metric.metric import PerceptualMetric

_A, _B = ".lora_A.weight", ".lora_B.weight"


def merge_lora(state: dict[str, Tensor], adapter: dict[str, Tensor], config: dict[str, Any]) -> dict[str, Tensor]:
    """Add `alpha / r · B A` to the weights that the adapter tunes.

    Args:
        state: weights by name.
        adapter: `MODULE.lora_A.weight` `(r, in)` and `MODULE.lora_B.weight` `(out, r)`, MODULE as in `state`.
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
            f"the adapter does not fit the network: unknown tensors {_few(surplus)}, missing {_few(missing)}; "
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


def add_lora(
    metric: "PerceptualMetric", rank: int, alpha: float, dropout: float, targets: Sequence[str] = ()
) -> "LoraConfig":
    """Put trainable adapters into a metric, in place; what else it has stays frozen.

    The adapters begin at zero, so its distances do not change. Dropout is off until `set_dropout`.

    Args:
        metric: a `PerceptualMetric`.
        rank, alpha: the change to a weight is `alpha / rank · B A`.
        dropout: probability that an adapter's input is zeroed in training.
        targets: endings of the names of modules, `attn.proj` say; default the fused `qkv` of vision transformers (as
            DreamSim) and the pointwise convolutions of convolutional networks.

    Returns:
        peft's configuration, which belongs to the adapter.

    Raises:
        ValueError: nothing that could be tuned has such a name.
        ImportError: peft is not installed.
    """
    from peft import LoraConfig, inject_adapter_in_model

    modules = _targets(metric, tuple(targets))
    config = LoraConfig(
        r=rank,
        lora_alpha=alpha,  # type: ignore[arg-type] # any number will do
        lora_dropout=dropout,
        target_modules=modules,
        bias="none",
    )
    inject_adapter_in_model(config, metric)
    set_dropout(metric, False)
    # What was injected, by name: peft shortens long lists to endings, which another network may also have.
    config.target_modules = modules
    return config


def _targets(metric: "PerceptualMetric", endings: tuple[str, ...]) -> list[str]:
    found = []
    for name, module in metric.named_modules():
        pointwise = isinstance(module, nn.Conv2d) and module.kernel_size == (1, 1) and module.groups == 1
        if not (type(module) is nn.Linear or pointwise) or not name.startswith("branches."):
            continue
        if name.endswith(tuple("." + ending for ending in endings)) if endings else pointwise or name.endswith(".qkv"):
            found.append(name)
    branches = {name.split(".")[1] for name in found}
    untouched = [str(i) for i in range(len(metric.branches)) if str(i) not in branches]
    if untouched:
        wanted = ", ".join(endings) or "qkv, or a pointwise convolution"
        raise ValueError(
            f"found nothing to tune in branch {', '.join(untouched)}: expected linear layers or pointwise convolutions "
            f"that are named {wanted}; name others as targets (open_clip's own networks have none: use timm's)"
        )
    return found


def set_dropout(metric: nn.Module, on: bool) -> None:
    """Switch the adapters' dropout; all else in a metric always evaluates."""
    from peft.tuners.lora import LoraLayer

    for module in metric.modules():
        if isinstance(module, LoraLayer):
            module.lora_dropout.train(on)


def adapter_state(metric: nn.Module) -> dict[str, Tensor]:
    """The adapters of `add_lora` under the names that `merge_lora` takes."""
    return {
        name.replace(".lora_A.default.", ".lora_A.").replace(".lora_B.default.", ".lora_B."): tensor.detach().cpu()
        for name, tensor in metric.state_dict().items()
        if ".lora_A." in name or ".lora_B." in name
    }


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


def _few(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "") if names else "none"
