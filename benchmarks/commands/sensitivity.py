"""`dreamsim-bench sensitivity`."""

from argparse import Namespace
from pathlib import Path

from benchmarks.commands.options import add_metrics, asked_for, check_asked, quick_without_network
from dreamsim_metric.commands.names import check_folder
from dreamsim_metric.commands.options import add_option
from dreamsim_metric.commands.output import Output, frame_rows
from dreamsim_metric.commands.parser import Parser
from dreamsim_metric.commands.program import Command
from dreamsim_metric.files.pictures import find_pictures


def _add_sensitivity(to: Parser) -> None:
    to.add_argument(
        "--pictures", type=Path, default=Path("examples"), metavar="PATH", help="folder of pictures that are changed"
    )
    add_metrics(to)
    add_option(to, "--out", required=True, help="folder for the tables")


def sensitivity(arguments: Namespace) -> Output:
    """Measure distances against the strength of known changes."""
    check_folder(arguments.pictures, "folder of pictures")
    check_asked(arguments)
    find_pictures([str(arguments.pictures)])
    with quick_without_network():
        from benchmarks.sensitivity.changes import read_scenes
        from benchmarks.sensitivity.run import ranking_lines, run

        scenes = read_scenes(arguments.pictures)
        makers, options = asked_for(arguments)
        table = run(makers, scenes, arguments.out, options=options, command=arguments.command_line)
    return Output(frame_rows(table), lambda rows: ranking_lines(table) if len(table) else ())


COMMANDS = (Command("sensitivity", "distances against the strength of known changes", sensitivity, _add_sensitivity),)
