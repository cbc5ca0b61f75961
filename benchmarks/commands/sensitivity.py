"""`dreamsim-bench sensitivity`."""

from argparse import Namespace
from pathlib import Path

from benchmarks.commands.options import add_metrics, check_asked, resolve_metrics, skip_retries_without_network
from dreamsim_metric.commands.names import check_folder
from dreamsim_metric.commands.options import add_option
from dreamsim_metric.commands.output import Output, list_rows
from dreamsim_metric.commands.parser import Parser
from dreamsim_metric.commands.program import Command
from dreamsim_metric.files.pictures import find_pictures


def _add_sensitivity(to: Parser) -> None:
    to.add_argument(
        "--pictures", type=Path, default=Path("examples"), metavar="PATH", help="folder of pictures that are changed"
    )
    add_metrics(to)
    add_option(to, "--out", required=True, help="folder for the tables")


def run_sensitivity(arguments: Namespace) -> Output:
    """Measure distances against the strength of known changes."""
    check_folder(arguments.pictures, "folder of pictures")
    check_asked(arguments)
    find_pictures([str(arguments.pictures)])
    with skip_retries_without_network():
        from benchmarks.sensitivity.changes import read_scenes
        from benchmarks.sensitivity.run import format_ranking, run

        scenes = read_scenes(arguments.pictures)
        makers, options = resolve_metrics(arguments)
        table = run(makers, scenes, arguments.out, options=options, command=arguments.command_line)
    return Output(list_rows(table), lambda rows: format_ranking(table) if len(table) else ())


COMMANDS = (
    Command("sensitivity", "distances against the strength of known changes", run_sensitivity, _add_sensitivity),
)
