"""The metric as a `torchmetrics.Metric`: accumulates over batches and over processes."""

from typing import Any, Literal

import torch
import torchmetrics
from torch import Tensor
from torchmetrics.utilities import dim_zero_cat

from dreamsim_metric.images.convert import Pictures
from dreamsim_metric.loading import load
from dreamsim_metric.metric import PerceptualMetric
from dreamsim_metric.networks.defaults import set_usual_defaults

__all__ = ["PerceptualDistance"]


class PerceptualDistance(torchmetrics.Metric):
    """Distance between pairs of pictures, accumulated.

    Args:
        model: a name that `dreamsim_metric.load` takes, or a metric; one that was loaded with `in_state_dict=False` is
            left out of `state_dict` and checkpoints.
        reduction: `mean` or `sum` over all pairs, or `none` for all distances `(N,)`.
        kwargs: other arguments of `torchmetrics.Metric`.

    Raises:
        ValueError: another `reduction`; and what `load` raises.

    Example:
        >>> metric = PerceptualDistance("mini")
        >>> metric.update(["examples/vest_1.jpg", "examples/cat.jpg"], ["examples/vest_2.jpg", "examples/coffee.jpg"])
        >>> metric.compute()
        tensor(0.4840)
    """

    is_differentiable = True
    higher_is_better = False
    full_state_update = False
    plot_lower_bound = 0.0

    distances: list[Tensor]
    total: Tensor
    pairs: Tensor

    @set_usual_defaults()
    def __init__(
        self,
        model: str | PerceptualMetric | None = None,
        reduction: Literal["mean", "sum", "none"] = "mean",
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        if reduction not in ("mean", "sum", "none"):
            raise ValueError(f"got reduction={reduction!r}; expected 'mean', 'sum' or 'none'")
        self.metric = model if isinstance(model, PerceptualMetric) else load(model)
        self.reduction = reduction
        if reduction == "none":
            self.add_state("distances", default=[], dist_reduce_fx="cat")
        else:
            # float64: a sum over millions of pairs must not lose the last ones
            for name, dtype in (("total", torch.float64), ("pairs", torch.int64)):
                self.add_state(name, torch.zeros((), dtype=dtype, device=self.metric.device), dist_reduce_fx="sum")

    def update(self, a: Pictures, b: Pictures) -> None:
        """Add pairs of pictures.

        Args:
            a, b: anything image-like; as many in one as in the other, or one against many.
        """
        d = self.metric(a, b)
        if self.reduction == "none":
            self.distances.append(d)
        else:
            self.total = self.total + d.sum()
            self.pairs = self.pairs + len(d)

    def compute(self) -> Tensor:
        """Reduce what was added: a float32 scalar, or `(N,)` for `none`."""
        if self.reduction == "none":
            return dim_zero_cat(self.distances)
        return (self.total if self.reduction == "sum" else self.total / self.pairs).float()
