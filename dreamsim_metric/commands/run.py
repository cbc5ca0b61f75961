"""What the commands have in common: exit codes, and errors that are one line on stderr."""

import io
import os
import sys
from collections.abc import Callable

from dreamsim_metric.messages import make_printable, say_error


def run_command(
    program: str, work: Callable[[], None], *, extra: str, debug: bool = False, interrupted: str = ""
) -> int:
    """Do a command's work.

    Args:
        program: the command's name.
        work: what it does; results go to stdout.
        extra: extra of the package that a missing module belongs to.
        debug: let errors through.
        interrupted: what an interruption leaves.

    Returns:
        0, 1 after an error, 130 when interrupted.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # not an error after the work, for a name that it cannot write
            stream.reconfigure(errors="backslashreplace")
    try:
        work()
        if sys.stdout is not None:
            sys.stdout.flush()
    except BrokenPipeError:  # the reader, `head` say, has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except KeyboardInterrupt:
        print(f"{program}: interrupted{interrupted and '; '}{interrupted}", file=sys.stderr)
        return 130
    except Exception as error:
        if debug:
            raise
        print(f"{program}: {make_printable(' '.join(_write_text(error, extra).split()))}", file=sys.stderr)
        return 1
    return 0


def _write_text(error: Exception, extra: str) -> str:
    problems = getattr(error, "problems", ())
    for problem in problems:
        print(make_printable(problem), file=sys.stderr)
    if problems:
        return str(error).partition(":")[0] + ", listed above; nothing was done"
    if isinstance(error, ModuleNotFoundError):
        return f"{error}; this needs more packages: pip install 'dreamsim_metric[{extra}]'"
    if type(error).__name__ == "OutOfMemoryError":  # torch's, which is not imported for its name
        return f"{str(error).partition('. ')[0]}; choose a smaller --batch-size"
    return say_error(error)
