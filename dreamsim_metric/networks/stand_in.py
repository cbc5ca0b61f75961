"""When a quicker copy may stand in for a network: nothing looks on, and nothing was changed since it was made.

A copy gives a network's numbers and no more. Whoever wants more of it (derivatives that a tensor carries with it,
hooks, a trace) is answered by the network itself, and so is whoever changed it, until there is a new copy.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from itertools import chain
from operator import is_
from typing import Any

import torch
import torch.autograd.forward_ad
import torch.nn.modules.module
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.utils.parametrize import is_parametrized

# PyTorch has no public list of hooks. They stand in dictionaries whose names say it, of a module or of all modules.
# What is called when parts are registered, or state dicts are made and loaded, sees no numbers.
_HOOKS_OF_ALL = [
    value
    for name, value in vars(torch.nn.modules.module).items()
    if name.startswith("_global_") and name.endswith("hooks") and "registration" not in name
]
# Where they are missing, what they would tell is taken to be so.
_is_wrapped = getattr(getattr(torch._C, "_functorch", None), "is_functorch_wrapped_tensor", lambda _: True)
_count_modes = getattr(torch._C, "_len_torch_dispatch_stack", lambda: 1)


def is_looked_at(pixels: Tensor) -> bool:
    """Tell whether more is wanted than numbers for numbers: gradients, a trace, a hook on all modules."""
    return (
        torch.compiler.is_compiling()
        or torch.jit.is_tracing()
        or _count_modes() > 0  # counters of operations, fake tensors, make_fx
        or any(_HOOKS_OF_ALL)
        or (torch.is_grad_enabled() and pixels.requires_grad)
        or carries_more(pixels)
    )


def carries_more(tensor: Tensor) -> bool:
    """Tell whether a tensor has more to it than its numbers and `requires_grad`.

    That is what `torch.func` wraps (for `vmap`, `jvp`, `grad` and others), a dual tensor of forward-mode
    differentiation, and any other type than PyTorch's own.

    Example:
        >>> carries_more(torch.ones(1)), torch.func.vmap(lambda x: x * carries_more(x))(torch.ones(1))
        (False, tensor([1.]))
    """
    if type(tensor) not in (Tensor, nn.Parameter) or _is_wrapped(tensor):
        return True
    return torch.autograd.forward_ad.unpack_dual(tensor).tangent is not None


def choose_attention(pixels: Tensor, network: nn.Module) -> AbstractContextManager[None]:
    """Let attention be computed in steps where pixels or weights carry more: its kernels have no forward derivatives.

    Args:
        pixels: what goes into the network.
        network: the network; a weight that carries more is no `nn.Parameter`.
    """
    if torch.compiler.is_compiling():
        return nullcontext()
    others = (tensor for tensor in network.parameters() if type(tensor) is not nn.Parameter)
    return sdpa_kernel(SDPBackend.MATH) if any(map(carries_more, (pixels, *others))) else nullcontext()


def can_be_copied(network: nn.Module) -> bool:
    """Tell whether a copy, made of parts that are known, would do all that a network does when it is called."""
    for parameter in network.parameters():
        # Weights that were made in inference mode keep no count of their changes.
        if type(parameter) is not nn.Parameter or parameter.requires_grad or parameter.is_inference():
            return False
    if any(buffer.is_inference() or carries_more(buffer) for buffer in network.buffers()):
        return False
    return not any(module.training or has_hooks(module) or _is_edited(module) for module in network.modules())


def has_hooks(module: nn.Module) -> bool:
    """Tell whether something is called beside a module, forward or backward.

    Example:
        >>> layer = nn.Linear(1, 1)
        >>> handle = layer.register_forward_hook(print)
        >>> has_hooks(layer), handle.remove(), has_hooks(layer)
        (True, None, False)
    """
    return any(name.endswith("hooks") and value and "state_dict" not in name for name, value in vars(module).items())


def _is_edited(module: nn.Module) -> bool:
    """Whether its `forward` was replaced, or a weight is computed, or is just put there and no parameter any more."""
    own = vars(module)
    return "forward" in own or is_parametrized(module) or any(isinstance(value, Tensor) for value in own.values())


class Makeup:
    """What a network was made of at one time, to tell whether any of it was changed since.

    Modules, their settings and their tensors are compared by identity, tensors by their place in memory too. Numbers
    that a copy has in another form are looked at: by PyTorch's count of changes, and, since it misses those by way of
    `.data`, by a sample, one of each input and each output channel.

    Args:
        network: the network.
        copy: the copy of it; the numbers of tensors that both have may change.
        settings: whether the settings of modules are compared.
    """

    def __init__(self, network: nn.Module, copy: nn.Module, *, settings: bool = True) -> None:
        self._modules = list(network.modules())
        of_modules = [vars(module) for module in self._modules]
        inside = [value for of in of_modules for value in of.values() if isinstance(value, dict)]
        self._dictionaries = inside + (of_modules if settings else [])
        self._filled = [of for of in self._dictionaries if of]
        self._objects = list(self._find_objects())
        self._tensors = list(_list_tensors(network))
        self._kept = [tensor.detach() for tensor in self._tensors]  # so that nothing else gets their place
        self._places = [tensor.data_ptr() for tensor in self._tensors]
        shared = {id(tensor) for tensor in _list_tensors(copy)}
        self._rewritten = [tensor for tensor in self._tensors if id(tensor) not in shared]
        self._samples = [axis for tensor in self._rewritten for axis in _find_axes(tensor.detach())]
        self._counts, self._sample = self._count_changes(), self._read_sample()

    def holds(self, network: nn.Module) -> bool:
        """Tell whether this is that network, and is still made of the same."""
        if network is not self._modules[0] or any(tensor.requires_grad for tensor in self._tensors):
            return False
        return (
            len(self._modules) + sum(map(len, self._dictionaries)) == len(self._objects)
            and all(map(is_, self._find_objects(), self._objects))
            and [tensor.data_ptr() for tensor in self._tensors] == self._places
            and self._count_changes() == self._counts
            and torch.equal(self._read_sample(), self._sample)
        )

    def _find_objects(self) -> Iterator[Any]:
        return chain(map(type, self._modules), chain.from_iterable(of.values() for of in self._filled))

    def _count_changes(self) -> list[int]:
        return [tensor._version for tensor in self._rewritten]

    def _read_sample(self) -> Tensor:
        return torch.cat(self._samples or [torch.zeros(0, dtype=torch.float32, device="cpu")])


def _list_tensors(network: nn.Module) -> Iterator[Tensor]:
    return chain(network.parameters(), network.buffers())


def _find_axes(tensor: Tensor) -> list[Tensor]:
    """Views of the numbers along the axes of channels, at the beginning of the others."""
    axes = range(min(tensor.ndim, 2))
    return [tensor[tuple(slice(None) if i == axis else 0 for i in range(tensor.ndim))] for axis in axes]
