"""Fixtures that several test files use."""

import subprocess
import sys

import pytest


@pytest.fixture
def fresh_python():
    """Run code in a Python of its own; returns what it prints."""

    def run(code: str) -> str:
        return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.strip()

    return run
