"""Options made from the fields of a dataclass: names, kinds, defaults and, from its docstring, help."""

import argparse
import inspect
import re
from dataclasses import MISSING, fields
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from dreamsim_metric.commands.parser import Parser, describe_default

_METAVARS = {str: "NAME", int: "N", float: "N", Path: "PATH"}


def add_fields(to: Parser, kind: type[Any]) -> dict[str, argparse.Action]:
    """Add an option for each field; those that are not given leave no trace in what is parsed.

    Args:
        to: parser that gets them.
        kind: dataclass whose fields are of `str`, `int`, `float`, `bool`, `Path`, a `Literal` of strings, tuples of
            these, or one of these and None.

    Returns:
        The options, by field.
    """
    hints, helps, added = get_type_hints(kind), read_attributes(kind), {}
    for field in fields(kind):
        added[field.name] = to.add_argument(
            f"--{field.name.replace('_', '-')}",
            **_choose_settings(hints[field.name]),
            required=field.default is MISSING,
            default=argparse.SUPPRESS,
            help=helps[field.name],
        )
    show_defaults(added, kind, {field.name: field.default for field in fields(kind)})
    return added


def show_defaults(options: dict[str, argparse.Action], kind: type[Any], values: dict[str, Any]) -> None:
    """Let the help of options say these defaults."""
    for name, text in read_attributes(kind).items():
        value = values[name]
        options[name].help = describe_default(text, None if value is MISSING else value)


def read_attributes(kind: type[Any]) -> dict[str, str]:
    """Read what a class's docstring says of its attributes, without the full stop, by name."""
    _, _, section = (inspect.getdoc(kind) or "").partition("Attributes:\n")
    lines = re.findall(r"^    (\w+): (.+(?:\n {8}.+)*)", section.partition("\n\n")[0], re.M)
    return {name: " ".join(text.split()).removesuffix(".") for name, text in lines}


def _choose_settings(hint: Any) -> dict[str, Any]:
    """What argparse needs to know of a type."""
    origin, args = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        (hint,) = (arg for arg in args if arg is not NoneType)
        return _choose_settings(hint)
    if origin is tuple:
        several: dict[str, Any] = {"nargs": len(args)}
        if args[-1] is Ellipsis:  # `--model a b` or `--model a --model b`
            several = {"nargs": "+", "action": "extend"}
        return _choose_settings(args[0]) | several
    if origin is Literal:
        return {"choices": args}
    return {"action": "store_true"} if hint is bool else {"type": hint, "metavar": _METAVARS[hint]}
