"""A server at an address: bound before it is said, open to many connections that do nothing, ended at once."""

import asyncio
import errno
import logging
import resource
import signal
import socket
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

MOST = 1000  # connections at once, or half of the files that the system lets a process open
IDLE_SECONDS = 15  # for the whole head of a request, and between two requests
REQUEST_SECONDS = 120  # for a request and its response
LINES = 20  # of the log a minute
_LOOK_SECONDS = 5


def bind(host: str, port: int) -> socket.socket:
    """Open a socket that listens at an address.

    Args:
        host: name or number of the address, IPv4 or IPv6.
        port: number of the port; 0 for any that is free.

    Raises:
        ValueError: no such port.
        OSError: it is in use, or no address of this machine.
    """
    if not 0 <= port <= 65535:
        raise ValueError(f"got --port {port}; expected 0 to 65535")
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        return socket.create_server(address[:2], family=family, backlog=128)
    except OSError as error:
        hint = "choose another --port" if error.errno in (errno.EADDRINUSE, errno.EACCES) else "choose another --host"
        raise OSError(error.errno, f"cannot listen at {host}, port {port} ({error.strerror}); {hint}") from error


def write_address(bound: socket.socket) -> str:
    """Write the address of a socket as a browser takes it.

    Example:
        >>> with bind("127.0.0.1", 0) as bound:
        ...     write_address(bound).rpartition(":")[0]
        'http://127.0.0.1'
    """
    host, port = bound.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


class Connection(H11Protocol):
    """A connection that ends when it waits too long; when there are too many, those that wait the longest go first."""

    _since: float
    _seen: tuple[Any, bool]

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take one more connection, and end another where there are too many."""
        super().connection_made(transport)
        self._since, self._seen = self.loop.time(), (None, True)
        others = [one for one in self.connections if isinstance(one, Connection) and not one.transport.is_closing()]
        if len(others) > count_most_connections():
            waiting = [one for one in others if not one._is_answering()] or [self]
            min(waiting, key=lambda one: one._since).transport.abort()
        self.loop.call_later(_LOOK_SECONDS, self._look)

    def _is_answering(self) -> bool:
        """Whether a whole request is there, and its response is not out."""
        return self.cycle is not None and not self.cycle.response_complete and not self.cycle.more_body

    def _look(self) -> None:
        if self.transport.is_closing():
            return
        seen = (self.cycle, self.cycle is None or self.cycle.response_complete)
        if seen != self._seen:
            self._seen, self._since = seen, self.loop.time()
        elif self.loop.time() - self._since > (IDLE_SECONDS if seen[1] else REQUEST_SECONDS):
            self.transport.abort()
            return
        self.loop.call_later(_LOOK_SECONDS, self._look)


def count_most_connections() -> int:
    """Return how many connections may be open at once."""
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return MOST if files == resource.RLIM_INFINITY else max(8, min(MOST, files // 2))


class Bounded(logging.Filter):
    """A log of so many lines a minute, without tracebacks of requests that the end of the server ends."""

    def __init__(self, clock: Callable[[], float]) -> None:
        super().__init__()
        self._clock, self._minute, self._lines = clock, -1, 0

    def filter(self, record: logging.LogRecord) -> bool:
        """Tell whether a line is written."""
        if record.exc_info and isinstance(record.exc_info[1], asyncio.CancelledError):
            return False
        minute = int(self._clock() // 60)
        if minute != self._minute:
            self._minute, self._lines = minute, 0
        self._lines += 1
        if self._lines == LINES:
            record.msg, record.args, record.exc_info = f"{record.getMessage()} (more this minute is not said)", (), None
        return self._lines <= LINES


def run(app: Any, bound: socket.socket) -> None:
    """Serve until interrupted, by Ctrl-C or SIGTERM; either returns to the caller as an exception.

    Args:
        app: what answers, an ASGI application.
        bound: socket to listen at.
    """

    def end(number: int, frame: FrameType | None) -> None:
        sys.exit(128 + number)

    before = signal.signal(signal.SIGTERM, end)
    handler = logging.StreamHandler()
    handler.addFilter(Bounded(time.monotonic))
    try:
        # No access log: it would hold raters' addresses.
        config = uvicorn.Config(
            app,
            http=Connection,
            ws="none",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_keep_alive=IDLE_SECONDS,
            timeout_graceful_shutdown=1,
            backlog=max(1, count_most_connections() // 6),  # so many more may be accepted before any is counted
        )
        for name in ("uvicorn.error", "asyncio", "data_tools"):
            logger = logging.getLogger(name)
            logger.handlers, logger.propagate = [handler], False
            logger.setLevel(logging.WARNING)
        with suppress(asyncio.CancelledError):
            uvicorn.Server(config).run(sockets=[bound])
    finally:
        signal.signal(signal.SIGTERM, before)
