"""Methods × subjects × prompts × seeds: fitted, sampled, and their cost written down.

A run is a folder:

    settings.json                        what all pictures have in common
    pictures/METHOD/SUBJECT/PROMPT/SEED.png     PROMPT: the text's slug; `class`: the class alone, by the tuned model
    manifest.jsonl                       a line a picture: how to make it again
    costs.jsonl                          seconds and peak memory of each fit and each sampling
    failures.jsonl                       what failed, and why; tried again by the next run
    fits/METHOD/                         settings.json, and a folder a subject that the method's `load` takes

Under `accelerate launch` each process, on one machine or on several that share the folder, takes its share of methods ×
subjects. A run that was stopped goes on.
"""

import hashlib
import json
import resource
import shutil
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, fields
from datetime import timedelta
from pathlib import Path
from typing import Any

import PIL.Image
import torch
from accelerate import PartialState
from accelerate.utils import gather_object
from tqdm import tqdm

from benchmarks.personalization.columns import MANIFEST_COLUMNS
from benchmarks.personalization.given import copy_given, find_given
from benchmarks.personalization.layout import CLASS, CLASS_PROMPT, COSTS, FAILURES, FITS, PAINTED
from benchmarks.personalization.methods.base import Method, Personalized, Sampling
from benchmarks.personalization.subjects import Subject, fill
from data_tools.manifest import append_rows, open_run, read_rows
from data_tools.painting import check_painter, check_steps
from data_tools.pipelines import Model, list_versions, load_model
from dreamsim_metric.files.lock import lock_folder
from dreamsim_metric.files.write import FULL_DISK, create_folder, write_file
from dreamsim_metric.images.encoding import encode
from dreamsim_metric.messages import say_error
from dreamsim_metric.networks.defaults import set_usual_defaults


@dataclass(frozen=True)
class Plan:
    """Settings that all pictures of a run have in common.

    Attributes:
        model: name or folder of the pipeline, for `data_tools.pipelines.load_model`; `revision`, `variant`, `dtype`
            and `additions` too.
        sampling: steps and guidance to draw with.
        seeds: number of pictures of each prompt, of the seeds 0 … seeds − 1, drawn together.
        class_pictures: number of pictures of the class alone, for prior preservation.
    """

    model: str = "mini-diffusion"
    revision: str | None = None
    variant: str | None = None
    dtype: str = "float32"
    sampling: Sampling = Sampling()
    seeds: int = 4
    class_pictures: int = 4
    additions: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Job:
    """A method and a subject: one fit and its pictures."""

    name: str
    method: Method
    config: Any
    subject: Subject

    def __str__(self) -> str:
        return f"{self.name}, {self.subject.name}"


@dataclass(frozen=True)
class _Request:
    """Pictures that are drawn together: of a prompt, or of the class alone."""

    prompt: str
    slug: str
    kind: str
    count: int


@set_usual_defaults()
def run(
    plan: Plan,
    methods: Mapping[str, tuple[Method, Any]],
    subjects: Sequence[Subject],
    out: Path,
    device: str | None = None,
    fits: Mapping[str, Path] | None = None,
) -> list[dict[str, Any]]:
    """Fit and sample all that is missing.

    A job that fails is written down, and the others go on.

    Args:
        plan: settings that the pictures have in common.
        methods: method and configuration by name.
        subjects: subjects with their prompts.
        out: folder of the run.
        device: device to run on; default: CUDA where there is one.
        fits: folders, by method, with what another trainer made of each subject: a folder or file of its name, or with
            one subject alone the folder or file itself. The run keeps a copy, in place of fitting.

    Returns:
        The failures, of all processes: method, subject, stage, error.

    Raises:
        ValueError: no prompts, a pipeline that does not paint from words or cannot go so many steps, or the folder was
            begun with other settings (which differ) or by another version.
        FileExistsError: the folder holds something else.
        FileNotFoundError: parts of the pipeline are missing.
        OSError: no such model, or the disk is full; what was made is intact.
    """
    if plan.seeds < 1 or plan.class_pictures < 0:
        raise ValueError(f"got {plan.seeds} seeds, {plan.class_pictures} pictures of the class; expected 1, 0 or more")
    for subject in subjects:
        if not subject.prompts:
            raise ValueError(f"subject {subject.name} has no prompts")
    read_rows(out, columns=MANIFEST_COLUMNS)  # what cannot be gone on with is said before hours of work
    given = {name: find_given(path, subjects) for name, path in (fits or {}).items()}
    # Fits take hours, and one process may have one more than another.
    state = PartialState(cpu=device == "cpu", timeout=timedelta(days=7))
    model = load_model(
        plan.model,
        revision=plan.revision,
        variant=plan.variant,
        dtype=plan.dtype,
        device=state.device if device is None or device == "cpu" else device,
        additions=plan.additions,
    )
    check_painter(model.pipeline)
    for steps in sorted({plan.sampling.steps, *(one for _, config in methods.values() for one in _list_steps(config))}):
        check_steps(model.pipeline, steps)
    facts = {"revision": model.revision, "scheduler": model.scheduler, "device": model.pipeline.device.type}
    jobs = [_Job(name, *method, subject) for subject in subjects for name, method in methods.items()]
    with lock_folder(out) if state.is_main_process else nullcontext():
        with state.main_process_first():
            open_run(out, {**_to_plain(plan), **facts, "versions": list_versions()})
            for name, (_, config) in methods.items():
                taken = {"given": str(fits[name])} if fits and name in fits else {}
                open_run(out / FITS / name, {**_to_plain(config), **taken})
        failures = _do_share(jobs, _Jobs(plan, model, out, given), state)
        return list(gather_object(failures)) if state.num_processes > 1 else failures


