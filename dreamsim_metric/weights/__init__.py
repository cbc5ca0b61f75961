"""Where weights come from and how they are kept: downloads, folders, DreamSim's releases, libraries, the hub.

`dreamsim_metric.load` reads them all. What is not in `__all__` is inside and may change.
"""

from typing import TYPE_CHECKING

from dreamsim_metric.lazy import attach

if TYPE_CHECKING:
    from dreamsim_metric.weights.download import find_cache_dir as find_cache_dir
    from dreamsim_metric.weights.folder import read_card as read_card

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "download": ("find_cache_dir",),
        "folder": ("read_card",),
    },
)
