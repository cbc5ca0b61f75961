"""What is trained: a metric with adapters or a head in it, and its card before and after."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dreamsim_metric.card import Curve, ModelCard
from dreamsim_metric.distances import compare_triplets
from dreamsim_metric.images.resizing import scale_to_unit
from dreamsim_metric.loading import read_bases
from dreamsim_metric.metric import PerceptualMetric
from dreamsim_metric.networks.heads import create_head
from dreamsim_metric.training.config import Config
from dreamsim_metric.training.lora import add_lora
from dreamsim_metric.version import __version__
from dreamsim_metric.weights.folder import digest, is_checkpoint


class TripletModel(nn.Module):
    """A metric as it is trained: a step's pictures, each once, and who is compared with whom.

    Args:
        metric: a metric in which what is to be tuned requires gradients.
        frozen: whether the branches stay as they are, so that inputs are features instead of pixels.
        dropout: probability that a feature is zeroed in a training step.
    """

    def __init__(self, metric: PerceptualMetric, frozen: bool, dropout: float = 0.0):
        super().__init__()
        self.metric = metric
        self.frozen = frozen
        self.dropout = dropout

    def features(self, inputs: Tensor) -> Tensor:
        """Compute features of uint8 pictures `(U, 3, S, S)`; where the branches are frozen, inputs are features."""
        return inputs if self.frozen else self.metric.features(scale_to_unit(inputs))

    def embed(self, inputs: Tensor) -> Tensor:
        """Compute unit embeddings `(U, D)` of the inputs that `features` takes, without dropout."""
        return self.metric.to_unit(self.features(inputs))

    def forward(self, inputs: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
        """Take a training step: inputs and `(B, 3)` positions of reference, left and right → two distances `(B,)`."""
        units = self.metric.to_unit(F.dropout(self.features(inputs), self.dropout))
        return compare_triplets(units, index)


def make_tuned(config: Config) -> tuple[ModelCard, PerceptualMetric, dict[str, Any] | None]:
    """Make what a run trains.

    Args:
        config: what the run does.

    Returns:
        The card of what it will be, the metric with what is trained in it requiring gradients, and peft's configuration
        (none without LoRA).

    Raises:
        ValueError: models that do not go together, or nothing in them that could be tuned.
        And what `load` raises.
    """
    names = tuple(
        os.path.abspath(name) if Path(name).is_dir() or is_checkpoint(Path(name)) else name for name in config.model
    )
    base, state = read_bases(names, config.image_size, config.weights)
    head = config.tuned_head
    if base.head and head and base.head != head:
        raise ValueError(
            f"{' and '.join(names)} has a head {base.head}; expected the same one to go on with, not {head}"
        )
    card = replace(base, head=head or base.head, base=names, base_sha256=digest(state))
    torch.manual_seed(config.seed)
    if head and not base.head:
        state |= {
            f"head.{name}": tensor for name, tensor in create_head(head, card.embedding_size).state_dict().items()
        }
    metric = PerceptualMetric(card, state)
    lora = None
    if config.rank:
        lora = add_lora(metric, config.rank, config.alpha, config.dropout, config.targets).to_dict()
        lora = {name: sorted(value) if isinstance(value, set) else value for name, value in lora.items()}
        lora |= {"base_model_name_or_path": "+".join(names), "inference_mode": True}
    metric.head.requires_grad_(head is not None)
    return card, metric, lora


def find_trained(metric: PerceptualMetric) -> dict[str, Tensor]:
    """Find the parameters that are trained, by name."""
    return {name: parameter for name, parameter in metric.named_parameters() if parameter.requires_grad}


def collect_head_state(metric: PerceptualMetric) -> dict[str, Tensor]:
    """Copy the head's tensors to the CPU."""
    return {name: tensor.detach().cpu() for name, tensor in metric.state_dict().items() if name.startswith("head.")}


def describe_tuned(
    card: ModelCard, config: Config, data: dict[str, Any], agreement: float, left: Curve | None
) -> ModelCard:
    """Make the card of a tuned model: its recipe, its figures and what its distances mean.

    Args:
        card: the card that `make_tuned` gave.
        config: what the run does.
        data: the data that it was tuned on; `data["data"]` is the name.
        agreement: agreement with the majority of the validation triplets, in percent.
        left: the curve fitted to their votes, if that was possible.
    """
    tuned = [f"LoRA of rank {config.rank}"] if config.rank else []
    tuned += {"none": [], "mlp": ["an MLP head"], "linear": ["a linear head"]}[config.head]
    return replace(
        card,
        name=config.out.name,
        description=f"{' + '.join(config.model)} with {' and '.join(tuned)}, tuned on {data['data']}",
        weights=(),
        agreement={f"{data['data']} val 2AFC": round(agreement, 2)},
        training={**data, **config.recipe(), "dreamsim_metric": __version__},
        same=None,
        left=left,
    )
