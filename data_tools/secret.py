"""Secrets of a study: files with a random token, which only their owner reads."""

import os
import secrets
from pathlib import Path


def read_secret(file: Path) -> str:
    """Return a secret; make it when there is none.

    Raises:
        OSError: the folder cannot be written.
        ValueError: the file is empty.
    """
    if not file.exists():
        with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as opened:
            opened.write(secrets.token_urlsafe(24) + "\n")
    secret = file.read_text(encoding="utf-8").strip()
    if len(secret) < 8:
        raise ValueError(f"{file} has {len(secret)} characters; expected 8 or more: remove it, and another is made")
    return secret
