"""The checkpoints released with DreamSim (https://github.com/ssundaram21/dreamsim, v0.2) as a state dict of ours.

A release is a zip, or the folder it was unpacked in: one adapter folder, and base weights under the names of the DINO
vision transformer. The DINO and DINOv2 base weights come from their own authors' files (the released package gets them
through torch.hub); the archive's `dino_vitb16_pretrain.pth` only holds a head that no distance uses.
"""

import io
import pickle
import zipfile
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import torch
from torch import Tensor

from dreamsim_metric.card import ModelCard
from dreamsim_metric.files.json_file import parse_json
from dreamsim_metric.messages import list_briefly
from dreamsim_metric.models import OFFICIAL_TYPES
from dreamsim_metric.weights.download import fetch, find_downloads_dir
from dreamsim_metric.weights.lora import PEFT_PREFIX, merge_lora

_MOST_PACKED, _SMALL = 10, 1 << 20  # times, and bytes, that a member of an archive may grow by
_EXTRACTOR = "extractor_list."  # the branches, in the released package: adapters name modules so


class _UnpackedError(ValueError):
    """An archive that would fill the memory."""


def find_adapter_folder(name: str) -> str:
    """Name the folder that holds the adapter of a released type."""
    if name == "ensemble":
        return "ensemble_lora"
    return f"{name}_lora" if name.endswith("_patch") else f"{name}_single_lora"


def read_release(card: ModelCard, source: Path) -> dict[str, Tensor]:
    """Read and merge the weights of a released type.

    Args:
        card: the card of one of the released types.
        source: the release archive, the folder it was unpacked in (`cache_dir` of the released package), or a folder
            that holds the archive under its released name.

    Returns:
        State dict of `PerceptualMetric(card)` in float32, LoRA merged; position embeddings at their released size.

    Raises:
        FileNotFoundError: no such source.
        ValueError: another type's archive, files or tensors missing, surplus or misshapen, or unsafe contents.
        ConnectionError: the DINO or DINOv2 base weights are neither at hand nor to be downloaded.
    """
    release = open_release(card, source)
    folder = find_adapter_folder(card.name)
    branches = OFFICIAL_TYPES[card.name]
    needed = [f"{folder}/adapter_config.json", f"{folder}/adapter_model.safetensors"]
    needed += [_BASE_FILES[branch] for branch in branches if branch in _BASE_FILES]
    missing = [name for name in needed if not (release / name).is_file()]
    if missing:
        kinds = [
            name for name in OFFICIAL_TYPES if (release / find_adapter_folder(name) / "adapter_config.json").is_file()
        ]
        hint = f"; it looks like the release of {', '.join(kinds)}" if kinds and card.name not in kinds else ""
        raise ValueError(f"{source} is not a release of {card.name}: it has no {', '.join(missing)}{hint}")

    bases = [read_base(branch, card, release, source) for branch in branches]
    config = read_config(release / folder / "adapter_config.json")
    return merge_branches(branches, bases, _read_adapter(release / folder / "adapter_model.safetensors"), config)


def read_base(branch: str, card: ModelCard, release: Path | zipfile.Path, source: Path) -> dict[str, Tensor]:
    """Read the base weights of a branch, under DINO's names.

    Args:
        branch: name of the branch, one of those in `OFFICIAL_TYPES`.
        card: card of the released type that they belong to.
        release: the release, opened.
        source: the place that it was opened from.

    Raises:
        As `read_release`.
    """
    if branch in _BASE_FILES:
        name = _BASE_FILES[branch]
        if not (release / name).is_file():
            raise ValueError(f"{source} has no {name}, the base weights of {branch}; expected a release with {branch}")
        base = _unwrap(branch, unpickle(_read(release / name), f"{name} in {source}"))
    else:
        path = _download_hub_file(card, source)
        base = unpickle(_read(path), str(path))
    if not isinstance(base, dict) or not all(isinstance(tensor, Tensor) for tensor in base.values()):
        raise ValueError(f"the base weights of {branch} are not a dictionary of tensors; expected the released format")
    return base


