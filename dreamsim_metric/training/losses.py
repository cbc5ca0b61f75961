"""Losses of 2AFC votes: how far the two distances of a triplet are from what people said."""

import torch
import torch.nn.functional as F
from torch import Tensor


def hinge(left: Tensor, right: Tensor, share: Tensor, votes: Tensor, margin: float = 0.05) -> tuple[Tensor, Tensor]:
    """Compute the hinge on the difference of the distances, against the majority's choice (DreamSim, section 4.2).

    `max(0, margin − (left − right) · y)`, with y = 1 where the majority chose the right picture and −1 where the left.

    Args:
        left, right: distances `(N,)` from the reference.
        share: share of votes for the right picture, `(N,)` in [0, 1].
        votes: number of votes `(N,)`, not used: each majority counts once.
        margin: the lead that the chosen picture must have to cost nothing.

    Returns:
        `(N,)` losses and `(N,)` weights: 1, or 0 where people tie.

    Example:
        >>> left, right = torch.tensor([0.25, 0.25, 0.25]), torch.tensor([0.5, 0.125, 0.25])
        >>> hinge(left, right, share=torch.tensor([0.0, 0.0, 0.5]), votes=torch.tensor([5.0, 5.0, 4.0]))
        (tensor([0.0000, 0.1750, 0.0500]), tensor([1., 1., 0.]))
    """
    side = torch.sign(share - 0.5)
    return F.relu(margin - (left - right) * side), (side != 0).to(left.dtype)


def bradley_terry(
    left: Tensor, right: Tensor, share: Tensor, votes: Tensor, temperature: float = 0.05
) -> tuple[Tensor, Tensor]:
    """Compute the cross-entropy of votes with P(right) = sigmoid((left − right) / temperature) (Bradley & Terry 1952).

    Args:
        left, right: distances `(N,)` from the reference.
        share: share of votes for the right picture, `(N,)` in [0, 1].
        votes: number of votes, `(N,)`.
        temperature: the difference of distances that makes one side e times as likely as the other.

    Returns:
        `(N,)` losses and `(N,)` weights: the number of votes, so that their weighted sum is that of all votes.

    Example:
        >>> left, right, share = torch.tensor([0.3, 0.3]), torch.tensor([0.3, 0.4]), torch.tensor([0.5, 0.0])
        >>> bradley_terry(left, right, share, votes=torch.tensor([4.0, 5.0]))
        (tensor([0.6931, 0.1269]), tensor([4., 5.]))
    """
    logit = (left - right) / temperature
    return F.binary_cross_entropy_with_logits(logit, share, reduction="none"), votes
