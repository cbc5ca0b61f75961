"""Model cards: all that a score depends on, as data."""

import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal, get_args

from dreamsim_metric.messages import say_error_with_kind

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Curve:
    """A psychometric function, `P(x) = lapse / 2 + (1 − lapse) · sigmoid((threshold − x) / scale)`.

    Wichmann & Hill, The psychometric function I, 2001, equation 1, with lapses that are guesses.

    Attributes:
        threshold: the x of even odds.
        scale: how far x has to change for the odds to change by a factor e.
        lapse: share of answers that have nothing to do with the pictures.
        judgements: single answers that it was fitted to.
        data: data set and split that they are of.
        error: expected calibration error on judgements left out of the fit, by five-fold cross-fitting.
    """

    threshold: float
    scale: float
    lapse: float
    judgements: int
    data: str
    error: float

    def __call__(self, x: "Tensor") -> "Tensor":
        """Probabilities of any shape of x."""
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


PRECISIONS = ("float32", "tf32", "bfloat16", "float16")  # that networks compute in


@dataclass(frozen=True)
class Branch:
    """One network and the rule that reads its feature.

    Attributes:
        network: `timm:NAME` or `open_clip:ARCHITECTURE`.
        feature: see `Feature`.
        mean, std: per-channel normalisation applied to [0, 1] pixels.
        options: further arguments of `timm.create_model`.
        stages: for `stages`, pairs of a statistic (`mean` or `std`) and a stage: 0, 1, … in the order of timm's
            `feature_info`, or -1 for the network's final feature map.
    """

    network: str
    feature: Feature
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    options: dict[str, Any] = field(default_factory=dict)
    stages: tuple[tuple[Literal["mean", "std"], int], ...] = ()

    def __post_init__(self) -> None:
        if self.feature not in get_args(Feature):
            raise ValueError(f"got feature {self.feature!r}; expected one of {', '.join(get_args(Feature))}")
        if bool(self.stages) != (self.feature == "stages"):
            raise ValueError(f"got feature {self.feature!r} with stages {self.stages}; they go together")


@dataclass(frozen=True)
class Head:
    """What is between the features and the embedding; see `heads.create_head`.

    Attributes:
        kind: `mlp` (two layers and a residual connection) or `linear` (a square matrix and a bias).
        hidden: width of the MLP's hidden layer.
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
        url: where it is.
        path: its name in the folder of a release, where a copy already on disk is looked for.
        size: bytes, where known.
        sha256: the digest or the beginning of it, where known.
    """

    url: str
    path: str
    size: int | None = None
    sha256: str | None = None


@dataclass(frozen=True)
class ModelCard:
    """What a model is, all that its scores depend on, and what is published of it.

    Attributes:
        name: as `load` takes it.
        description: one line.
        branches: the networks whose features are concatenated, in order.
        image_size: height and width in pixels that pictures are resized to.
        embedding_size: length of the embedding.
        center: subtract the embedding's own mean before scaling it to unit length (the released package's
            `normalize_embeds=True`; for `cls_patch`, each token by itself).
        weights: the files that hold the weights; none for models that are made by other libraries or saved by ours.
        licence, citation: of the weights.
        agreement: published or measured agreement with people, in percent, by data set.
        head: what was tuned behind the branches, if anything was.
        base: for a tuned model, the names of the models whose branches it is made of.
        base_sha256: digest of their weights (`folders.digest`): an adapter is worthless on others.
        training: for a tuned model, the data and the recipe.
        same: probability that people judge two pictures the same, given their distance.
        left: probability that people judge the left of two pictures nearer to a reference, given the difference of its
            distance and the right one's.
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

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "ModelCard":
        """Read `to_json`'s form.

        Raises:
            ValueError: not JSON, or fields missing, unknown or of the wrong kind.
        """
        try:
            fields = json.loads(text)
            branches = tuple(
                Branch(
                    **{
                        **branch,
                        "mean": tuple(branch["mean"]),
                        "std": tuple(branch["std"]),
                        "stages": tuple((statistic, int(stage)) for statistic, stage in branch.get("stages", ())),
                    }
                )
                for branch in fields.pop("branches")
            )
            fields["weights"] = tuple(Download(**download) for download in fields.get("weights", ()))
            fields["base"] = tuple(fields.get("base", ()))
            for name, made in {"head": Head, "same": Curve, "left": Curve}.items():
                if fields.get(name) is not None:
                    fields[name] = made(**fields[name])
            for name, kind in _KINDS.items():
                if name in fields and type(fields[name]) is not kind:
                    raise TypeError(f"{name} is {fields[name]!r}, not {kind.__name__}")
            return cls(branches=branches, **fields)
        except (TypeError, KeyError, AttributeError, json.JSONDecodeError) as error:
            raise ValueError(f"not a model card ({say_error_with_kind(error)}); expected card.json as saved") from error


_KINDS = {
    **dict.fromkeys(("name", "description", "licence", "citation", "base_sha256"), str),
    **dict.fromkeys(("image_size", "embedding_size"), int),
    "center": bool,
    **dict.fromkeys(("agreement", "training"), dict),
}
