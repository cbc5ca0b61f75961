"""What a metric is to the benchmarks: a card that says what its numbers mean, and the steps from a file to a number."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import PIL.Image
import torch
from torch import Tensor, nn

from dreamsim_metric.images.convert import to_pixels
from dreamsim_metric.images.decoding import decoder_version
from dreamsim_metric.scale.cache import key

Features = tuple[Tensor, ...]
Picture = Path | PIL.Image.Image


@dataclass(frozen=True)
class MetricCard:
    """What a metric's numbers mean and what they depend on; printed with every score.

    Attributes:
        name: as the command line takes it.
        direction: `distance` where a larger number means more different, `similarity` where it means more alike.
        range: lowest and highest number it gives.
        input: height and width in pixels that it sees, or `native`.
        preprocessing: from the file to those pixels.
        weights: where they are from; empty for formulas.
        citation: of the method.
        parameters: how many numbers were learnt.
    """

    name: str
    direction: Literal["distance", "similarity"]
    range: tuple[float, float]
    input: str
    preprocessing: str
    weights: str = ""
    citation: str = ""
    parameters: int = 0


@dataclass(frozen=True)
class Options:
    """What the command line says about a metric.

    Attributes:
        weights: files to read in place of downloading.
        device: where it runs.
    """

    weights: tuple[Path, ...] = ()
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))


class Metric(ABC):
    """Files to numbers in three steps, so that what is expensive is done once a picture.

    Attributes:
        card: see `MetricCard`.
        embeds: whether `features` is one short vector a picture, worth keeping from run to run.
        maps: whether it has a `difference_map`.
        text: for metrics of a picture and its prompt, prompts → what stands for the features of a reference, `(N, D)`.
    """

    card: MetricCard
    embeds: bool = False
    maps: bool = False
    text: Callable[[list[str]], Tensor] | None = None

    @property
    def device(self) -> torch.device:
        """Where `features` and `compare` run."""
        return torch.device("cpu")

    def key(self) -> str:
        """Digest of all that its numbers depend on, for the cache."""
        modules = (module for module in vars(self).values() if isinstance(module, nn.Module))
        return key([repr(self.card), decoder_version("pillow"), self.device.type], modules)

    def read(self, picture: Picture, size: tuple[int, int] | None = None) -> Tensor:
        """A picture as the metric sees it: `(3, H, W)` float32 in [0, 1].

        Args:
            picture: a file or a decoded picture.
            size: in place of its own, for metrics that see pictures as they are and compare equal sizes only.

        Raises:
            ValueError: it cannot be decoded.
        """
        return to_pixels(picture, size)[0]

    def own_size(self, picture: Picture) -> tuple[int, int]:
        """Height and width of a picture as it is, before the metric changes them."""
        pixels = to_pixels(picture, None)
        return pixels.shape[-2], pixels.shape[-1]

    def features(self, pixels: Tensor) -> Features:
        """`(N, 3, H, W)` on the device → what is compared, each tensor with N first."""
        return (pixels,)

    @abstractmethod
    def compare(self, a: Features, b: Features) -> Tensor:
        """Features of N references and N pictures → `(N,)`, in the metric's own direction."""

    def difference_map(self, a: Tensor, b: Tensor) -> Tensor:
        """Where two pictures differ to the metric.

        Args:
            a, b: `(3, H, W)` on the CPU, as `read` gives them.

        Returns:
            `(H, W)` on the CPU, 0 where they do not.

        Raises:
            Unmeasurable: the metric tells no places.
        """
        raise Unmeasurable(f"{self.card.name} does not tell where pictures differ")


class Unmeasurable(Exception):  # noqa: N818  # what it says of a metric is no error of the program
    """A metric cannot be had or cannot take these pictures; the benchmark says why and goes on with the others."""


Maker = Callable[[Options], Metric]
