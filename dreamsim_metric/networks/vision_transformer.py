"""Vision transformers of timm, cut down to what a feature reads."""

from typing import Any

import torch
import torch.nn.functional as F
from timm.models.vision_transformer import Attention, Block, VisionTransformer
from torch import Tensor, nn

from dreamsim_metric.card import Branch
from dreamsim_metric.networks.onednn import linear


def cut(branch: Branch, network: nn.Module) -> nn.Module:
    """Cut what the feature does not need from a vision transformer; the names of what stays do not change."""
    if not isinstance(network, VisionTransformer):
        return network
    if branch.feature == "embedding" and not network.num_classes:
        raise ValueError(f"{branch.network} has no projection for feature 'embedding'; use pooled")
    if any(stage == -1 for _, stage in branch.stages):
        raise ValueError(
            f"{branch.network} ends in tokens, not in a feature map; give the stages by their block number"
        )
    if branch.feature in ("cls", "cls_patch"):
        network.norm = nn.Identity()
    reads_class_token = branch.feature in ("cls", "cls_norm") or (
        branch.feature in ("pooled", "embedding") and network.global_pool == "token" and network.attn_pool is None
    )
    if (reads_class_token or branch.feature == "cls_patch") and network.cls_token is None:
        raise ValueError(
            f"{branch.network} has no class token for feature {branch.feature!r}; use pooled or patch_mean"
        )
    last = network.blocks[-1]
    if reads_class_token and type(last) is Block and type(last.attn) is Attention:
        last.__class__ = ClassTokenBlock
    return network


class ClassTokenBlock(Block):
    """A last transformer block that computes the class token only, which is all that a class-token feature reads."""

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """Compute the same numbers as the full block's first token, `(N, 1, D)` of `(N, T, D)`."""
        attention: Any = self.attn
        extras = (attention.q_norm, attention.k_norm, attention.norm)
        plain = all(type(extra) is nn.Identity for extra in extras) and getattr(attention, "gate", None) is None
        if not plain:
            return super().forward(x, *args, **kwargs)[:, :1]
        normed = self.norm1(x)
        n, tokens, width = normed.shape
        if isinstance(attention.qkv, nn.Linear):
            weight, bias = attention.qkv.weight, attention.qkv.bias
            bias_q, bias_kv = (None, None) if bias is None else (bias[:width], bias[width:])
            query = linear(normed[:, :1], weight[:width], bias_q)
            keys_values = linear(normed, weight[width:], bias_kv)
        else:  # an adapter around it
            query, keys_values = attention.qkv(normed).split([width, 2 * width], dim=-1)
            query = query[:, :1]
        q = query.view(n, 1, attention.num_heads, attention.head_dim).transpose(1, 2)
        # 2 x N x heads x T x D/heads
        k, v = keys_values.view(n, tokens, 2, attention.num_heads, attention.head_dim).permute(2, 0, 3, 1, 4).unbind(0)
        mixed = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(n, 1, width)
        x = x[:, :1] + self.ls1(attention.proj(mixed))
        return x + self.ls2(self.mlp(self.norm2(x)))


def patch_tokens(network: Any, x: Tensor) -> Tensor:
    """Compute tokens `(N, patches, D)` after the last block and the norm, also where that is cut to the class token."""
    last = len(network.blocks) - 1
    ((patches, prefix),) = network.forward_intermediates(
        x,
        indices=[last - 1],
        return_prefix_tokens=True,
        output_fmt="NLC",
        stop_early=True,
        intermediates_only=True,
    )
    tokens = torch.cat([prefix, patches], 1)
    block = network.blocks[last]
    tokens = Block.forward(block, tokens) if isinstance(block, ClassTokenBlock) else block(tokens)
    return network.norm(tokens)[:, prefix.shape[1] :]
