"""What stands before the experiment's server: requests of other hosts, too large, too slow or malformed end here."""

import asyncio
import ipaddress
import json
from collections.abc import Collection
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LARGEST = 64 * 1024  # bytes of a request
BODY_SECONDS = 20
LOCAL = ("localhost",)
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' blob: data:; object-src 'none'; "
        "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


class _RefusedError(Exception):
    """An error: a request is not passed on."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status


class Guard:
    """A guard before an ASGI application."""

    def __init__(self, app: ASGIApp, hosts: Collection[str] = ()) -> None:
        """Stand before an application.

        Args:
            app: the application.
            hosts: names that the server answers to, beside `localhost` and all numeric addresses.
        """
        self.app, self._hosts = app, {host.lower() for host in (*hosts, *LOCAL)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, as ASGI has it, or refuse it; what is answered gets the headers of all answers."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def headed(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(HEADERS)
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        try:
            self._check_hosts(Headers(scope=scope))
            body = await _read(receive)
        except _RefusedError as error:
            await JSONResponse({"detail": str(error)}, error.status, {"Connection": "close"})(scope, receive, headed)
            return
        whole: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

        async def again() -> Message:
            return whole.pop() if whole else await receive()

        await self.app(scope, again, headed)

    def _check_hosts(self, headers: Headers) -> None:
        """Refuse names that others point at this machine, and pages of others that send here."""
        for name in ("host", "origin"):
            given = headers.get(name)
            if given is None and name == "origin":
                continue
            host = _find_host(given or "", name)
            if host not in self._hosts and not _is_number(host):
                raise _RefusedError(
                    403, f"this server does not answer to the {name} {host[:100]!r}: serve with --allow-host"
                )


def _find_host(given: str, name: str) -> str:
    """The host of a header, without port and brackets; nothing where there is none."""
    try:
        return urlsplit(given if name == "origin" else f"//{given}").hostname or ""
    except ValueError:
        return ""


def _is_number(host: str) -> bool:
    """Whether it is an address itself, which nobody else's name server can point elsewhere."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


async def _read(receive: Receive) -> bytes:
    body, more = b"", True
    try:
        async with asyncio.timeout(BODY_SECONDS):
            while more:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise _RefusedError(400, "the request ended in its middle")
                body, more = body + message.get("body", b""), message.get("more_body", False)
                if len(body) > LARGEST:
                    raise _RefusedError(413, f"the request is larger than {LARGEST} bytes")
    except TimeoutError as error:
        raise _RefusedError(408, f"the request took longer than {BODY_SECONDS} seconds") from error
    if body:
        _check_json(body)
    return body


def _check_json(body: bytes) -> None:
    """Refuse what JSON does not know, or no database: NaN, infinite numbers, halves of letters."""
    try:
        json.dumps(json.loads(body), allow_nan=False, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise _RefusedError(
            400, "the request is no JSON; expected finite numbers and whole letters in UTF-8"
        ) from error
