"""The command `dreamsim-metric`: results on stdout as a table, JSON or CSV; progress and errors on stderr."""

import sys
from collections.abc import Sequence

from dreamsim_metric.commands import models, pictures, scale, training
from dreamsim_metric.commands.program import Program

_EXAMPLES = """examples:
  dreamsim-metric distance cat.jpg dog.jpg          0 is the same picture, 2 the most that two can differ
  dreamsim-metric rank cat.jpg photos --top 5       what in a folder looks most like a picture
  dreamsim-metric matrix photos --csv > all.csv     every pair
  dreamsim-metric score pairs.csv --out scored.csv  a table of pairs, of any length; two folders work too
  dreamsim-metric duplicates photos --below 0.05    what is there twice, or nearly
  dreamsim-metric download --model ensemble         the model for published comparisons; then --model ensemble
"""


def build_program() -> Program:
    """Put the command line together."""
    return Program(
        "dreamsim-metric",
        "How different two pictures look to a person.",
        (*pictures.COMMANDS, *scale.COMMANDS, *training.COMMANDS, *models.COMMANDS),
        extra="train",
        epilog=_EXAMPLES,
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
