"""Secrets of a study: files with a random token, which only their owner reads, and what is signed with them."""

import hmac
import os
import secrets
from pathlib import Path

STUDY_SECRET = "study-secret"  # key of the names of questions and pictures, and of invitations
ADMIN_TOKEN = "admin-token"


def read_secret(file: Path) -> str:
    """Return a secret; make it when there is none. What others may read of it is taken from them.

    Raises:
        OSError: the folder cannot be written.
        ValueError: the file holds no secret.
    """
    try:
        with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as opened:
            opened.write(secrets.token_urlsafe(24) + "\n")
    except FileExistsError:
        pass
    if not file.is_file():
        raise ValueError(f"{file} is no file; remove it, and another is made")
    if file.stat().st_mode & 0o077:
        file.chmod(0o600)
    secret = file.read_bytes().decode("utf-8", "replace").strip()
    if len(secret) < 8 or not secret.isascii() or not secret.isprintable():
        raise ValueError(f"{file} has {len(secret)} characters; expected 8 ASCII ones or more: remove it for another")
    return secret


def sign(secret: str, text: str) -> str:
    """Compute what only those who know a secret can: HMAC-SHA256 of a text, 32 hexadecimal digits of it.

    Example:
        >>> sign("only for this example", "5f3a1c")
        'da24ff4e82de931782d5117528e7ccf3'
    """
    return hmac.new(secret.encode(), text.encode(), "sha256").hexdigest()[:32]
