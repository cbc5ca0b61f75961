"""Timing: contenders of one contest take turns, and each ratio is of two times from one round.

Absolute times are noisy on shared machines; the ratio of two times that were taken one after the other is less so. CPU
seconds are those of all threads; on a GPU the clock stops when it is done. Short calls are repeated until a timing is
long enough to be read.
"""

import ctypes
import math
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from dreamsim_metric.files.table import Row
from dreamsim_metric.messages import say_error_with_kind

_LEAST = 0.05  # seconds of a timing
_STATUS = Path("/proc/self/status")


@dataclass(frozen=True)
class Sample:
    """One timing.

    Attributes:
        wall: seconds of the clock.
        cpu: seconds of all threads.
        peak_bytes: memory it took at most beside what was held before; NaN where that is not known.
    """

    wall: float
    cpu: float
    peak_bytes: float = math.nan


@dataclass(frozen=True)
class Subject:
    """A call that is timed.

    Attributes:
        name: name in its contest.
        make: function that loads what it needs and returns the call. A call that returns a `Sample` has timed itself.
        count: units of work in a call.
        package: name of the package that does the work.
        model, precision: name and precision of the network, where there is one.
        same: whether its results must be those of the reference; the largest difference is noted.
    """

    name: str
    make: Callable[[], Callable[[], object]]
    count: float = 1
    package: str = "dreamsim_metric"
    model: str = ""
    precision: str = "float32"
    same: bool = False


@dataclass(frozen=True)
class Contest:
    """Subjects that are compared with one another.

    Attributes:
        group: name of the group of contests.
        subjects: subjects, of which the first is the reference.
        unit: unit of work that times are given for.
        device: device that does the work.
        threads: number of threads that PyTorch may use.
        batch: pairs or pictures at once.
        axis: name of what grows, in a growth curve.
        size: size of what grows.
        references: number of the first subjects that are references, of which `reference` says which counts.
    """

    group: str
    subjects: Sequence[Subject]
    unit: str = "pair"
    device: str = "cpu"
    threads: int = 1
    batch: int = 1
    axis: str = ""
    size: float = math.nan
    references: int = 1
    reference: Literal["fastest", "slowest"] = "fastest"

    @property
    def clock(self) -> str:
        """The clock of the ratios: CPU seconds where one thread does the work, else wall."""
        return "cpu" if self.device == "cpu" and self.threads == 1 else "wall"


@dataclass
class _Entrant:
    subject: Subject
    call: Callable[[], object] = lambda: None
    result: object = None
    repeats: int = 1
    peak_bytes: float = math.nan
    samples: list[Sample] = field(default_factory=list)
    error: str = ""


def measure(contest: Contest, rounds: int, seconds: float = math.inf) -> list[Row]:
    """Time all subjects in turns.

    A subject that cannot be made or fails has its row say so; the others go on.

    Args:
        contest: contest to time.
        rounds: number of rounds at most.
        seconds: seconds after which no further round begins; there is always one.

    Returns:
        A row a subject: medians of the seconds a unit, and the median and the extremes of the ratios, round by
        round, of the reference's time to its own: above 1 is faster than the reference.
    """
    start = time.perf_counter()
    before = torch.get_num_threads()
    torch.set_num_threads(contest.threads)
    try:
        entrants = [_enter(subject, contest.device) for subject in contest.subjects]
        for _ in range(rounds):
            for entrant in entrants:
                if not entrant.error:
                    _time(entrant, contest.device)
            if time.perf_counter() - start > seconds:
                break
    finally:
        torch.set_num_threads(before)
    return _make_rows(contest, entrants)


def _enter(subject: Subject, device: str) -> _Entrant:
    """Make a subject and warm it up. The memory is that of this first call."""
    entrant = _Entrant(subject)
    try:
        entrant.call = subject.make()
        held = _reset_peak(device)
        sample, entrant.result = _sample(entrant.call, 1, device)
        entrant.peak_bytes = sample.peak_bytes if isinstance(entrant.result, Sample) else _read_peak(device) - held
        if not isinstance(entrant.result, Sample) and sample.wall < 20 * _LEAST:  # the first call is slower than others
            again, _ = _sample(entrant.call, 1, device)
            entrant.repeats = math.ceil(_LEAST / max(again.wall, 1e-6))
    except Exception as error:  # a missing package, too little memory: said in the row
        entrant.error = say_error_with_kind(error)[:300]
    return entrant


