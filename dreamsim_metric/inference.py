"""The same numbers sooner, where no gradient is asked for: the fastest kernels there are, found out and not assumed.

Private operators of PyTorch are used where they are there and give the plain operators' numbers, else the plain ones.
"""

import copy
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

# Above 32 MB (glibc's largest threshold) an activation is mapped and unmapped by the kernel at every layer, which takes
# longer than computing it. Eight pictures stay below with ViT-B (2.4 MB each) and nearly so with MobileNetV2 (4.8 MB).
CPU_BATCH = 8
_WORTH_IT = 1.4  # far from what noise makes of equal kernels: two processes should choose alike, to the last bit
# Of the largest value: far above rounding, far below a layer that was misunderstood.
_AGREE = {torch.float32: 1e-4, torch.bfloat16: 0.1, torch.float16: 0.02}
_ACTIVATIONS: dict[type[nn.Module], tuple[str, list[float]]] = {
    nn.Identity: ("none", []),
    nn.ReLU: ("relu", []),
    nn.ReLU6: ("hardtanh", [0.0, 6.0]),
}


def for_inference(network: nn.Module, image_size: int) -> nn.Module:
    """A copy of a network in evaluation mode for the CPU, without gradients; linear layers share their weights.

    In float32, linear layers use oneDNN's product where that is the faster one. A convolution, the batch normalisation
    behind it and its activation become one oneDNN kernel on channels-last pictures.

    Args:
        network: takes `(N, 3, S, S)`.
        image_size: S.

    Returns:
        A network with the same methods. Where its outputs would not be those of `network`, that itself.
    """
    dtype = next(network.parameters()).dtype
    has_linear = any(type(module) is nn.Linear for module in network.modules())
    has_norm = any(isinstance(module, nn.BatchNorm2d) for module in network.modules())
    by_onednn = has_linear and dtype == torch.float32 and products_by_onednn()
    if dtype not in _AGREE or not (has_norm or by_onednn):
        return network
    fast = share(network)
    if by_onednn:
        for module in fast.modules():
            if type(module) is nn.Linear:
                module.__class__ = OneDnnLinear
    if not has_norm:
        return fast
    example = torch.linspace(-2, 2, 3 * image_size**2).view(1, 3, image_size, image_size).to(dtype)
    try:
        _fuse(fast, example)
        expected, got = network(example), fast(example)
    except (RuntimeError, AttributeError):  # an operator that is not there, or has changed
        return network
    return fast if (got - expected).abs().max() <= _AGREE[dtype] * expected.abs().max() else network


def share(module: nn.Module) -> nn.Module:
    """A copy whose parts can be replaced, with the same parameters and buffers."""
    return copy.deepcopy(module, {id(tensor): tensor for tensor in [*module.parameters(), *module.buffers()]})


def linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """`F.linear`; by oneDNN where that is faster, on the CPU in float32 without gradients."""
    plain = torch.is_grad_enabled() or x.device.type != "cpu" or x.dtype != torch.float32
    if plain or torch.compiler.is_compiling() or not products_by_onednn():
        return F.linear(x, weight, bias)
    return torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")


class OneDnnLinear(nn.Linear):
    """A linear layer that goes through `linear`."""

    def forward(self, x: Tensor) -> Tensor:
        return linear(x, self.weight, self.bias)


@lru_cache(maxsize=1)
def products_by_onednn() -> bool:
    """Whether oneDNN's float32 matrix product is there, exact, and faster than the usual one; timed once a process.

    On AMD processors with AVX-512 it is twice as fast as MKL's, on others it may be slower. One that differs from the
    usual product by more than rounding (bfloat16 inside, which oneDNN may use where it is allowed to) is not taken.
    """
    if not (torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")):
        return False
    if torch.backends.cpu.get_cpu_capability() != "AVX512":  # with AVX2 they are equal, and noise would choose
        return False
    with torch.inference_mode():
        random = torch.Generator().manual_seed(0)
        x, weight = torch.randn(394, 768, generator=random), torch.randn(768, 768, generator=random)
        kernels = (F.linear, lambda x, w: torch.ops.mkldnn._linear_pointwise(x, w, None, "none", [], ""))
        try:
            usual, other = (kernel(x, weight) for kernel in kernels)  # the first call of each sets things up
        except RuntimeError:
            return False
        if not torch.allclose(usual, other, rtol=0, atol=1e-3):  # sums of 768 unit products; bfloat16 is off by 0.3
            return False
        best = [float("inf")] * len(kernels)
        for _ in range(7):
            for i, kernel in enumerate(kernels):
                start = time.perf_counter()
                kernel(x, weight)
                best[i] = min(best[i], time.perf_counter() - start)
    return best[0] > _WORTH_IT * best[1]


def full_precision(device: torch.device, tf32: bool = False) -> AbstractContextManager[None]:
    """Float32 products and convolutions on CUDA in full precision, or in TF32, whatever the process is set to.

    PyTorch's own default is TF32 for convolutions, and full precision for products. What is being compiled or exported
    is left alone.
    """
    if device.type != "cuda" or torch.compiler.is_compiling():
        return nullcontext()
    return _tf32_set_to(tf32)


@contextmanager
def _tf32_set_to(allowed: bool) -> Iterator[None]:
    products, convolutions = torch.backends.cuda.matmul, torch.backends.cudnn
    before = products.allow_tf32, convolutions.allow_tf32
    products.allow_tf32 = convolutions.allow_tf32 = allowed
    try:
        yield
    finally:
        products.allow_tf32, convolutions.allow_tf32 = before


class FusedConvolution(nn.Module):
    """Convolution, batch normalisation and activation in one oneDNN kernel.

    Args:
        convolution: with zero padding.
        norm: behind it, in evaluation mode; timm's hold an activation.
        shape: of the input, for which the weights are laid out.
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
        self.fused = _ACTIVATIONS.get(type(activation), ("none", []))
        self.activation = nn.Identity() if type(activation) in _ACTIVATIONS else activation

    def forward(self, x: Tensor) -> Tensor:
        kernel = torch.ops.mkldnn._convolution_pointwise
        x = x.contiguous(memory_format=torch.channels_last)  # nothing to do but in the first
        return self.activation(kernel(x, self.weight, self.bias, *self.places, *self.fused, ""))


def _fuse(network: nn.Module, example: Tensor) -> None:
    """Put `FusedConvolution` where an example shows a batch normalisation to follow a convolution directly."""
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
        _replace(network, names[convolution], FusedConvolution(convolution, norm, shape))
        _replace(network, names[norm], nn.Identity())


def _replace(network: nn.Module, name: str, module: nn.Module) -> None:
    parent, _, last = name.rpartition(".")
    setattr(network.get_submodule(parent), last, module)
