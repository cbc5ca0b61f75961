"""Which device to compute on, and decoded pictures brought to it while the model computes."""

from collections.abc import Sequence

import torch
from torch import Tensor

from dreamsim_metric.images.decoding import decode_by_torchvision
from dreamsim_metric.images.resizing import resize, scale_to_unit


def choose_default_device() -> str:
    """Name the device to compute on where none is asked for: "cuda" where there is one, else "cpu"."""
    return "cuda" if torch.cuda.is_available() else "cpu"


class NotOnDeviceError(RuntimeError):
    """A JPEG that nvJPEG does not take."""


class ToDevice:
    """Decoded pictures → one batch on the device, copied while the batch before is computed.

    On CUDA, uint8 goes through pinned memory on a stream of its own: four times less to copy than floats. JPEGs that
    `decode` left as they are are decoded there (nvJPEG), and pictures of other sizes are resized there.

    Args:
        device: the device that the model is on.
        size: side of the pictures in pixels.
    """

    def __init__(self, device: torch.device, size: int) -> None:
        self._device, self._size = device, (size, size)
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None

    def __call__(self, pictures: Sequence[Tensor]) -> Tensor:
        """Bring pictures to the device as one batch, `(N, 3, S, S)` float32 in [0, 1].

        Args:
            pictures: tensors on the CPU, `(3, H, W)` uint8 or the bytes of JPEGs `(bytes,)`.

        Raises:
            NotOnDeviceError: a JPEG will not decode there; `finish_on_host` may decode it, or says what is wrong.
        """
        if self._stream is None:
            return self._floats(list(pictures))
        with torch.cuda.stream(self._stream):
            floats = self._floats(list(pictures))
        current = torch.cuda.current_stream(self._device)
        current.wait_stream(self._stream)
        floats.record_stream(current)
        return floats

    def _floats(self, pictures: list[Tensor]) -> Tensor:
        encoded = [i for i, picture in enumerate(pictures) if picture.ndim == 1]
        if encoded:
            decoded = decode_by_torchvision([pictures[i] for i in encoded], str(self._device))
            if decoded is None:
                raise NotOnDeviceError("one of these JPEGs will not decode on the device")
            for i, picture in zip(encoded, decoded, strict=True):
                pictures[i] = picture
        if all(picture.shape[-2:] == self._size and picture.device.type == "cpu" for picture in pictures):
            return scale_to_unit(self._copied(torch.stack(pictures)))
        return torch.cat([self._resized(picture[None]) for picture in pictures])

    def _resized(self, picture: Tensor) -> Tensor:
        moved = self._copied(picture)
        return scale_to_unit(moved) if moved.shape[-2:] == self._size else resize(moved, self._size)

    def _copied(self, levels: Tensor) -> Tensor:
        if self._stream is None or levels.device.type == "cuda":
            return levels.to(self._device)
        return levels.contiguous().pin_memory().to(self._device, non_blocking=True)
