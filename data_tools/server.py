"""The experiment's server: a page, the questions of each rater, their answers; and how the study goes, for its owner.

Nothing that came from a rater is believed: tokens are looked up, sizes and values are checked, pictures are named by
digests of their paths, so that no address can leave the study. No address of a rater is stored or logged.
"""

import hashlib
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any

from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import FileResponse, JSONResponse, Response
from fastapi.staticfiles import StaticFiles
from pydantic import BaseModel, ConfigDict, Field
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from data_tools.admin import admin_token, make_router
from data_tools.assignment import Asked
from data_tools.participants import hash_participant
from data_tools.study import Study
from data_tools.votes import RefusedError, UnknownRaterError, Votes
from dreamsim_metric.messages import list_briefly

LARGEST = 64 * 1024  # bytes of a request
PAGE = Path(str(files("data_tools") / "web" / "dist"))
_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' blob: data:",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Consent(_Strict):
    """A new rater."""

    agreed: bool
    build: str = Field(max_length=100)
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
    build: str = Field(max_length=100)


class Limit:
    """A guard that refuses requests that are too large, whatever length they claim."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, as ASGI has it, or refuse it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
            if len(body) > LARGEST:
                text = {"detail": f"the request is larger than {LARGEST} bytes"}
                await JSONResponse(text, 413)(scope, receive, send)
                return
        whole: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

        async def again() -> Message:
            return whole.pop() if whole else await receive()

        await self.app(scope, again, send)


def create_app(folder: Path) -> FastAPI:
    """Build the server of a study's folder.

    Args:
        folder: folder with `study.json`; it gets `votes.sqlite` and `admin-token`.

    Raises:
        FileNotFoundError: no study there, no pictures, or the page was not built.
        ValueError, OSError: as `Study.read` and `Votes`.
    """
    if not (PAGE / "index.html").is_file():
        raise FileNotFoundError(f"{PAGE} has no page: `make web` builds it in a clone; the wheel has it")
    study = Study.read(folder)
    votes = Votes(folder, study)
    try:
        return _build(folder, study, votes)
    except BaseException:
        votes.close()
        raise


def _build(folder: Path, study: Study, votes: Votes) -> FastAPI:
    items = {study.key(item): item for item in votes.items}
    names = {_name(path): Path(study.pictures) / path for item in votes.items.values() for path in item.pictures}
    missing = [str(path) for path in names.values() if not path.is_file()]
    if missing:
        raise FileNotFoundError(f"{len(missing)} pictures of the study are missing: {list_briefly(missing)}")

    @asynccontextmanager
    async def closing(app: FastAPI) -> AsyncIterator[None]:
        yield
        votes.close()

    app = FastAPI(title="dreamsim_metric study", docs_url=None, redoc_url=None, openapi_url=None, lifespan=closing)
    app.add_middleware(Limit)
    app.state.votes = votes

    @app.middleware("http")
    async def headers(request: Request, call: Any) -> Response:
        response: Response = await call(request)
        response.headers.update(_HEADERS)
        response.headers.setdefault("Cache-Control", "no-store")
        return response

    @app.exception_handler(UnknownRaterError)
    def unknown(request: Request, error: UnknownRaterError) -> Response:
        return JSONResponse({"detail": str(error)}, 404)

    @app.exception_handler(sqlite3.OperationalError)
    @app.exception_handler(OSError)
    def full(request: Request, error: Exception) -> Response:
        return JSONResponse({"detail": f"the votes cannot be written ({error}): send it again"}, 507)

    @app.exception_handler(RefusedError)
    def refused(request: Request, error: RefusedError) -> Response:
        return JSONResponse({"detail": str(error)}, 422)

    @app.get("/api/study")
    def about() -> dict[str, Any]:
        return {"id": study.id, "task": study.task, "texts": study.shown, "participant": study.participant}

    def token(participant: str) -> str:
        try:
            return hash_participant(folder, participant)
        except ValueError as error:
            raise RefusedError(str(error)) from error

    @app.post("/api/participants")
    def find(sent: Participant) -> dict[str, str | None]:
        return {"rater": votes.find(token(sent.participant))}

    @app.post("/api/raters", status_code=201)
    def register(consent: Consent) -> dict[str, str]:
        if not consent.agreed:
            raise RefusedError("nobody takes part who does not agree")
        return {"rater": votes.register(consent.build, token(consent.participant) if consent.participant else None)}

    @app.get("/api/raters/{rater}")
    def screens(rater: str) -> dict[str, Any]:
        return _screens(votes, rater)

    @app.post("/api/raters/{rater}/answers")
    def answer(rater: str, sent: Answers) -> dict[str, Any]:
        given = {items.get(one.item, one.item): (one.answer, one.response_ms) for one in sent.answers}
        if len(given) < len(sent.answers):
            raise RefusedError("got two answers to one question")
        times = {"showings": sent.showings, "early": sent.early}
        right = votes.answer(rater, sent.screen, given, sent.presented, sent.build, **times)
        return {"right": right, **_screens(votes, rater)}

    @app.post("/api/raters/{rater}/leave", status_code=204)
    def leave(rater: str) -> None:
        votes.leave(rater)

    @app.get("/pictures/{name}")
    def picture(name: str) -> Response:
        if name not in names:
            raise HTTPException(404, "no such picture")
        return FileResponse(names[name], headers={"Cache-Control": "private, max-age=86400, immutable"})

    app.include_router(make_router(folder, study, votes))
    app.mount("/", StaticFiles(directory=PAGE, html=True))
    return app


def link(folder: Path) -> str:
    """Return the address of the owner's page, token included."""
    return f"/admin?key={admin_token(folder)}"


def _screens(votes: Votes, rater: str) -> dict[str, Any]:
    """Collect what a rater is to do next: sides already exchanged, and what each means in the table's order."""
    asked = votes.ask(rater)
    done, total = votes.progress(rater)
    screens: dict[int, dict[str, Any]] = {}
    for one in asked:
        screen = screens.setdefault(one.screen, {"screen": one.screen, "practice": False, "items": []})
        screen["practice"] = one.item.kind == "practice"
        screen["items"].append(_item(votes.study, one))
    return {
        "screens": list(screens.values()),
        "done": done,
        "total": total,
        "code": None if asked else votes.code(rater),
    }


def _item(study: Study, asked: Asked) -> dict[str, Any]:
    *reference, first, second = (f"/pictures/{_name(path)}" for path in asked.item.pictures)
    sides = (second, first) if asked.swapped else (first, second)
    return {"item": study.key(asked.item.id), "pictures": [*reference, *sides], "swapped": asked.swapped}


def _name(path: str) -> str:
    return hashlib.sha256(path.encode()).hexdigest()[:24]