def has_base(branch: str, card: ModelCard, release: Path | zipfile.Path) -> bool:
    """Tell whether a release has the base weights of a branch; arguments as of `read_base`."""
    path = Path(_BASE_FILES.get(branch) or card.weights[1].path)
    return any((release / name).is_file() for name in (path.as_posix(), path.name))


def merge_branches(
    branches: Sequence[str], bases: Sequence[dict[str, Tensor]], adapter: dict[str, Tensor], config: dict[str, Any]
) -> dict[str, Tensor]:
    """Put branches together under our names, an adapter merged into them.

    Args:
        branches: names of the branches, in order.
        bases: the base weights of each, under DINO's names.
        adapter: tensors of the released package's adapter, under peft's names; none without configuration.
        config: peft's configuration; empty without adapter.

    Raises:
        ValueError: tensors missing, surplus or misshapen, or a kind of adapter that is not supported.
    """
    state = {
        f"{_EXTRACTOR}{i}.model.{key}": tensor
        for i, (branch, base) in enumerate(zip(branches, bases, strict=True))
        for key, tensor in _to_timm(branch, base).items()
    }
    if config:
        state = merge_lora(state, {key.removeprefix(PEFT_PREFIX): tensor for key, tensor in adapter.items()}, config)
    return {_translate_key(key): tensor for key, tensor in state.items()}


# Base weights inside the archive; those of dino_vitb16 and dinov2_vitb14 are `card.weights[1]`.
_BASE_FILES = {
    "clip_vitb16": "clip_vitb16_pretrain.pth.tar",
    "clip_vitb32": "clip_vitb32_pretrain.pth.tar",
    "open_clip_vitb16": "open_clip_vitb16_pretrain.pth.tar",
    "open_clip_vitb32": "open_clip_vitb32_pretrain.pth.tar",
    "synclr_vitb16": "synclr_vit_b_16.pth",
}


def _check_leaves_folder(name: str) -> bool:
    path = PurePosixPath(name.replace("\\", "/"))
    return path.is_absolute() or ".." in path.parts or any(":" in part for part in path.parts[:1])


def open_release(card: ModelCard, source: Path) -> Path | zipfile.Path:
    """Open a folder, or an archive as if it were one: its members are read in memory, and nothing is unpacked to disk.

    Args:
        card: the card of the released type.
        source: the release archive, the folder it was unpacked in, or a folder that holds the archive.

    Raises:
        FileNotFoundError: no such source.
        ValueError: an archive that is damaged or unsafe.
    """
    archive = source / card.weights[0].path if source.is_dir() else source
    if source.is_dir() and not archive.is_file():
        return source
    if not archive.is_file():
        raise FileNotFoundError(
            f"no such file or folder: {source}; expected {card.weights[0].path} (from {card.weights[0].url}), "
            "or the folder it was unpacked in"
        )
    try:
        release = zipfile.ZipFile(archive)
    except PermissionError:
        raise
    except Exception as error:  # damaged archives raise nearly anything
        raise ValueError(f"{archive} is not a whole zip archive ({error}); download it again") from error
    unsafe = [name for name in release.namelist() if _check_leaves_folder(name)]
    if unsafe:
        raise ValueError(f"{archive} has members that would leave its folder: {list_briefly(unsafe, 5)}; refused")
    _check_unpacked(release, str(archive))
    return zipfile.Path(release)


def _check_unpacked(archive: zipfile.ZipFile, name: str) -> None:
    """Refuse an archive that is small and would fill the memory: weights are noise, which hardly packs."""
    packed = {info.filename: (info.file_size, info.compress_size) for info in archive.infolist()}
    bombs = [member for member, (size, small) in packed.items() if size > _MOST_PACKED * small + _SMALL]
    if bombs:
        raise _UnpackedError(
            f"{name} has members that unpack to over {_MOST_PACKED} times their size: {list_briefly(bombs, 5)}; "
            "weights do not: refused"
        )


