"""Pictures of figures: the reliability diagram of a psychometric curve."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dreamsim_metric.files.write import write_file


def draw_reliability(rows: Sequence[dict[str, Any]], error: float, path: Path, title: str) -> None:
    """Draw predicted against observed probabilities, with 95 % intervals, over the judgements in each bin.

    Args:
        rows: the rows of `dreamsim_metric.judgements.tabulate_reliability`.
        error: the expected calibration error, for the title.
        path: the PNG file to write; replaced if it is there.
        title: what the probability says, for the title and the axis.

    Raises:
        ImportError: matplotlib is not installed.
        OSError: the disk is full or not writable.

    Example:
        >>> import tempfile
        >>> row = {"predicted": 0.4, "observed": 0.5, "judgements": 20.0, "low": 0.3, "high": 0.7}
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     draw_reliability([row], 0.1, Path(folder) / "same.png", "judged the same")
        ...     (Path(folder) / "same.png").is_file()
        True
    """
    from matplotlib.figure import Figure  # not pyplot, which would keep the figure and want a screen

    figure = Figure(figsize=(5, 5.5), dpi=150, layout="constrained")
    diagram, counts = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1))
    predicted, observed = ([row[name] for row in rows] for name in ("predicted", "observed"))
    bars = [[row["observed"] - row["low"] for row in rows], [row["high"] - row["observed"] for row in rows]]
    diagram.plot([0, 1], [0, 1], color="0.7", linewidth=1, label="as predicted")
    diagram.errorbar(
        predicted, observed, yerr=bars, fmt="o-", markersize=4, capsize=2, color="C0", label="observed, 95 %"
    )
    diagram.set(
        xlim=(0, 1), ylim=(0, 1), ylabel="share of judgements", title=f"P({title}), calibration error {error:.3f}"
    )
    diagram.legend(loc="upper left", frameon=False)
    counts.bar(predicted, [row["judgements"] for row in rows], width=0.02, color="C0")
    counts.set(xlabel=f"predicted probability ({title})", ylabel="judgements")
    data = io.BytesIO()
    figure.savefig(data, format="png")
    write_file(path, data.getvalue())
