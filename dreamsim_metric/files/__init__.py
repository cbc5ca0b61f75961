"""Files: found, read from disks and stores, and written whole or not at all.

What is not in `__all__` is inside and may change.
"""

from typing import TYPE_CHECKING

from dreamsim_metric.lazy import attach

if TYPE_CHECKING:
    from dreamsim_metric.files.pictures import find_pictures as find_pictures

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "pictures": ("find_pictures",),
    },
)
