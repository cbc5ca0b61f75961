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
from dreamsim_metric.models import MODELS, choose_default_model, make_unknown_model_error
from dreamsim_metric.networks.defaults import set_usual_defaults
from dreamsim_metric.weights.download import fetch, find_downloads_dir, find_model_dir, lock
from dreamsim_metric.weights.dreamsim import read_release
from dreamsim_metric.weights.folder import MINI, Tuned, digest, is_checkpoint, read_folder, write_folder
from dreamsim_metric.weights.hub import load_from_hub
from dreamsim_metric.weights.lora import merge_lora


@set_usual_defaults()
def load(
    model: str | os.PathLike[str] | None = None,
    *,
    source: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] | None = None,
    device: str | torch.device | None = None,
    precision: Precision = "float32",
    center: bool | None = None,
    image_size: int | None = None,
    in_state_dict: bool = True,
) -> PerceptualMetric:
    """Make a metric from a name.

    Args:
        model: a named model (`list_models()`), `timm:NAME`, `open_clip:ARCH/TAG`, `hf:OWNER/REPO` (`@REVISION`), a
            folder that `save_pretrained` wrote, or a checkpoint of DreamSim's own trainer (`epoch_N`, `.ckpt`).
            timm and open_clip names may end in `#FEATURE`, one of `dreamsim_metric.Feature`. Default:
            `$DREAMSIM_METRIC_MODEL`, else `mini`.
        source: weights already on disk, read instead of downloading: the archive of a DreamSim release or the folder
            it was unpacked in, or a checkpoint of DreamSim's trainer on that type; for such a checkpoint, the release
            with its base weights; for timm and open_clip, a checkpoint file;
            for a folder that training wrote, the weights of what it tuned, in a list where that is several models.
        device: the place to compute on; default the CPU.
        precision: what the networks compute in, one of `dreamsim_metric.Precision`; others than float32 change
            distances.
        center: whether embeddings are centred, in place of the card's word (`normalize_embeds` of the released
            package).
        image_size: input size in pixels, in place of the card's. Position embeddings are interpolated as the released
            models do.
        in_state_dict: whether the weights are part of the `state_dict` of a module that holds the metric, and so of its
            checkpoints.

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
        >>> model = torch.nn.ModuleDict({"network": torch.nn.Linear(2, 2), "loss": load("mini", in_state_dict=False)})
        >>> list(model.state_dict())
        ['network.weight', 'network.bias']
        >>> model.load_state_dict(model.state_dict())
        <All keys matched successfully>
        >>> load("minni")
        Traceback (most recent call last):
        ValueError: unknown model 'minni': did you mean mini? Also accepted: timm:NAME, open_clip:ARCH/TAG, \
hf:OWNER/REPO, or the path of a folder with card.json
    """
    given = () if source is None else (source,) if isinstance(source, (str, os.PathLike)) else source
    card, state = _read_card_and_state(str(model or choose_default_model()), tuple(map(Path, given)), image_size)
    if center is not None:
        card = replace(card, center=center)
    if image_size is not None:
        card = replace(card, image_size=image_size)
    metric = PerceptualMetric(card, state)
    metric.in_state_dict = in_state_dict
    if precision != "float32":
        metric.set_precision(precision)
    return metric if device is None else metric.to(device)


def _read_card_and_state(
    name: str, sources: Sequence[Path], image_size: int | None, above: tuple[Path, ...] = ()
) -> tuple[ModelCard, dict[str, Tensor]]:
    checkpoint = _take_only(sources, name) if name in MODELS else Path(name)
    if checkpoint is not None and is_checkpoint(checkpoint):
        from dreamsim_metric.weights.checkpoint import read_checkpoint

        return read_checkpoint(checkpoint, *((None, name) if name in MODELS else (_take_only(sources, name),)))
    if name in MODELS:
        return MODELS[name], _load_official(MODELS[name], _take_only(sources, name))
    if name.startswith(("timm:", "open_clip:")):
        from dreamsim_metric.weights.libraries import read_pretrained

        return read_pretrained(name, _take_only(sources, name), image_size)
    if name == "mini":
        return _load_folder(MINI, sources)
    if name.startswith("hf:"):
        return _load_folder(load_from_hub(name.removeprefix("hf:")), sources, above)
    if Path(name).is_dir():
        return _load_folder(Path(name), sources, above)
    raise make_unknown_model_error(name)


def _take_only(sources: Sequence[Path], name: str) -> Path | None:
    if len(sources) > 1:
        raise ValueError(f"got {len(sources)} sources of weights for {name}; expected one")
    return sources[0] if sources else None


def _load_folder(
    folder: Path, sources: Sequence[Path] = (), above: tuple[Path, ...] = ()
) -> tuple[ModelCard, dict[str, Tensor]]:
    """Card and weights of a folder; `above` are those that it is the base of."""
    if (place := folder.resolve()) in above:
        raise ValueError(f"the base of {folder} is, in the end, {folder} itself; expected what it was tuned on")
    card, weights = read_folder(folder)
    if not isinstance(weights, Tuned):
        if sources:
            raise ValueError(
                f"got source={str(sources[0])!r} with {card.name!r}, which brings its weights; source is for DreamSim "
                "releases, timm:, open_clip:, and folders of what was tuned on them"
            )
        return card, weights
    _, state = read_bases(card.base, card.image_size, sources, (*above, place))
    if digest(state) != card.base_sha256:
        raise ValueError(
            f"{folder} was tuned on {' and '.join(card.base)} with other weights than those found now (sha256 "
            f"{digest(state)[:12]}…, expected {card.base_sha256[:12]}…); get the ones it was tuned on"
        )
    if weights.adapter:
        state = merge_lora(state, weights.adapter, weights.adapter_config)
    return card, state | weights.head


@set_usual_defaults()
def read_bases(
    names: Sequence[str], image_size: int | None, sources: Sequence[Path] = (), above: tuple[Path, ...] = ()
) -> tuple[ModelCard, dict[str, Tensor]]:
    """Read card and weights of what is tuned together: the branches of all these models, in order.

    Args:
        names: names that `load` takes.
        image_size: input size in pixels, in place of the models' own.
        sources: weights already on disk, one for each model; none to download them.
        above: folders of the models that these are bases of, none of which may be among them.

    Raises:
        ValueError: none, another number of sources, models of several input sizes, or several with heads; and what
            `load` raises.
    """
    if not names:
        raise ValueError("got no model to tune; expected one name or more")
    if sources and len(sources) != len(names):
        each = ", ".join(names)
        raise ValueError(f"got {len(sources)} sources for {each}; expected one for each, in this order")
    found = (_read_card_and_state(name, sources[i : i + 1], image_size, above) for i, name in enumerate(names))
    cards, states = zip(*found, strict=True)
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


def _load_official(card: ModelCard, source: Path | None) -> dict[str, Tensor]:
    if source is not None:
        return read_release(card, source)
    return _load_folder(install(card, None))[1]


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
    folder = find_model_dir(card.name)
    if folder.is_dir() and source is None:
        return folder
    with lock(card.name):
        if folder.is_dir():
            if source is None:  # another process was quicker
                return folder
            raise FileExistsError(f"{card.name} is installed already in {folder}; remove that to install it anew")
        for unfinished in folder.parent.glob(f".{card.name}-*"):  # of a process that was killed
            shutil.rmtree(unfinished)
        archive = source or find_downloads_dir() / card.weights[0].path
        fresh = not archive.exists()
        if source is None:
            fetch(card.weights[0], find_downloads_dir())
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
