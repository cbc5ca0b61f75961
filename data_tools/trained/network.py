"""Whole networks of other trainers: a pipeline's folder, one of some of its parts, and one-file checkpoints."""

import tempfile
from pathlib import Path
from typing import Any

import torch
from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline
from torch import nn

from data_tools.trained.files import PICKLES, SAFE, read_file
from dreamsim_metric.messages import list_briefly, say_error

_PARTS = ("unet", "transformer", "text_encoder", "text_encoder_2", "vae")
_WEIGHTS = (SAFE, ".bin")
_ONE_FILE = ("model.diffusion_model.", "first_stage_model.", "cond_stage_model.", "conditioner.embedders.")


def list_parts(folder: Path) -> list[str]:
    """List the parts of a pipeline that a folder holds in diffusers' layout."""
    there = [part for part in _PARTS if (folder / part / "config.json").is_file()]
    return [part for part in there if any(file.suffix in _WEIGHTS for file in (folder / part).iterdir())]


def is_checkpoint(path: Path) -> bool:
    """Tell whether a path is a file that holds a whole pipeline, under the names of Stable Diffusion's authors."""
    if not path.is_file() or path.suffix not in (SAFE, *PICKLES):
        return False
    return any(name.startswith(_ONE_FILE) for name in _read_names(path))


def replace_parts(pipeline: Any, path: Path) -> list[str]:
    """Put the networks of a folder or of a one-file checkpoint in the place of a pipeline's, and name them.

    The pipeline is changed in place, the networks that it had are not.

    Raises:
        FileNotFoundError: the folder holds no network.
        ValueError: a network of another pipeline: weights that are missing, left over or of other shapes.
    """
    if path.is_dir() and not list_parts(path):
        files = [file for file in path.iterdir() if is_checkpoint(file)]
        path = files[0] if len(files) == 1 else path
    loaded = _read_checkpoint(pipeline, path) if path.is_file() else _read_folder(pipeline, path)
    for name, part in loaded.items():
        before = getattr(pipeline, name)
        shapes, mine = ({key: value.shape for key, value in one.named_parameters()} for one in (part, before))
        differ = sorted(key for key in {*shapes, *mine} if shapes.get(key) != mine.get(key))
        if differ:
            kind, which = type(pipeline).__name__, list_briefly(differ)
            raise ValueError(
                f"{path} is of another pipeline than this {kind}: {len(differ)} weights of its {name} are not there or "
                f"of other shapes: {which}"
            )
        setattr(pipeline, name, part.to(before.device, before.dtype).requires_grad_(False).eval())
    return list(loaded)


def read_checkpoint(file: Path, dtype: torch.dtype) -> Any:
    """Read a one-file checkpoint of Stable Diffusion 1.x, 2.x or XL as a pipeline.

    Its configuration and tokenizer are not in the file: they come from the hub, or from what was fetched before.

    Raises:
        OSError: they cannot be had.
        ValueError: it is no checkpoint of these, or damaged.
    """
    names = _read_names(file)
    if not is_checkpoint(file):
        raise ValueError(f"{file} is no one-file checkpoint: its tensors are named {list_briefly(list(names))}")
    large = any(name.startswith("conditioner.") for name in names)
    kind = StableDiffusionXLPipeline if large else StableDiffusionPipeline
    try:
        return kind.from_single_file(str(file), torch_dtype=dtype, **({} if large else {"safety_checker": None}))
    except Exception as error:  # the hub's client and diffusers have many kinds
        raise OSError(
            f"cannot read {file} as a {kind.__name__} ({say_error(error)[:200]}); its configuration is the hub's. "
            "Without a network, name a pipeline of its kind as the model and add this file to it (--with)"
        ) from error


def _read_folder(pipeline: Any, folder: Path) -> dict[str, nn.Module]:
    names = [part for part in list_parts(folder) if getattr(pipeline, part, None) is not None]
    if not names:
        raise FileNotFoundError(f"{folder} holds none of {', '.join(_PARTS)}; expected networks in diffusers' layout")
    found = {}
    for name in names:
        before = getattr(pipeline, name)
        try:
            part, said = type(before).from_pretrained(
                folder / name, torch_dtype=before.dtype, local_files_only=True, output_loading_info=True
            )
        except (ValueError, RuntimeError, OSError) as error:
            raise ValueError(f"{folder / name} cannot be read: {say_error(error)[:300]}") from error
        odd = [
            str(key) for kind in ("missing_keys", "mismatched_keys", "unexpected_keys") for key in said.get(kind, ())
        ]
        odd = [key for key in odd if not key.endswith("position_ids")]  # a table that old files hold
        if odd:
            raise ValueError(f"{folder / name} lacks or does not fit {list_briefly(odd)}; copy or save it again")
        found[name] = part
    return found


def _read_checkpoint(pipeline: Any, file: Path) -> dict[str, nn.Module]:
    """Read a one-file checkpoint by the configurations of a pipeline; no network is needed."""
    held = _read_names(file)
    with tempfile.TemporaryDirectory() as folder:
        _write_configs(pipeline, Path(folder))
        more = {"safety_checker": None} if hasattr(pipeline, "safety_checker") else {}
        try:
            made = type(pipeline).from_single_file(
                str(file), config=folder, local_files_only=True, torch_dtype=torch.float32, **more
            )
        except Exception as error:  # diffusers and transformers have many kinds
            kind = type(pipeline).__name__
            raise ValueError(f"{file} is of another pipeline than this {kind}: {say_error(error)[:300]}") from error
    found = {name: getattr(made, name) for name in _PARTS if isinstance(getattr(pipeline, name, None), nn.Module)}
    there = {_sum(one) for value in held.values() for one in (value, *_split_thirds(value))}
    strange = [
        f"{name}.{key}"
        for name, part in found.items()
        for key, one in part.named_parameters()
        if _sum(one) not in there
    ]
    if strange:
        raise ValueError(
            f"{file} does not hold {len(strange)} weights of a pipeline of this kind: {list_briefly(strange)}"
        )
    return found


def _read_names(file: Path) -> dict[str, torch.Tensor]:
    held, _ = read_file(file)
    return {str(name): value for name, value in held.get("state_dict", held).items() if isinstance(value, torch.Tensor)}


def _write_configs(pipeline: Any, folder: Path) -> None:
    """Write a pipeline in diffusers' layout, all but the weights."""
    pipeline.save_config(folder)
    for name, part in pipeline.components.items():
        if isinstance(part, nn.Module):
            _write_config(part, folder / name)
        elif hasattr(part, "save_pretrained"):
            part.save_pretrained(folder / name)


def _write_config(part: Any, folder: Path) -> None:
    if hasattr(part, "save_config"):  # of diffusers
        part.save_config(folder)
    else:  # of transformers
        part.config.save_pretrained(folder)


def _split_thirds(value: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Split what may be queries, keys and values in one, as open_clip keeps them."""
    return value.chunk(3) if value.ndim and len(value) % 3 == 0 else ()


def _sum(value: torch.Tensor) -> tuple[int, str, str]:
    """Tell numbers by what does not depend on their name, order or shape."""
    exact = value.detach().double()
    return value.numel(), f"{exact.sum():.6e}", f"{exact.abs().sum():.6e}"
