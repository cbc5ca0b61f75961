"""Layers that are one oneDNN kernel with what follows them, and what oneDNN does faster than the usual kernels.

The operators are those that PyTorch's compiler uses, and private: they may be missing or change.
`check_products_by_onednn`, `fuse_linear` and `dreamsim_metric.networks.inference` look and compare before they leave
the plain ones.
"""

import time
from collections.abc import Callable, Iterable
from functools import cache
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from dreamsim_metric.networks.defaults import set_usual_defaults
from dreamsim_metric.networks.guards import agrees, close, draw_noise, runs_in_order
from dreamsim_metric.networks.stand_in import carries_more, is_looked_at

_WORTH_IT = 1.4  # far from what noise makes of equal kernels: two processes should choose alike, to the last bit
_BEHIND_NORM: dict[type[nn.Module], tuple[str, list[float]]] = {
    nn.Identity: ("none", []),
    nn.ReLU: ("relu", []),
    nn.ReLU6: ("hardtanh", [0.0, 6.0]),
}
_QUICK_GELU = 1.702  # x · sigmoid(1.702 x) is oneDNN's swish of 1.702 x, divided by it


def compute_linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Compute `F.linear`, by oneDNN where that is faster, on the CPU without gradients."""
    plain = torch.is_grad_enabled() or x.device.type != "cpu" or is_looked_at(x) or carries_more(weight)
    if plain or x.dtype != weight.dtype or not check_products_by_onednn(x.dtype):
        return F.linear(x, weight, bias)
    return torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")


class FusedLinear(nn.Linear):
    """A linear layer and the activation behind it in one oneDNN kernel, for the CPU without gradients.

    Args:
        layer: the layer whose weights are shared.
        activation: `nn.Identity`, or a GELU (`is_gelu`).
    """

    def __init__(self, layer: nn.Linear, activation: nn.Module):
        super().__init__(layer.in_features, layer.out_features, device="meta")
        self.weight, self.bias = layer.weight, layer.bias
        self.activation = activation
        self.quick = type(activation).__name__ == "QuickGELU"
        algorithm = getattr(activation, "approximate", "none")
        self.fused = ("swish", "") if self.quick else ("gelu", algorithm) if is_gelu(activation) else ("none", "")

    def forward(self, x: Tensor) -> Tensor:
        if x.dtype != self.weight.dtype:  # under autocast
            return self.activation(super().forward(x))
        bias: Tensor | None = self.bias
        if self.quick:
            x, bias = x * _QUICK_GELU, None if bias is None else bias * _QUICK_GELU
        operator, algorithm = self.fused
        y = torch.ops.mkldnn._linear_pointwise(x, self.weight, bias, operator, [], algorithm)
        return y.div_(_QUICK_GELU) if self.quick else y


def is_gelu(module: nn.Module) -> bool:
    """Look whether it is a GELU or QuickGELU, of PyTorch, timm or open_clip."""
    return type(module).__name__ in ("GELU", "QuickGELU")


def fuse_linear(network: nn.Module) -> None:
    """Put `FusedLinear` in place of linear layers, and of the GELUs that follow them in transformers.

    Of each kind of layer, the first is compared with the plain one before any is replaced.
    """
    equal: dict[str, bool] = {}
    for parent in list(network.modules()):
        children = [*parent.named_children(), ("", nn.Identity())]
        for (name, layer), (behind, activation) in pairwise(children):
            if type(layer) is not nn.Linear:
                continue
            if not (is_gelu(activation) and _is_next(parent, layer, equal)):
                activation = nn.Identity()
            fused, kind = FusedLinear(layer, activation), f"oneDNN's {layer} and {activation}"
            if kind not in equal:
                x = draw_noise(2, layer.in_features, like=layer.weight)
                equal[kind] = agrees(kind, fused, nn.Sequential(layer, activation), x)
            if equal[kind]:
                setattr(parent, name, fused)
                if is_gelu(activation):
                    setattr(parent, behind, nn.Identity())


def _is_next(parent: nn.Module, layer: nn.Linear, known: dict[str, bool]) -> bool:
    """Whether what a parent lists behind a layer is what it computes behind it."""
    from timm.layers import Mlp

    if type(parent) is nn.Sequential:
        return True
    if type(parent) is not Mlp:
        return False
    if (kind := str(parent)) not in known:
        known[kind] = runs_in_order(parent, draw_noise(2, layer.in_features, like=layer.weight))
    return known[kind]


@cache
@set_usual_defaults()
def check_products_by_onednn(dtype: torch.dtype) -> bool:
    """Look whether oneDNN's matrix product is there, exact, and the faster one.

    In float32, on AMD processors with AVX-512, it is twice as fast as MKL's, on others it may be slower: it is timed
    once a process, and one that differs by more than rounding (bfloat16 inside, which oneDNN may use where it is
    allowed to) is not taken. In bfloat16 the usual product is oneDNN's, too, and the two must be equal: what is won are
    the steps around it and the activation behind it.
    """
    if not torch.backends.mkldnn.is_available():
        return False
    if torch.backends.cpu.get_cpu_capability() != "AVX512":  # with AVX2 they are equal, and noise would choose
        return False
    if dtype not in (torch.float32, torch.bfloat16):
        return False
    with torch.inference_mode():
        random = torch.Generator().manual_seed(0)
        x, weight = (
            torch.randn(rows, 768, generator=random, dtype=torch.float32, device="cpu").to(dtype) for rows in (394, 768)
        )
        kernels: Any = (F.linear, lambda x, w, b=None: torch.ops.mkldnn._linear_pointwise(x, w, b, "none", [], ""))
        try:
            usual, other = (kernel(x, weight) for kernel in kernels)  # the first call of each sets things up
            bias = 100 * weight[0]
            if not close(kernels[1](x, weight, bias), other + bias):
                return False
        except (AttributeError, RuntimeError, TypeError):  # it is not there, or not for these numbers or arguments
            return False
        if dtype == torch.bfloat16:
            return torch.equal(usual, other)
        if not torch.allclose(usual, other, rtol=0, atol=1e-3):  # sums of 768 unit products; bfloat16 is off by 0.3
            return False
        return _check_much_slower(*kernels, x, weight)


def unfuse_attention(network: nn.Module) -> None:
    """Let timm's attention take its steps one by one, where that is faster."""
    modules: Iterable[Any] = network.modules()
    for module in modules:
        if getattr(module, "fused_attn", False):
            module.fused_attn = False


