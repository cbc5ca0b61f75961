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
from dreamsim_metric.images.decoding import name_decoder_version
from dreamsim_metric.scale.cache import compute_key

Features = tuple[Tensor, ...]
Picture = Path | PIL.Image.Image


@dataclass(frozen=True)
class MetricCard:
    """Facts about a metric, printed with every score: what its numbers mean and what they depend on.

    Attributes:
        name: name on the command line.
        direction: `distance` where a larger number means more different, `similarity` where it means more alike.
        range: lowest and highest number that it gives.
        input: height and width in pixels that it sees, or `native`.
        preprocessing: way from the file to those pixels, in words.
        weights: origin of the weights; empty for formulas.
        citation: citation of the method.
        parameters: number of learnt parameters.

    Example:
        >>> MetricCard("grey", "distance", (0, 1), input="native", preprocessing="as it is").direction
        'distance'
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
    """Options of a metric, from the command line.

    Attributes:
        weights: files to read in place of downloading.
        device: device that the metric runs on.

    Example:
        >>> Options(weights=(Path("vgg16.safetensors"),)).device
        device(type='cpu')
    """

    weights: tuple[Path, ...] = ()
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))


class Metric(ABC):
    """A metric: from files to numbers in three steps, so that what is expensive is done once a picture.

    Attributes:
        card: facts about it, see `MetricCard`.
        embeds: whether `features` is one short vector a picture, worth keeping from run to run.
        maps: whether it has a `difference_map`.
        text: function from prompts to what stands for the features of a reference, `(N, D)`; None unless it compares a
            picture with its prompt.

    Example:
        >>> class Grey(Metric):
        ...     card = MetricCard("grey", "distance", (0, 1), input="native", preprocessing="as it is")
        ...
        ...     def features(self, pixels):
        ...         return (pixels.mean((1, 2, 3)),)
        ...
        ...     def compare(self, a, b):
        ...         return (a[0] - b[0]).abs()
        >>> black, white = (Grey().read(PIL.Image.new("L", (8, 8), value)) for value in (0, 255))
        >>> Grey().compare(Grey().features(black[None]), Grey().features(white[None]))
        tensor([1.])
    """

    card: MetricCard
    embeds: bool = False
    maps: bool = False
    text: Callable[[list[str]], Tensor] | None = None

    @property
    def device(self) -> torch.device:
        """The device that `features` and `compare` run on."""
        return torch.device("cpu")

    def key(self) -> str:
        """Compute a digest of all that the metric's numbers depend on, for the cache."""
        modules = (module for module in vars(self).values() if isinstance(module, nn.Module))
        return compute_key([repr(self.card), name_decoder_version("pillow"), self.device.type], modules)

    def read(self, picture: Picture, size: tuple[int, int] | None = None) -> Tensor:
        """Read a picture as the metric sees it: `(3, H, W)` float32 in [0, 1].

        Args:
            picture: file, or decoded picture.
            size: height and width in place of its own, for metrics that see pictures as they are and compare equal
                sizes only.

        Raises:
            ValueError: it cannot be decoded.
        """
        return to_pixels(picture, size)[0]

    def own_size(self, picture: Picture) -> tuple[int, int]:
        """Measure height and width of a picture as it is, before the metric changes them."""
        pixels = to_pixels(picture, None)
        return pixels.shape[-2], pixels.shape[-1]

    def features(self, pixels: Tensor) -> Features:
        """Turn pixels `(N, 3, H, W)` on the device into what is compared, each tensor with N first."""
        return (pixels,)

    @abstractmethod
    def compare(self, a: Features, b: Features) -> Tensor:
        """Compare features of N references and N pictures: `(N,)`, in the metric's own direction."""

    def difference_map(self, a: Tensor, b: Tensor) -> Tensor:
        """Show where two pictures differ to the metric.

        Args:
            a, b: pixels on the CPU as `read` gives them, `(3, H, W)`.

        Returns:
            `(H, W)` on the CPU, 0 where they do not.

        Raises:
            Unmeasurable: the metric tells no places.
        """
        raise Unmeasurable(f"{self.card.name} does not tell where pictures differ")


class Unmeasurable(Exception):  # noqa: N818  # what it says of a metric is no error of the program
    """A report that a metric cannot be had or cannot take these pictures: the benchmark says why and goes on."""


Maker = Callable[[Options], Metric]
