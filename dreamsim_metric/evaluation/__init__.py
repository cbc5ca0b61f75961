"""How well a metric agrees with people: figures, the triplets where it does not, reliability.

What is not in `__all__` is inside and may change.
"""

from typing import TYPE_CHECKING

from dreamsim_metric.lazy import attach

if TYPE_CHECKING:
    from dreamsim_metric.evaluation.diagram import draw_reliability as draw_reliability
    from dreamsim_metric.evaluation.judging import Judged as Judged
    from dreamsim_metric.evaluation.judging import calibrate as calibrate
    from dreamsim_metric.evaluation.judging import judge as judge
    from dreamsim_metric.evaluation.judging import tabulate_scores as tabulate_scores
    from dreamsim_metric.evaluation.judging import write_report as write_report

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "judging": ("Judged", "calibrate", "judge", "tabulate_scores", "write_report"),
        "diagram": ("draw_reliability",),
    },
)
