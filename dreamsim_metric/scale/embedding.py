"""Many files to embeddings: each content decoded and embedded once, kept, and what cannot be read set aside."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from typing import Literal

import torch
from torch import Tensor
from tqdm import tqdm

from dreamsim_metric.bounds import check_least
from dreamsim_metric.files.store import Content, read, read_content
from dreamsim_metric.images.ahead import count_workers, map_in_order, start_threads
from dreamsim_metric.images.decoding import Decoder, check_decoder, decode, finish_on_host, name_decoder_version
from dreamsim_metric.images.device import NotOnDeviceError, ToDevice
from dreamsim_metric.messages import say_error
from dreamsim_metric.metric import PerceptualMetric
from dreamsim_metric.scale.cache import Cache, compute_key

_HINT = "use --precision float32 (precision='float32'), or another model"
_SAVED = 8  # batches after which the cache is written


@dataclass(frozen=True)
class Options:
    """How files become embeddings.

    Attributes:
        batch_size: pictures embedded at once.
        workers: threads that read and decode; None for one a core, at most 16.
        decoder: `pillow`, the reference, or `torchvision` (nvJPEG on CUDA), whose error is on docs/scoring.md.
        resize_on: `host`, where the threads do it, or `device`, which leaves it to the GPU; the pixels are the same.
        on_error: `skip` sets aside a file that cannot be read, `raise` stops at it.
        read: a function from a file's name to its bytes; by default this machine's disks and stores by URL.
        progress: whether stderr shows how far it is, the rate and the time left.

    Example:
        >>> Options(batch_size=64, on_error="raise").workers is None
        True
        >>> Options(batch_size=0)
        Traceback (most recent call last):
        ValueError: got batch_size 0; expected 1 or more
    """

    batch_size: int = 32
    workers: int | None = None
    decoder: Decoder = "pillow"
    resize_on: Literal["host", "device"] = "host"
    on_error: Literal["skip", "raise"] = "skip"
    read: Callable[[str], bytes] = read
    progress: bool = False

    def __post_init__(self) -> None:
        check_decoder(self.decoder)
        count_workers(self.workers)
        check_least("batch_size", self.batch_size)
        if self.resize_on not in ("host", "device"):
            raise ValueError(f"got resize_on={self.resize_on!r}; expected 'host' or 'device'")
        if self.on_error not in ("skip", "raise"):
            raise ValueError(f"got on_error={self.on_error!r}; expected 'skip' or 'raise'")


@dataclass(frozen=True)
class Embeddings:
    """Embeddings of files.

    Attributes:
        files: the files that could be read, each once, in the order given.
        units: their unit vectors, `(N, embedding_size)` float32 on the CPU.
        contents: sha256 of their bytes.
        unreadable: reasons why the others could not be read, by file.

    Example:
        >>> found = Embeddings(["a.jpg", "b.jpg"], torch.eye(2), ["sha256 of a", "sha256 of b"])
        >>> found.only(["b.jpg"]).units
        tensor([[0., 1.]])
    """

    files: list[str]
    units: Tensor
    contents: list[str]
    unreadable: dict[str, str] = field(default_factory=dict)

    def rows(self) -> dict[str, int]:
        """List the rows of `units` by file."""
        return {file: i for i, file in enumerate(self.files)}

    def only(self, files: Sequence[str]) -> "Embeddings":
        """Take the embeddings of some of the files."""
        rows, names = self.rows(), list(dict.fromkeys(files))
        there = [name for name in names if name in rows]
        found = [rows[name] for name in there]
        first = found == list(range(len(found)))  # no copy, of what may be most of the memory
        return Embeddings(
            there,
            self.units[: len(found)] if first else self.units[found],
            [self.contents[row] for row in found],
            {name: self.unreadable[name] for name in names if name in self.unreadable},
        )


def compute_metric_key(metric: PerceptualMetric, decoder: Decoder = "pillow") -> str:
    """Digest all that embeddings depend on: card, weights, precision, kind of device, decoder, versions."""
    return compute_key([repr(metric.card), name_decoder_version(decoder), metric.device.type], [metric])


class FileEmbedder(ABC):
    """Files → embeddings, in memory that is bounded beside the result, by whatever a subclass embeds with.

    Reading and decoding go on in threads while the model computes. The order of files alone says which pictures share
    a batch, and the cache is written in whole batches: a run that was killed and goes on forms the same batches, hence
    the same bits.

    Args:
        cache: the store of what was embedded before.
        options: batch size, decoder, what happens at files that cannot be read and more; default `Options()`.

    Attributes:
        width: numbers in an embedding.
    """

    width: int = 0

    def __init__(self, cache: Cache | None = None, options: Options | None = None) -> None:
        self.cache, self.options = cache, options or Options()

    @cached_property
    def kept_key(self) -> str:
        """Result of `key`, for which all weights are read: asked once."""
        return self.key()

    @abstractmethod
    def key(self) -> str:
        """Digest of all that embeddings depend on, for the cache."""

    @abstractmethod
    def decode(self, content: Content) -> Tensor:
        """Turn a file into pixels of any shape, in a thread; what is raised is why it cannot be read."""

    @abstractmethod
    def compute(self, pictures: list[Tensor]) -> Tensor:
        """Turn a batch of what `decode` gave into float32 `(N, width)`, on any device, without gradients."""

    def __call__(self, files: Sequence[str], bar: tqdm | None = None) -> Embeddings:
        """Embed files, each once, however often it is named.

        Args:
            files: paths or URLs.
            bar: a progress bar to go on with; default one of its own.

        Raises:
            ValueError, OSError: a file cannot be read and `on_error` is `raise`; the cache cannot be written.
        """
        names = list(dict.fromkeys(files))
        hidden = None if self.options.progress else True
        if bar is not None:
            return _Run(self, bar).embed(names)
        with tqdm(total=len(names), unit="picture", disable=hidden) as own:
            return _Run(self, own).embed(names)


class Embedder(FileEmbedder):
    """Files → embeddings of a metric.

    Args:
        metric: the metric that embeds.
        cache: the store of what was embedded before.
        options: batch size, decoder, what happens at files that cannot be read and more; default `Options()`.
        raw: whether the results are features in front of the head, in place of unit embeddings.
    """

    def __init__(
        self,
        metric: PerceptualMetric,
        cache: Cache | None = None,
        options: Options | None = None,
        *,
        raw: bool = False,
    ) -> None:
        super().__init__(cache, options)
        self.metric, self.raw, self.width = metric, raw, metric.card.embedding_size
        self._to_device = ToDevice(metric.device, metric.card.image_size)

    def key(self) -> str:
        unit = compute_metric_key(self.metric, self.options.decoder)
        return compute_key([unit, "raw"], []) if self.raw else unit

    def decode(self, content: Content) -> Tensor:
        options = self.options
        size = self.metric.card.image_size if options.resize_on == "host" else None
        return decode(content.data, content.file, size, options.decoder, self.metric.device.type)

    def compute(self, pictures: list[Tensor]) -> Tensor:
        features = self.metric.features(self._to_device(pictures))
        return self.metric.pool(features) if self.raw else self.metric.to_unit(features)


class _Run:
    """One call of a `FileEmbedder`: what it has found so far."""

    def __init__(self, embedder: FileEmbedder, bar: tqdm) -> None:
        self._by, self._options, self._bar = embedder, embedder.options, bar
        self._contents: dict[str, str] = {}  # sha256 by file
        self._units: dict[str, Tensor] = {}  # by sha256
        self._unreadable: dict[str, str] = {}
        self._broken: dict[str, str] = {}  # by sha256, the first file that has it

    def embed(self, names: list[str]) -> Embeddings:
        made: dict[str, Tensor] = {}
        with start_threads(self._options.workers) as pool:
            for number, (found, units) in enumerate(self._batches(pool, names), start=1):
                for content, unit, is_finite in zip(
                    found, units, units.isfinite().flatten(1).all(1).tolist(), strict=True
                ):
                    if is_finite:
                        made[content.sha256] = unit
                        self._bar.update()
                    else:
                        self._fail(content, ValueError(f"{content.file} has an embedding that is not finite; {_HINT}"))
                if number % _SAVED == 0:
                    self._keep(made)
            self._keep(made)
        files = [name for name in names if self._contents.get(name) in self._units]
        for name in set(self._contents).difference(files, self._unreadable):  # a copy of one that does not decode
            first = self._broken[self._contents[name]]
            self._unreadable[name] = self._unreadable[first].replace(first, name, 1)
        rows = [self._units[self._contents[name]] for name in files]
        return Embeddings(
            files,
            torch.stack(rows) if rows else torch.empty(0, self._by.width, dtype=torch.float32, device="cpu"),
            [self._contents[name] for name in files],
            {name: self._unreadable[name] for name in names if name in self._unreadable},
        )

    def _keep(self, made: dict[str, Tensor]) -> None:
        if self._by.cache and made:
            self._by.cache.put(self._by.kept_key, {sha256: unit.numpy() for sha256, unit in made.items()})
        self._units |= made
        made.clear()

    def _fail(self, content: Content, error: Exception) -> None:
        if self._options.on_error == "raise":
            raise error
        self._unreadable[content.file] = say_error(error)
        self._broken.setdefault(content.sha256, content.file)
        self._bar.update()

    def _new(self, pool: Executor, names: list[str]) -> Iterator[Content]:
        """Files whose contents are neither known from the cache nor came before."""
        asked: set[str] = set()
        for content in map_in_order(pool, self._read, names, count_workers(self._options.workers)):
            if content.error is not None:
                self._fail(content, content.error)
                continue
            self._contents[content.file] = content.sha256
            if content.sha256 not in asked:
                asked.add(content.sha256)
                kept = self._by.cache.get(self._by.kept_key, [content.sha256]) if self._by.cache else {}
                if not kept:
                    yield content
                    continue
                self._units[content.sha256] = torch.from_numpy(kept[content.sha256].copy())
            self._bar.update()

    def _read(self, file: str) -> Content:
        return read_content(file, self._options.read)

    def _decode(self, content: Content) -> tuple[Content, Tensor | Exception]:
        """The pixels, or why there are none; without the bytes, which are no longer needed."""
        pixels: Tensor | Exception
        try:
            pixels = self._by.decode(content)
        except Exception as error:
            pixels = error
        return Content(content.file, content.sha256), pixels

    def _decoded(self, pool: Executor, names: list[str]) -> Iterator[tuple[Content, Tensor]]:
        ahead = self._options.batch_size + count_workers(self._options.workers)
        for content, pixels in map_in_order(pool, self._decode, self._new(pool, names), ahead):
            if isinstance(pixels, Exception):
                self._fail(content, pixels)
            else:
                yield content, pixels

    def _batches(self, pool: Executor, names: list[str]) -> Iterator[tuple[list[Content], Tensor]]:
        """Whole batches; one is fetched when the next is on its way, so that a GPU does not wait for the CPU."""
        before: tuple[list[Content], Tensor] | None = None
        decoded = self._decoded(pool, names)
        while batch := list(islice(decoded, self._options.batch_size)):
            now = self._embed(batch)
            if before is not None:
                yield before[0], before[1].cpu()
            before = now
        if before is not None:
            yield before[0], before[1].cpu()

    def _embed(self, batch: list[tuple[Content, Tensor]]) -> tuple[list[Content], Tensor]:
        with torch.no_grad():
            try:
                units = self._by.compute([pixels for _, pixels in batch])
            except NotOnDeviceError:
                batch = list(self._rescued(batch))
                pictures = [pixels for _, pixels in batch]
                units = (
                    self._by.compute(pictures)
                    if pictures
                    else torch.empty(0, self._by.width, dtype=torch.float32, device="cpu")
                )
        return [content for content, _ in batch], units

    def _rescued(self, batch: list[tuple[Content, Tensor]]) -> Iterator[tuple[Content, Tensor]]:
        for content, pixels in batch:
            try:
                yield content, finish_on_host(pixels, content.file)
            except ValueError as error:
                self._fail(content, error)
