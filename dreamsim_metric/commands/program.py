"""A program: commands that share how they are called, how they print and how they fail."""

import sys
from argparse import Namespace
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from dreamsim_metric.commands.options import add_common, check_shared
from dreamsim_metric.commands.output import Form, Output, show
from dreamsim_metric.commands.parser import Parser
from dreamsim_metric.commands.run import run_command
from dreamsim_metric.version import __version__


@dataclass(frozen=True)
class Command:
    """One command of a program.

    Attributes:
        name: word that calls it.
        help: phrase that says what it does.
        run: function from its arguments to what it prints.
        options: function that adds its arguments to its parser.
        extra: extra of the package with what it needs; empty for the program's.
        interrupted: what an interruption leaves; empty for the program's.
        prints: whether it prints results, which `--json` and `--csv` give to programs.
    """

    name: str
    help: str
    run: Callable[[Namespace], Output | None]
    options: Callable[[Parser], None] = lambda parser: None
    extra: str = ""
    interrupted: str = ""
    prints: bool = True


class Program:
    """A command line.

    Args:
        name: word that calls it.
        description: what it is for.
        commands: all that it does.
        extra: extra of the package with what its commands need.
        interrupted: what an interruption of its commands leaves.
        epilog: examples, shown below the help.
    """

    def __init__(
        self,
        name: str,
        description: str,
        commands: Sequence[Command],
        *,
        extra: str,
        interrupted: str = "",
        epilog: str = "",
    ) -> None:
        self.name, self._extra, self._interrupted = name, extra, interrupted
        self.parser = Parser(prog=name, description=description, epilog=epilog)
        self.parser.add_argument(
            "--version", action="version", version=self._shown_version, help="show the version and exit"
        )
        added = self.parser.add_subparsers(required=True, metavar="COMMAND", title="commands")
        for command in commands:
            self._add(added, command)
        self.parser.commands = added.choices

    @property
    def _shown_version(self) -> str:
        return f"{self.name} {__version__}"

    def _add(self, to: Any, command: Command) -> None:
        def fill(parser: Parser) -> None:
            command.options(parser)
            add_common(parser, self._shown_version, prints=command.prints)
            parser.set_defaults(command=command)

        to.add_parser(command.name, help=command.help, description=command.help, fill=fill)

    def main(self, argv: Sequence[str] | None = None) -> int:
        """Run a command line.

        Args:
            argv: the arguments; by default those of the process.

        Returns:
            Exit status: 0, 1 after an error, 130 when interrupted.

        Raises:
            SystemExit: of 2, a call that is wrong; of 0, after help or version.
        """
        given = list(sys.argv[1:] if argv is None else argv)
        arguments = self.parser.parse_args(given)
        arguments.command_line = [self.name, *given]
        command: Command = arguments.command
        form: Form = "json" if arguments.json else "csv" if arguments.csv else "text"

        def work() -> None:
            check_shared(arguments)
            show(command.run(arguments), form)

        return run_command(
            self.name,
            work,
            extra=command.extra or self._extra,
            debug=arguments.debug,
            interrupted=command.interrupted or self._interrupted,
        )