@cache
@set_usual_defaults()
def attention_is_faster_in_steps(dtype: torch.dtype) -> bool:
    """Look whether two products and a softmax are faster than PyTorch's fused attention; timed once a process.

    In bfloat16 they are twice as fast on processors with AVX-512 that have no AMX: oneDNN's products use the
    processor's bfloat16 there, and those of the fused kernel do not.
    """
    if dtype != torch.bfloat16 or not torch.backends.mkldnn.is_available():
        return False
    with torch.inference_mode():
        random = torch.Generator().manual_seed(0)
        tokens = torch.randn(3, 24, 197, 64, generator=random, dtype=torch.float32, device="cpu").to(dtype)
        return _check_much_slower(F.scaled_dot_product_attention, _attend_in_steps, *tokens)


def _attend_in_steps(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return (q @ k.transpose(-2, -1)).softmax(-1) @ v


def _check_much_slower(usual: Callable[..., Tensor], other: Callable[..., Tensor], *given: Tensor) -> bool:
    best = [float("inf")] * 2
    for _ in range(8):  # the first sets things up
        for i, kernel in enumerate((usual, other)):
            start = time.perf_counter()
            kernel(*given)
            best[i] = min(best[i], time.perf_counter() - start)
    return best[0] > _WORTH_IT * best[1]


class FusedConvolution(nn.Module):
    """Convolution, batch normalisation and activation in one oneDNN kernel.

    Args:
        convolution: the convolution, with zero padding.
        norm: the batch normalisation behind it, in evaluation mode; timm's hold an activation.
        shape: the shape of the input that the weights are laid out for.
    """

    def __init__(self, convolution: nn.Conv2d, norm: nn.BatchNorm2d, shape: torch.Size):
        super().__init__()
        numbers = (convolution.weight, convolution.bias, norm.running_mean, norm.running_var)
        wide: Any = [None if tensor is None else tensor.double() for tensor in numbers]  # rounded once, at the end
        weight, bias = fuse_conv_bn_weights(wide[0], wide[1], wide[2], wide[3], norm.eps, norm.weight, norm.bias)
        self.places = (convolution.padding, convolution.stride, convolution.dilation, convolution.groups)
        layout: Any = torch._C._nn.mkldnn_reorder_conv2d_weight
        self.weight = layout(weight.to(convolution.weight.dtype).to_mkldnn(), *self.places, shape)
        self.bias = bias.to(convolution.weight.dtype)
        activation = getattr(norm, "act", nn.Identity())
        self.fused = _BEHIND_NORM.get(type(activation), ("none", []))
        self.activation = nn.Identity() if type(activation) in _BEHIND_NORM else activation

    def forward(self, x: Tensor) -> Tensor:
        kernel = torch.ops.mkldnn._convolution_pointwise
        x = x.contiguous(memory_format=torch.channels_last)  # nothing to do but in the first
        return self.activation(kernel(x, self.weight, self.bias, *self.places, *self.fused, ""))


def fuse_convolutions(network: nn.Module, example: Tensor, batch: int) -> None:
    """Put `FusedConvolution` where an example shows a batch normalisation to follow a convolution directly.

    Args:
        network: the network whose parts are replaced.
        example: one picture.
        batch: the number of pictures at which its speed matters. For another one oneDNN may want weights laid out
            otherwise, which it then does again at every call.
    """
    made_by: dict[int, tuple[nn.Conv2d, torch.Size, Tensor]] = {}
    found: list[tuple[nn.Conv2d, nn.BatchNorm2d, torch.Size]] = []

    def convolved(module: nn.Module, given: tuple[Tensor, ...], output: Tensor) -> None:
        assert isinstance(module, nn.Conv2d)
        made_by[id(output)] = module, given[0].shape, output  # kept, so that no other tensor gets its id

    def normalised(module: nn.Module, given: tuple[Tensor, ...]) -> None:
        if id(given[0]) in made_by:
            convolution, shape, _ = made_by.pop(id(given[0]))
            assert isinstance(module, nn.BatchNorm2d)
            found.append((convolution, module, shape))

    hooks: list[Any] = []
    for module in network.modules():
        if type(module) is nn.Conv2d and module.padding_mode == "zeros" and not isinstance(module.padding, str):
            hooks.append(module.register_forward_hook(convolved))
        elif isinstance(module, nn.BatchNorm2d) and module.track_running_stats:
            hooks.append(module.register_forward_pre_hook(normalised))
    try:
        network(example)
    finally:
        for hook in hooks:
            hook.remove()
    names = {module: name for name, module in network.named_modules()}
    for convolution, norm, shape in found:
        whole = torch.Size((batch, *shape[1:]))
        _replace(network, names[convolution], FusedConvolution(convolution, norm, whole))
        _replace(network, names[norm], nn.Identity())


def _replace(network: nn.Module, name: str, module: nn.Module) -> None:
    parent, _, last = name.rpartition(".")
    setattr(network.get_submodule(parent), last, module)
