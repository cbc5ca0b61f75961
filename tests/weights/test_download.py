"""Files of weights: fetched whole or not at all, whatever the network, the disk and other processes do."""

import errno
import hashlib
import http.server
import io
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from dataclasses import replace

import pytest
import torch

from dreamsim_metric import cli
from dreamsim_metric.card import Download
from dreamsim_metric.models import MODELS
from dreamsim_metric.weights import download as weights
from dreamsim_metric.weights.download import fetch, find_cache_dir, find_model_dir, lock
from dreamsim_metric.weights.folder import write_folder

CONTENT = bytes(range(256)) * 12_000  # 3 MB: several chunks
DIGEST = hashlib.sha256(CONTENT).hexdigest()
CUT = 2_000_000


class Server(http.server.ThreadingHTTPServer):
    """Serves CONTENT; `requests` are the Range headers seen, `sent` the bytes that went out."""

    content, ranges, status, wait, length, cut = CONTENT, True, None, 0.0, True, ()

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.requests, self.sent = [], 0

    def handle_error(self, request, client_address):
        pass  # clients that hang up are what is tested

    @property
    def download(self):
        return Download(f"http://127.0.0.1:{self.server_port}/files/model.bin", "checkpoints/model.bin")


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        server = self.server
        wanted = self.headers.get("Range")
        server.requests.append(wanted)
        time.sleep(server.wait)
        start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted and server.ranges else 0
        if server.status or start >= len(server.content):
            self.send_response(server.status or 416)
            self.send_header("Content-Range", f"bytes */{len(server.content)}")
            return self.end_headers()
        body = server.content[start:]
        self.send_response(206 if start else 200)
        if server.length:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if len(server.requests) - 1 < len(server.cut):  # breaks off at these places, one a request
            body = body[: server.cut[len(server.requests) - 1] - start]
        server.sent += len(body)  # before the client has it all and looks
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass


