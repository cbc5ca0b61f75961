"""The parser of a command line: argparse, with an answer to slips and defaults written as people write them."""

import argparse
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from dreamsim_metric.messages import suggest_one


class Parser(argparse.ArgumentParser):
    """Reads the arguments of a program, or of one of its commands.

    Options are written in full. What is misspelt is answered with the nearest name and the usage of the command that it
    was meant for, where argparse would show the program's.

    Args:
        fill: function that adds the arguments. It is called once they are needed: a program starts without those of the
            commands that are not asked for.
        settings: settings of `argparse.ArgumentParser`.
    """

    def __init__(self, *, fill: Callable[["Parser"], None] | None = None, **settings: Any) -> None:
        super().__init__(allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter, **settings)
        self.commands: Mapping[str, Parser] = {}
        self._fill = fill

    def complete(self) -> None:
        """Add the arguments that were not needed yet."""
        if self._fill is not None:
            fill, self._fill = self._fill, None
            fill(self)

    def add_argument(self, *names: str, **settings: Any) -> argparse.Action:
        """Add an argument; its help says the default."""
        text = describe_default(settings["help"], settings.get("default"))
        return super().add_argument(*names, **{**settings, "help": text})

    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: Any = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """Read the arguments; none may be left over."""
        self.complete()
        given = sys.argv[1:] if args is None else list(args)
        self._refuse_unknown(given)
        found, rest = super().parse_known_args(given, namespace)
        if rest:
            what = "unknown option" if rest[0].startswith("-") else "got one argument too many,"
            self.error(f"{what} {rest[0]}")
        return found, rest

    def _refuse_unknown(self, given: Sequence[str]) -> None:
        """Before argparse reads them: a misspelt option would make it miss what the option stands for."""
        for word in given:
            name = word.partition("=")[0]
            if word == "--" or (self.commands and not word.startswith("-")):  # what follows is the command's
                return
            if word.startswith("--") and " " not in name and name not in self._option_string_actions:
                place = " before the command; options stand behind it" if self.commands else ""
                self.error(f"unknown option {name}{place or _give_hint(name, self._option_string_actions)}")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is None or value in action.choices:
            return
        known = [str(choice) for choice in action.choices]
        hint = _give_hint(value, known) or f"; expected {', '.join(known)}"
        if action.choices is self.commands:
            raise argparse.ArgumentError(None, f"unknown command {value}{hint}")
        raise argparse.ArgumentError(action, f"got {value}{hint}")


def describe_default(text: str, default: Any) -> str:
    """Add the default to a help line, as it would be typed.

    Example:
        >>> describe_default("threads that decode pictures", 4), describe_default("what to time", ("startup", "files"))
        ('threads that decode pictures (default: 4)', 'what to time (default: startup files)')
    """
    if not (default is None or default is False or default is argparse.SUPPRESS or default in ((), [])):
        text = f"{text} (default: {_format_typed(default)})"
    return text.replace("%", "%%")  # which argparse reads as a place to fill


def _give_hint(name: str, known: Collection[str]) -> str:
    question = suggest_one(name, known)
    return f"; {question}" if question else ""


def _format_typed(value: Any) -> str:
    if isinstance(value, list | tuple):
        return " ".join(map(_format_typed, value))
    return f"{value:g}" if isinstance(value, float) else str(value)
