"""Networks that timm and open_clip publish, untuned, as metrics: `timm:NAME#FEATURE`, `open_clip:ARCH/TAG#FEATURE`."""

import math
import tempfile
from pathlib import Path
from typing import Any, Literal

import timm
import torch
from safetensors.torch import save_file
from timm.models import clean_state_dict
from torch import Tensor, nn

from dreamsim_metric.card import Branch, ModelCard, Positions
from dreamsim_metric.messages import say_error_with_kind
from dreamsim_metric.models import IMAGENET, check_library_name
from dreamsim_metric.networks.backbone import Backbone, create_network, read_only_for
from dreamsim_metric.weights.dreamsim import unpickle
from dreamsim_metric.weights.folder import read_tensors

State = dict[str, Tensor]
_INSIDE = ("state_dict_ema", "model_ema", "state_dict", "model")  # where trainers keep the weights


def read_pretrained(name: str, source: Path | None, image_size: int | None) -> tuple[ModelCard, State]:
    """Read card and weights of an untuned network.

    Args:
        name: `timm:NAME` or `open_clip:ARCH/TAG`, then `#FEATURE` where the default (`pooled`, `embedding`) is not
            wanted.
        source: a checkpoint to read instead of downloading: safetensors, or PyTorch's with nothing but tensors and
            plain values. It is read here: the libraries' own loaders may run what is in it.
        image_size: input size in pixels, in place of the network's own.

    Raises:
        ValueError: unknown network or feature, or a checkpoint that does not fit.
        ConnectionError: the weights cannot be downloaded.
        FileNotFoundError: no such checkpoint.
    """
    check_library_name(name, tagged=source is None)
    network, _, feature = name.partition("#")
    library, _, architecture = network.partition(":")
    feature = feature or ("pooled" if library == "timm" else "embedding")
    if source is not None and not source.is_file():
        raise FileNotFoundError(f"no such checkpoint: {source}")
    read = _read_timm if library == "timm" else _read_open_clip
    try:
        stored = None if source is None else _read_source(source)
    except ValueError as error:
        raise _say_cannot_read(name, source, error) from error
    return read(name, architecture, feature, source, stored, image_size)


def _read_source(source: Path) -> State:
    if source.suffix == ".safetensors":
        found: Any = read_tensors(source)[0]
    else:
        found = unpickle(source.read_bytes(), str(source))
    inside = next((key for key in _INSIDE if isinstance(found, dict) and isinstance(found.get(key), dict)), None)
    state = found[inside] if inside else found
    if not (isinstance(state, dict) and state and all(isinstance(tensor, Tensor) for tensor in state.values())):
        raise ValueError("it holds no dictionary of tensors")
    return dict(clean_state_dict(state))


def _read_timm(
    name: str, architecture: str, feature: Any, source: Path | None, stored: State | None, image_size: int | None
) -> tuple[ModelCard, State]:
    config: Any = timm.get_pretrained_cfg(architecture)
    mean, std = (tuple(config.mean), tuple(config.std)) if config else IMAGENET
    size = image_size or (config.input_size[-1] if config else 224)
    options: dict[str, Any] = {} if feature == "embedding" else {"num_classes": 0}
    stages = _choose_all_stages(architecture, size) if feature == "stages" else ()
    branch = Branch(f"timm:{architecture}", feature, mean, std, options, stages, _choose_positions(architecture))
    width = _measure_width(
        branch, size
    )  # raises for names and features that timm does not have, before anything is downloaded
    if config is None or not (config.has_weights or source):
        raise ValueError(f"timm has no pretrained weights for {architecture}; name one with weights, or give source=")
    sized: dict[str, Any] = {"img_size": size} if config.fixed_input_size else {}
    if branch.positions == "dino":  # timm would resample by its own rule: the table is read as it is stored
        sized = {"img_size": _read_stored_size(branch, config.input_size[-1], stored)}
    overlay: dict[str, Any] = {"pretrained_cfg_overlay": {"state_dict": stored}} if stored else {}
    try:
        # With its classifier, though it is dropped: without, timm loads leniently, and what a file lacks stays random.
        made: Any = timm.create_model(architecture, pretrained=True, **sized, **overlay)
    except Exception as error:
        raise _say_cannot_read(name, source, error) from error
    if feature != "embedding":
        made.reset_classifier(0)
    return _make_card(name, branch, size, width, config.license or "unknown"), _state(branch, made)