def _time(entrant: _Entrant, device: str) -> None:
    try:
        sample, _ = _sample(entrant.call, entrant.repeats, device)
    except Exception as error:
        entrant.error = say_error_with_kind(error)[:300]
        return
    units = entrant.repeats * entrant.subject.count
    entrant.samples.append(Sample(sample.wall / units, sample.cpu / units))


def _sample(call: Callable[[], object], repeats: int, device: str) -> tuple[Sample, object]:
    _wait(device)
    wall, cpu = time.perf_counter(), time.process_time()
    result: object = None
    for _ in range(repeats):
        result = call()
    _wait(device)
    timed = Sample(time.perf_counter() - wall, time.process_time() - cpu)
    return (result, result) if isinstance(result, Sample) else (timed, result)


def _wait(device: str) -> None:
    if device != "cpu":
        torch.cuda.synchronize()


def _reset_peak(device: str) -> float:
    """Return the bytes held now, from which on the peak counts; NaN where that cannot be known."""
    if device != "cpu":
        torch.cuda.reset_peak_memory_stats()
        return torch.cuda.memory_allocated()
    try:
        ctypes.CDLL(None).malloc_trim(0)  # what was freed goes back, else it would be used again and not be seen
        Path("/proc/self/clear_refs").write_text("5")
        return _read_resident("VmRSS")
    except (OSError, AttributeError):  # not Linux with glibc
        return math.nan


def _read_peak(device: str) -> float:
    if device != "cpu":
        return torch.cuda.max_memory_allocated()
    return _read_resident("VmHWM") if _STATUS.is_file() else math.nan


def _read_resident(name: str) -> float:
    found = next(line for line in _STATUS.read_text().splitlines() if line.startswith(name))
    return float(found.split()[1]) * 1024


def _make_rows(contest: Contest, entrants: Sequence[_Entrant]) -> list[Row]:
    ran = [entrant for entrant in entrants[: contest.references] if not entrant.error]
    choose = min if contest.reference == "fastest" else max
    reference = choose(ran, key=lambda entrant: _compute_median(entrant, contest.clock)) if ran else None
    return [_make_row(contest, entrant, reference) for entrant in entrants]


def _compute_median(entrant: _Entrant, clock: str) -> float:
    return statistics.median(getattr(sample, clock) for sample in entrant.samples)


def _make_row(contest: Contest, entrant: _Entrant, reference: _Entrant | None) -> Row:
    subject = entrant.subject
    row: Row = {
        "group": contest.group,
        "axis": contest.axis,
        "size": contest.size,
        "subject": subject.name,
        "package": subject.package,
        "model": subject.model,
        "precision": subject.precision,
        "device": contest.device,
        "threads": contest.threads,
        "batch": contest.batch,
        "unit": contest.unit,
        "count": float(subject.count),
        "rounds": len(entrant.samples),
        "clock": contest.clock,
        "peak_bytes": float(entrant.peak_bytes),
        "error": entrant.error,
    }
    names = ("wall_s", "cpu_s", "ratio", "ratio_low", "ratio_high", "ratio_wall", "difference")
    row |= dict.fromkeys(names, math.nan) | {"reference": reference.subject.name if reference else ""}
    if entrant.error:
        return row
    row |= {"wall_s": _compute_median(entrant, "wall"), "cpu_s": _compute_median(entrant, "cpu")}
    if reference is not None:
        ratios = list(_compute_ratios(reference.samples, entrant.samples, contest.clock))
        row |= {"ratio": statistics.median(ratios), "ratio_low": min(ratios), "ratio_high": max(ratios)}
        row["ratio_wall"] = statistics.median(_compute_ratios(reference.samples, entrant.samples, "wall"))
        if subject.same:
            row["difference"] = _compute_difference(entrant.result, reference.result)
    return row


def _compute_ratios(theirs: Iterable[Sample], own: Iterable[Sample], clock: str) -> Iterable[float]:
    pairs = zip(theirs, own, strict=False)  # a subject that failed later has fewer
    return (getattr(a, clock) / max(getattr(b, clock), 1e-12) for a, b in pairs)


def _compute_difference(own: object, reference: object) -> float:
    if not isinstance(own, Tensor) or not isinstance(reference, Tensor):
        return math.nan
    return float((own.float().cpu() - reference.float().cpu()).abs().max())
