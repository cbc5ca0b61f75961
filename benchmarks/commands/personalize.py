"""`dreamsim-bench personalize` and `score`."""

import argparse
import ast
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.personalization.layout import SCORES

# Heavy imports (torch, diffusers, pandas) are in the functions that need them: `--help` and errors come at once.

DEFAULT_METHODS = ("plain", "textual-inversion", "dreambooth", "dreambooth-lora")
DEFAULT_METRICS = ("mini", "ensemble", "dino-vits16", "dino-vits8", "clip-i-b32", "clip-t-b32", "lpips-alex")
MINI = "mini-diffusion"


def add_commands(commands: Any) -> None:
    """Add both to the parser of `dreamsim-bench`."""
    personalize = commands.add_parser("personalize", help="methods × subjects: fitted, sampled, scored, reported")
    personalize.set_defaults(run=_personalize, extra="bench,data,train")
    personalize.add_argument("subjects", type=Path, metavar="SUBJECTS", help="DreamBench, or a folder of that kind")
    personalize.add_argument("--only", nargs="+", metavar="SUBJECT", help="of the subjects (default: all)")
    personalize.add_argument(
        "--prompts", type=int, metavar="N", help="so many of each subject's, spread over its list (default: all)"
    )
    personalize.add_argument(
        "--methods", nargs="+", default=DEFAULT_METHODS, metavar="METHOD", help="default: %(default)s"
    )
    personalize.add_argument("--preset", help="of the methods' settings (default: mini for mini-diffusion, else sd15)")
    personalize.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="METHOD.FIELD=VALUE",
        help="one setting of a method, in place of its preset's; repeat for more",
    )
    personalize.add_argument(
        "--model", default=MINI, help="mini-diffusion, a folder of diffusers, or OWNER/NAME (default: %(default)s)"
    )
    personalize.add_argument("--revision", help="of the model, on the hub")
    personalize.add_argument("--variant", help="of the weights' files, such as fp16")
    personalize.add_argument("--dtype", choices=["float32", "float16", "bfloat16"], default="float32")
    personalize.add_argument("--steps", type=int, help="of sampling (default: 20 with the preset mini, else 50)")
    personalize.add_argument("--guidance", type=float, default=7.5, help="(default: %(default)s)")
    personalize.add_argument("--seeds", type=int, default=4, metavar="N", help="pictures a prompt (default: 4)")
    personalize.add_argument(
        "--class-pictures", type=int, default=4, metavar="N", help="of the class alone, a fit (default: 4)"
    )
    score = commands.add_parser(
        "score", help="pictures that were made elsewhere: SUBJECT/PROMPT/SEED.png of each method"
    )
    score.set_defaults(run=_score)
    score.add_argument("pictures", type=Path, metavar="PICTURES", help="METHOD/SUBJECT/PROMPT/SEED.png")
    score.add_argument("--subjects", type=Path, required=True, metavar="SUBJECTS", help="DreamBench, or of that kind")
    for command in (personalize, score):
        command.add_argument(
            "--metrics", nargs="+", default=DEFAULT_METRICS, metavar="METRIC", help="names: dreamsim-bench metrics"
        )
        command.add_argument(
            "--weights",
            action="append",
            default=[],
            metavar="METRIC=FILE[,FILE]",
            help="files of weights to read in place of downloading; repeat for more",
        )
        command.add_argument(
            "--copy-below",
            action="append",
            default=[],
            metavar="METRIC=NUMBER",
            help="from which on a picture is a copy of a photograph (default: where the model is calibrated, its "
            "threshold); repeat for more",
        )
        command.add_argument("--draws", type=int, default=1000, metavar="N", help="of the bootstrap (default: 1000)")
        command.add_argument("--seed", type=int, default=0, help="of the bootstrap (default: 0)")
        command.add_argument(
            "--batch-size", type=int, default=8, metavar="N", help="pictures scored at once (default: 8)"
        )
        command.add_argument("--cache", type=Path, metavar="FILE", help="of embeddings (default: in the user cache)")
        command.add_argument("--out", required=True, type=Path, metavar="DIR", help="folder for what is made")
        command.add_argument("--device", help="default: cuda where there is one, else cpu")
        command.add_argument("--json", action="store_true", help="print the scores as JSON")


def _report(folder: Path, subjects: Sequence[Any], out: Path | None = None) -> None:
    from benchmarks.report.personalization import write_personalization_report

    print(write_personalization_report(folder, subjects, out))


