"""dreamsim_metric: how similar two pictures look to a person.

    >>> from dreamsim_metric import distance
    >>> distance("examples/cat.jpg", "examples/cat.jpg")
    0.0

After *DreamSim: Learning New Dimensions of Human Visual Similarity using Synthetic Data* (Fu, Tamir, Sundaram et al.,
NeurIPS 2023, https://arxiv.org/abs/2306.09344). Names load on first use: importing the package costs little.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dreamsim_metric.functional import distance as distance
    from dreamsim_metric.functional import distance_matrix as distance_matrix
    from dreamsim_metric.functional import embed as embed
    from dreamsim_metric.loading import load as load
    from dreamsim_metric.metric import PerceptualMetric as PerceptualMetric
    from dreamsim_metric.models import ModelCard as ModelCard
    from dreamsim_metric.models import list_models as list_models

__version__ = "0.1.0"
_HOME = {
    "distance": "functional",
    "distance_matrix": "functional",
    "embed": "functional",
    "load": "loading",
    "PerceptualMetric": "metric",
    "list_models": "models",
    "ModelCard": "models",
}
__all__ = ["__version__", *_HOME]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has {', '.join(_HOME)}")
    value = getattr(import_module(f".{_HOME[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
