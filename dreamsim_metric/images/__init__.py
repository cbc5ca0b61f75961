"""Pictures of any kind to pixels: read, decoded, resized and brought to a device.

What is not in `__all__` is inside and may change.
"""

from typing import TYPE_CHECKING

from dreamsim_metric.lazy import attach

if TYPE_CHECKING:
    from dreamsim_metric.images.convert import Picture as Picture
    from dreamsim_metric.images.convert import Pictures as Pictures
    from dreamsim_metric.images.convert import SinglePicture as SinglePicture
    from dreamsim_metric.images.convert import to_pixels as to_pixels
    from dreamsim_metric.images.decoding import Decoder as Decoder
    from dreamsim_metric.images.resizing import resize as resize

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "convert": ("Picture", "Pictures", "SinglePicture", "to_pixels"),
        "decoding": ("Decoder",),
        "resizing": ("resize",),
    },
)
