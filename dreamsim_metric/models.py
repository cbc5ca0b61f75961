"""The table of named models."""

import os
import re
from importlib.machinery import PathFinder
from importlib.util import find_spec
from typing import Any, get_args

from dreamsim_metric.card import Branch, Download, Feature, ModelCard
from dreamsim_metric.messages import suggest

IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
OPENAI_CLIP = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
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


def _make_official(
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
    # The released code resamples the tables of all its branches by DINO's rule.
    own: dict[str, Any] = {"positions": "dino"} | ({"feature": "cls_patch"} if name.endswith("_patch") else {})
    return ModelCard(
        name=name,
        description=description,
        branches=tuple(Branch(**{**vars(_OFFICIAL_BRANCHES[branch]), **own}) for branch in branches),
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
        _make_official(
            "ensemble", "DreamSim: DINO + CLIP + OpenCLIP ViT-B/16, LoRA-tuned; the one to publish with",
            1792, 96.9, 96.2, size=1_261_181_618,
        ),
        _make_official("dino_vitb16", "DreamSim on DINO ViT-B/16", 768, 95.6, 94.8),
        _make_official("dinov2_vitb14", "DreamSim on DINOv2 ViT-B/14", 768, 94.9, 95.0, "v0.2.1", citation=_ALIGNED),
        _make_official("clip_vitb32", "DreamSim on CLIP ViT-B/32", 512, 94.9, 93.6),
        _make_official("open_clip_vitb32", "DreamSim on OpenCLIP ViT-B/32", 512, 95.6, 95.3),
        _make_official("synclr_vitb16", "DreamSim on SynCLR ViT-B/16", 768, 96.0, 95.9, "v0.2.1", citation=_ALIGNED),
        _make_official(
            "dino_vitb16_patch", "DreamSim on DINO ViT-B/16, class and mean patch token",
            1536, 94.9, 94.8, "v0.2.1", citation=_ALIGNED,
        ),
        _make_official(
            "dinov2_vitb14_patch", "DreamSim on DINOv2 ViT-B/14, class and mean patch token",
            1536, 95.5, 95.1, "v0.2.1", citation=_ALIGNED,
        ),
    )
}  # fmt: skip


def list_models() -> list[str]:
    """List the names of the models that `load` knows, `timm:`, `open_clip:`, `hf:` and folders aside.

    Example:
        >>> list_models()[:3]
        ['mini', 'ensemble', 'dino_vitb16']
    """
    return ["mini", *MODELS]


def choose_default_model() -> str:
    """Name the model of those who name none: `$DREAMSIM_METRIC_MODEL`, else `mini`."""
    return os.environ.get("DREAMSIM_METRIC_MODEL") or "mini"


_FORMS = {  # by library: its package, what a name looks like, and that in words
    "timm": ("timm", r"[\w.-]+", "timm:NAME or timm:NAME#FEATURE"),
    "open_clip": ("open_clip", r"[\w.-]+/[\w.-]+", "open_clip:ARCH/TAG or open_clip:ARCH/TAG#FEATURE"),
    "hf": ("huggingface_hub", r"[\w.-]+/[\w.-]+(@[\w./-]+)?", "hf:OWNER/REPO or hf:OWNER/REPO@REVISION"),
}


def is_of_library(name: str) -> bool:
    """Tell whether a name begins as those of models that other libraries have."""
    return name.startswith(tuple(f"{library}:" for library in _FORMS))


def check_library_name(name: str, *, tagged: bool = True) -> None:
    """Be sure, without importing the library, that it can have a model of this name.

    Args:
        name: a name that begins with `timm:`, `open_clip:` or `hf:`.
        tagged: whether a name of open_clip must say which weights; not where a file of weights is given.

    Raises:
        ValueError: the name has another form, or an unknown feature.
        ImportError: the library is not installed.

    Example:
        >>> check_library_name("timm:vit_base_patch16_224.dino#cls_norm")
        >>> check_library_name("open_clip:ViT-B-32")
        Traceback (most recent call last):
        ValueError: got 'open_clip:ViT-B-32'; expected open_clip:ARCH/TAG or open_clip:ARCH/TAG#FEATURE
    """
    library, _, rest = name.partition(":")
    package, form, words = _FORMS[library]
    network, mark, feature = rest.partition("#") if library != "hf" else (rest, "", "")
    untagged = library == "open_clip" and not tagged and re.fullmatch(r"[\w.-]+", network)
    if not untagged and not re.fullmatch(form, network):
        raise ValueError(f"got {name!r}; expected {words}")
    if mark and feature not in get_args(Feature):
        raise ValueError(f"got feature {feature!r} in {name!r}; expected one of {', '.join(get_args(Feature))}")
    if PathFinder.find_spec(package) is None and find_spec(package) is None:
        raise ImportError(f"got {name!r}, and the package {package} is not installed; install dreamsim_metric again")


def make_unknown_model_error(name: str) -> ValueError:
    """Make the error for a name that is none of ours, with the nearest ones."""
    hint = suggest(name, list_models()) or f"the named models are {', '.join(list_models())}."
    return ValueError(
        f"unknown model {name!r}: {hint} Also accepted: timm:NAME, open_clip:ARCH/TAG, hf:OWNER/REPO, "
        "or the path of a folder with card.json"
    )
