"""`distance`, `distance_matrix`, `embed`: one call each, over a model that is loaded once and kept."""

import os
import threading
from collections.abc import Iterator
from functools import lru_cache
from typing import overload

import torch
from torch import Tensor
from tqdm import tqdm

from dreamsim_metric.distances import check_pairs, compare_all
from dreamsim_metric.images.ahead import read_ahead
from dreamsim_metric.images.convert import (
    Many,
    P,
    Pictures,
    SinglePicture,
    count,
    hold,
    is_single,
    split_batches,
    to_pixels,
)
from dreamsim_metric.images.device import choose_default_device
from dreamsim_metric.images.pairs import are_8_bit, are_resized_floats
from dreamsim_metric.loading import load
from dreamsim_metric.metric import PerceptualMetric
from dreamsim_metric.models import choose_default_model

_lock = threading.Lock()  # a model that several threads ask for is loaded once

Model = str | os.PathLike[str] | PerceptualMetric | None
Device = str | torch.device | None


@overload
def distance(
    a: SinglePicture, b: SinglePicture, *, model: Model = None, device: Device = None, batch_size: int = 32
) -> float: ...
@overload
def distance(
    a: Many[P], b: Pictures, *, model: Model = None, device: Device = None, batch_size: int = 32
) -> Tensor: ...
@overload
def distance(
    a: Pictures, b: Many[P], *, model: Model = None, device: Device = None, batch_size: int = 32
) -> Tensor: ...
@overload
def distance(
    a: Pictures, b: Pictures, *, model: Model = None, device: Device = None, batch_size: int = 32
) -> float | Tensor: ...
def distance(
    a: Pictures,
    b: Pictures,
    *,
    model: Model = None,
    device: Device = None,
    batch_size: int = 32,
) -> float | Tensor:
    """Tell how different `a` and `b` look to a person: 0 for the same picture, at most 2.

    Args:
        a, b: paths, PIL images, bytes of files, arrays, tensors (see `dreamsim_metric.images.to_pixels`), or lists,
            columns, generators or batches of them: as many in one as in the other, or one against many.
        model: a name that `load` takes, or a metric; default `$DREAMSIM_METRIC_MODEL`, else `mini`. A name is loaded
            once in a process and kept.
        device: the place to compute on; default that of the tensors given, else CUDA where there is one, else the CPU.
        batch_size: pictures embedded at once.

    Returns:
        A float for two single pictures, else float32 `(N,)` on the device. Gradients flow to float tensors in batches.
        Types tell which it is for paths, images, lists and tuples; an array or tensor may be one picture or a batch.
        Both pictures of a pair are resized in one way (`PerceptualMetric.forward`).

    Raises:
        ValueError, FileNotFoundError: pictures that cannot be read, or unequal numbers of them.

    Example:
        >>> round(distance("examples/vest_1.jpg", "examples/vest_2.jpg"), 2)
        0.11
        >>> distance("examples/cat.jpg", ["examples/cat.jpg", "examples/coffee.jpg"])
        tensor([0.0000, 0.8544])
    """
    a, b = hold(a), hold(b)
    n, m = count(a), count(b)
    check_pairs(n, m)
    metric = _find_metric(model, device, a, b)
    # Where pairs may be resized otherwise than each picture by itself, they are resized by the metric.
    whole = _holds_resized_floats(metric, a, b)
    if n == m:
        pairs = zip(
            _split_batches(a, metric, batch_size, whole), _split_batches(b, metric, batch_size, whole), strict=True
        )
        d = torch.cat([metric(x, y) for x, y in pairs])
    else:
        one, many = (a, b) if n == 1 else (b, a)
        reference = to_pixels(one, None).to(metric.device) if whole else metric.preprocess(one)
        d = torch.cat([metric(reference, some) for some in _split_batches(many, metric, batch_size, whole)])
    return d.item() if is_single(a) and is_single(b) else d


