"""`dreamsim-bench report`."""

from argparse import Namespace
from pathlib import Path

from benchmarks.tables import check_results
from dreamsim_metric.commands.names import check_folder
from dreamsim_metric.commands.options import add_option
from dreamsim_metric.commands.output import Output
from dreamsim_metric.commands.parser import Parser
from dreamsim_metric.commands.program import Command


def _add_report(to: Parser) -> None:
    to.add_argument("folder", type=Path, metavar="DIR", help="folder that the others wrote to with --out")
    add_option(to, "--out", help="page to write (default: report.html in the folder)")


def run_report(arguments: Namespace) -> Output:
    """Make a page of what was measured."""
    check_folder(arguments.folder)
    check_results(arguments.folder)

    from benchmarks.report.page import write_report
    from benchmarks.report.personalization import is_scored, write_personalization_report

    write = write_personalization_report if is_scored(arguments.folder) else write_report
    written = str(write(arguments.folder, out=arguments.out))
    return Output([{"written": written}], lambda rows: [written])


COMMANDS = (
    Command(
        "report",
        "one page of what was measured: human, sensitivity, speed, personalize, measure",
        run_report,
        _add_report,
    ),
)
