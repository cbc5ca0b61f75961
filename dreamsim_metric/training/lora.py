"""Low-rank adapters (LoRA, Hu et al. 2021, arxiv.org/abs/2106.09685), put into a metric to be trained by peft."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from torch import Tensor, nn

if TYPE_CHECKING:
    from peft import LoraConfig

    from dreamsim_metric.metric import PerceptualMetric


def add_lora(
    metric: "PerceptualMetric", rank: int, alpha: float, dropout: float, targets: Sequence[str] = ()
) -> "LoraConfig":
    """Put trainable adapters into a metric, in place; what else it has stays frozen.

    The adapters begin at zero, so its distances do not change. Dropout is off until `set_dropout`.

    Args:
        metric: the metric to tune, changed in place.
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

    modules = _find_targets(metric, tuple(targets))
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


def _find_targets(metric: "PerceptualMetric", endings: tuple[str, ...]) -> list[str]:
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


def collect_adapter_state(metric: nn.Module) -> dict[str, Tensor]:
    """Copy the adapters of `add_lora` under the names that `merge_lora` takes."""
    return {
        name.replace(".lora_A.default.", ".lora_A.").replace(".lora_B.default.", ".lora_B."): tensor.detach().cpu()
        for name, tensor in metric.state_dict().items()
        if ".lora_A." in name or ".lora_B." in name
    }
