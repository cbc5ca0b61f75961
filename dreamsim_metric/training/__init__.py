"""Tuning a metric on human votes: what a run does, the loop, losses.

What is not in `__all__` is inside and may change.
"""

from typing import TYPE_CHECKING

from dreamsim_metric.lazy import attach

if TYPE_CHECKING:
    from dreamsim_metric.training.config import Config as Config
    from dreamsim_metric.training.config import Loss as Loss
    from dreamsim_metric.training.config import list_presets as list_presets
    from dreamsim_metric.training.loop import train as train
    from dreamsim_metric.training.losses import bradley_terry as bradley_terry
    from dreamsim_metric.training.losses import hinge as hinge

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "config": ("Config", "Loss", "list_presets"),
        "loop": ("train",),
        "losses": ("bradley_terry", "hinge"),
    },
)
