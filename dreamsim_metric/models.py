"""Model cards: all that a score depends on, as data, and the table of named models."""

import difflib
import json
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, get_args

from dreamsim_metric.calibration import Curve

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

IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
OPENAI_CLIP = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


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
            raise ValueError(
                f"not a model card ({type(error).__name__}: {error}); expected card.json as saved"
            ) from error


_KINDS = {
    **dict.fromkeys(("name", "description", "licence", "citation", "base_sha256"), str),
    **dict.fromkeys(("image_size", "embedding_size"), int),
    "center": bool,
    **dict.fromkeys(("agreement", "training"), dict),
}

_DREAMSIM = (
    "Fu, Tamir, Sundaram, Chai, Zhang, Dekel, Isola. DreamSim: Learning New Dimensions of Human Visual Similarity "
    "using Synthetic Data. NeurIPS 2023. arXiv:2306.09344"
)
_ALIGNED = (
    "Sundaram, Fu, Muttenthaler et al. When Does Perceptual Alignment Benefit Vision Representations? NeurIPS 2024"
)
_RELEASES = "https://github.com/ssundaram21/dreamsim/releases/download/"

# The networks inside the released models. Their heads and norms are the released ones: see official.py.
_OFFICIAL_BRANCHES = {
    "dino_vitb16": Branch("timm:vit_base_patch16_224", "cls", *IMAGENET, {"num_classes": 0}),
    "synclr_vitb16": Branch("timm:vit_base_patch16_224", "cls", *IMAGENET, {"num_classes": 0}),
    "dinov2_vitb14": Branch("timm:vit_base_patch14_dinov2", "cls", *IMAGENET, {"num_classes": 0}),
    "clip_vitb16": Branch("timm:vit_base_patch16_clip_quickgelu_224", "embedding", *OPENAI_CLIP, {"num_classes": 512}),
    "clip_vitb32": Branch("timm:vit_base_patch32_clip_quickgelu_224", "embedding", *OPENAI_CLIP, {"num_classes": 512}),
    # LAION-400M weights were trained with QuickGELU, but the released branches run GELU: what they were tuned with.
    "open_clip_vitb16": Branch("timm:vit_base_patch16_clip_224", "embedding", *OPENAI_CLIP, {"num_classes": 512}),
    "open_clip_vitb32": Branch("timm:vit_base_patch32_clip_224", "embedding", *OPENAI_CLIP, {"num_classes": 512}),
}
_DINO_HUB = Download(
    "https://dl.fbaipublicfiles.com/dino/dino_vitbase16_pretrain/dino_vitbase16_pretrain.pth",
    "checkpoints/dino_vitbase16_pretrain.pth",
)
_DINOV2_HUB = Download(
    "https://dl.fbaipublicfiles.com/dinov2/dinov2_vitb14/dinov2_vitb14_pretrain.pth",
    "checkpoints/dinov2_vitb14_pretrain.pth",
    sha256="0b8b82f8",
)


OFFICIAL_TYPES = {
    "ensemble": ("dino_vitb16", "clip_vitb16", "open_clip_vitb16"),
    "dino_vitb16": ("dino_vitb16",),
    "dinov2_vitb14": ("dinov2_vitb14",),
    "clip_vitb32": ("clip_vitb32",),
    "open_clip_vitb32": ("open_clip_vitb32",),
    "synclr_vitb16": ("synclr_vitb16",),
    "dino_vitb16_patch": ("dino_vitb16",),
    "dinov2_vitb14_patch": ("dinov2_vitb14",),
}
"""The released models and their branches, in the order of concatenation (config.py of the released package)."""


def _official(
    name: str,
    description: str,
    embedding_size: int,
    val: float,
    test: float,
    version: str = "v0.2.0",
    size: int | None = None,
    citation: str = _DREAMSIM,
) -> ModelCard:
    branches = OFFICIAL_TYPES[name]
    archive = f"dreamsim_{name}_checkpoint.zip"
    hub = {"dino_vitb16": (_DINO_HUB,), "dinov2_vitb14": (_DINOV2_HUB,)}.get(branches[0], ())
    feature: dict[str, Any] = {"feature": "cls_patch"} if name.endswith("_patch") else {}
    return ModelCard(
        name=name,
        description=description,
        branches=tuple(Branch(**{**vars(_OFFICIAL_BRANCHES[branch]), **feature}) for branch in branches),
        image_size=224,
        embedding_size=embedding_size,
        weights=(Download(f"{_RELEASES}{version}-checkpoints/{archive}", archive, size), *hub),
        licence="MIT (DreamSim code and release; the backbones keep their own licences)",
        citation=citation,
        agreement={"NIGHTS val 2AFC": val, "NIGHTS test 2AFC": test},
    )


MODELS: dict[str, ModelCard] = {
    card.name: card
    for card in (
        _official(
            "ensemble", "DreamSim: DINO + CLIP + OpenCLIP ViT-B/16, LoRA-tuned; the one to publish with",
            1792, 96.9, 96.2, size=1_261_181_618,
        ),
        _official("dino_vitb16", "DreamSim on DINO ViT-B/16", 768, 95.6, 94.8),
        _official("dinov2_vitb14", "DreamSim on DINOv2 ViT-B/14", 768, 94.9, 95.0, "v0.2.1", citation=_ALIGNED),
        _official("clip_vitb32", "DreamSim on CLIP ViT-B/32", 512, 94.9, 93.6),
        _official("open_clip_vitb32", "DreamSim on OpenCLIP ViT-B/32", 512, 95.6, 95.3),
        _official("synclr_vitb16", "DreamSim on SynCLR ViT-B/16", 768, 96.0, 95.9, "v0.2.1", citation=_ALIGNED),
        _official(
            "dino_vitb16_patch", "DreamSim on DINO ViT-B/16, class and mean patch token",
            1536, 94.9, 94.8, "v0.2.1", citation=_ALIGNED,
        ),
        _official(
            "dinov2_vitb14_patch", "DreamSim on DINOv2 ViT-B/14, class and mean patch token",
            1536, 95.5, 95.1, "v0.2.1", citation=_ALIGNED,
        ),
    )
}  # fmt: skip


def list_models() -> list[str]:
    """Names of the models that `load` knows, `timm:`, `open_clip:`, `hf:` and folders aside."""
    return ["mini", *MODELS]


def unknown_model(name: str) -> ValueError:
    """The error for a name that is none of ours, with the nearest ones."""
    near = difflib.get_close_matches(name, list_models(), n=3, cutoff=0.4)
    hint = f"did you mean {' or '.join(near)}?" if near else f"the named models are {', '.join(list_models())}."
    return ValueError(
        f"unknown model {name!r}: {hint} Also accepted: timm:NAME, open_clip:ARCH/TAG, hf:OWNER/REPO, "
        "or the path of a folder with card.json"
    )
