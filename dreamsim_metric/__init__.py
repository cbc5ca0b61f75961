"""dreamsim_metric: how similar two pictures look to a person.

    >>> from dreamsim_metric import distance
    >>> distance("examples/cat.jpg", "examples/cat.jpg")
    0.0

After *DreamSim: Learning New Dimensions of Human Visual Similarity using Synthetic Data* (Fu, Tamir, Sundaram et al.,
NeurIPS 2023, https://arxiv.org/abs/2306.09344). Names load on first use: importing the package costs little.

Public are the names in `__all__` here, in the rooms `images`, `judgements`, `scale`, `evaluation`, `training`, `files`
and `weights`, and in the modules `difference`, `distances`, `export` and `torchmetrics`. What is in none of these is
inside and may change.
"""

from typing import TYPE_CHECKING

from dreamsim_metric.lazy import attach
from dreamsim_metric.version import __version__ as __version__

if TYPE_CHECKING:
    from dreamsim_metric.card import Branch as Branch
    from dreamsim_metric.card import Curve as Curve
    from dreamsim_metric.card import Download as Download
    from dreamsim_metric.card import Feature as Feature
    from dreamsim_metric.card import Head as Head
    from dreamsim_metric.card import ModelCard as ModelCard
    from dreamsim_metric.card import Precision as Precision
    from dreamsim_metric.functional import distance as distance
    from dreamsim_metric.functional import distance_matrix as distance_matrix
    from dreamsim_metric.functional import embed as embed
    from dreamsim_metric.loading import load as load
    from dreamsim_metric.metric import PerceptualMetric as PerceptualMetric
    from dreamsim_metric.models import list_models as list_models

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "functional": ("distance", "distance_matrix", "embed"),
        "loading": ("load",),
        "metric": ("PerceptualMetric",),
        "models": ("list_models",),
        "card": ("Branch", "Curve", "Download", "Feature", "Head", "ModelCard", "Precision"),
        "version": ("__version__",),
    },
)
