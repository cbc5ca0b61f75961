"""What can be tuned behind frozen features: the residual MLP of DreamSim (section 4.1), or a linear map."""

import torch
from torch import Tensor, nn

from dreamsim_metric.card import Head


class ResidualMLP(nn.Module):
    """`x + W2 relu(W1 x + b1) + b2`. The second layer begins at zero, so that training begins at the untuned metric."""

    def __init__(self, size: int, hidden: int):
        super().__init__()
        self.fc1 = nn.Linear(size, hidden)
        self.fc2 = nn.Linear(hidden, size)
        nn.init.zeros_(self.fc2.weight)
        nn.init.zeros_(self.fc2.bias)

    def forward(self, features: Tensor) -> Tensor:
        """Add to features `(N, size)` what the layers make of them."""
        return features + self.fc2(self.fc1(features).relu())


def create_head(head: Head | None, size: int) -> nn.Module:
    """Make the head with its initial weights, which change nothing, or `nn.Identity` where there is none.

    Args:
        head: the head that a card asks for.
        size: length of features and embedding.
    """
    if head is None:
        return nn.Identity()
    if head.kind == "mlp":
        return ResidualMLP(size, head.hidden)
    linear = nn.Linear(size, size)
    with torch.no_grad():
        nn.init.eye_(linear.weight)
        nn.init.zeros_(linear.bias)
    return linear