def distance_matrix(
    a: Pictures,
    b: Pictures | None = None,
    *,
    model: Model = None,
    device: Device = None,
    batch_size: int = 32,
) -> Tensor:
    """Compute all distances between `a` and `b`, or among `a`. Each picture is embedded once.

    If 8-bit pictures and others are resized, each is embedded in both ways, for `distance` to give the same.

    Args:
        a, b: lists or batches of pictures of any kind that `distance` takes.
        model: a name that `load` takes, or a metric; default `$DREAMSIM_METRIC_MODEL`, else `mini`.
        device: the place to compute on; default that of the tensors given, else CUDA where there is one, else the CPU.
        batch_size: pictures embedded at once.

    Returns:
        float32 `(N, M)`; without `b` it is symmetric with a diagonal of exact zeros.

    Raises:
        ValueError, FileNotFoundError: pictures that cannot be read.

    Example:
        >>> distance_matrix(["examples/cat.jpg", "examples/coffee.jpg", "examples/rocket.jpg"])
        tensor([[0.0000, 0.8544, 0.9405],
                [0.8544, 0.0000, 0.8414],
                [0.9405, 0.8414, 0.0000]])
    """
    a, b = hold(a), None if b is None or b is a else hold(b)
    metric = _find_metric(model, device, a, *([] if b is None else [b]))
    b = a if b is None else b
    if not _holds_resized_floats(metric, a, b):
        return _compare_all(a, b, metric, batch_size)
    size = (metric.card.image_size, metric.card.image_size)
    both = are_8_bit(a, size).to(metric.device)[:, None] & are_8_bit(b, size).to(metric.device)
    rounded, unrounded = (
        _compare_all(a, b, metric, batch_size, rounded=way) if (both == way).any() else both.float()
        for way in (True, False)
    )
    return torch.where(both, rounded, unrounded)


def _compare_all(
    a: Pictures, b: Pictures, metric: PerceptualMetric, batch_size: int, *, rounded: bool = True
) -> Tensor:
    u = embed(a, model=metric, batch_size=batch_size, rounded=rounded)
    return compare_all(u, u if b is a else embed(b, model=metric, batch_size=batch_size, rounded=rounded))


def embed(
    pictures: Pictures,
    *,
    model: Model = None,
    device: Device = None,
    batch_size: int = 32,
    progress: bool = False,
    rounded: bool = True,
) -> Tensor:
    """Compute unit embeddings, whose `1 − cos` is the distance.

    Args:
        pictures: one or many, of any kind that `distance` takes.
        model: a name that `load` takes, or a metric; default `$DREAMSIM_METRIC_MODEL`, else `mini`.
        device: the place to compute on; default that of the tensors given, else CUDA where there is one, else the CPU.
        batch_size: pictures embedded at once.
        progress: whether stderr shows how far it is.
        rounded: whether 8-bit pictures are rounded to 8 bits when they are resized, as Pillow does. `False` is for
            embeddings that are compared with those of pictures that are not 8-bit.

    Returns:
        float32 `(N, embedding_size)`, also for a single picture.

    Raises:
        ValueError, FileNotFoundError: pictures that cannot be read.

    Example:
        >>> units = embed(["examples/vest_1.jpg", "examples/vest_2.jpg"])
        >>> units.shape
        torch.Size([2, 2560])
        >>> 1 - units[0] @ units[1]
        tensor(0.1135)
    """
    pictures = hold(pictures)
    metric = _find_metric(model, device, pictures)
    with tqdm(total=count(pictures), unit="picture", disable=None if progress else True) as bar:
        parts = []
        for some in _split_batches(pictures, metric, batch_size, whole=not rounded):
            parts.append(metric.embed(some, rounded=rounded))
            bar.update(len(parts[-1]))
    return torch.cat(parts)


def _holds_resized_floats(metric: PerceptualMetric, *pictures: Pictures) -> bool:
    size = (metric.card.image_size, metric.card.image_size)
    return any(are_resized_floats(some, size) for some in pictures)


def _split_batches(
    pictures: Pictures, metric: PerceptualMetric, batch_size: int, whole: bool = False
) -> Iterator[Pictures]:
    """Batches, resized ahead if they are files and not wanted whole."""
    if whole:
        return split_batches(pictures, batch_size)
    return read_ahead(pictures, batch_size, metric.card.image_size, metric.device)


def _find_metric(model: Model, device: Device, *pictures: Pictures) -> PerceptualMetric:
    """The metric itself if one is given, else the one of this name on the device of the tensors."""
    if isinstance(model, PerceptualMetric):
        wanted = torch.device(device or model.device)
        if wanted.type != model.device.type or wanted.index not in (None, model.device.index):
            raise ValueError(
                f"got device={str(device)!r} and a metric on {model.device}; move the metric with .to(device)"
            )
        return model
    if device is None:
        device = _find_device(*pictures) or choose_default_device()
    with _lock:
        return _load(str(model or choose_default_model()), str(torch.device(device)))


@lru_cache(maxsize=4)
def _load(name: str, device: str) -> PerceptualMetric:
    return load(name, device=device)


def _find_device(*pictures: Pictures) -> torch.device | None:
    devices = {
        picture.device
        for some in pictures
        for picture in (some if isinstance(some, (list, tuple)) else [some])
        if isinstance(picture, Tensor)
    }
    if len(devices) > 1:
        names = " and ".join(sorted(map(str, devices)))
        raise ValueError(f"got tensors on {names}; expected one device: move them with .to(device)")
    return devices.pop() if devices else None
