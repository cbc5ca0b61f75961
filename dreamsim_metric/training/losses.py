"""Losses of 2AFC votes: how far the two distances of a triplet are from what people said."""

import torch
import torch.nn.functional as F
from torch import Tensor


def hinge(left: Tensor, right: Tensor, share: Tensor, votes: Tensor, margin: float = 0.05) -> tuple[Tensor, Tensor]:
    """Hinge on the difference of the distances, against the majority's choice (DreamSim, section 4.2).

    `max(0, margin − (left − right) · y)`, with y = 1 where the majority chose the right picture and −1 where the left.

    Args:
        left, right: `(N,)` distances from the reference.
        share: `(N,)` share of votes for the right picture.
        votes: `(N,)`, not used: each majority counts once.
        margin: by how much the chosen picture has to be nearer.

    Returns:
        `(N,)` losses and `(N,)` weights: 1, or 0 where people tie.
    """
    side = torch.sign(share - 0.5)
    return F.relu(margin - (left - right) * side), (side != 0).to(left.dtype)


def bradley_terry(
    left: Tensor, right: Tensor, share: Tensor, votes: Tensor, temperature: float = 0.05
) -> tuple[Tensor, Tensor]:
    """Cross-entropy of the votes, where P(right) = sigmoid((left − right) / temperature) (Bradley & Terry 1952).

    Args:
        left, right, share, votes: as for `hinge`.
        temperature: the difference of distances that makes one side e times as likely as the other.

    Returns:
        `(N,)` losses and `(N,)` weights: the number of votes, so that their weighted sum is that of all votes.
    """
    logit = (left - right) / temperature
    return F.binary_cross_entropy_with_logits(logit, share, reduction="none"), votes
