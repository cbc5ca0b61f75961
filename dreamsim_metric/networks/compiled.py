"""A metric's networks compiled for a few batch sizes; on CUDA each size is recorded once and replayed as a graph."""

import math
import threading
import warnings
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from importlib import import_module
from typing import Any

import torch
import torch.nn.functional as F
from timm.layers import Mlp, PatchEmbed
from torch import Tensor, nn

from dreamsim_metric.networks.guards import agrees, draw_noise, runs_in_order
from dreamsim_metric.networks.inference import keep_full_precision, share
from dreamsim_metric.networks.stand_in import Makeup, can_be_copied, has_hooks, is_looked_at

_VERSIONS = 1024
_LIMITS = ("recompile_limit", "accumulated_recompile_limit")
_CALL = 4  # pictures that would take as long as a call does by itself, about, whatever is in it
_WARM_UP = 3  # runs before a graph is recorded: the first ones compile, choose kernels and allocate


class Compiled:
    """Pixels to features, by branches that have been compiled.

    Each network is compiled as a whole. Block by block takes half as long and runs 3 % slower: what one block adds is
    then not fused with the norm of the next. Batches are filled up to the next size of `buckets`, since each size is
    compiled by itself, or cut to smaller ones.

    Args:
        branches: the branches of a metric; their weights are shared, not copied.
        buckets: sizes of batches, ascending; larger ones are cut.

    Raises:
        ValueError: the sizes are not ascending, or not positive.
    """

    def __init__(self, branches: Any, buckets: Sequence[int]) -> None:
        if not buckets or list(buckets) != sorted(set(buckets)) or buckets[0] < 1:
            raise ValueError(f"got batch sizes {list(buckets)}; expected ascending positive ones")
        self.buckets = tuple(buckets)
        shared: Any = [share(branch) for branch in branches]
        # A look at every setting of every layer would take as long as a replayed graph.
        self._makeups = [
            Makeup(branch.network, copy.network, settings=False) for branch, copy in zip(branches, shared, strict=True)
        ]
        self._may_stand_in = can_be_copied(branches)
        self._branches = [_compile(branch) for branch in shared]
        self._graphs: dict[int, tuple[Tensor, torch.cuda.CUDAGraph, Tensor]] = {}
        self._lock = threading.Lock()  # a graph has one place for what goes in

    def stands_for(self, branches: Any, pixels: Tensor) -> bool:
        """Tell whether nothing but these branches' numbers is wanted, and they are what was compiled."""
        return (
            self._may_stand_in
            and not is_looked_at(pixels)
            and not any(map(has_hooks, (branches, *branches)))
            and all(makeup.holds(branch.network) for makeup, branch in zip(self._makeups, branches, strict=True))
        )

    @torch.no_grad()
    def __call__(self, pixels: Tensor) -> Tensor:
        """`(N, 3, S, S)` float32 in [0, 1] on the device of the weights → features, without gradients."""
        parts = []
        for size in self.sizes(len(pixels)):
            some, pixels = pixels[:size], pixels[size:]
            filled = torch.cat([some, some.new_zeros(size - len(some), *some.shape[1:])]) if size > len(some) else some
            parts.append(self._run(filled)[: len(some)])
        return torch.cat(parts)

    def sizes(self, n: int) -> list[int]:
        """Plan batches for `n` pictures that take about the least time: full ones, or one filled up where that is less.

        64 pictures are two batches of 32 rather than half of 128.
        """
        sizes: list[int] = []
        while n > 0 or not sizes:
            full = max((size for size in self.buckets if size <= n), default=None)
            filled = min((size for size in self.buckets if size >= n), default=None)
            if full and (filled is None or filled + _CALL > n + _CALL * math.ceil(n / full)):
                sizes.append(full)
            else:
                sizes.append(filled or self.buckets[0])
            n -= sizes[-1]
        return sizes

    def _run(self, pixels: Tensor) -> Tensor:
        if pixels.device.type != "cuda":
            return self._features(pixels)
        with self._lock:
            if len(pixels) not in self._graphs:
                self._graphs[len(pixels)] = self._record(pixels)
            given, graph, features = self._graphs[len(pixels)]
            given.copy_(pixels)
            graph.replay()
            return features.clone()

    def _record(self, pixels: Tensor) -> tuple[Tensor, torch.cuda.CUDAGraph, Tensor]:
        given = pixels.clone()
        beside = torch.cuda.Stream(given.device)  # warming up on the usual stream would leave its work in the graph
        beside.wait_stream(torch.cuda.current_stream(given.device))
        with torch.cuda.stream(beside), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "TensorFloat32 tensor cores")  # off because float32 was asked for
            for _ in range(_WARM_UP):
                self._features(given)
        torch.cuda.current_stream(given.device).wait_stream(beside)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            features = self._features(given)
        return given, graph, features

    def _features(self, pixels: Tensor) -> Tensor:
        with _allow_many_versions():
            if pixels.device.type == "cuda":
                return torch.cat(self._side_by_side(pixels), dim=-1)
            return torch.cat([branch(pixels) for branch in self._branches], dim=-1)

    def _side_by_side(self, pixels: Tensor) -> list[Tensor]:
        """Features by branch, each on a stream of its own: the smaller a batch, the less of a GPU one network fills."""
        here = torch.cuda.current_stream(pixels.device)
        features = []
        streams = [torch.cuda.Stream(pixels.device) for _ in self._branches]
        for branch, stream in zip(self._branches, streams, strict=True):
            stream.wait_stream(here)
            with torch.cuda.stream(stream):
                features.append(branch(pixels))
        for stream in streams:
            here.wait_stream(stream)
        return features


