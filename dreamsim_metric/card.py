"""Model cards: all that a score depends on, as data."""

import json
import re
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal, get_args

from dreamsim_metric.entries import check_range, make_object
from dreamsim_metric.messages import say_error_with_kind

if TYPE_CHECKING:
    from torch import Tensor

LARGEST_INPUT = 2048
"""The most pixels a side that pictures are resized to: 50 MB of float32 a picture, and gigabytes in some networks."""

OPTIONS = ("num_classes",)
"""Options of `timm.create_model` that a model may have; others could name files, or networks of any size."""


@dataclass(frozen=True)
class Curve:
    """A psychometric function, `P(x) = lapse / 2 + (1 − lapse) · sigmoid((threshold − x) / scale)`.

    Wichmann & Hill, The psychometric function I, 2001, equation 1, with lapses that are guesses.

    Attributes:
        threshold: the x of even odds.
        scale: the change of x that changes the odds by a factor e.
        lapse: the share of answers that have nothing to do with the pictures.
        judgements: the number of single answers that it was fitted to.
        data: name of the data set and split that it was fitted to.
        error: expected calibration error on judgements left out of the fit, by five-fold cross-fitting.

    Example:
        >>> import torch
        >>> curve = Curve(threshold=0.2, scale=0.1, lapse=0.02, judgements=1000, data="ours val", error=0.01)
        >>> curve(torch.tensor([0.0, 0.2, 0.4]))
        tensor([0.8732, 0.5000, 0.1268])
    """

    threshold: float
    scale: float
    lapse: float
    judgements: int
    data: str
    error: float

    def __post_init__(self) -> None:
        check_range("threshold", self.threshold, -_FAR, _FAR)
        check_range("scale", self.scale, 1e-9, _FAR)
        check_range("lapse", self.lapse, 0, 1)

    def __call__(self, x: "Tensor") -> "Tensor":
        """Compute the probabilities of a tensor of any shape."""
        return self.lapse / 2 + (1 - self.lapse) * ((self.threshold - x) / self.scale).sigmoid()


Feature = Literal["cls", "cls_norm", "embedding", "pooled", "patch_mean", "cls_patch", "stages"]
"""How a network's output becomes a feature vector:

- `cls`: class token after the last block, before the final norm (DreamSim's DINO branches).
- `cls_norm`: class token after the final norm (the usual DINO and DINOv2 feature).
- `embedding`: after the final norm and the projection (CLIP's image embedding).
- `pooled`: as the network pools before its classifier.
- `patch_mean`: mean of the patch tokens after the final norm.
- `cls_patch`: class token and mean patch token before the final norm (DreamSim's `_patch` models).
- `stages`: spatial means or standard deviations of a network's stages, each scaled to unit length (by name: all means).
"""


Positions = Literal["antialiased", "dino"]
"""How a table of positions is resampled for pictures of another size, which is part of what a network computes:

- `antialiased`: bicubic with antialiasing (timm, open_clip for CLIP, DINOv2 with registers).
- `dino`: bicubic without, at scale (new + 0.1) / old (DINO, DINOv2 without registers, DreamSim's branches, CLIP too).
"""


Precision = Literal["float32", "tf32", "bfloat16", "float16"]
"""What networks compute in; `tf32` is float32 of which NVIDIA GPUs round products to 10 bits."""

PRECISIONS: tuple[Precision, ...] = get_args(Precision)


@dataclass(frozen=True)
class Branch:
    """One network and the rule that reads its feature.

    Attributes:
        network: `timm:NAME` or `open_clip:ARCHITECTURE`.
        feature: the rule that makes a vector of the network's output, one of `Feature`.
        mean, std: per-channel normalisation applied to [0, 1] pixels.
        options: other arguments of `timm.create_model`; those of a model, one of `OPTIONS`.
        stages: pairs of a statistic (`mean` or `std`) and a stage, for the feature `stages`: 0, 1, … in the order of
            timm's `feature_info`, or -1 for the network's final feature map.
        positions: the rule by which a table of positions is resampled, one of `Positions`.

    Example:
        >>> half = (0.5, 0.5, 0.5)
        >>> Branch("timm:vit_base_patch16_224.dino", "cls_norm", mean=half, std=half).feature
        'cls_norm'
    """

    network: str
    feature: Feature
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    options: dict[str, Any] = field(default_factory=dict)
    stages: tuple[tuple[Literal["mean", "std"], int], ...] = ()
    positions: Positions = "antialiased"

    def __post_init__(self) -> None:
        if not re.fullmatch(r"(timm|open_clip):[\w.-]+", self.network):
            raise ValueError(f"got network {self.network!r}; expected timm:NAME or open_clip:ARCHITECTURE")
        for name, least in (("mean", -_FAR), ("std", 1 / _FAR)):
            for i, value in enumerate(getattr(self, name)):
                check_range(f"{name}[{i}]", value, least, _FAR)
        if self.feature not in get_args(Feature):
            raise ValueError(f"got feature {self.feature!r}; expected one of {', '.join(get_args(Feature))}")
        if bool(self.stages) != (self.feature == "stages"):
            raise ValueError(f"got feature {self.feature!r} with stages {self.stages}; they go together")
        if self.positions not in get_args(Positions):
            raise ValueError(f"got positions {self.positions!r}; expected one of {', '.join(get_args(Positions))}")


