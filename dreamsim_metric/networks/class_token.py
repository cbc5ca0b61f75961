"""A transformer block of timm's, computing the class token only, where that gives the whole block's numbers.

It takes over the inside of `Block` and `Attention`, which timm may change: a block that has other steps than those
below stays whole.
"""

from typing import Any, cast

import torch
import torch.nn.functional as F
from timm.layers import Attention
from timm.models.vision_transformer import Block
from torch import Tensor, nn

from dreamsim_metric.networks.defaults import set_usual_defaults
from dreamsim_metric.networks.guards import agrees, draw_noise
from dreamsim_metric.networks.inference import keep_full_precision
from dreamsim_metric.networks.onednn import FusedLinear, compute_linear
from dreamsim_metric.networks.stand_in import has_hooks


class ClassTokenBlock(Block):
    """A last transformer block that computes the class token only, which is all that a class-token feature reads.

    Where somebody hooks on to its attention, or has put another part there, it computes all tokens as timm does.
    """

    steps: Any

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """Compute the numbers of the whole block's first token: `(N, T, D)` → `(N, 1, D)`.

        What the block is told beside its tokens, a mask say, is for the whole block.
        """
        told = any(value is not None and value is not False for value in (*args, *kwargs.values()))
        if told or _list_kinds(self) != self.steps or any(map(has_hooks, self.attn.modules())):
            return self.whole(x, *args, **kwargs)[:, :1]
        attention: Any = self.attn
        normed = self.norm1(x)
        n, tokens, width = normed.shape
        if type(attention.qkv) in (nn.Linear, FusedLinear) and "forward" not in vars(attention.qkv):
            weight, bias = attention.qkv.weight, attention.qkv.bias
            bias_q, bias_kv = (None, None) if bias is None else (bias[:width], bias[width:])
            query = compute_linear(normed[:, :1], weight[:width], bias_q)
            keys_values = compute_linear(normed, weight[width:], bias_kv)
        else:  # an adapter around it, or another way to its weights
            query, keys_values = attention.qkv(normed).split([width, 2 * width], dim=-1)
            query = query[:, :1]
        q = query.view(n, 1, attention.num_heads, attention.head_dim).transpose(1, 2)
        # 2 x N x heads x T x D/heads
        k, v = keys_values.view(n, tokens, 2, attention.num_heads, attention.head_dim).permute(2, 0, 3, 1, 4).unbind(0)
        mixed = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(n, 1, width)
        x = x[:, :1] + self.ls1(attention.proj(mixed))
        return x + self.ls2(self.mlp(self.norm2(x)))

    def whole(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """Compute all tokens, `(N, T, D)` → `(N, T, D)`, as timm does."""
        return super().forward(x, *args, **kwargs)


def _list_kinds(block: Any) -> list[type]:
    """The kinds of its parts, and of its attention's but those that may have an adapter around them."""
    inside = (part for name, part in block.attn.named_children() if name not in ("qkv", "proj"))
    return [type(part) for part in (*block.children(), *inside)]


def shorten(block: Any) -> None:
    """Let a block compute its class token only, in place, unless that gives other numbers.

    It is asked now and whenever weights are loaded into the block: where a network is built there may be none yet.
    """
    if type(block) is Block and type(block.attn) is Attention:
        cast(Any, block).steps = _list_kinds(block)
        block.__class__ = ClassTokenBlock
        block.register_load_state_dict_post_hook(_confirm)
        _confirm(block)


def _confirm(block: Any, _keys: Any = None) -> None:
    """Make a block whole again if its class token is not that of the whole block."""
    first = next(block.parameters())
    if not isinstance(block, ClassTokenBlock) or first.is_meta:
        return
    # With gradients, so that oneDNN's products are not timed here, which are compared by themselves.
    with set_usual_defaults(), torch.enable_grad(), keep_full_precision(first.device):
        x = draw_noise(1, 5, first.shape[-1], like=first)
        if not agrees("the class token alone", block, lambda x: block.whole(x)[:, :1], x):
            cast(nn.Module, block).__class__ = Block
