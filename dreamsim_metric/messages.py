"""The parts that many messages share: a few of many names, the nearest of the known names, what an error says."""

import difflib
from collections.abc import Collection, Sequence


def list_briefly(items: Sequence[str], most: int = 3, between: str = ", ") -> str:
    r"""Join texts, and only count those that are too many to say.

    Args:
        items: what to say, in order.
        most: how many are said.
        between: what stands between two of them: ", ", "; " or a new line.

    Example:
        >>> list_briefly(["cat.png", "dog.png", "fox.png", "owl.png"])
        'cat.png, dog.png, fox.png and 1 more'
        >>> list_briefly(["row 2: no votes", "row 5: no picture", "row 6: no votes"], 1, "; ")
        'row 2: no votes; and 2 more'
    """
    said, more = between.join(items[:most]), len(items) - most
    return f"{said}{between.removeprefix(',')}and {more} more" if more > 0 else said


def suggest(name: str, known: Sequence[str]) -> str:
    """Ask whether one of the most similar known names was meant: up to three, the most similar first.

    Args:
        name: what was given and is not known.
        known: the names that are.

    Returns:
        A question, or "" where no known name is similar.

    Example:
        >>> suggest("ensembel", ["mini", "ensemble"])
        'did you mean ensemble?'
        >>> suggest("zebra", ["mini", "ensemble"])
        ''
    """
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.4)
    return f"did you mean {' or '.join(near)}?" if near else ""


def suggest_one(name: str, known: Collection[str]) -> str:
    """Ask whether the one known name was meant that begins so or is very similar, leading dashes aside.

    Args:
        name: what was given and is not known.
        known: the names that are.

    Returns:
        A question, or "" where no known name is near enough.

    Example:
        >>> suggest_one("--modle", ["--model", "--device"])
        'did you mean --model?'
    """
    longer = [one for one in known if one.startswith(name)]
    near = longer or difflib.get_close_matches(name.lstrip("-"), [one.lstrip("-") for one in known], n=1, cutoff=0.7)
    meant = next((one for one in known if near and one.lstrip("-") == near[0].lstrip("-")), "")
    return f"did you mean {meant}?" if meant else ""


def say_known(name: str, known: Sequence[str]) -> str:
    """Say which names are known, the most similar ones first as a question (see `suggest`).

    Example:
        >>> say_known("ensembel", ["mini", "ensemble"])
        'did you mean ensemble? Known: mini, ensemble'
    """
    return f"{suggest(name, known)} Known: {', '.join(known)}".lstrip()


def say_error(error: BaseException) -> str:
    """Say in one line what an error says, or else its kind; errors of the disk without their number.

    Example:
        >>> say_error(FileNotFoundError(2, "No such file or directory", "cat.png"))
        'No such file or directory: cat.png'
        >>> say_error(KeyboardInterrupt())
        'KeyboardInterrupt'
    """
    text = str(error)
    if isinstance(error, OSError) and error.strerror:
        text = ": ".join(str(part) for part in (error.strerror, error.filename, error.filename2) if part)
    return make_printable(" ".join(text.split())) or type(error).__name__


def make_printable(text: str) -> str:
    r"""Write what a terminal would obey or cannot show, which names and cards of strangers may hold, as Python does.

    Example:
        >>> make_printable("cat\x1b[2J.png")
        'cat\\x1b[2J.png'
    """
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)


def say_error_with_kind(error: BaseException) -> str:
    """Say in one line what an error of a library is and says: its words alone may be a key or a number.

    Example:
        >>> say_error_with_kind(KeyError("branches"))
        "KeyError: 'branches'"
    """
    kind, text = type(error).__name__, say_error(error)
    return text if text == kind else f"{kind}: {text}"
