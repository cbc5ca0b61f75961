"""The same numbers sooner, where no gradient is asked for: the fastest kernels there are, found out and not assumed.

Private operators of PyTorch are used where they are there and give the plain operators' numbers, else the plain ones
(`dreamsim_metric.networks.onednn`).
"""

import copy
import logging
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache
from typing import Any

import torch
from torch import nn

from dreamsim_metric.networks.defaults import set_usual_defaults
from dreamsim_metric.networks.guards import close
from dreamsim_metric.networks.onednn import (
    attention_is_faster_in_steps,
    check_products_by_onednn,
    fuse_convolutions,
    fuse_linear,
    unfuse_attention,
)

# Above 32 MB (glibc's largest threshold) an activation is mapped and unmapped by the kernel at every layer, which takes
# longer than computing it. Six pictures stay below: the largest take 2.4 MB each in ViT-B, 4.8 MB in MobileNetV2.
CPU_BATCH = 6
_log = logging.getLogger(__name__)


def prepare_for_inference(network: nn.Module, image_size: int, dtype: torch.dtype = torch.float32) -> nn.Module:
    """Make a quick copy of a network for the CPU, without gradients; linear layers share their weights.

    Linear layers use oneDNN's product where that is the faster one, and have the GELU behind them in the same kernel. A
    convolution, the batch normalisation behind it and its activation become one, too, on channels-last pictures.

    Args:
        network: a network in evaluation mode that takes `(N, 3, S, S)`.
        image_size: height and width S of the pictures.
        dtype: the type of its input and of its weights but those of batch normalisation.

    Returns:
        A network with the same methods. Where its outputs would not be those of `network`, that itself.
    """
    has_linear = any(type(module) is nn.Linear for module in network.modules())
    has_norm = any(isinstance(module, nn.BatchNorm2d) for module in network.modules())
    by_onednn = has_linear and check_products_by_onednn(dtype)
    if dtype not in (torch.float32, torch.bfloat16) or not (has_norm or by_onednn):
        return network
    try:
        fast = share(network)
    except Exception as error:  # something was put there that has no copy
        _log.info("the plain network is taken (%s)", error)
        return network
    if by_onednn:
        fuse_linear(fast)
        if attention_is_faster_in_steps(dtype):
            unfuse_attention(fast)
    if not has_norm:
        return fast
    example = torch.linspace(-2, 2, 3 * image_size**2, dtype=torch.float32, device="cpu")
    example = example.view(1, 3, image_size, image_size)
    try:
        fuse_convolutions(fast, example.to(dtype), CPU_BATCH)
        got = fast(example.to(dtype))
    except (AttributeError, RuntimeError, TypeError):  # an operator that is not there, or has changed
        return network
    if dtype != torch.float32:  # where rounding would hide a layer that was misunderstood
        exact = copy.deepcopy(network).float()
        return network if prepare_for_inference(exact, image_size) is exact else fast
    return fast if close(got, network(example)) else network


@cache
def changes_are_counted() -> bool:
    """Tell whether `Tensor._version` is there, which is PyTorch's own, and grows when a number is changed in place."""
    with set_usual_defaults(), torch.no_grad():
        tensor = torch.zeros(1, dtype=torch.float32, device="cpu")
        before = getattr(tensor, "_version", None)
        tensor.add_(1)
        return before is not None and tensor._version > before


def share(module: nn.Module) -> nn.Module:
    """Copy a module so that its parts can be replaced, with the same parameters and buffers."""
    return copy.deepcopy(module, {id(tensor): tensor for tensor in [*module.parameters(), *module.buffers()]})


def keep_full_precision(device: torch.device, tf32: bool = False) -> AbstractContextManager[None]:
    """Let CUDA compute float32 products in full precision, or in TF32, whatever the process is set to.

    PyTorch's own default is TF32 for convolutions, and full precision for products. What is being compiled or exported
    is left alone.
    """
    if device.type != "cuda" or torch.compiler.is_compiling():
        return nullcontext()
    return _set_tf32(tf32)


@contextmanager
def _set_tf32(allowed: bool) -> Iterator[None]:
    """Set what CUDA's products and convolutions may do, by the older settings and by the newer `fp32_precision`.

    Once the newer ones were set, reading the older may raise an error. Where it does not, both are set, so that both
    say the same to whatever asks inside.
    """
    backends: Any = torch.backends
    products, convolutions = backends.cuda.matmul, backends.cudnn
    newer = hasattr(products, "fp32_precision")
    precisions = _read_precisions() if newer else []
    try:
        older = torch.get_float32_matmul_precision(), products.allow_tf32, convolutions.allow_tf32
    except RuntimeError:
        older = None
    try:
        if older:
            products.allow_tf32 = convolutions.allow_tf32 = allowed
        for setting in [products, convolutions.conv] if newer else []:
            if (setting.fp32_precision == "tf32") != allowed:
                setting.fp32_precision = "tf32" if allowed else "ieee"
        yield
    finally:
        if older:
            products.allow_tf32, convolutions.allow_tf32 = older[1:]
            torch.set_float32_matmul_precision(older[0])  # afterwards: "medium" is allowed, too, and more than that
        for setting, precision in precisions:
            setting.fp32_precision = precision


def _read_precisions() -> list[tuple[Any, str]]:
    """The newer settings that the older ones change, and what they are: "none" where it is that of what is above."""
    backends: Any = torch.backends
    above = backends.cudnn.fp32_precision
    found = [
        (setting, setting.fp32_precision) for setting in (backends.cuda.matmul, backends.cudnn.conv, backends.cudnn.rnn)
    ]
    found = [(setting, "none" if precision == above else precision) for setting, precision in found]
    cpu = backends.mkldnn.matmul.fp32_precision
    return [*found, (backends.mkldnn.matmul, "none" if cpu == backends.mkldnn.fp32_precision else cpu)]
