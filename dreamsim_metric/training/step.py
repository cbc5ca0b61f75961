"""One step of training: the loss of some triplets, and its gradients."""

import math
from contextlib import nullcontext

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor, nn

from dreamsim_metric.judgements.tables import Triplets
from dreamsim_metric.training.config import Config
from dreamsim_metric.training.inputs import pick
from dreamsim_metric.training.losses import bradley_terry, hinge


def run_backward(
    accelerator: Accelerator, model: nn.Module, config: Config, triplets: Triplets, inputs: np.ndarray, rows: np.ndarray
) -> float:
    """Compute the gradients of one step's loss, over all processes and micro-batches as over one batch.

    Args:
        accelerator: the accelerator that prepared `model`.
        model: a `TripletModel` to train.
        config: what the run does.
        triplets: the training triplets.
        inputs: pixels or features of their pictures.
        rows: positions of the triplets in this step, all processes together.

    Returns:
        The loss, a weighted mean over all the rows.
    """
    world, rank = accelerator.num_processes, accelerator.process_index
    zeros = torch.zeros(len(rows), dtype=torch.float32, device="cpu")
    _, weights = compute_loss(config, zeros, zeros, triplets, rows)
    total = max(float(weights.sum()), 1e-12)  # where all are ties
    share = math.ceil(len(rows) / world)
    size = config.micro_batch or share
    parts = np.array_split(rows[rank::world], math.ceil(share / size))
    summed = torch.zeros((), dtype=torch.float32, device=accelerator.device)
    for i, part in enumerate(parts):
        counted = len(part) > 0
        part = part if counted else rows[:1]  # processes go in step: one without rows contributes nothing
        pictures, index = np.unique(triplets.index[part], return_inverse=True)
        picked = pick(inputs, pictures).to(accelerator.device)
        places = torch.from_numpy(index.reshape(-1, 3)).to(accelerator.device)
        last = i == len(parts) - 1
        with nullcontext() if last else accelerator.no_sync(model):
            left, right = model(picked, places)
            losses, weights = compute_loss(config, left, right, triplets, part)
            loss = (losses * weights).sum() / total * counted
            accelerator.backward(loss * world)  # the processes' gradients are averaged
        summed += loss.detach()
    return float(accelerator.reduce(summed, "sum"))


def compute_loss(
    config: Config, left: Tensor, right: Tensor, triplets: Triplets, rows: np.ndarray
) -> tuple[Tensor, Tensor]:
    """Compute the losses of some triplets and their weights, both `(N,)`.

    Args:
        config: loss, and its margin or temperature.
        left: distances from the reference to the left picture, `(N,)`.
        right: distances to the right one, `(N,)`.
        triplets: table of triplets, with what people said.
        rows: positions of these triplets in the table, `(N,)`.
    """
    share, votes = (
        torch.from_numpy(values[rows]).to(left.device, torch.float32) for values in (triplets.right, triplets.votes)
    )
    if config.loss == "hinge":
        return hinge(left, right, share, votes, config.margin)
    return bradley_terry(left, right, share, votes, config.temperature)
