"""Any text-to-image pipeline of diffusers: mini-diffusion in the wheel, a folder, a repository of the hub."""

import hashlib
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import diffusers
import torch
from diffusers import AutoPipelineForText2Image, DiffusionPipeline

from data_tools.trained.addition import add_all
from data_tools.trained.network import read_checkpoint
from dreamsim_metric.files.digest import digest_file
from dreamsim_metric.files.json_file import read_json
from dreamsim_metric.messages import say_error, say_known

DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
MINI_DIFFUSION = Path(__file__).parent / "assets" / "mini-diffusion"  # docs/mini-diffusion.md
_INDEX = "model_index.json"


@dataclass(frozen=True)
class Model:
    """A pipeline, ready, and what identifies it.

    Attributes:
        pipeline: pipeline of diffusers on its device.
        name: name that it was asked for by.
        revision: commit of the hub's repository; sha256 of all files of a folder; with those of additions after `+`.
        scheduler: class name of the scheduler.
    """

    pipeline: Any
    name: str
    revision: str
    scheduler: str


def load_model(
    name: str,
    *,
    revision: str | None = None,
    variant: str | None = None,
    dtype: str = "float32",
    device: str | torch.device = "cpu",
    scheduler: str | None = None,
    additions: Sequence[str] = (),
) -> Model:
    """Load a text-to-image pipeline; a safety checker that it has stays.

    Args:
        name: `mini-diffusion`, a folder in diffusers' layout, a one-file checkpoint (`.safetensors`, `.ckpt`; its
            configuration is the hub's), or a repository of the hub, OWNER/NAME.
        revision: branch, tag or commit of the repository.
        variant: variant of the weights' files, such as `fp16`.
        dtype: type of the weights: `float32`, `float16` or `bfloat16`.
        device: device that it runs on.
        scheduler: name of one of diffusers' scheduler classes, in place of the pipeline's.
        additions: files or folders of other trainers, added in this order: LoRAs, learnt words, networks.

    Raises:
        FileNotFoundError: parts of the folder are missing: all of them; no such addition.
        OSError: the hub cannot be reached or has no such repository.
        ValueError: an unknown scheduler, or one that does not fit the pipeline; an addition of another pipeline.
    """
    folder = Path(name) if Path(name).is_file() else _find_folder(name, revision, variant)
    arguments = {"torch_dtype": DTYPES[dtype], "variant": variant}
    if folder.is_dir():
        _check_parts(folder)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of the libraries to each other
        pipeline = read_checkpoint(folder, DTYPES[dtype]) if folder.is_file() else _read_folder(folder, arguments)
        add_all(pipeline, map(Path, additions))
    if scheduler:
        pipeline.scheduler = _make_scheduler(scheduler, pipeline)
    pipeline.set_progress_bar_config(disable=True)
    freeze(pipeline)
    local = folder == MINI_DIFFUSION or Path(name).exists()
    found = _digest(folder) if local else folder.name  # the hub's client names folders by commit
    found = "+".join([found, *(_digest(Path(one)) for one in additions)])
    scheduler_name = type(getattr(pipeline, "scheduler", None)).__name__  # a family may have two of other names
    return Model(pipeline.to(device), name, found, scheduler_name)


def freeze(pipeline: Any) -> None:
    """Turn off gradients of all parts: a convolution's last bits depend on whether it might get one."""
    for part in pipeline.components.values():
        if isinstance(part, torch.nn.Module):
            part.requires_grad_(False)


def _read_folder(folder: Path, arguments: Mapping[str, Any]) -> Any:
    try:
        return AutoPipelineForText2Image.from_pretrained(folder, **arguments)
    except ValueError:  # of a class that it has no entry for
        return DiffusionPipeline.from_pretrained(folder, **arguments)


def _find_folder(name: str, revision: str | None, variant: str | None) -> Path:
    if name == MINI_DIFFUSION.name:
        return MINI_DIFFUSION
    if Path(name).is_dir():
        return Path(name)
    try:
        return Path(DiffusionPipeline.download(name, revision=revision, variant=variant))
    except Exception as error:  # the hub's client has a dozen kinds of them
        raise OSError(
            f"cannot get {name!r} from the hub ({say_error(error)[:200]}); expected mini-diffusion, a "
            "folder with a pipeline, or OWNER/NAME and a network"
        ) from error


def _check_parts(folder: Path) -> None:
    if not (folder / _INDEX).is_file():
        raise FileNotFoundError(f"{folder} has no {_INDEX}; expected a folder that diffusers' save_pretrained wrote")
    parts = read_json(folder / _INDEX, "copy it again")
    missing = []
    for part, kind in parts.items():
        if not isinstance(kind, list) or kind[0] is None:
            continue
        files = {file.suffix for file in (folder / part).rglob("*") if file.is_file()}
        if not files:
            missing.append(f"{part}/")
        elif (folder / part / "config.json").is_file() and not files & {".safetensors", ".bin"}:
            missing.append(f"{part}/*.safetensors")
    if missing:
        raise FileNotFoundError(f"{folder} lacks {', '.join(missing)}, which its {_INDEX} names; copy it again")


def _make_scheduler(name: str, pipeline: Any) -> Any:
    known = {kind.__name__: kind for kind in pipeline.scheduler.compatibles}
    if name not in known:
        raise ValueError(f"{type(pipeline).__name__} takes no scheduler {name!r}: {say_known(name, sorted(known))}")
    return known[name].from_config(pipeline.scheduler.config)


def _digest(folder: Path) -> str:
    if folder.is_file():
        return digest_file(folder)
    found = hashlib.sha256()
    for file in sorted(file for file in folder.rglob("*") if file.is_file() and not file.name.startswith(".")):
        found.update(f"{file.relative_to(folder).as_posix()} {file.stat().st_size} ".encode())
        found.update(bytes.fromhex(digest_file(file)))
    return found.hexdigest()


def list_versions() -> dict[str, str]:
    """Return the versions of the libraries that a picture's bytes depend on."""
    return {"diffusers": diffusers.__version__, "torch": torch.__version__}