def _choose_positions(architecture: str) -> Positions:
    """The rule of the authors; DINOv2 has another one for its networks with registers."""
    is_dino = architecture.endswith(".dino") or "_dinov2" in architecture
    return "dino" if is_dino and "_reg" not in architecture else "antialiased"


def _read_stored_size(branch: Branch, size: int, stored: State | None) -> int:
    """Size in pixels of the pictures that the stored table of positions is for."""
    if stored is None:
        return size
    with torch.device("meta"):
        network: Any = create_network(branch, size)
    table = next((tensor for key, tensor in stored.items() if key.endswith("pos_embed")), network.pos_embed)
    return int(math.isqrt(table.shape[1] - 1) * network.patch_embed.patch_size[0])


def _choose_all_stages(architecture: str, size: int) -> tuple[tuple[Literal["mean"], int], ...]:
    """The mean of every stage, where nothing more particular is asked for."""
    with torch.device("meta"):
        network: Any = create_network(Branch(f"timm:{architecture}", "pooled", *IMAGENET, {"num_classes": 0}), size)
    if not hasattr(network, "forward_intermediates"):
        raise ValueError(f"{architecture} does not give the maps of its stages; use pooled")
    return tuple(("mean", stage) for stage in range(len(network.feature_info)))


def _read_open_clip(
    name: str, tagged: str, feature: Any, source: Path | None, stored: State | None, image_size: int | None
) -> tuple[ModelCard, State]:
    import open_clip

    architecture, _, tag = tagged.partition("/")
    tags = open_clip.list_pretrained_tags_by_model(architecture)
    if source is None and tag not in tags:
        raise ValueError(f"open_clip has no weights {tag!r} for {architecture!r}; it has {', '.join(tags) or 'none'}")
    wants_quick_gelu = bool(open_clip.get_pretrained_cfg(architecture, tag).get("quick_gelu")) if tag else False
    if wants_quick_gelu and not open_clip.get_model_config(architecture).get("quick_gelu"):
        raise ValueError(
            f"the weights {tag!r} were trained with QuickGELU and {architecture} runs GELU, which gives wrong features "
            f"without an error; use open_clip:{architecture}-quickgelu/{tag}"
        )
    try:
        with tempfile.TemporaryDirectory() as folder:
            if stored is not None:  # open_clip takes weights by name only, and this file is ours: tensors alone
                tag = str(Path(folder) / "weights.safetensors")
                save_file({key: tensor.clone().contiguous() for key, tensor in stored.items()}, tag)
            made: Any = open_clip.create_model(
                architecture, pretrained=tag, force_image_size=image_size, require_pretrained=True
            ).visual
    except Exception as error:
        raise _say_cannot_read(name, source, error) from error
    size = made.image_size[0] if isinstance(made.image_size, tuple) else made.image_size
    branch = Branch(f"open_clip:{architecture}", feature, tuple(made.image_mean), tuple(made.image_std))
    return _make_card(name, branch, size, _measure_width(branch, size), "see open_clip"), _state(branch, made)


def _measure_width(branch: Branch, size: int) -> int:
    """Length of the embedding, by running the network on shapes alone."""
    with torch.device("meta"):
        features = (
            Backbone(branch, size).to("meta").eval()(torch.empty(1, 3, size, size, dtype=torch.float32, device="meta"))
        )
    return features.shape[-1] * (2 if features.ndim == 3 else 1)


def _make_card(name: str, branch: Branch, size: int, width: int, licence: str) -> ModelCard:
    return ModelCard(
        name=name,
        description=f"untuned {branch.network}, feature {branch.feature}",
        branches=(branch,),
        image_size=size,
        embedding_size=width,
        center=False,
        licence=licence,
    )


def _state(branch: Branch, network: nn.Module) -> State:
    return {f"branches.0.network.{key}": value for key, value in read_only_for(branch, network).state_dict().items()}


def _say_cannot_read(name: str, source: Path | None, error: Exception) -> Exception:
    """The libraries raise many kinds of errors here; what matters is where the weights were to come from."""
    if source is not None:
        return ValueError(f"{source} does not hold the weights of {name} ({say_error_with_kind(error)})")
    return ConnectionError(
        f"cannot get the weights of {name} ({say_error_with_kind(error)}); "
        "without network, give source= (command line: a folder made by save_pretrained)"
    )