def _allow_many_versions() -> AbstractContextManager[Any]:
    """Several networks, each for several batch sizes, are more than the eight versions after which PyTorch gives up.

    It then runs what has not been compiled, which is slower and right; so it does where it has no such limits to raise.
    """
    config = _choose_compiler_config()
    return config.patch(dict.fromkeys(_LIMITS, _VERSIONS)) if config else nullcontext()


@cache
def _choose_compiler_config() -> Any:
    for name in ("torch.compiler.config", "torch._dynamo.config"):  # in older versions only the second has the limits
        try:
            config = import_module(name)
        except ImportError:
            continue
        if all(hasattr(config, limit) for limit in _LIMITS):
            return config
    return None


def _compile(branch: Any) -> Callable[[Tensor], Tensor]:
    _use_products(branch.network, branch.image_size)
    return torch.compile(branch.plain, dynamic=False)


@torch.no_grad()
def _use_products(network: nn.Module, image_size: int) -> None:
    """Patches by a matrix product, which cuDNN's convolutions are far from; GELU at the end of the product before it.

    Both are compared with timm's own layers before they take their place.
    """
    equal: dict[str, bool] = {}
    for module in network.modules():
        if isinstance(module, PatchEmbed):
            _multiply_patches(module, image_size)
        elif isinstance(module, Mlp):
            _fuse_gelu(module, equal)


def _multiply_patches(embed: PatchEmbed, image_size: int) -> None:
    convolution = getattr(embed, "proj", None)
    if isinstance(convolution, nn.Conv2d):
        product = _PatchProduct(convolution)
        x = draw_noise(1, convolution.in_channels, image_size, image_size, like=convolution.weight)
        with keep_full_precision(x.device):
            if agrees("patches by a product", product, convolution, x):
                embed.add_module("proj", product)


def _fuse_gelu(mlp: Mlp, equal: dict[str, bool]) -> None:
    """GELU in its tanh form, cuBLAS's: within 5e-4 of the exact one, a fraction of what bfloat16 rounds.

    Args:
        mlp: changed in place.
        equal: answers for the kinds that were asked about before.
    """
    layer, gelu, kind = getattr(mlp, "fc1", None), getattr(mlp, "act", None), str(mlp)
    if type(layer) is not nn.Linear or type(gelu) is not nn.GELU or not _is_half_on_cuda(layer.weight):
        return
    fused = _GeluLinear(layer)
    if kind not in equal:
        x, plain = draw_noise(2, layer.in_features, like=layer.weight), nn.Sequential(layer, gelu)
        equal[kind] = runs_in_order(mlp, x) and agrees("GELU within a product", fused, plain, x)
    if equal[kind]:
        mlp.add_module("fc1", fused)
        mlp.add_module("act", nn.Identity())


def _is_half_on_cuda(weight: Tensor) -> bool:
    return weight.device.type == "cuda" and weight.dtype in (torch.float16, torch.bfloat16)


class _PatchProduct(nn.Module):
    """A convolution whose stride is its kernel's size."""

    def __init__(self, convolution: nn.Conv2d) -> None:
        super().__init__()
        self.size = convolution.kernel_size
        self.weight, self.bias = convolution.weight, convolution.bias

    def forward(self, x: Tensor) -> Tensor:
        n, channels, height, width = x.shape
        high, wide = self.size
        cut = x.view(n, channels, height // high, high, width // wide, wide).permute(0, 2, 4, 1, 3, 5)
        y = F.linear(cut.flatten(3), self.weight.flatten(1), self.bias)
        return y.permute(0, 3, 1, 2)


class _GeluLinear(nn.Module):
    """A linear layer and the GELU behind it."""

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        self.weight, self.bias = layer.weight, layer.bias

    def forward(self, x: Tensor) -> Tensor:
        return _apply_linear_gelu(x, self.weight, self.bias)


@torch.library.custom_op("dreamsim_metric::linear_gelu", mutates_args=())  # else the compiler takes it apart
def _apply_linear_gelu(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    y = torch._addmm_activation(bias, x.flatten(0, -2), weight.t(), use_gelu=True)
    return y.view(*x.shape[:-1], -1)


@_apply_linear_gelu.register_fake
def _(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return x.new_empty(*x.shape[:-1], len(weight))
