"""`dreamsim-bench personalize` and `measure`: methods of personalization, judged by their pictures."""

import ast
import dataclasses
import os
from argparse import Namespace
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.commands.options import (
    add_draws,
    add_metrics,
    check_asked,
    resolve_metrics,
    skip_retries_without_network,
)
from benchmarks.names import check_methods, check_preset, read_settings
from data_tools.commands.pipeline import MINI, add_pipeline, check_pipeline
from data_tools.manifest import check_folder_of_run
from dreamsim_metric.bounds import check_least
from dreamsim_metric.commands.names import check_folder
from dreamsim_metric.commands.options import add_option, open_cache
from dreamsim_metric.commands.output import Output, list_rows
from dreamsim_metric.commands.parser import Parser
from dreamsim_metric.commands.program import Command

# Heavy imports (torch, diffusers, pandas) are in the functions that need them: `--help` and errors come at once.

DEFAULT_METHODS = ("plain", "textual-inversion", "dreambooth", "dreambooth-lora")
DEFAULT_METRICS = ("mini", "ensemble", "dino-vits16", "dino-vits8", "clip-i-b32", "clip-t-b32", "lpips-alex")
_SUBJECTS = "folder of subjects: DreamBench, or one of that kind"


def _add_personalize(to: Parser) -> None:
    to.add_argument("subjects", type=Path, metavar="SUBJECTS", help=_SUBJECTS)
    to.add_argument("--only", nargs="+", metavar="NAME", help="subjects that are painted (default: all)")
    to.add_argument(
        "--prompts", type=int, metavar="N", help="prompts of each subject, spread over its list (default: all)"
    )
    to.add_argument("--methods", nargs="+", default=DEFAULT_METHODS, metavar="NAME", help="methods that paint them")
    to.add_argument(
        "--preset", metavar="NAME", help="settings of the methods (default: mini for mini-diffusion, else sd15)"
    )
    to.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="METHOD.FIELD=VALUE",
        help="one setting of a method, in place of its preset's; repeat for more",
    )
    to.add_argument(
        "--fits",
        action="append",
        default=[],
        metavar="METHOD=PATH",
        help="what another trainer made, in place of fits: a folder or file named like each subject; repeat for more",
    )
    add_pipeline(to, precision="float32")
    to.add_argument(
        "--steps", type=int, metavar="N", help="steps of the scheduler (default: 20 with the preset mini, else 50)"
    )
    to.add_argument("--guidance", type=float, default=7.5, metavar="N", help="scale of guidance")
    to.add_argument("--seeds", type=int, default=4, metavar="N", help="pictures of a prompt")
    to.add_argument(
        "--class-pictures", type=int, default=4, metavar="N", help="pictures of the class alone, for each fit"
    )
    _add_scoring(to)


def _add_measure(to: Parser) -> None:
    to.add_argument("pictures", type=Path, metavar="PICTURES", help="folder of METHOD/SUBJECT/PROMPT/SEED.png")
    to.add_argument("--subjects", type=Path, required=True, metavar="PATH", help=_SUBJECTS)
    _add_scoring(to, device=True)


def _add_scoring(to: Parser, device: bool = False) -> None:
    add_metrics(to, DEFAULT_METRICS, device=device)
    to.add_argument(
        "--copy-below",
        action="append",
        default=[],
        metavar="METRIC=NUMBER",
        help="number of a metric from which on a picture is a copy of a photograph; repeat for more (default: where "
        "the model is calibrated, its threshold)",
    )
    add_draws(to)
    add_option(to, "--batch-size", default=8)
    add_option(to, "--out", required=True, help="folder for what is made")


