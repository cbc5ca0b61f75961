"""The command line, `dreamsim-bench`."""

import argparse
import json
import logging
import os
import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.personalization.commands import add_commands
from benchmarks.speed.commands import add_speed
from dreamsim_metric.commands.run import run_command

# Heavy imports (torch, pandas) are in the functions that need them: `--help` and errors come at once.

DEFAULT_METRICS = (
    *("mini", "ensemble", "lpips-alex", "lpips-vgg", "lpips-squeeze", "dists", "psnr", "ssim", "ms-ssim"),
    *("clip-i-b32", "dino-vits16", "dinov2-vitb14"),
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        argv: the arguments; default those of the process.

    Returns:
        As `dreamsim_metric.commands.run.run_command`.
    """
    arguments = _parser().parse_args(argv)
    arguments.command = list(sys.argv[1:] if argv is None else argv)
    return run_command(
        "dreamsim-bench",
        lambda: arguments.run(arguments),
        extra=arguments.extra,
        debug=arguments.debug,
        interrupted="what was computed is cached",
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="dreamsim-bench", description="metrics against people, methods against metrics"
    )
    parser.add_argument("--debug", action="store_true", help="show where an error comes from")
    parser.set_defaults(extra="bench")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    human = commands.add_parser("human", help="metrics × human data sets: agreement, intervals, tests")
    human.set_defaults(run=_human)
    human.add_argument(
        "--data",
        action="append",
        required=True,
        metavar="[NAME=]FOLDER",
        help="a data set (names: dreamsim-bench data); repeat for more",
    )
    human.add_argument("--split", nargs="+", default=[], metavar="SPLIT", help="in place of the usual splits")
    human.add_argument("--draws", type=int, default=1000, metavar="N", help="of the bootstrap (default: 1000)")
    human.add_argument("--seed", type=int, default=0, help="of the bootstrap (default: 0)")
    human.add_argument("--batch-size", type=int, default=32, metavar="N", help="pictures at once (default: 32)")
    human.add_argument(
        "--cache", type=Path, metavar="FILE", help="of embeddings and distances (default: in the user cache)"
    )
    sensitivity = commands.add_parser("sensitivity", help="distances against the strength of known changes")
    sensitivity.set_defaults(run=_sensitivity)
    sensitivity.add_argument(
        "--pictures", type=Path, default=Path("examples"), metavar="DIR", help="to change (default: examples)"
    )
    for command in (human, sensitivity):
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
        command.add_argument("--out", required=True, type=Path, metavar="DIR", help="folder for the tables")
        command.add_argument("--device", help="default: cuda where there is one, else cpu")
        command.add_argument("--json", action="store_true", help="print what was found as JSON")
    add_commands(commands)
    add_speed(commands)
    report = commands.add_parser(
        "report", help="one page of what was measured: human, sensitivity, speed, personalize or score"
    )
    report.set_defaults(run=_report)
    report.add_argument("folder", type=Path, metavar="DIR", help="their --out")
    report.add_argument("--out", type=Path, metavar="FILE", help="default: report.html in the folder")
    data = commands.add_parser("data", help="the data sets; for one: where to get it, and whether it is whole")
    data.set_defaults(run=_data)
    data.add_argument("name", nargs="?", metavar="NAME", help="a data set, or a .py file with SOURCES")
    data.add_argument("folder", nargs="?", type=Path, metavar="FOLDER", help="check what is in it")
    metrics = commands.add_parser("metrics", help="the metrics")
    metrics.set_defaults(run=_metrics)
    return parser


@contextmanager
def quick_without_network() -> Iterator[None]:
    """The hub's client would try each file for half a minute, with many warnings; what fails is said in our words."""
    host = os.environ.get("HF_ENDPOINT", "https://huggingface.co").partition("://")[2].partition("/")[0]
    before = os.environ.get("HF_HUB_OFFLINE")
    try:
        socket.getaddrinfo(host.partition(":")[0], 443)
    except OSError:
        print("no network: weights are looked for on this machine only", file=sys.stderr)
        os.environ["HF_HUB_OFFLINE"] = "1"
    logging.disable(logging.ERROR)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)
        if before is None:
            os.environ.pop("HF_HUB_OFFLINE", None)


def _human(arguments: argparse.Namespace) -> None:
    with quick_without_network():  # before anything imports the hub's client
        _measure(arguments)


def _measure(arguments: argparse.Namespace) -> None:
    from benchmarks.human.run import run
    from benchmarks.human.sources import read_parts
    from dreamsim_metric.scale.cache import Cache
    from dreamsim_metric.weights.download import cache_dir

    for option, value in (("--draws", arguments.draws), ("--batch-size", arguments.batch_size)):
        if value < 1:
            raise ValueError(f"got {option} {value}; expected 1 or more")
    makers, options = asked_for(arguments)
    parts = [part for given in arguments.data for part in read_parts(given, arguments.split)]
    scores = run(
        makers,
        parts,
        arguments.out,
        Cache(arguments.cache or cache_dir() / "benchmarks.sqlite"),
        options=options,
        draws=arguments.draws,
        seed=arguments.seed,
        batch_size=arguments.batch_size,
        command=["dreamsim-bench", *arguments.command],
    )
    if arguments.json:
        _print_json(scores)
    else:
        print_scores(scores)
        print_metrics(arguments.out)