@pytest.fixture
def server():
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("DREAMSIM_METRIC_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    return tmp_path / "cache"


def names(folder):
    return sorted(file.name for file in folder.iterdir() if file.suffix != ".lock")


@pytest.mark.parametrize("sha256", [None, DIGEST, DIGEST[:8]])
def test_fetch_gives_the_file_under_its_base_name_and_only_once(server, tmp_path, sha256):
    download = replace(server.download, size=len(CONTENT), sha256=sha256)
    assert fetch(download, tmp_path / "new" / "folder").read_bytes() == CONTENT
    assert fetch(download, tmp_path / "new" / "folder") == tmp_path / "new" / "folder" / "model.bin"
    assert names(tmp_path / "new" / "folder") == ["model.bin"]
    assert server.requests == [None]


def test_a_broken_transfer_is_kept_and_resumed(server, tmp_path):
    server.cut = (CUT, CUT + 500_000)
    for size in server.cut:
        with pytest.raises(ConnectionError, match=rf"broke off at {size:,} of 3,072,000.*goes on where it stopped"):
            fetch(server.download, tmp_path)
        assert names(tmp_path) == ["model.bin.part"]
    assert fetch(replace(server.download, sha256=DIGEST), tmp_path).read_bytes() == CONTENT
    assert server.requests == [None, f"bytes={CUT}-", f"bytes={CUT + 500_000}-"]
    assert server.sent == len(CONTENT)


def test_a_server_that_does_not_resume_sends_all_again(server, tmp_path):
    server.cut, server.ranges = (CUT,), False
    with pytest.raises(ConnectionError):
        fetch(server.download, tmp_path)
    assert fetch(server.download, tmp_path).read_bytes() == CONTENT
    assert server.sent == CUT + len(CONTENT)


def test_a_partial_file_longer_than_the_file_is_thrown_away(server, tmp_path):
    (tmp_path / "model.bin.part").write_bytes(CONTENT + b"more")
    assert fetch(server.download, tmp_path).read_bytes() == CONTENT
    assert server.requests == ["bytes=3072004-", None]


@pytest.mark.parametrize(("size", "requests"), [(len(CONTENT), []), (None, ["bytes=3072000-"])])
def test_a_whole_partial_file_is_verified_and_not_sent_again(server, tmp_path, size, requests):
    (tmp_path / "model.bin.part").write_bytes(CONTENT)
    fetch(replace(server.download, size=size, sha256=DIGEST), tmp_path)
    assert (server.requests, server.sent) == (requests, 0)


@pytest.mark.parametrize(
    ("known", "length", "message"),
    [
        ({"sha256": "0" * 64}, True, f"sha256 {DIGEST}, not 000"),
        ({"sha256": "0" * 8, "size": len(CONTENT)}, True, f"sha256 {DIGEST}, not 000"),
        ({"size": 7}, False, "3,072,000 bytes, not 7"),
    ],
)
def test_a_file_other_than_the_known_one_is_removed(server, tmp_path, known, length, message):
    server.length = length
    with pytest.raises(ValueError, match=message):
        fetch(replace(server.download, **known), tmp_path)
    assert names(tmp_path) == []


def test_a_length_other_than_the_known_one_is_refused_before_the_transfer(server, tmp_path):
    with pytest.raises(ValueError, match="has 3,072,000 bytes; expected 3,072,001"):
        fetch(replace(server.download, size=3_072_001), tmp_path)
    assert names(tmp_path) == []


@pytest.mark.parametrize("status", [404, 403, 503])
def test_another_answer_than_the_file_is_said(server, tmp_path, status):
    server.status = status
    with pytest.raises(ConnectionError, match=rf"model\.bin \(the server answered {status} .*put the file at .*model"):
        fetch(server.download, tmp_path)
    assert names(tmp_path) == []


def test_an_answer_that_is_not_http_is_a_connection_error(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer():
            with listener.accept()[0] as connection:
                connection.recv(1000)
                connection.sendall(b"garbage\r\n\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(ConnectionError, match="garbage"):
            fetch(Download(f"http://127.0.0.1:{listener.getsockname()[1]}/x", "x"), tmp_path)
        thread.join()


def test_without_network_the_error_says_which_file_goes_where(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    url = f"http://127.0.0.1:{port}/dino.pth"
    with pytest.raises(ConnectionError) as caught:
        fetch(Download(url, "checkpoints/dino.pth"), tmp_path)
    for said in (url, "refused", f"put the file at {tmp_path / 'dino.pth'}", "--weights"):
        assert said in str(caught.value)


def test_offline_means_that_no_connection_is_tried(server, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(ConnectionError, match=r"HF_HUB_OFFLINE is set.*put the file at"):
        fetch(server.download, tmp_path)
    assert server.requests == []
    (tmp_path / "model.bin").write_bytes(b"put there by hand")
    assert fetch(server.download, tmp_path).read_bytes() == b"put there by hand"


def test_a_disk_without_room_is_found_before_the_transfer(server, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10, 10, 2_000_000))
    with pytest.raises(OSError, match=r"0\.00 GB free.*DREAMSIM_METRIC_CACHE") as caught:
        fetch(server.download, tmp_path)
    assert caught.value.errno == errno.ENOSPC
    assert names(tmp_path) == []
    with pytest.raises(OSError, match="GB are needed"):
        write_folder(tmp_path / "model", MODELS["ensemble"], {"a": torch.zeros(600_000)})
    assert names(tmp_path) == []


def test_a_disk_that_fills_up_during_the_transfer(server, tmp_path, monkeypatch):
    class Full(io.FileIO):
        """A file of which one chunk fits on the disk."""

        def write(self, chunk):
            if self.tell():
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return super().write(chunk)

    full = pytest.raises(OSError, match=r"cannot write in .* \(No space left on device\).*DREAMSIM_METRIC_CACHE")
    with monkeypatch.context() as patch, full as caught:
        patch.setattr(weights, "open", Full, raising=False)
        fetch(server.download, tmp_path)
    assert caught.value.errno == errno.ENOSPC
    assert names(tmp_path) == ["model.bin.part"]
    assert fetch(server.download, tmp_path).read_bytes() == CONTENT
    assert server.requests[1:] == [f"bytes={1 << 20}-"]


def test_a_cache_that_cannot_be_written_is_named_with_the_way_out(server, tmp_path, monkeypatch, capsys):
    (tmp_path / "file").write_text("a file where a folder should be")
    monkeypatch.setenv("DREAMSIM_METRIC_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(OSError, match=r"cannot write in .*file/cache/v1 .*DREAMSIM_METRIC_CACHE"), lock("ensemble"):
        pass
    with pytest.raises(OSError, match=r"cannot write in .*file/cache/downloads .*DREAMSIM_METRIC_CACHE"):
        fetch(server.download, find_cache_dir() / "downloads")
    assert server.requests == []
    assert cli.main(["download", "--model", "ensemble"]) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"dreamsim-metric: cannot write in {tmp_path}")
    assert error.count("\n") == 1


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_cache_is_named_with_the_way_out(cache):
    cache.mkdir(mode=0o500)
    with pytest.raises(PermissionError, match="DREAMSIM_METRIC_CACHE"), lock("ensemble"):
        pass


RACE = """
import sys
from dreamsim_metric.weights.download import Download, fetch, find_cache_dir, lock
url, size, name = sys.argv[1:]
with lock(name):
    path = fetch(Download(url, "model.bin", int(size)), find_cache_dir() / "downloads")
print(path.stat().st_size)
"""


@pytest.mark.parametrize(
    "locks", [("one", "one"), ("ensemble", "dino_vitb16")], ids=["one model", "two models, one file"]
)
def test_two_processes_download_one_file_once(server, cache, locks):
    server.wait = 0.5
    call = [sys.executable, "-c", RACE, server.download.url, str(len(CONTENT))]
    processes = [
        subprocess.Popen([*call, lock], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for lock in locks
    ]
    for process in processes:
        out, error = process.communicate(timeout=60)
        assert (process.returncode, out) == (0, f"{len(CONTENT)}\n"), error
    assert (cache / "downloads" / "model.bin").read_bytes() == CONTENT
    assert server.requests == [None]


def test_the_cache_is_where_the_variable_says(cache, monkeypatch):
    assert find_model_dir("ensemble") == cache / "v1" / "ensemble"
    monkeypatch.setenv("DREAMSIM_METRIC_CACHE", "")
    assert find_cache_dir().name == "dreamsim_metric"
    assert find_cache_dir().is_absolute()
