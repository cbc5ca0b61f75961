"""The experiment's server: a page, the questions of each rater, their answers; and how the study goes, for its owner.

Nothing that came from a rater is believed: tokens are looked up, sizes and values are checked. Questions and pictures
have names that only this server can compute, so that they tell nothing. No address of a rater is stored or logged.
"""

import logging
import sqlite3
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any

from fastapi import FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from fastapi.staticfiles import StaticFiles
from pydantic import BaseModel, ConfigDict, Field

from data_tools.admin import make_router, read_admin_token
from data_tools.assignment import Asked
from data_tools.guard import Guard
from data_tools.names import Names
from data_tools.participants import hash_participant
from data_tools.secret import STUDY_SECRET, read_secret
from data_tools.simulation import BUILD
from data_tools.stimuli import StimulusError, find_faults, open_stimulus
from data_tools.study import Study
from data_tools.votes import BusyError, RefusedError, UnknownRaterError, Votes
from dreamsim_metric.messages import list_briefly, say_error

PAGE = Path(str(files("data_tools") / "web" / "dist"))
_KEPT = "private, max-age=86400, immutable"
_log = logging.getLogger(__name__)
_Build = Annotated[str, Field(pattern=r"^[0-9A-Za-z][0-9A-Za-z._-]{0,99}$")]  # in a spreadsheet, too, only a text


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Consent(_Strict):
    """A new rater."""

    agreed: bool
    build: _Build
    participant: str | None = Field(default=None, max_length=1000)


class Participant(_Strict):
    """Somebody whom a recruiting service sent."""

    participant: str = Field(max_length=1000)


class Answer(_Strict):
    """An answer to one question; `answer` is in the order of the table, not of the screen."""

    item: str = Field(max_length=200)
    answer: str = Field(max_length=20)
    response_ms: float = Field(ge=0, le=86_400_000, allow_inf_nan=False)


class Answers(_Strict):
    """All answers to the questions of a screen."""

    screen: int = Field(ge=0, le=1_000_000)
    answers: list[Answer] = Field(min_length=1, max_length=2)
    presented: list[Annotated[float, Field(ge=0, le=86_400_000, allow_inf_nan=False)]] = Field(max_length=32)
    showings: int = Field(default=1, ge=1, le=1_000_000)
    early: int = Field(default=0, ge=0, le=1_000_000)
    build: _Build


def create_app(folder: Path, hosts: Collection[str] = ()) -> FastAPI:
    """Build the server of a study's folder.

    Args:
        folder: folder with `study.json`; it gets `votes.sqlite`, `study-secret` and `admin-token`.
        hosts: names that the server answers to, beside `localhost` and numeric addresses.

    Raises:
        FileNotFoundError: no study there, no pictures, or the page was not built.
        ValueError, OSError: as `Study.read` and `Votes`; or what the study's table names are no pictures inside of its
            folder.
    """
    if not (PAGE / "index.html").is_file():
        raise FileNotFoundError(f"{PAGE} has no page: `make web` builds it in a clone; the wheel has it")
    study = Study.read(folder)
    votes = Votes(folder, study)
    try:
        return _build(folder, study, votes, hosts)
    except BaseException:
        votes.close()
        raise


def _build(folder: Path, study: Study, votes: Votes, hosts: Collection[str]) -> FastAPI:
    names, root = Names(read_secret(folder / STUDY_SECRET)), Path(study.pictures)
    pictures = {
        names.picture(item.id, place): path for item in votes.items.values() for place, path in enumerate(item.pictures)
    }
    missing, faults = find_faults(root, iter(sorted(set(pictures.values()))))
    if faults:
        raise ValueError(f"the study's table names what it must not: {list_briefly(faults, between='; ')}")
    if missing:
        raise FileNotFoundError(f"{len(missing)} pictures of the study are missing: {list_briefly(missing)}")

    @asynccontextmanager
    async def closing(app: FastAPI) -> AsyncIterator[None]:
        yield
        votes.close()

    app = FastAPI(title="dreamsim_metric study", docs_url=None, redoc_url=None, openapi_url=None, lifespan=closing)
    app.add_middleware(Guard, hosts=hosts)
    app.state.votes = votes

    _say_errors(app)
    _begin(app, folder, study, votes, names)
    _take_part(app, votes, names)
    _show_pictures(app, root, pictures)
    app.include_router(make_router(folder, study, votes))
    app.mount("/", StaticFiles(directory=PAGE, html=True))
    return app


def _say_errors(app: FastAPI) -> None:
    """Answer each kind of error with its status and one line."""

    @app.exception_handler(UnknownRaterError)
    def unknown(request: Request, error: UnknownRaterError) -> Response:
        return JSONResponse({"detail": str(error)}, 404)

    @app.exception_handler(BusyError)
    def busy(request: Request, error: BusyError) -> Response:
        return JSONResponse({"detail": str(error)}, 429, {"Retry-After": "10"})

    @app.exception_handler(sqlite3.OperationalError)
    @app.exception_handler(OSError)
    def full(request: Request, error: Exception) -> Response:
        return JSONResponse({"detail": f"the votes cannot be written ({error}): send it again"}, 507)

    @app.exception_handler(RefusedError)
    def refused(request: Request, error: RefusedError) -> Response:
        return JSONResponse({"detail": str(error)}, 422)

    @app.exception_handler(RequestValidationError)
    def malformed(request: Request, error: RequestValidationError) -> Response:
        said = [f"{'.'.join(map(str, one['loc'][1:]))}: {one['msg']}" for one in error.errors()]
        return JSONResponse({"detail": list_briefly(said, between="; ")}, 422)


