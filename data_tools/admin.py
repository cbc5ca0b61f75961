"""What a study's owner sees of it."""

import html
import math
import os
import secrets
from pathlib import Path
from typing import Any

from .agreement import by_rater, statistics
from .filtering import counted, frame
from .study import Study
from .votes import Votes, read_responses

TOKEN = "admin-token"
_STYLE = """:root{color-scheme:light dark}
body{font:16px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:60rem;padding:0 1rem}
table{border-collapse:collapse;margin:1rem 0}th,td{padding:.3rem .8rem;text-align:right;border-bottom:1px solid #8886}
th:first-child,td:first-child{text-align:left}progress{width:100%}.bad{color:#c33}"""


def admin_token(folder: Path) -> str:
    """The token of a study's pages for its owner, made when there is none.

    Raises:
        OSError: the folder cannot be written.
        ValueError: the file is empty.
    """
    file = folder / TOKEN
    if not file.exists():
        with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as opened:
            opened.write(secrets.token_urlsafe(24) + "\n")
    token = file.read_text(encoding="utf-8").strip()
    if len(token) < 8:
        raise ValueError(f"{file} has {len(token)} characters; expected 8 or more: remove it, and another is made")
    return token


def figures(folder: Path, study: Study, votes: Votes) -> dict[str, Any]:
    """Progress, agreement and raters, as JSON has them."""
    table = frame(read_responses(folder, study))
    raters = by_rater(table, study.task).reset_index()
    return {
        "questions": votes.questions(),
        "statistics": plain(statistics(counted(table, study), study.task)),
        "raters": plain(raters.to_dict("records")),
    }


def plain(value: Any) -> Any:
    """With null where there is no number: JSON knows no NaN."""
    if isinstance(value, dict):
        return {str(name): plain(part) for name, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def page(folder: Path, study: Study, votes: Votes, key: str) -> str:
    """The same, to look at."""
    found = figures(folder, study, votes)
    questions, measured = found["questions"], found["statistics"]
    lines = [
        f"<tr><td>{html.escape(row['rater'][:8])}…<td>{row['votes']:.0f}<td>{_number(row['median_ms'], 0)}"
        f"<td>{_share(row['agreement'])}"
        f"<td{_bad(row['sentinels'], study)}>{_share(row['sentinels'])}<td>{row['sentinel_failures']:.0f}"
        for row in found["raters"]
    ]
    key = html.escape(key, quote=True)
    return f"""<!doctype html><html lang="en"><meta charset="utf-8"><title>{html.escape(study.shown["title"])}</title>
<meta name="viewport" content="width=device-width"><style>{_STYLE}</style>
<h1>{html.escape(study.shown["title"])}</h1>
<progress max="{questions["all"]}" value="{questions["finished"]}"></progress>
<p>{questions["finished"]} of {questions["all"]} questions finished, {questions["open"]} being answered.
{measured["votes"]} votes of {measured["raters"]} raters count.</p>
<table><tr><th>agreement<th>estimate<th>95 % interval
<tr><td>Krippendorff's alpha{_interval(measured["alpha"])}
<tr><td>two votes on a question{_interval(measured["pairwise"])}
<tr><td>split-half reliability{_interval(measured["split_half"])}
<tr><td>unanimous<td>{_share(measured["unanimous"])}<td></table>
<table><tr><th>rater<th>votes<th>median ms<th>with the majority<th>sentinels right<th>wrong
{"".join(lines) or '<tr><td colspan="6">nobody yet'}</table>
<p><a href="/admin/votes.csv?key={key}">votes.csv</a> ·
<a href="/admin/statistics.json?key={key}">statistics.json</a></p>
"""


def _bad(share: float | None, study: Study) -> str:
    return ' class="bad"' if share is not None and share < study.min_sentinels else ""


def _interval(value: list[float | None]) -> str:
    return f"<td>{_number(value[0], 2)}<td>{_number(value[1], 2)} to {_number(value[2], 2)}"


def _number(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def _share(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.0f} %"