def _personalize(arguments: argparse.Namespace) -> None:
    from accelerate import PartialState

    from benchmarks.commands.options import quick_without_network

    with quick_without_network():  # before anything imports the hub's client
        from benchmarks.personalization.methods.base import Sampling
    from benchmarks.personalization.layout import FAILURES
    from benchmarks.personalization.run import Plan, run
    from benchmarks.personalization.subjects import read_subjects

    if arguments.prompts is not None and arguments.prompts < 1:
        raise ValueError(f"got --prompts {arguments.prompts}; expected 1 or more")
    preset = arguments.preset or ("mini" if arguments.model == MINI else "sd15")
    methods = configured(arguments.methods, preset, arguments.set)
    subjects = [
        dataclasses.replace(subject, prompts=spread(subject.prompts, arguments.prompts))
        for subject in read_subjects(arguments.subjects, arguments.only)
    ]
    plan = Plan(
        arguments.model,
        arguments.revision,
        arguments.variant,
        arguments.dtype,
        Sampling(arguments.steps or (20 if preset == "mini" else 50), arguments.guidance),
        arguments.seeds,
        arguments.class_pictures,
    )
    with quick_without_network():
        failures = run(plan, methods, subjects, arguments.out, arguments.device)
    if not PartialState().is_main_process:
        return
    # With all their prompts: the folder may hold more than this run asked for.
    _rate(arguments, arguments.out, read_subjects(arguments.subjects), arguments.out / SCORES)
    _report(arguments.out, subjects)
    if failures:
        raise RuntimeError(
            f"{len(failures)} of {len(methods) * len(subjects)} fits failed; {arguments.out / FAILURES} says why, and "
            f"the same command tries them again. The first: {failures[0]['error']}"
        )


def _score(arguments: argparse.Namespace) -> None:
    from benchmarks.personalization.subjects import read_subjects

    subjects = read_subjects(arguments.subjects)
    _rate(arguments, arguments.pictures, subjects, arguments.out)
    _report(arguments.out, subjects)


def _rate(arguments: argparse.Namespace, pictures: Path, subjects: Sequence[Any], out: Path) -> None:
    """Score what is there and print the tables."""
    import json

    from benchmarks.commands.options import asked_for, quick_without_network
    from benchmarks.personalization.scoring import score
    from dreamsim_metric.scale.cache import Cache, cache_file

    with quick_without_network():
        makers, options = asked_for(arguments)
        scores = score(
            pictures,
            subjects,
            makers,
            out,
            Cache(arguments.cache or cache_file()),
            options=options,
            copy_below=_thresholds(arguments.copy_below),
            draws=arguments.draws,
            seed=arguments.seed,
            batch_size=arguments.batch_size,
            command=["dreamsim-bench", *arguments.command],
        )
    if arguments.json:
        print(json.dumps(json.loads(scores.to_json(orient="records")), indent=2))
    else:
        print_scores(scores)


def _thresholds(given: Sequence[str]) -> dict[str, float]:
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


def configured(names: Sequence[str], preset: str, changes: Sequence[str]) -> dict[str, Any]:
    """Methods with their configurations, by name.

    Args:
        names: of methods.
        preset: of their configurations; the paper's where a method has no such.
        changes: `METHOD.FIELD=VALUE`, the value as Python writes it.

    Raises:
        ValueError: an unknown method, preset or field, or a value of another kind.
    """
    from benchmarks.personalization.methods.registry import METHODS, find_methods

    methods = find_methods(names)
    presets = sorted({name for method in METHODS.values() for name in method.presets})
    if preset not in presets:
        raise ValueError(f"unknown preset {preset!r}; expected one of {', '.join(presets)}")
    configs = {name: method.config(preset) for name, method in methods.items()}
    for text in changes:
        target, equals, written = text.partition("=")
        name, dot, field = target.rpartition(".")
        if not equals or not dot or name not in configs:
            raise ValueError(f"got --set {text}; expected METHOD.FIELD=VALUE of one of {', '.join(configs)}")
        known = {one.name for one in dataclasses.fields(configs[name])}
        if field not in known:
            raise ValueError(f"{name} has no {field!r}; it has {', '.join(sorted(known)) or 'nothing to set'}")
        before = getattr(configs[name], field)
        try:
            value = ast.literal_eval(written)
        except (ValueError, SyntaxError):
            value = written
        if isinstance(before, float) and isinstance(value, int):
            value = float(value)
        if not isinstance(value, type(before)) or dataclasses.is_dataclass(before):
            raise ValueError(f"got {target} = {written}; expected a value like {before!r}")
        configs[name] = dataclasses.replace(configs[name], **{field: value})
    return {name: (method, configs[name]) for name, method in methods.items()}


def spread(prompts: Sequence[Any], count: int | None) -> tuple[Any, ...]:
    """So many of the prompts, at even distances, the first among them; all if None."""
    if count is None or count >= len(prompts):
        return tuple(prompts)
    return tuple(prompts[i * len(prompts) // count] for i in range(count))


def print_scores(scores: Any) -> None:
    """A table a score and metric, best method first: value, 95 % interval over subjects; its definition above it.

    Args:
        scores: as `scoring.score` returns it.
    """
    for (protocol, name, metric), rows in scores.groupby(["protocol", "score", "metric"], sort=False):
        first = rows.iloc[0]
        print(f"{protocol}, {name}, {metric} ({first['better']} is better): {first['definition']}")
        for row in rows.sort_values("value", ascending=first["better"] == "lower").itertuples():
            interval = f"{row.low:.3f} to {row.high:.3f}" if row.low == row.low else "one subject: no interval"
            counts = f"{row.subjects} subjects, {row.pictures} pictures"
            print(f"  {row.method:<28} {row.value:>8.3f}   {interval:<26} {counts}")
        print()
