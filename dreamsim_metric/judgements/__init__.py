"""What people judged: tables and their readers, agreement with them, and curves fitted to them.

What is not in `__all__` is inside and may change.
"""

from typing import TYPE_CHECKING

from dreamsim_metric.lazy import attach

if TYPE_CHECKING:
    from dreamsim_metric.judgements.agreement import average_precision as average_precision
    from dreamsim_metric.judgements.agreement import find_hardest as find_hardest
    from dreamsim_metric.judgements.agreement import group_by_margin as group_by_margin
    from dreamsim_metric.judgements.agreement import majority_agreement as majority_agreement
    from dreamsim_metric.judgements.agreement import vote_agreement as vote_agreement
    from dreamsim_metric.judgements.agreement import vote_ceiling as vote_ceiling
    from dreamsim_metric.judgements.calibration import calibration_error as calibration_error
    from dreamsim_metric.judgements.calibration import fit_left as fit_left
    from dreamsim_metric.judgements.calibration import fit_same as fit_same
    from dreamsim_metric.judgements.calibration import tabulate_reliability as tabulate_reliability
    from dreamsim_metric.judgements.formats import Format as Format
    from dreamsim_metric.judgements.readers import read_pairs as read_pairs
    from dreamsim_metric.judgements.readers import read_triplets as read_triplets
    from dreamsim_metric.judgements.tables import DataError as DataError
    from dreamsim_metric.judgements.tables import Pairs as Pairs
    from dreamsim_metric.judgements.tables import Table as Table
    from dreamsim_metric.judgements.tables import Triplets as Triplets
    from dreamsim_metric.judgements.tables import check as check

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "formats": ("Format",),
        "readers": ("read_pairs", "read_triplets"),
        "tables": ("DataError", "Pairs", "Table", "Triplets", "check"),
        "agreement": (
            "average_precision",
            "group_by_margin",
            "find_hardest",
            "majority_agreement",
            "vote_agreement",
            "vote_ceiling",
        ),
        "calibration": ("calibration_error", "fit_left", "fit_same", "tabulate_reliability"),
    },
)
