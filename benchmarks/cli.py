"""The command line, `dreamsim-bench`."""

import sys
from collections.abc import Sequence

from benchmarks.commands import human, personalize, report, sensitivity, speed
from dreamsim_metric.commands.program import Program

# Heavy imports (torch, pandas) are in the functions that need them: `--help` and errors come at once.


def build_program() -> Program:
    """Put the command line together."""
    measured = (*human.COMMANDS, *sensitivity.COMMANDS, *personalize.COMMANDS, *speed.COMMANDS)
    return Program(
        "dreamsim-bench",
        "Metrics against people, methods against metrics.",
        (*measured, *report.COMMANDS),
        extra="bench",
        interrupted="what was computed is cached",
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv: the arguments; by default those of the process.

    Returns:
        As `Program.main`.
    """
    return build_program().main(argv)


if __name__ == "__main__":
    sys.exit(main())