def run_personalize(arguments: Namespace) -> Output | None:
    """Fit methods to subjects, paint, score and report."""
    from benchmarks.personalization.subjects import find_subjects, read_subjects

    if arguments.prompts is not None:
        check_least("--prompts", arguments.prompts)
    for option, number, least in (("--seeds", arguments.seeds, 1), ("--class-pictures", arguments.class_pictures, 0)):
        check_least(option, number, least)
    if arguments.steps is not None:
        check_least("--steps", arguments.steps)
    check_methods(arguments.methods)
    preset = arguments.preset or ("mini" if arguments.model == MINI else "sd15")
    check_preset(preset)
    read_settings(arguments.set, arguments.methods)
    check_pipeline(arguments.model, arguments.additions)
    read_fits(arguments.fits, arguments.methods)
    _check_scoring(arguments)
    find_subjects(arguments.subjects, arguments.only)
    if os.environ.get("RANK", "0") == "0":  # of several processes, the first begins the folder
        check_folder_of_run(arguments.out)
    subjects = [
        dataclasses.replace(subject, prompts=spread_prompts(subject.prompts, arguments.prompts))
        for subject in read_subjects(arguments.subjects, arguments.only)
    ]

    from accelerate import PartialState

    with skip_retries_without_network():  # before anything imports the hub's client
        from benchmarks.personalization.layout import FAILURES, SCORES
        from benchmarks.personalization.methods.base import Sampling
        from benchmarks.personalization.run import Plan, run

        methods = configure_methods(arguments.methods, preset, arguments.set)
        plan = Plan(
            arguments.model,
            arguments.revision,
            arguments.variant,
            arguments.precision or "float32",
            Sampling(arguments.steps or (20 if preset == "mini" else 50), arguments.guidance),
            arguments.seeds,
            arguments.class_pictures,
            tuple(arguments.additions),
        )
        failures = run(plan, methods, subjects, arguments.out, arguments.device, read_fits(arguments.fits, methods))
    if not PartialState().is_main_process:
        return None
    # With all their prompts: the folder may hold more than this run asked for.
    scores = _format_scores(arguments, arguments.out, read_subjects(arguments.subjects), arguments.out / SCORES)
    output = _write_report(scores, arguments.out, subjects)
    if not failures:
        return output
    text = (
        f"{len(failures)} of {len(methods) * len(subjects)} fits failed; {arguments.out / FAILURES} says why, and "
        f"the same command tries them again. The first: {failures[0]['error']}"
    )
    return dataclasses.replace(output, failure=text)


def run_measure(arguments: Namespace) -> Output:
    """Score pictures that were made elsewhere, and report."""
    from benchmarks.personalization.layout import find_paintings, find_picture_folder
    from benchmarks.personalization.subjects import find_subjects, read_subjects

    check_folder(arguments.pictures, "folder of pictures")
    _check_scoring(arguments)
    find_paintings(find_picture_folder(arguments.pictures), find_subjects(arguments.subjects))
    subjects = read_subjects(arguments.subjects)
    scores = _format_scores(arguments, arguments.pictures, subjects, arguments.out)
    return _write_report(scores, arguments.out, subjects)


def _check_scoring(arguments: Namespace) -> None:
    check_asked(arguments)
    own = any(name.endswith(".py") for name in arguments.metrics)  # of names that only it knows
    for name in read_thresholds(arguments.copy_below):
        if not own and name not in arguments.metrics:
            raise ValueError(
                f"got --copy-below {name}=…; expected METRIC=NUMBER of one of {', '.join(arguments.metrics)}"
            )


def _format_scores(arguments: Namespace, pictures: Path, subjects: Sequence[Any], out: Path) -> Any:
    with skip_retries_without_network():
        from benchmarks.personalization.scoring import score

        makers, options = resolve_metrics(arguments)
        return score(
            pictures,
            subjects,
            makers,
            out,
            open_cache(arguments),
            options=options,
            copy_below=read_thresholds(arguments.copy_below),
            draws=arguments.draws,
            seed=arguments.seed,
            batch_size=arguments.batch_size,
            command=arguments.command_line,
        )