def _begin(app: FastAPI, folder: Path, study: Study, votes: Votes, names: Names) -> None:
    """Say what the study is, and let raters begin."""

    @app.get("/api/study")
    def about() -> dict[str, Any]:
        return {
            "id": study.id,
            "task": study.task,
            "texts": study.shown,
            "participant": [*study.participant, "invitation"],
        }

    def find_invitation(participant: str | None) -> bool:
        try:
            return bool(participant) and names.is_invitation(str(participant))
        except ValueError as error:
            raise HTTPException(403, str(error)) from error

    def hash_known(participant: str) -> str:
        try:
            return hash_participant(folder, participant)
        except ValueError as error:
            raise RefusedError(str(error)) from error

    @app.post("/api/participants")
    def find(sent: Participant) -> dict[str, str | None]:
        found = votes.find(hash_known(sent.participant))
        return {"rater": found and names.token(found)}

    @app.post("/api/raters", status_code=201)
    def register(consent: Consent, request: Request) -> dict[str, str]:
        _check_build(consent.build, request, names)
        if not consent.agreed:
            raise RefusedError("nobody takes part who does not agree")
        invited, given = find_invitation(consent.participant), consent.participant
        if consent.build != BUILD and not {"nothing": True, "id": bool(given), "invitation": invited}[study.require]:
            needed = {"id": "to be opened by the link of the service that sent you", "invitation": "an invitation"}
            raise HTTPException(403, f"this study needs {needed[study.require]}")
        participant = hash_known(given) if given else None
        most = None if invited or consent.build == BUILD else study.new_raters
        return {"rater": names.token(votes.register(consent.build, participant, most))}


def _take_part(app: FastAPI, votes: Votes, names: Names) -> None:
    """Ask raters who have begun, and take their answers."""
    items = {names.item(item): item for item in votes.items}

    def known(token: str) -> str:
        if rater := names.rater(token):
            return rater
        raise UnknownRaterError("no such rater")

    @app.get("/api/raters/{rater}")
    def screens(rater: str) -> dict[str, Any]:
        return _collect_screens(votes, known(rater), names)

    @app.post("/api/raters/{rater}/answers")
    def answer(rater: str, sent: Answers, request: Request) -> dict[str, Any]:
        _check_build(sent.build, request, names)
        # What is no question stays none: ids of the table are not taken here, and are not in what an error says.
        given = {items.get(one.item, ""): (one.answer, one.response_ms) for one in sent.answers}
        if len(given) < len(sent.answers):
            raise RefusedError("got two answers to one question")
        times = {"showings": sent.showings, "early": sent.early}
        rater = known(rater)
        right = votes.answer(rater, sent.screen, given, sent.presented, sent.build, **times)
        told = {names.item(item): value for item, value in right.items()}
        return {"right": told, **_collect_screens(votes, rater, names)}

    @app.post("/api/raters/{rater}/leave", status_code=204)
    def leave(rater: str) -> None:
        votes.leave(known(rater))


def _check_build(build: str, request: Request, names: Names) -> None:
    """Refuse a rater who says to be simulated, and cannot prove it."""
    if build == BUILD and request.headers.get("Authorization") != f"Bearer {names.simulation}":
        raise HTTPException(403, f"the build {BUILD!r} is for `dreamsim-data simulate` in the study's own folder")


def _show_pictures(app: FastAPI, root: Path, pictures: Mapping[str, str]) -> None:
    """Hand out pictures by the names that raters have for them."""

    @app.get("/pictures/{name}")
    def picture(name: str) -> Response:
        if name not in pictures:
            raise HTTPException(404, "no such picture")
        try:
            with open_stimulus(root, pictures[name]) as (file, kind):
                # Nothing of the file but what is in it: its time would tell when it was made, and so what it is.
                return Response(file.read(), media_type=kind, headers={"Cache-Control": _KEPT})
        except (StimulusError, OSError) as error:
            _log.warning("a picture of the study cannot be shown: %s", say_error(error))
            raise HTTPException(410, "this picture of the study is missing") from error


def make_link(folder: Path) -> str:
    """Return the address of the owner's page, token included."""
    return f"/admin?key={read_admin_token(folder)}"


def _collect_screens(votes: Votes, rater: str, names: Names) -> dict[str, Any]:
    """Collect what a rater is to do next: sides already exchanged, and what each means in the table's order."""
    asked = votes.ask(rater)
    done, total = votes.progress(rater)
    screens: dict[int, dict[str, Any]] = {}
    for one in asked:
        screen = screens.setdefault(one.screen, {"screen": one.screen, "practice": False, "items": []})
        screen["practice"] = one.item.kind == "practice"
        screen["items"].append(_describe_item(names, one))
    return {
        "screens": list(screens.values()),
        "done": done,
        "total": total,
        "code": None if asked else votes.finish(rater),
    }


def _describe_item(names: Names, asked: Asked) -> dict[str, Any]:
    item = asked.item
    # Relative: the page may be anywhere below the address of a web server in front.
    *reference, first, second = (f"pictures/{names.picture(item.id, place)}" for place in range(len(item.pictures)))
    sides = (second, first) if asked.swapped else (first, second)
    return {"item": names.item(item.id), "pictures": [*reference, *sides], "swapped": asked.swapped}
