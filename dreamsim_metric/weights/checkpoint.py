"""What DreamSim's own trainer (https://github.com/ssundaram21/dreamsim, training/train.py, v0.2) leaves of a run.

- `epoch_N/`: the adapter after an epoch, as peft saves it. The base weights are those of a release.
- `epoch=NN.ckpt`, `last.ckpt`: Lightning's, the whole model, with an adapter or an MLP head. The projection of CLIP's
  branches is in none of them, and comes from a release.

The run's own `config.yaml` or Lightning's record says which networks were tuned.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from dreamsim_metric.card import Branch, Head, ModelCard
from dreamsim_metric.models import MODELS, OFFICIAL_TYPES
from dreamsim_metric.weights.download import fetch, find_downloads_dir
from dreamsim_metric.weights.dreamsim import (
    has_base,
    merge_branches,
    open_release,
    read_base,
    read_config,
    unpickle,
)
from dreamsim_metric.weights.folder import ADAPTER, ADAPTER_CONFIG, read_tensors

_PICKLED = "adapter_model.bin"  # of peft before 0.7
_SETTINGS = "config.yaml"
_FOLDERS_UP = 5  # from epoch_N/ to the run's folder, with a logger's folders between
_RECIPE = ("lr", "weight_decay", "batch_size", "epochs", "margin", "lora_r", "lora_alpha", "lora_dropout")
_BRANCHES = {
    branch: (card, made)
    for card in MODELS.values()
    if not card.name.endswith("_patch")
    for branch, made in zip(OFFICIAL_TYPES[card.name], card.branches, strict=True)
}


def read_checkpoint(path: Path, source: Path | None, name: str | None = None) -> tuple[ModelCard, dict[str, Tensor]]:
    """Read and merge a checkpoint of DreamSim's trainer.

    Args:
        path: the folder `epoch_N`, or a `.ckpt` file.
        source: the release that has the base weights, as `read_release` takes it; by default the folder of the
            checkpoint, that of the run's own settings, `models`, or else a download.
        name: the released type that was tuned, where the run's own settings do not say.

    Returns:
        The card, without centring, as the trainer computes, and without the published figures, which are another
        model's; and the state dict of `PerceptualMetric(card)` in float32.

    Raises:
        ValueError: damaged or missing files, networks that are not known or not named, or another layout.
        ConnectionError: the base weights are neither at hand nor to be downloaded.
    """
    settings: Mapping[str, Any]
    if path.is_dir():
        settings = _read_settings(path)
        adapter, config = _read_adapter(path), read_config(path / ADAPTER_CONFIG)
        whole: dict[str, Tensor] = {}
    else:
        settings, whole = _read_lightning(path)
        adapter = {key.replace(".default.", "."): tensor for key, tensor in whole.items() if ".lora_" in key}
        alpha = settings.get("lora_alpha")
        config = {"r": settings.get("lora_r"), "lora_alpha": alpha, "target_modules": ["qkv"]} if adapter else {}
    names, branches = _find_branches(path, settings, name)
    bases = []
    for i, branch in enumerate(names):
        start = f"extractor_list.{i}.model."
        base = {
            key.removeprefix(start).replace(".base_layer.", "."): tensor
            for key, tensor in whole.items()
            if key.startswith(start) and ".lora_" not in key
        }
        if not whole or "clip" in branch:
            stored = _find_base(branch, path, source, settings)
            base = base | {"proj": stored["proj"]} if whole else stored
        bases.append(base)
    state = merge_branches(names, bases, adapter, config)
    head = {f"head.{key.removeprefix('mlp.')}": tensor for key, tensor in whole.items() if key.startswith("mlp.")}
    return _describe(path, names, branches, head, settings, config), state | head


def _describe(
    path: Path,
    names: tuple[str, ...],
    branches: tuple[Branch, ...],
    head: Mapping[str, Tensor],
    settings: Mapping[str, Any],
    config: Mapping[str, Any],
) -> ModelCard:
    tuned = "an MLP head" if head else f"LoRA of rank {config['r']}" if config else "nothing"
    data = str(settings.get("dataset_root") or "data that the checkpoint does not name")
    return ModelCard(
        name=path.stem if path.is_file() else path.resolve().name,
        description=f"DreamSim on {', '.join(names)} with {tuned}, tuned by its own trainer",
        branches=branches,
        image_size=224,
        embedding_size=sum({"cls": 768, "embedding": 512, "cls_patch": 1536}[branch.feature] for branch in branches),
        center=False,
        licence="not known: that of who tuned it; the backbones keep their own licences",
        citation=MODELS["ensemble"].citation,
        head=Head("mlp", len(head["head.fc1.bias"])) if head else None,
        training={"data": data} | {key: settings[key] for key in _RECIPE if key in settings},
    )


def _find_branches(
    path: Path, settings: Mapping[str, Any], name: str | None
) -> tuple[tuple[str, ...], tuple[Branch, ...]]:
    if name is not None:
        return OFFICIAL_TYPES[name], MODELS[name].branches
    said = [str(settings.get(key, "")).split(",") for key in ("model_type", "feat_type")]
    if said[0] == [""]:
        raise ValueError(
            f"{path} does not say which networks were tuned, and there is no {_SETTINGS} of the run above it; name the "
            f'released type: load("clip_vitb32", source="{path}"), or --model clip_vitb32 --weights {path}'
        )
    unknown = [branch for branch in said[0] if branch not in _BRANCHES]
    if unknown or len(said[0]) != len(said[1]):
        raise ValueError(
            f"{path} was tuned on {', '.join(said[0])} with features {', '.join(said[1])}; "
            f"expected some of {', '.join(_BRANCHES)} with a feature each"
        )
    branches = tuple(_make_branch(path, *pair) for pair in zip(*said, strict=True))
    return tuple(said[0]), branches


def _make_branch(path: Path, name: str, feature: str) -> Branch:
    own = _BRANCHES[name][1]
    if feature != own.feature and (own.feature, feature) != ("cls", "cls_patch"):
        raise ValueError(f"{path} has feature {feature!r} of {name}; expected {own.feature}, or cls_patch of a DINO")
    return Branch(**{**vars(own), "feature": feature})


def _find_base(branch: str, path: Path, source: Path | None, settings: Mapping[str, Any]) -> dict[str, Tensor]:
    """The base weights from the first place that has them, or from a download."""
    card = _BRANCHES[branch][0]
    if source is not None:
        return read_base(branch, card, open_release(card, source), source)
    places = [path if path.is_dir() else path.parent, Path(str(settings.get("load_dir") or "models")), Path("models")]
    for place in filter(Path.is_dir, places):
        release = open_release(card, place)
        if has_base(branch, card, release):
            return read_base(branch, card, release, place)
    if branch in ("dino_vitb16", "dinov2_vitb14"):  # a file of its own, which is downloaded where it is not found
        return read_base(branch, card, find_downloads_dir(), find_downloads_dir())
    archive = fetch(card.weights[0], find_downloads_dir())
    return read_base(branch, card, open_release(card, archive), archive)


def _read_adapter(folder: Path) -> dict[str, Tensor]:
    if (folder / ADAPTER).is_file():
        return read_tensors(folder / ADAPTER)[0]
    if not (folder / _PICKLED).is_file():
        raise ValueError(f"{folder} has no {ADAPTER} and no {_PICKLED}; expected a checkpoint of DreamSim's trainer")
    return _check_tensors(folder / _PICKLED, unpickle((folder / _PICKLED).read_bytes(), str(folder / _PICKLED)))


def _read_lightning(file: Path) -> tuple[Mapping[str, Any], dict[str, Tensor]]:
    """Settings, and tensors by the names of the released package: `extractor_list.0.model…`, `mlp.…`."""
    found = unpickle(file.read_bytes(), str(file))
    state = found.get("state_dict") if isinstance(found, dict) else None
    tensors = _check_tensors(file, state)
    prefix = "perceptual_model."
    named = {
        key.removeprefix(prefix).removeprefix("base_model.model."): tensor
        for key, tensor in tensors.items()
        if key.startswith(prefix)
    }
    if not any(key.startswith("extractor_list.") for key in named):
        raise ValueError(f"{file} is not of DreamSim's trainer: it has no {prefix}…extractor_list")
    settings = found.get("hyper_parameters")
    return settings if isinstance(settings, Mapping) else {}, named


def _check_tensors(file: Path, found: Any) -> dict[str, Tensor]:
    if not isinstance(found, dict) or not all(isinstance(tensor, Tensor) for tensor in found.values()):
        raise ValueError(f"{file} holds no dictionary of tensors; expected a checkpoint of DreamSim's trainer")
    return found


def _read_settings(folder: Path) -> dict[str, str]:
    """What the run was asked for, from its `config.yaml`: a line each, "name: value"."""
    for place in (folder, *folder.resolve().parents)[: _FOLDERS_UP + 1]:
        if (place / _SETTINGS).is_file():
            text = (place / _SETTINGS).read_text(encoding="utf-8", errors="replace")
            return {name: value.strip("'\" ") for name, value in re.findall(r"^(\w+): *(.*)$", text, re.MULTILINE)}
    return {}