def _read(file: Path | zipfile.Path) -> bytes:
    try:
        return file.read_bytes()
    except PermissionError:
        raise
    except Exception as error:  # a wrong checksum, say
        raise ValueError(f"{file} is damaged ({error}); download it again") from error


def _download_hub_file(card: ModelCard, source: Path) -> Path:
    download = card.weights[1]
    folder = source if source.is_dir() else source.parent
    name = Path(download.path).name
    places = [folder / download.path, folder / name, Path(torch.hub.get_dir()) / "checkpoints" / name]
    return next((place for place in places if place.is_file()), None) or fetch(download, find_downloads_dir())


def unpickle(data: bytes, name: str) -> Any:
    """Read a file of `torch.save` that holds nothing but tensors and plain values.

    Args:
        data: the content of the file.
        name: what the error calls the file.

    Raises:
        ValueError: it is damaged, or holds more.
    """
    try:
        if data.startswith(b"PK"):
            with zipfile.ZipFile(io.BytesIO(data)) as archive:
                _check_unpacked(archive, name)
        return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except _UnpackedError:
        raise
    except Exception as error:  # damaged files raise nearly anything
        if isinstance(error, pickle.UnpicklingError) and "GLOBAL" in str(error):
            raise ValueError(f"{name} holds more than tensors, which could run code when loaded; refused") from error
        raise ValueError(
            f"{name} is damaged or not a PyTorch checkpoint ({type(error).__name__}); remove it and download it again"
        ) from error


def _unwrap(branch: str, checkpoint: Any) -> Any:
    key, prefix = ("model", "module.visual.") if branch == "synclr_vitb16" else ("state_dict", "")
    if not isinstance(checkpoint, dict) or key not in checkpoint:
        raise ValueError(f"the base weights of {branch} have no entry {key!r}; expected the released format")
    base = checkpoint[key]
    return {name.removeprefix(prefix): tensor for name, tensor in base.items()} if isinstance(base, dict) else base


def _to_timm(branch: str, base: dict[str, Tensor]) -> dict[str, Tensor]:
    """DINO's names to timm's, without what the feature does not read; surplus and missing names show when loading."""
    state = {name: tensor.float() for name, tensor in base.items()}
    if "clip" not in branch:
        # These features are read before the final norm; the mask token only serves DINOv2's own training.
        unread = ("norm.weight", "norm.bias", "mask_token")
        return {name: tensor for name, tensor in state.items() if name not in unread}
    for part in ("weight", "bias"):
        if f"pos_drop.{part}" in state:
            state[f"norm_pre.{part}"] = state.pop(f"pos_drop.{part}")  # CLIP's ln_pre, kept in the place of a dropout
    bias = state.pop(
        "patch_embed.proj.bias", torch.zeros((), dtype=torch.float32, device="cpu")
    )  # CLIP has none: the released format stores zeros
    if bias.any():
        raise ValueError(f"the base weights of {branch} have a non-zero patch_embed.proj.bias; expected zeros")
    if "proj" in state:
        state["head.weight"] = state.pop("proj").T
        state["head.bias"] = torch.zeros(len(state["head.weight"]), dtype=torch.float32, device="cpu")
    return state


def read_config(file: Path | zipfile.Path) -> dict[str, Any]:
    """Read peft's configuration of an adapter.

    Args:
        file: the file `adapter_config.json`.

    Raises:
        ValueError: it is damaged.
    """
    return parse_json(_read(file), file, "download the release again")


def _read_adapter(file: Path | zipfile.Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        return load(_read(file))
    except SafetensorError as error:
        raise ValueError(f"{file} is damaged ({error}); download the release again") from error


def _translate_key(key: str) -> str:
    """`extractor_list.{branch}.model.X` → `branches.{branch}.network.X`."""
    branch, _, rest = key.removeprefix(_EXTRACTOR).partition(".model.")
    return f"branches.{branch}.network.{rest}"
