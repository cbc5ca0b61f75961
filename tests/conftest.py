"""Fixtures that several test files use."""

import signal
import subprocess
import sys

import pytest
from hypothesis import settings

from dreamsim_metric import load
from tests.mixed import write_mixed
from tests.stores import bucket, s3_server  # noqa: F401 -- fixtures

settings.register_profile("patient", deadline=None)  # a busy machine is no failure
settings.load_profile("patient")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # begun in the background: servers of tests would not hear Ctrl-C
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="module")
def metric():
    """mini, on the CPU."""
    return load("mini", device="cpu")


@pytest.fixture
def folder(tmp_path):
    """Pictures, some of which cannot be read."""
    return write_mixed(tmp_path / "pictures")


@pytest.fixture
def seen(metric):
    """How many pictures went through the model, batch by batch."""
    counts = []
    handle = metric.head.register_forward_pre_hook(lambda _module, inputs: counts.append(len(inputs[0])))
    yield counts
    handle.remove()


@pytest.fixture
def fresh_accelerate():
    """accelerate keeps one state a process, which would carry over from one run to the next."""
    from accelerate.state import AcceleratorState

    AcceleratorState._reset_state(reset_partial_state=True)
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


@pytest.fixture
def fresh_python():
    """Run code in a Python of its own; returns what it prints."""

    def run(code: str) -> str:
        return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.strip()

    return run
