"""A model's state dict, fitted to its networks."""

from collections.abc import Mapping

from torch import Tensor

from dreamsim_metric.card import ModelCard
from dreamsim_metric.messages import list_briefly
from dreamsim_metric.networks.positions import TABLES, resample_positions


def fit_state(state: Mapping[str, Tensor], wanted: Mapping[str, Tensor], card: ModelCard) -> dict[str, Tensor]:
    """Bring weights to what a model's networks take: float32, and tables of positions for its size of pictures.

    Args:
        state: weights as they were read.
        wanted: state dict of the networks; only its shapes count.
        card: card of the model.

    Raises:
        ValueError: tensors are missing, surplus or of another shape; the message names them.
    """
    fitted = {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in state.items()}
    # What was made in inference mode could not be used for gradients.
    fitted = {name: tensor.clone() if tensor.is_inference() else tensor for name, tensor in fitted.items()}
    for name, tensor in fitted.items():
        if name.endswith(TABLES) and name in wanted and wanted[name].ndim == tensor.ndim in (2, 3):
            rule = card.branches[int(name.split(".")[1])].positions
            fitted[name] = resample_positions(tensor, wanted[name].shape[-2], rule)
    problems = {
        "missing": sorted(wanted.keys() - fitted.keys()),
        "surplus": sorted(fitted.keys() - wanted.keys()),
        "misshapen": [
            f"{name} {tuple(fitted[name].shape)} instead of {tuple(wanted[name].shape)}"
            for name in sorted(wanted.keys() & fitted.keys())
            if wanted[name].shape != fitted[name].shape
        ],
    }
    if said := "; ".join(f"{kind}: {list_briefly(names, 5)}" for kind, names in problems.items() if names):
        raise ValueError(f"these weights are not those of {card.name!r}: {said}")
    return fitted