def _sensitivity(arguments: argparse.Namespace) -> None:
    with quick_without_network():
        from benchmarks.changes import read_scenes
        from benchmarks.sensitivity import print_ranking, run

        makers, options = asked_for(arguments)
        command = ["dreamsim-bench", *arguments.command]
        table = run(makers, read_scenes(arguments.pictures), arguments.out, options=options, command=command)
    if arguments.json:
        _print_json(table)
    elif len(table):
        print_ranking(table)


def _report(arguments: argparse.Namespace) -> None:
    from benchmarks.report.page import write_report
    from benchmarks.report.personalization import is_scored, write_personalization_report

    write = write_personalization_report if is_scored(arguments.folder) else write_report
    print(write(arguments.folder, out=arguments.out))


def asked_for(arguments: argparse.Namespace) -> tuple[dict[str, Any], Any]:
    """Makers of the metrics that were named, and weights and device for each."""
    import torch

    from benchmarks.metrics.base import Options
    from benchmarks.metrics.registry import find_metrics

    makers = find_metrics(arguments.metrics)
    weights = _weights(arguments.weights, list(makers))
    device = torch.device(arguments.device or ("cuda" if torch.cuda.is_available() else "cpu"))
    return makers, lambda name: Options(weights.get(name, ()), device)


def _print_json(table: Any) -> None:
    print(json.dumps(json.loads(table.to_json(orient="records")), indent=2))


def _weights(given: Sequence[str], metrics: Sequence[str]) -> dict[str, tuple[Path, ...]]:
    found = {}
    for text in given:
        name, equals, files = text.partition("=")
        if not equals or name not in metrics:
            raise ValueError(f"got --weights {text}; expected METRIC=FILE of one of {', '.join(metrics)}")
        found[name] = tuple(map(Path, files.split(",")))
        for file in found[name]:
            if not file.exists():
                raise FileNotFoundError(f"no such file of weights: {file}")
    return found


def print_scores(scores: Any) -> None:
    """A table a figure, best metric first: value, 95 % interval over references (else judgements), and people."""
    for (data, split, score), rows in scores.groupby(["data", "split", "score"], sort=False):
        first = rows.iloc[0]
        known = {"people": "people", "others": "one person against the others", "ceiling": "at most"}
        notes = [f"{text} {first[name]:.4g}" for name, text in known.items() if first[name] == first[name]]
        print(f"{data} {split}, {score}, {first['n']} judgements" + (f" ({'; '.join(notes)})" if notes else ""))
        for _, row in rows.sort_values("value", ascending=False).iterrows():
            low, high = ("low", "high") if row["ref_low"] != row["ref_low"] else ("ref_low", "ref_high")
            digits = 1 if score.endswith("%") else 3
            interval = f"{row[low]:.{digits}f} to {row[high]:.{digits}f}"
            print(f"  {row['rank']:>2}  {row['metric']:<28} {row['value']:>7.{digits}f}   {interval}")
        print()


def print_metrics(out: Path) -> None:
    """A line for each metric: what its numbers are and what it sees, or why it has no figures."""
    import pandas as pd

    for row in pd.read_parquet(out / "metrics.parquet").itertuples():
        seen = f"{row.direction} from {row.low:g} to {row.high:g}, input {row.input}: {row.preprocessing}"
        status = "" if row.status == "measured" else str(row.status)
        text = "; ".join(filter(None, [seen if row.direction else "", status]))
        print(f"{row.metric:<28} {text if len(text) < 140 else text[:140] + '…'}")


def _data(arguments: argparse.Namespace) -> None:
    from benchmarks.human.sources import built_in, find_source, missing_rows
    from dreamsim_metric.judgements.tables import check

    if arguments.name is None:
        width = max(map(len, built_in()))
        for name, source in built_in().items():
            print(f"{name:<{width}}  {source.kind}")
        return
    name, source = find_source(arguments.name)
    print(f"{source.title or name}: {source.kind}\nget it: {source.get}\nlicence: {source.licence}")
    if source.citation:
        print(f"cite: {source.citation}")
    if source.rows:
        print("published judgements: " + ", ".join(f"{split} {count}" for split, count in source.rows.items()))
    if arguments.folder is None:
        return
    if not arguments.folder.exists():
        raise FileNotFoundError(f"no such folder: {arguments.folder}")
    tables = source.read(arguments.folder)
    check(tables, shared_pictures=True)
    for table in tables:
        splits = ", ".join(f"{split} {mask.sum()}" for split, mask in table.split_masks().items())
        print(f"on disk: {type(table).__name__}, {len(table)} rows, {len(table.pictures)} pictures: {splits}")
    incomplete = missing_rows(source, tables)
    for line in incomplete:
        print(f"note: {line}")
    print("whole" if not incomplete else "readable, but not as published")


def _metrics(arguments: argparse.Namespace) -> None:
    from benchmarks.metrics.registry import built_in
    from dreamsim_metric import list_models

    print(
        f"models of dreamsim_metric: {', '.join(list_models())}, timm:NAME, open_clip:ARCH/TAG, hf:OWNER/REPO, a folder"
    )
    print(f"others: {', '.join(built_in())}, a .py file with METRICS")


if __name__ == "__main__":
    sys.exit(main())
