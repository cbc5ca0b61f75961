"""`load`: from the name of a model to a metric with its weights."""

import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .metric import PerceptualMetric
from .models import MODELS, ModelCard, unknown_model
from .official import read_release
from .weights import MINI, downloads_dir, fetch, locked, model_dir, read_folder, write_folder


def default_model() -> str:
    """`$DREAMSIM_METRIC_MODEL`, else `mini`."""
    return os.environ.get("DREAMSIM_METRIC_MODEL") or "mini"


def load(
    model: str | os.PathLike[str] | None = None,
    *,
    source: str | os.PathLike[str] | None = None,
    device: str | torch.device | None = None,
    center: bool | None = None,
    image_size: int | None = None,
) -> PerceptualMetric:
    """Make a metric from a name.

    Args:
        model: a named model (`list_models()`), `timm:NAME`, `open_clip:ARCH/TAG`, `hf:OWNER/REPO` (`@REVISION`), or a
            folder that `save_pretrained` wrote. timm and open_clip names may end in `#FEATURE` (`models.Feature`).
            Default: `$DREAMSIM_METRIC_MODEL`, else `mini`.
        source: weights already on disk, read instead of downloading: the archive of a DreamSim release or the folder
            it was unpacked in; for timm and open_clip, a checkpoint file.
        device: where to put it; default the CPU.
        center: override the card's centring of embeddings (`normalize_embeds` of the released package).
        image_size: override the card's input size. Position embeddings are interpolated as the released models do.

    Returns:
        A frozen metric in float32, new at each call.

    Raises:
        ValueError: unknown name, or weights that are damaged or another model's.
        FileNotFoundError: no such source.
        ConnectionError: the weights are not at hand and cannot be downloaded; the message says which file goes where.
        OSError: the cache is full or not writable.
    """
    card, state = _card_and_state(str(model or default_model()), None if source is None else Path(source), image_size)
    if center is not None:
        card = replace(card, center=center)
    if image_size is not None:
        card = replace(card, image_size=image_size)
    metric = PerceptualMetric(card, state)
    return metric if device is None else metric.to(device)


def _card_and_state(name: str, source: Path | None, image_size: int | None) -> tuple[ModelCard, dict[str, Tensor]]:
    if name in MODELS:
        return MODELS[name], _official_state(MODELS[name], source)
    if name.startswith(("timm:", "open_clip:")):
        from .pretrained import read_pretrained

        return read_pretrained(name, source, image_size)
    if source is not None:
        raise ValueError(
            f"got source={str(source)!r} with {name!r}; source is for DreamSim releases, timm: and open_clip:"
        )
    if name == "mini":
        return read_folder(MINI)
    if name.startswith("hf:"):
        return read_folder(_from_hub(name.removeprefix("hf:")))
    if Path(name).is_dir():
        return read_folder(Path(name))
    raise unknown_model(name)


def _official_state(card: ModelCard, source: Path | None) -> dict[str, Tensor]:
    if source is not None:
        return read_release(card, source)
    return read_folder(install(card, None))[1]


def install(card: ModelCard, source: Path | None) -> Path:
    """Put a released model in the cache, merged and in our own format: from `source`, or downloaded.

    Returns:
        The folder. The archive is removed from the cache's downloads, since all that is needed of it is here.

    Raises:
        FileExistsError: there is a `source`, and the model is installed already.
        And what `load` raises.
    """
    folder = model_dir(card.name)
    if folder.is_dir() and source is None:
        return folder
    with locked(card.name):
        if folder.is_dir():
            if source is None:  # another process was quicker
                return folder
            raise FileExistsError(f"{card.name} is installed already in {folder}; remove that to install it anew")
        for unfinished in folder.parent.glob(f".{card.name}-*"):  # of a process that was killed
            shutil.rmtree(unfinished)
        archive = source or downloads_dir() / card.weights[0].path
        fresh = not archive.exists()
        if source is None:
            fetch(card.weights[0], downloads_dir())
        try:
            state = read_release(card, archive)
            PerceptualMetric(card, state)  # refuses what does not fit, before it is kept
            write_folder(folder, card, state)
        except ValueError as error:
            if source is None and fresh:  # a proxy's page, say, that would be read again and again
                archive.unlink()
                raise ValueError(f"{error} (downloaded from {card.weights[0].url} and removed again)") from error
            raise
        if source is None:
            archive.unlink()
    return folder


def _from_hub(name: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    repository, _, revision = name.partition("@")
    files: Any = ["card.json", "model.safetensors"]
    try:
        return Path(
            snapshot_download(
                repository, revision=revision or None, allow_patterns=files, library_name="dreamsim_metric"
            )
        )
    except (HfHubHTTPError, LocalEntryNotFoundError, ConnectionError) as error:
        raise ConnectionError(f"cannot get {repository} from the Hugging Face hub ({error})") from error
