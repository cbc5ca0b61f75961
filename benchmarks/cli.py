"""The command line, `dreamsim-bench`."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.commands.human import _data, _human, _metrics
from benchmarks.commands.options import DEFAULT_METRICS
from benchmarks.commands.personalize import add_commands
from benchmarks.commands.report import _report
from benchmarks.commands.sensitivity import _sensitivity
from benchmarks.commands.speed import add_speed
from dreamsim_metric.commands.run import run_command

# Heavy imports (torch, pandas) are in the functions that need them: `--help` and errors come at once.


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


if __name__ == "__main__":
    sys.exit(main())
