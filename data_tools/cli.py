"""The command line, `dreamsim-data`."""

import sys
from collections.abc import Sequence

from data_tools.commands import generation, study
from dreamsim_metric.commands.program import Program

# Heavy imports (torch, diffusers) are in the functions that need them: `--help` and errors come at once.


def build_program() -> Program:
    """Put the command line together."""
    return Program(
        "dreamsim-data",
        "Make human similarity data.",
        (*generation.COMMANDS, *study.COMMANDS),
        extra="data",
        interrupted="the same command goes on where it was",
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
