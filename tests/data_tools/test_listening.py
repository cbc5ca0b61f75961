"""The server at its address: said once it is bound, open whatever connections do, ended at once."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager

import httpx2
import pytest

from data_tools.cli import main
from data_tools.listening import LINES, Bounded, bind, count_most_connections, write_address
from tests.studies import study, triplets

FILES = 120  # that the server may open: 60 connections


@pytest.fixture
def folder(tmp_path):
    study(tmp_path / "study", triplets(tmp_path / "pictures"), practice=0, sentinel_every=0)
    return tmp_path / "study"


@contextmanager
def served(folder, log, *options):
    """A server that may open few files; its process and address."""
    command = f"ulimit -n {FILES}; exec {sys.executable} -m data_tools.cli serve {folder} --port 0 {' '.join(options)}"
    with open(log, "wb") as errors:
        process = subprocess.Popen(["bash", "-c", command], stdout=subprocess.PIPE, stderr=errors, text=True)
    try:
        said = process.stdout.readline()
        assert process.stdout.readline().startswith("for you: http://")
        yield process, re.search(r"http://\S+:\d+", said)[0]
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def connect(url):
    host, _, port = url.removeprefix("http://").rpartition(":")
    return socket.create_connection((host.strip("[]"), int(port)))


HALF = b"POST /api/raters HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{"


def test_idle_and_half_sent_connections_keep_nobody_out_and_do_not_delay_the_end(folder, tmp_path):
    with served(folder, tmp_path / "log") as (process, url), ExitStack() as open_ones:
        for number in range(3 * FILES):
            one = open_ones.enter_context(connect(url))
            if number % 2:
                one.sendall(HALF[: number % len(HALF) + 1] if number % 4 == 1 else HALF)
            if number % 20 == 0:
                assert httpx2.get(f"{url}/api/study", timeout=10).status_code == 200
        assert httpx2.post(f"{url}/api/raters", json={"agreed": True, "build": "test"}, timeout=10).status_code == 201
        begun = time.monotonic()
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=20) == 130
        assert time.monotonic() - begun < 4  # two seconds, and a busy machine
    assert (tmp_path / "log").stat().st_size < 10_000
    assert b"Traceback" not in (tmp_path / "log").read_bytes()


def test_what_waits_too_long_is_closed(folder, tmp_path, monkeypatch):
    (tmp_path / "sitecustomize.py").write_text(
        "from data_tools import guard, listening\n"
        "listening._LOOK_SECONDS, listening.IDLE_SECONDS, guard.BODY_SECONDS = 0.2, 0.5, 0.5\n"
    )
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    with served(folder, tmp_path / "log") as (_, url):
        for sent, answer in ((b"", b""), (HALF[:30], b""), (HALF, b"408")):
            with connect(url) as one:
                one.settimeout(20)
                one.sendall(sent)
                found = b""
                try:
                    while part := one.recv(4096):
                        found += part
                except ConnectionResetError:
                    pass
                assert answer in found[:15]


def test_the_address_is_said_after_it_is_bound_and_never_where_it_is_not(folder, capsys):
    with bind("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        assert main(["serve", str(folder), "--port", str(port)]) == 1
        said = capsys.readouterr()
        assert (said.out, said.err.count("\n")) == ("", 1)
        assert "choose another --port" in said.err
    for options in (["--host", "no.such.host.invalid"], ["--host", "192.0.2.1"]):
        assert main(["serve", str(folder), *options]) == 1
        said = capsys.readouterr()
        assert (said.out, said.err.count("\n")) == ("", 1)
        assert "choose another --host" in said.err
    assert main(["serve", str(folder), "--port", "70000"]) != 0
    assert "got --port 70000; expected 0 to 65535" in capsys.readouterr().err


@pytest.mark.skipif(not socket.has_ipv6, reason="no IPv6 here")
def test_an_ipv6_address_is_written_as_browsers_take_it(folder, tmp_path):
    try:
        with bind("::1", 0) as bound:
            assert re.fullmatch(r"http://\[::1\]:\d+", write_address(bound))
    except OSError:
        pytest.skip("no IPv6 here")
    with served(folder, tmp_path / "log", "--host", "::1") as (_, url):
        assert httpx2.get(f"{url}/api/study").status_code == 200


def test_a_log_has_so_many_lines_a_minute():
    import logging

    now = [0.0]
    bounded = Bounded(lambda: now[0])

    def said(minute):
        now[0] = 60.0 * minute
        records = [logging.LogRecord("x", logging.ERROR, "", 0, "line %d", (i,), None) for i in range(1000)]
        return [one.getMessage() for one in records if bounded.filter(one)]

    for minute in (0, 1):
        lines = said(minute)
        assert len(lines) == LINES
        assert lines[-1] == f"line {LINES - 1} (more this minute is not said)"


def test_half_of_the_files_are_for_connections(monkeypatch):
    monkeypatch.setattr("resource.getrlimit", lambda kind: (256, 256))
    assert count_most_connections() == 128
