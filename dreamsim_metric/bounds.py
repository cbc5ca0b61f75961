"""Numbers that must not be too small."""


def check_least(name: str, value: float, least: float = 1) -> None:
    """Be sure that a number that a user gave is large enough.

    Args:
        name: what the user calls it: an option or an argument.
        value: the number.
        least: the smallest that can be used.

    Raises:
        ValueError: it is smaller, or not a number.

    Example:
        >>> check_least("--top", 0)
        Traceback (most recent call last):
            ...
        ValueError: got --top 0; expected 1 or more
    """
    if not value >= least:
        raise ValueError(f"got {name} {value}; expected {least} or more")
