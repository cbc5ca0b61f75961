"""What a run times with: the machine's own where nothing is asked for."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from benchmarks.speed.contenders import Contenders, Variant, list_variants
from benchmarks.speed.pictures import draw_batch
from dreamsim_metric.bounds import check_least
from dreamsim_metric.images.ahead import count_cores
from dreamsim_metric.images.device import choose_default_device
from dreamsim_metric.models import MODELS


@dataclass(frozen=True)
class Plan:
    """Settings to time with.

    Attributes:
        device: `cpu` or `cuda`, where all run.
        model: name of a released type, ours against theirs on the same weights.
        home: folder that keeps releases with random weights.
        threads: numbers of threads, each of which is timed.
        batches: numbers of pairs at once, each of which is timed.
        variants: ways to run our models.
        max_pictures: number of pictures where the growth curve ends.
        quick: whether contests are few and small.
    """

    device: str
    model: str
    home: Path
    threads: Sequence[int]
    batches: Sequence[int]
    variants: Sequence[Variant]
    max_pictures: int = 10_000
    quick: bool = False

    @functools.cached_property
    def contenders(self) -> Contenders:
        """Load the models that are compared, once each."""
        return Contenders(self.device, self.home)

    def pairs(self, count: int) -> tuple[Tensor, Tensor]:
        """Draw two batches on the device."""
        return draw_batch(count).to(self.device), draw_batch(count, first=count).to(self.device)

    @property
    def largest(self) -> int:
        """The largest of the batches."""
        return max(self.batches)

    @property
    def all_threads(self) -> int:
        """The largest number of threads."""
        return max(self.threads)

    @property
    def fastest(self) -> Variant:
        """The precision bfloat16 where it is among the variants, without the wait of compiling."""
        return next((variant for variant in self.variants if variant == Variant("bfloat16")), self.variants[0])


def make_plan(
    device: str | None = None,
    *,
    model: str | None = None,
    home: Path,
    threads: Sequence[int] = (),
    batches: Sequence[int] = (),
    precisions: Sequence[str] = (),
    max_pictures: int = 10_000,
    quick: bool = False,
) -> Plan:
    """Make a plan with what this machine has in place of what is not given.

    Raises:
        ValueError: a setting that cannot be used.
    """
    device = device or choose_default_device()
    if model is not None and model not in MODELS:
        raise ValueError(f"got model {model!r}; expected a released type: {', '.join(MODELS)}")
    for option, values in (("threads", threads), ("batch sizes", batches), ("pictures", [max_pictures])):
        check_least(option, min(values, default=1))
    chosen = [Variant.parse(text) for text in precisions] or list_variants(device)
    defaults = (1, 8) if quick else (1, 8, 32) if device == "cpu" else (1, 8, 32, 128)
    return Plan(
        device,
        model or ("clip_vitb32" if quick else "ensemble"),
        home,
        tuple(threads) or ((1,) if device != "cpu" or quick else tuple(dict.fromkeys((1, count_cores())))),
        tuple(batches) or defaults,
        tuple(chosen),
        max_pictures,
        quick,
    )