@dataclass(frozen=True)
class Head:
    """What is between the features and the embedding.

    Attributes:
        kind: `mlp` (two layers and a residual connection) or `linear` (a square matrix and a bias).
        hidden: width of the MLP's hidden layer.

    Example:
        >>> Head("mlp", hidden=256)
        Head(kind='mlp', hidden=256)
    """

    kind: Literal["mlp", "linear"]
    hidden: int = 512

    def __post_init__(self) -> None:
        if self.kind not in ("mlp", "linear") or self.hidden < 1:
            raise ValueError(
                f"got a head {self.kind!r} of width {self.hidden}; expected mlp or linear, width 1 or more"
            )


@dataclass(frozen=True)
class Download:
    """A file that a model's weights come from.

    Attributes:
        url: address that it is downloaded from.
        path: name in the folder of a release, where a copy already on disk is looked for.
        size: number of bytes, where known.
        sha256: the digest or the beginning of it, where known.

    Example:
        >>> Download("https://example.org/weights.zip", "weights.zip", size=1_000).path
        'weights.zip'
    """

    url: str
    path: str
    size: int | None = None
    sha256: str | None = None


@dataclass(frozen=True)
class ModelCard:
    """What a model is, all that its scores depend on, and what is published of it.

    Attributes:
        name: the name that `load` takes.
        description: one line on what the model is.
        branches: the networks whose features are concatenated, in order.
        image_size: height and width in pixels that pictures are resized to.
        embedding_size: length of the embedding.
        center: subtract the embedding's own mean before scaling it to unit length (the released package's
            `normalize_embeds=True`; for `cls_patch`, each token by itself).
        weights: the files that hold the weights; none for models that are made by other libraries or saved by ours.
        licence, citation: terms and source of the weights.
        agreement: published or measured agreement with people, in percent, by data set.
        head: what was tuned behind the branches, if anything was.
        base: names of the models whose branches a tuned model is made of.
        base_sha256: digest of the base models' weights: an adapter is worthless on others.
        training: data and recipe of a tuned model; `data` is the name of the data, `rank` that of the adapter.
        same: probability that people judge two pictures the same, given their distance.
        left: probability that people judge the left of two pictures nearer to a reference, given the difference of its
            distance and the right one's.
        sha256: digests of the files of weights beside a `card.json`, by name; none in memory.

    Example:
        >>> from dreamsim_metric import load
        >>> card = load("mini").card
        >>> card.name, card.image_size, card.embedding_size
        ('mini', 224, 2560)
        >>> ModelCard.from_json(card.to_json()) == card
        True
    """

    name: str
    description: str
    branches: tuple[Branch, ...]
    image_size: int
    embedding_size: int
    center: bool = True
    weights: tuple[Download, ...] = ()
    licence: str = "unknown"
    citation: str = ""
    agreement: dict[str, float] = field(default_factory=dict)
    head: Head | None = None
    base: tuple[str, ...] = ()
    base_sha256: str = ""
    training: dict[str, Any] = field(default_factory=dict)
    same: Curve | None = None
    left: Curve | None = None
    sha256: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.branches:
            raise ValueError("branches is empty; expected one or more")
        check_range("image_size", self.image_size, 1, LARGEST_INPUT)
        check_range("embedding_size", self.embedding_size, 1, _MOST_NUMBERS)
        for i, branch in enumerate(self.branches):
            for name, value in branch.options.items():
                if name not in OPTIONS or type(value) is not int or not 0 <= value <= _MOST_NUMBERS:
                    raise ValueError(
                        f"branches[{i}].options has {name} {value!r}; expected {' or '.join(OPTIONS)}, a whole number"
                    )
        for data, percent in self.agreement.items():
            check_range(f"agreement[{data!r}]", percent, 0, 100)
        if self.training and not isinstance(self.training.get("data"), str):
            raise ValueError(f"training.data is {self.training.get('data')!r}; expected the name of the data")

    def to_json(self) -> str:
        """Write the card as text, for `card.json`."""
        return json.dumps(asdict(self), indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "ModelCard":
        """Read a card from the text that `to_json` gives.

        Args:
            text: the contents of a `card.json`.

        Raises:
            ValueError: not JSON, or an entry that is missing, unknown or cannot be; the message names it.
        """
        try:
            entries = json.loads(text)
        except (json.JSONDecodeError, RecursionError) as error:
            raise ValueError(f"not a model card ({say_error_with_kind(error)}); expected card.json as saved") from error
        try:
            return make_object(cls, entries)
        except ValueError as error:
            raise ValueError(f"not a model card: {error}") from error


_FAR = 1000.0  # from 0: what is farther makes all pictures equal, or none, in float32
_MOST_NUMBERS = 1_000_000  # of an embedding
