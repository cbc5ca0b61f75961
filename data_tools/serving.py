"""`dreamsim-data serve` in a process of its own, for programs that need a server."""

import socket
import subprocess
import sys
import time
from pathlib import Path


def find_free_port() -> int:
    """Find a port of the loopback interface that nobody listens at."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def start(folder: Path, port: int, stdout: int | None = None) -> subprocess.Popen[str]:
    """Serve a study.

    Args:
        folder: folder of the study.
        port: port to listen at.
        stdout: place for what it prints, `subprocess.DEVNULL` or `subprocess.PIPE`; default this process's own.

    Returns:
        The process, ready to answer.

    Raises:
        RuntimeError: it ended; what it wrote says why.
    """
    command = [sys.executable, "-m", "data_tools.cli", "serve", str(folder), "--port", str(port)]
    process = subprocess.Popen(command, text=True, stdout=stdout)
    while process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return process
        time.sleep(0.05)
    raise RuntimeError(f"the server of {folder} ended with {process.returncode}")