def _do_share(jobs: Sequence[_Job], doing: "_Jobs", state: PartialState) -> list[dict[str, Any]]:
    """Do the jobs of this process, and wait for the others; returns what failed."""
    failures: list[dict[str, Any]] = []
    ours = jobs[state.process_index :: state.num_processes]
    bar = tqdm(ours, unit="fit", disable=None if state.is_main_process else True)
    for job in bar:
        bar.set_description(str(job))
        try:
            doing.do(job)
        except (ValueError, ArithmeticError, RuntimeError, OSError) as error:
            if isinstance(error, OSError) and error.errno in FULL_DISK:  # the others would fail too
                raise
            failures.append(_describe_failure(job, doing.stage, error))
            append_rows(doing.out, failures[-1:], FAILURES)
            print(f"{job}: {doing.stage} failed: {failures[-1]['error']}", file=sys.stderr)
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
    state.wait_for_everyone()
    return failures


def _list_steps(config: Any) -> list[int]:
    """List the steps that a method draws its own pictures with."""
    values = [getattr(config, one.name) for one in fields(config)]
    return [value.steps for value in values if isinstance(value, Sampling)]


class _Jobs:
    def __init__(self, plan: Plan, model: Model, out: Path, given: Mapping[str, Mapping[str, Path]]) -> None:
        self.plan, self.model, self.out, self.given = plan, model, out, given
        self.stage = ""

    def do(self, job: _Job) -> None:
        """Fit, unless that was done, and draw what is missing."""
        painted = read_rows(self.out, columns=MANIFEST_COLUMNS)
        rows = [row for row in painted if (row["method"], row["subject"]) == (job.name, job.subject.name)]
        there = {(row["slug"], row["seed"]) for row in rows if (self.out / row["path"]).is_file()}
        requests = [_Request(p.text, p.slug, p.kind, self.plan.seeds) for p in job.subject.prompts]
        requests.append(_Request(CLASS_PROMPT, CLASS, CLASS, self.plan.class_pictures))
        # Whole requests: a picture's last bits depend on what it was computed beside.
        missing = [one for one in requests if not all((one.slug, seed) in there for seed in range(one.count))]
        if not missing:
            return
        self.stage = "fit"
        fitted = self.fitted(job)
        self.stage = "sample"
        with _record_cost(self.out, job, "sample", sum(one.count for one in missing)):
            for one in missing:
                words = job.subject.noun if one.slug == CLASS else fitted.words
                if one.slug == CLASS:
                    made = fitted.draw(fill(one.prompt, words), range(one.count), self.plan.sampling)
                else:
                    made = fitted.generate(one.prompt, one.count, 0, self.plan.sampling)
                self.keep(job, one, words, made)

    def fitted(self, job: _Job) -> Personalized:
        """Load a fit from its folder, or take the one that is given, or fit now."""
        folder = self.out / FITS / job.name / job.subject.name
        identifier = getattr(job.config, "identifier", None)
        words = f"{identifier} {job.subject.noun}" if identifier else None
        if job.name in self.given and not folder.is_dir():
            copy_given(self.given[job.name][job.subject.name], folder)
        if folder.is_dir():
            return job.method.load(folder, self.model.pipeline, words)
        work = folder.with_name(f"{folder.name}.work")
        with _record_cost(self.out, job, "fit", 1):
            fitted = job.method.fit(job.subject, self.model.pipeline, job.config, work)
        with create_folder(folder) as beside:
            fitted.save(beside)
        shutil.rmtree(work, ignore_errors=True)
        return job.method.load(folder, self.model.pipeline, words)  # so that resumed or not it is the same

    def keep(self, job: _Job, one: _Request, words: str, made: Sequence[PIL.Image.Image]) -> None:
        """Write pictures and their rows."""
        folder = self.out / PAINTED / job.name / job.subject.name / one.slug
        folder.mkdir(parents=True, exist_ok=True)
        rows = []
        for seed, picture in enumerate(made):
            data = encode(picture)
            file = folder / f"{seed}.png"
            write_file(file, data)
            rows.append(
                {
                    "path": file.relative_to(self.out).as_posix(),
                    "method": job.name,
                    "subject": job.subject.name,
                    "prompt": one.prompt,
                    "slug": one.slug,
                    "kind": one.kind,
                    "words": words,
                    "seed": seed,
                    "model": self.model.name,
                    "revision": self.model.revision,
                    "scheduler": self.model.scheduler,
                    "dtype": self.plan.dtype,
                    **asdict(self.plan.sampling),
                    "sha256": hashlib.sha256(data).hexdigest(),
                }
            )
        append_rows(self.out, rows)


@contextmanager
def _record_cost(out: Path, job: _Job, stage: str, count: int) -> Iterator[None]:
    """Write down what a stage took, once it has ended."""
    cuda = torch.cuda.is_available()
    if cuda:
        torch.cuda.reset_peak_memory_stats()
    start = time.perf_counter()
    yield
    # Of a processor's memory only the process's highest use so far is known, in KiB.
    peak = torch.cuda.max_memory_allocated() if cuda else 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    append_rows(
        out,
        [
            {
                "method": job.name,
                "subject": job.subject.name,
                "stage": stage,
                "count": count,
                "seconds": round(time.perf_counter() - start, 3),
                "peak_bytes": peak,
            }
        ],
        COSTS,
    )


def _describe_failure(job: _Job, stage: str, error: BaseException) -> dict[str, Any]:
    return {"method": job.name, "subject": job.subject.name, "stage": stage, "error": say_error(error)}


def _to_plain(value: Any) -> dict[str, Any]:
    """Turn a dataclass into what JSON will give back: tuples become lists."""
    return dict(json.loads(json.dumps(asdict(value))))
