"""Weights fitted to the networks of a card; those that are not its own, or damaged, are refused by name."""

from collections.abc import Mapping

from torch import Tensor

from dreamsim_metric.card import ModelCard
from dreamsim_metric.messages import list_briefly
from dreamsim_metric.networks.positions import TABLES, resample_positions


def fit_weights(card: ModelCard, state: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Fit weights to a metric: in float32, and tables of positions for pictures of its size.

    Args:
        card: card of the metric.
        state: weights by name.
        wanted: tensors of the shapes and types that the metric has.

    Raises:
        ValueError: weights missing, surplus, of another shape or type, not finite or all zeros.
    """
    kinds = {name: tensor.dtype for name, tensor in state.items()}
    found = {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in state.items()}
    found = {name: tensor.clone() if tensor.is_inference() else tensor for name, tensor in found.items()}
    for name, tensor in found.items():
        if name.endswith(TABLES) and name in wanted and wanted[name].ndim == tensor.ndim in (2, 3):
            rule = card.branches[int(name.split(".")[1])].positions
            found[name] = resample_positions(tensor, wanted[name].shape[-2], rule)
    common = sorted(wanted.keys() & found.keys())
    problems = {
        "missing": sorted(wanted.keys() - found.keys()),
        "surplus": sorted(found.keys() - wanted.keys()),
        "misshapen": [
            f"{name} {tuple(found[name].shape)} instead of {tuple(wanted[name].shape)}"
            for name in common
            if wanted[name].shape != found[name].shape
        ],
        "of another type": [
            f"{name} {kinds[name]} instead of {wanted[name].dtype}"
            for name in common
            if wanted[name].is_floating_point() != found[name].is_floating_point()
        ],
        "not finite": [name for name, tensor in found.items() if not _is_finite(tensor)],
        "variances below 0": [name for name in common if name.endswith("running_var") and (found[name] < 0).any()],
        "nothing but zeros": _find_empty(found),
    }
    said = "; ".join(f"{kind}: {list_briefly(names, 5)}" for kind, names in problems.items() if names)
    if said:
        raise ValueError(f"these weights are not those of {card.name!r}: {said}")
    return found


def _is_finite(tensor: Tensor) -> bool:
    """Whether all numbers are; by their sum, which is quicker than to look at each."""
    return not tensor.is_floating_point() or tensor.is_meta or bool(tensor.sum().isfinite() or tensor.isfinite().all())


def _find_empty(state: Mapping[str, Tensor]) -> list[str]:
    """Find the branches all of whose matrices are zero, so that all pictures are alike."""
    filled: dict[str, bool] = {}
    for name, tensor in state.items():
        branch, network, _ = name.partition(".network.")
        if network and tensor.ndim > 1 and not filled.get(branch):
            filled[branch] = tensor.is_meta or bool(tensor.any())
    return sorted(branch for branch, has_weights in filled.items() if not has_weights)
