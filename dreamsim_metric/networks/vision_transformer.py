"""Vision transformers of timm, cut down to what a feature reads."""

from typing import Any

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from dreamsim_metric.card import Branch


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
        branch.feature in ("pooled", "embedding")
        and network.global_pool == "token"
        and network.attn_pool is None
        and type(network).forward_head is VisionTransformer.forward_head  # distilled ones read two tokens
    )
    if (reads_class_token or branch.feature == "cls_patch") and network.cls_token is None:
        raise ValueError(
            f"{branch.network} has no class token for feature {branch.feature!r}; use pooled or patch_mean"
        )
    if reads_class_token:
        try:
            from dreamsim_metric.networks.class_token import shorten
        except ImportError:  # timm has moved its block, which it does not list among what it offers
            return network
        shorten(network.blocks[-1])
    return network


def compute_patch_tokens(network: Any, x: Tensor) -> Tensor:
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
    return network.norm(getattr(block, "whole", block)(tokens))[:, prefix.shape[1] :]
