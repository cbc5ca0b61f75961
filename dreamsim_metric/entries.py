"""Values that a JSON file holds to dataclasses of ours: each entry is checked, and named if it does not fit."""

import math
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from types import NoneType
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

Made = TypeVar("Made")

_MOST_SHOWN = 40  # characters of a value that does not fit
_WORDS = {str: "text", int: "a whole number", float: "a finite number", bool: "true or false"}


def make_object(kind: type[Made], entries: Any, name: str = "") -> Made:
    """Make a dataclass of what a JSON file holds, with the types that its fields are declared with.

    Args:
        kind: the dataclass.
        entries: the object, as `json.loads` gives it.
        name: name of the entry that holds the object; none for the file's own.

    Raises:
        ValueError: an entry is missing, unknown, or of another type or value than its field; the message names it.

    Example:
        >>> from dreamsim_metric.card import Head
        >>> make_object(Head, {"kind": "mlp", "hidden": 256})
        Head(kind='mlp', hidden=256)
        >>> make_object(Head, {"kind": "mlp", "hidden": 2.5}, "head")
        Traceback (most recent call last):
        ValueError: head.hidden is 2.5; expected a whole number
    """
    if not isinstance(entries, dict):
        raise _say_misfit(name or "the whole", entries, "an object")
    kinds, start = get_type_hints(kind), f"{name}." if name else ""
    declared = {one.name: one for one in fields(kind)}  # type: ignore[arg-type]
    for entry in entries:
        if entry not in declared:
            raise ValueError(f"{start}{_shorten(entry)} is unknown; expected some of {', '.join(declared)}")
    values = {entry: _make(kinds[entry], value, start + entry) for entry, value in entries.items()}
    needed = [entry for entry, one in declared.items() if one.default is one.default_factory is MISSING]
    if missing := [start + entry for entry in needed if entry not in entries]:
        raise ValueError(f"it has no {', '.join(missing)}")
    try:
        return kind(**values)
    except ValueError as error:
        raise ValueError(f"{name}: {error}" if name else str(error)) from error


def check_range(name: str, value: float, least: float, most: float) -> None:
    """Be sure that a number is in a range.

    Args:
        name: name of the entry or argument.
        value: the number.
        least, most: the ends of the range, which belong to it.

    Raises:
        ValueError: it is outside, or not a number.

    Example:
        >>> check_range("lapse", 2.0, 0, 1)
        Traceback (most recent call last):
        ValueError: lapse is 2.0; expected a number from 0 to 1
    """
    if not least <= value <= most:
        raise _say_misfit(name, value, f"a number from {least:g} to {most:g}")


def _make(kind: Any, value: Any, name: str) -> Any:
    if kind is Any:
        return value
    if isinstance(kind, type) and is_dataclass(kind):
        return make_object(kind, value, name)
    origin, parts = get_origin(kind), get_args(kind)
    if origin in _MAKERS:
        return _MAKERS[origin](parts, value, name)
    if NoneType in parts:
        return None if value is None else _make(parts[0], value, name)
    if kind is float and type(value) is int and abs(value) < 2**53:
        return value
    if type(value) is not kind or (kind is float and not math.isfinite(value)):
        raise _say_misfit(name, value, _WORDS[kind])
    return value


def _make_tuple(parts: tuple[Any, ...], value: Any, name: str) -> tuple[Any, ...]:
    if not isinstance(value, list):
        raise _say_misfit(name, value, "a list")
    if parts[-1] is Ellipsis:
        parts = (parts[0],) * len(value)
    if len(parts) != len(value):
        raise _say_misfit(name, value, f"a list of {len(parts)}")
    return tuple(_make(part, one, f"{name}[{i}]") for i, (part, one) in enumerate(zip(parts, value, strict=True)))


def _make_dict(parts: tuple[Any, ...], value: Any, name: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _say_misfit(name, value, "an object")
    return {key: _make(parts[1], one, f"{name}[{_shorten(key)}]") for key, one in value.items()}


def _choose(parts: tuple[Any, ...], value: Any, name: str) -> Any:
    if type(value) is not str or value not in parts:
        raise _say_misfit(name, value, f"one of {', '.join(parts)}")
    return value


_MAKERS: Mapping[Any, Callable[[tuple[Any, ...], Any, str], Any]] = {
    tuple: _make_tuple,
    dict: _make_dict,
    Literal: _choose,
}


def _say_misfit(name: str, value: Any, expected: str) -> ValueError:
    return ValueError(f"{name} is {_shorten(value)}; expected {expected}")


def _shorten(value: Any) -> str:
    huge = isinstance(value, int) and abs(value) > 2**64  # which Python may refuse to write in decimal digits
    text = hex(value) if huge else repr(value)
    return text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}…"
