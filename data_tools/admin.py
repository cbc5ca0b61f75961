"""What a study's owner sees of it."""

import html
import secrets
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Depends, HTTPException, Request
from fastapi.responses import HTMLResponse, Response

from data_tools.filtering import to_frame
from data_tools.secret import ADMIN_TOKEN, read_secret
from data_tools.spreadsheet import escape_formula
from data_tools.stats import measure, say_left_out
from data_tools.study import Study
from data_tools.votes import Votes, read_responses

RESAMPLES = 100  # of the bootstraps: the page is looked at while raters answer
_STYLE = """:root{color-scheme:light dark}
body{font:16px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:60rem;padding:0 1rem}
table{border-collapse:collapse;margin:1rem 0}th,td{padding:.3rem .8rem;text-align:right;border-bottom:1px solid #8886}
th:first-child,td:first-child{text-align:left}progress{width:100%}.bad{color:#c33}"""


def read_admin_token(folder: Path) -> str:
    """Return the token of a study's pages for its owner; make it when there is none.

    Raises:
        OSError: the folder cannot be written.
        ValueError: the file is empty.
    """
    return read_secret(folder / ADMIN_TOKEN)


def make_router(folder: Path, study: Study, votes: Votes) -> APIRouter:
    """Build the owner's pages; each needs the token, as `?key=…` or as a bearer token."""
    token = read_admin_token(folder)

    def owner(request: Request, key: str = "") -> None:
        given = key or request.headers.get("Authorization", "").removeprefix("Bearer ")
        if not secrets.compare_digest(given.encode(), token.encode()):
            raise HTTPException(401, f"add ?key=… with the token in {ADMIN_TOKEN}, or send it as a bearer token")

    found = APIRouter(prefix="/admin", dependencies=[Depends(owner)])

    @found.get("")
    def look(key: str = "") -> Response:
        return HTMLResponse(build_page(study, votes.questions(), measure(folder, resamples=RESAMPLES), key))

    @found.get("/votes.csv")
    def download() -> Response:
        text = to_frame(read_responses(folder, study)).map(escape_formula).to_csv(index=False)
        return Response(text, media_type="text/csv")

    @found.get("/statistics.json")
    def figures() -> dict[str, Any]:
        return {"progress": votes.questions(), **measure(folder, resamples=RESAMPLES)}

    return found


def build_page(study: Study, questions: dict[str, int], measured: dict[str, Any], key: str) -> str:
    """Write the page that shows progress, agreement and raters.

    Args:
        study: the study that is shown.
        questions: counts of questions, by `Votes.questions`.
        measured: agreement and raters, by `stats.measure`.
        key: token of the owner, for the links.
    """
    lines = [
        f"<tr><td>{html.escape(row['rater'][:8])}…<td>{html.escape(row['code'])}<td>{html.escape(row['participant'])}"
        f"<td>{row['votes']:.0f}<td>{row['off_time']:.0f}<td>{_format_number(row['median_ms'], 0)}"
        f"<td>{_share(row['agreement'])}"
        f"<td{_list_bad(row['sentinels'], study)}>{_share(row['sentinels'])}<td>{row['sentinel_failures']:.0f}"
        for row in measured["by_rater"]
    ]
    left_out = "".join(f"<p>{html.escape(line)}</p>" for line in say_left_out(measured))
    key = html.escape(key, quote=True)
    return f"""<!doctype html><html lang="en"><meta charset="utf-8"><title>{html.escape(study.shown["title"])}</title>
<meta name="viewport" content="width=device-width"><style>{_STYLE}</style>
<h1>{html.escape(study.shown["title"])}</h1>
<progress max="{questions["all"]}" value="{questions["finished"]}"></progress>
<p>{questions["finished"]} of {questions["all"]} questions finished, {questions["open"]} being answered.
{measured["votes"]} votes of {measured["raters"]} raters count.</p>
{left_out}
<table><tr><th>agreement<th>estimate<th>95 % interval ({RESAMPLES} resamples)
<tr><td>Krippendorff's alpha{_format_interval(measured["alpha"])}
<tr><td>two votes on a question{_format_interval(measured["pairwise"])}
<tr><td>split-half reliability{_format_interval(measured["split_half"])}
<tr><td>unanimous<td>{_share(measured["unanimous"])}<td></table>
<table><tr><th>rater<th>code<th>participant<th>votes<th>off time<th>median ms<th>with the majority
<th>sentinels right<th>wrong
{"".join(lines) or '<tr><td colspan="9">nobody yet'}</table>
<p><a href="admin/votes.csv?key={key}">votes.csv</a> ·
<a href="admin/statistics.json?key={key}">statistics.json</a></p>
"""


def _list_bad(share: float | None, study: Study) -> str:
    return ' class="bad"' if share is not None and share < study.min_sentinels else ""


def _format_interval(value: list[float | None]) -> str:
    return f"<td>{_format_number(value[0], 2)}<td>{_format_number(value[1], 2)} to {_format_number(value[2], 2)}"


def _format_number(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def _share(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.0f} %"