def _write_report(scores: Any, out: Path, subjects: Sequence[Any]) -> Output:
    """The scores, of which there is a page then."""
    from benchmarks.report.personalization import write_personalization_report

    written = write_personalization_report(out, subjects)

    def lines(rows: Any) -> Iterator[str]:
        yield from score_lines(scores)
        yield str(written)

    return Output(list_rows(scores), lines)


def read_fits(given: Sequence[str], methods: Collection[str]) -> dict[str, Path]:
    """Read `METHOD=PATH`: the paths, by method.

    Raises:
        ValueError: something else, or a method that takes no part.
    """
    found = {}
    for text in given:
        name, equals, path = text.partition("=")
        if not equals or name not in methods:
            raise ValueError(f"got --fits {text}; expected METHOD=PATH of one of {', '.join(methods)}")
        found[name] = Path(path)
    return found


def read_thresholds(given: Sequence[str]) -> dict[str, float]:
    """Read `METRIC=NUMBER`: the numbers, by metric.

    Raises:
        ValueError: something else.
    """
    found = {}
    for text in given:
        name, equals, number = text.rpartition("=")
        try:
            found[name] = float(number)
        except ValueError:
            equals = ""
        if not equals:
            raise ValueError(f"got --copy-below {text}; expected METRIC=NUMBER")
    return found


def configure_methods(names: Sequence[str], preset: str, changes: Sequence[str]) -> dict[str, Any]:
    """Choose methods and their configurations, by name.

    Args:
        names: names of methods.
        preset: preset of their configurations; the paper's where a method has no such.
        changes: `METHOD.FIELD=VALUE`, the value as Python writes it.

    Raises:
        ValueError: an unknown method, preset or field, or a value of another kind.
    """
    from benchmarks.personalization.methods.registry import find_methods

    check_preset(preset)
    methods = find_methods(names)
    configs = {name: method.config(preset) for name, method in methods.items()}
    for name, field, written in read_settings(changes, names):
        before = getattr(configs[name], field)
        try:
            value = ast.literal_eval(written)
        except (ValueError, SyntaxError):
            value = written
        if isinstance(before, float) and isinstance(value, int):
            value = float(value)
        if not isinstance(value, type(before)) or dataclasses.is_dataclass(before):
            raise ValueError(f"got {name}.{field} = {written}; expected a value like {before!r}")
        configs[name] = dataclasses.replace(configs[name], **{field: value})
    return {name: (method, configs[name]) for name, method in methods.items()}


def spread_prompts(prompts: Sequence[Any], count: int | None) -> tuple[Any, ...]:
    """Choose so many of the prompts, at even distances, the first among them; all if None."""
    if count is None or count >= len(prompts):
        return tuple(prompts)
    return tuple(prompts[i * len(prompts) // count] for i in range(count))


def score_lines(scores: Any) -> Iterator[str]:
    """Write a table a score and metric, best method first: value, 95 % interval over subjects; its definition above it.

    Args:
        scores: table of scores that `scoring.score` returned.
    """
    for (protocol, name, metric), rows in scores.groupby(["protocol", "score", "metric"], sort=False):
        first = rows.iloc[0]
        yield f"{protocol}, {name}, {metric} ({first['better']} is better): {first['definition']}"
        for row in rows.sort_values("value", ascending=first["better"] == "lower").itertuples():
            interval = f"{row.low:.3f} to {row.high:.3f}" if row.low == row.low else "one subject: no interval"
            counts = f"{row.subjects} subjects, {row.pictures} pictures"
            yield f"  {row.method:<28} {row.value:>8.3f}   {interval:<26} {counts}"
        yield ""


COMMANDS = (
    Command(
        "personalize",
        "methods × subjects: fitted, sampled, scored, reported",
        run_personalize,
        _add_personalize,
        extra="bench,data,train",
    ),
    Command(
        "measure",
        "pictures that were made elsewhere: METHOD/SUBJECT/PROMPT/SEED.png",
        run_measure,
        _add_measure,
    ),
)
