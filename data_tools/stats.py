"""How much the raters of a study agree: printed and plotted."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from data_tools.agreement import measure_agreement, measure_raters
from data_tools.filtering import drop_off_time, drop_too_soon, drop_unproven, keep_counted, to_frame
from data_tools.simulation import BUILD
from data_tools.study import ANSWERS, Study
from data_tools.votes import read_responses


def measure(
    folder: Path,
    quick_ms: float = 0.0,
    max_quick: float = 1.0,
    resamples: int = 1000,
    tolerance_ms: float | None = None,
) -> dict[str, Any]:
    """Compute `agreement.measure_agreement` of the votes that count, and `measure_raters` of all.

    Args:
        folder: folder of the study.
        quick_ms: milliseconds below which an answer was too quick to have been thought about.
        max_quick: largest share of too quick answers that a rater may have.
        resamples: number of bootstrap draws for the intervals.
        tolerance_ms: largest departure from the planned times in milliseconds. Default: the study's.

    Returns:
        The figures; `off_time`, answers (of each rater, too) to what was shown too long, too short or more than once;
        `too_soon`, answers that came sooner than can be; `unproven`, raters who answered too little, or not the
        sentinels that were due, to count; `simulated`, answers that are a model's.

    Raises:
        FileNotFoundError, ValueError: Same as in `Study.read` and `votes.read_responses`.
    """
    study = Study.read(folder)
    table = to_frame(read_responses(folder, study))
    tolerance = study.tolerance_ms if tolerance_ms is None else tolerance_ms
    off_time = table[~table.response.isin(drop_off_time(table, tolerance).response)]
    by_rater = measure_raters(table, study.task)
    by_rater["off_time"] = off_time.groupby("rater").size().reindex(by_rater.index, fill_value=0)
    found = measure_agreement(keep_counted(table, study, quick_ms, max_quick, tolerance), study.task, resamples)
    unproven = table.rater.nunique() - drop_unproven(table, study).rater.nunique()
    about = {
        "task": study.task,
        "too_soon": len(table) - len(drop_too_soon(table, study.soonest_ms)),
        "soonest_ms": study.soonest_ms,
        "unproven": int(unproven),
        "simulated": int((table.build == BUILD).sum()),
        "off_time": len(off_time),
        "tolerance_ms": tolerance,
    }
    figures: dict[str, Any] = _to_plain({**about, **found, "by_rater": by_rater.reset_index().to_dict("records")})
    return figures


def _to_plain(value: Any) -> Any:
    """Put None where there is no number: JSON knows no NaN."""
    if isinstance(value, dict):
        return {str(name): _to_plain(part) for name, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_to_plain(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def say_left_out(found: dict[str, Any]) -> list[str]:
    """Say what of what `measure` saw does not count, and why; nothing where all does."""
    off = f"pictures were shown more than {found['tolerance_ms']:g} ms too long or too short, or more than once."
    soon = f"they came within {found['soonest_ms']:g} ms of being asked, by the server's clock."
    unproven = "they answered too few questions, or not the obvious ones that were due."
    said = {
        "off_time": f"{found['off_time']} answers do not count: {off}",
        "too_soon": f"{found['too_soon']} answers do not count: {soon}",
        "unproven": f"{found['unproven']} raters do not count: {unproven}",
    }
    return [line for name, line in said.items() if found[name]]


def format_lines(found: dict[str, Any]) -> Iterator[str]:
    """Yield what `measure` found, line by line, to read."""
    if found["simulated"]:
        yield f"SIMULATED: {found['simulated']} responses are a model's, not people's"
    yield f"{found['votes']} votes of {found['raters']} raters on {found['questions']} questions"
    yield from say_left_out(found)
    names = {"alpha": "Krippendorff's alpha", "pairwise": "two votes agree", "split_half": "split-half reliability"}
    for key, name in names.items():
        estimate, low, high = ("–" if value is None else f"{value:.3f}" for value in found[key])
        yield f"{name:24} {estimate}  (95 %: {low} to {high})"
    if found["unanimous"] is not None:
        yield f"{'unanimous':24} {100 * found['unanimous']:.1f} %"
    if found["median_ms"] is not None:
        yield f"{'median response time':24} {found['median_ms']:.0f} ms"


def plot(found: dict[str, Any], file: Path) -> None:
    """Draw votes by question, response times and agreement by rater.

    Raises:
        ValueError: matplotlib writes no such kind of file.
        OSError: it cannot be written.
    """
    from matplotlib.figure import Figure

    first = ANSWERS[found["task"]][0]
    figure = Figure(figsize=(10, 3.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    for count, questions in found["histogram"].items():
        shares = [number / int(count) for number in range(len(questions))]
        left.plot(shares, questions, "o-", label=f"{count} votes")
    left.set(xlabel=f'share of votes for "{first}"', ylabel="questions")
    if found["histogram"]:
        left.legend()
    raters = [row for row in found["by_rater"] if row["agreement"] is not None]
    right.scatter([row["median_ms"] for row in raters], [row["agreement"] for row in raters], s=18)
    right.set(xlabel="a rater's median response time, ms", ylabel="votes with the majority", ylim=(0, 1.05))
    if found["simulated"]:
        figure.suptitle("simulated raters")
    figure.savefig(file)
