"""From the name of a model to a metric with its weights."""

import os
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from dreamsim_metric.card import Branch, ModelCard, Precision
from dreamsim_metric.metric import PerceptualMetric
from dreamsim_metric.models import MODELS, default_model, unknown_model
from dreamsim_metric.networks.defaults import usual_defaults
from dreamsim_metric.weights.download import downloads_dir, fetch, locked, model_dir
from dreamsim_metric.weights.dreamsim import read_release
from dreamsim_metric.weights.folder import MINI, Tuned, digest, read_folder, write_folder
from dreamsim_metric.weights.hub import from_hub
from dreamsim_metric.weights.lora import merge_lora


@usual_defaults()
def load(
    model: str | os.PathLike[str] | None = None,
    *,
    source: str | os.PathLike[str] | None = None,
    device: str | torch.device | None = None,
    precision: Precision = "float32",
    center: bool | None = None,
    image_size: int | None = None,
) -> PerceptualMetric:
    """Make a metric from a name.

    Args:
        model: a named model (`list_models()`), `timm:NAME`, `open_clip:ARCH/TAG`, `hf:OWNER/REPO` (`@REVISION`), or a
            folder that `save_pretrained` wrote. timm and open_clip names may end in `#FEATURE`, one of
            `dreamsim_metric.Feature`. Default: `$DREAMSIM_METRIC_MODEL`, else `mini`.
        source: weights already on disk, read instead of downloading: the archive of a DreamSim release or the folder
            it was unpacked in; for timm and open_clip, a checkpoint file.
        device: the place to compute on; default the CPU.
        precision: what the networks compute in, one of `dreamsim_metric.Precision`; others than float32 change
            distances.
        center: whether embeddings are centred, in place of the card's word (`normalize_embeds` of the released
            package).
        image_size: input size in pixels, in place of the card's. Position embeddings are interpolated as the released
            models do.

    Returns:
        A frozen metric, new at each call.

    Raises:
        ValueError: unknown name, or weights that are damaged or another model's.
        FileNotFoundError: no such source.
        ConnectionError: the weights are not at hand and cannot be downloaded; the message says which file goes where.
        OSError: the cache is full or not writable.

    Example:
        >>> metric = load("mini")
        >>> metric.card.name, metric.precision, metric.device
        ('mini', 'float32', device(type='cpu'))
        >>> load("minni")
        Traceback (most recent call last):
        ValueError: unknown model 'minni': did you mean mini? Also accepted: timm:NAME, open_clip:ARCH/TAG, \
hf:OWNER/REPO, or the path of a folder with card.json
    """
    card, state = _card_and_state(str(model or default_model()), None if source is None else Path(source), image_size)
    if center is not None:
        card = replace(card, center=center)
    if image_size is not None:
        card = replace(card, image_size=image_size)
    metric = PerceptualMetric(card, state)
    if precision != "float32":
        metric.set_precision(precision)
    return metric if device is None else metric.to(device)


def _card_and_state(name: str, source: Path | None, image_size: int | None) -> tuple[ModelCard, dict[str, Tensor]]:
    if name in MODELS:
        return MODELS[name], _official_state(MODELS[name], source)
    if name.startswith(("timm:", "open_clip:")):
        from dreamsim_metric.weights.libraries import read_pretrained

        return read_pretrained(name, source, image_size)
    if source is not None:
        raise ValueError(
            f"got source={str(source)!r} with {name!r}; source is for DreamSim releases, timm: and open_clip:"
        )
    if name == "mini":
        return _from_folder(MINI)
    if name.startswith("hf:"):
        return _from_folder(from_hub(name.removeprefix("hf:")))
    if Path(name).is_dir():
        return _from_folder(Path(name))
    raise unknown_model(name)


def _from_folder(folder: Path) -> tuple[ModelCard, dict[str, Tensor]]:
    card, weights = read_folder(folder)
    if not isinstance(weights, Tuned):
        return card, weights
    _, state = read_bases(card.base, card.image_size)
    if digest(state) != card.base_sha256:
        raise ValueError(
            f"{folder} was tuned on {' and '.join(card.base)} with other weights than those found now (sha256 "
            f"{digest(state)[:12]}…, expected {card.base_sha256[:12]}…); get the ones it was tuned on"
        )
    if weights.adapter:
        state = merge_lora(state, weights.adapter, weights.adapter_config)
    return card, state | weights.head


@usual_defaults()
def read_bases(names: Sequence[str], image_size: int | None) -> tuple[ModelCard, dict[str, Tensor]]:
    """Read card and weights of what is tuned together: the branches of all these models, in order.

    Args:
        names: names that `load` takes.
        image_size: input size in pixels, in place of the models' own.

    Raises:
        ValueError: none, models of several input sizes, or several with heads; and what `load` raises.
    """
    if not names:
        raise ValueError("got no model to tune; expected one name or more")
    cards, states = zip(*(_card_and_state(name, None, image_size) for name in names), strict=True)
    sizes = {image_size or card.image_size for card in cards}
    if len(sizes) > 1:
        raise ValueError(f"got models for pictures of {' and '.join(map(str, sorted(sizes)))} pixels; set image_size")
    if len(cards) == 1:
        return replace(cards[0], image_size=sizes.pop()), states[0]
    if any(card.head for card in cards):
        raise ValueError(f"got a model with a head among {' and '.join(names)}; expected branches alone")
    state: dict[str, Tensor] = {}
    branches: list[Branch] = []
    for card, part in zip(cards, states, strict=True):
        for i in range(len(card.branches)):
            old, new = f"branches.{i}.", f"branches.{len(branches) + i}."
            state |= {new + key.removeprefix(old): tensor for key, tensor in part.items() if key.startswith(old)}
        branches += card.branches
    joint = ModelCard(
        name="+".join(names),
        description=" + ".join(card.name for card in cards),
        branches=tuple(branches),
        image_size=sizes.pop(),
        embedding_size=sum(card.embedding_size for card in cards),
        center=False,
        licence="; ".join(dict.fromkeys(card.licence for card in cards)),
        citation=" ".join(dict.fromkeys(card.citation for card in cards if card.citation)),
    )
    return joint, state


def _official_state(card: ModelCard, source: Path | None) -> dict[str, Tensor]:
    if source is not None:
        return read_release(card, source)
    return _from_folder(install(card, None))[1]


def install(card: ModelCard, source: Path | None) -> Path:
    """Put a released model in the cache, merged and in our own format: from `source`, or downloaded.

    Args:
        card: the card of a released model.
        source: the release's archive or folder already on disk; None to download it.

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
