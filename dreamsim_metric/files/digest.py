"""What tells the content of a file from any other."""

import hashlib
from pathlib import Path


def digest_file(file: Path) -> str:
    """Compute the sha256 of a file's bytes, in hexadecimal; it need not fit into memory.

    Raises:
        OSError: it cannot be read.

    Example:
        >>> digest_file(Path("examples/cat.jpg"))[:12]
        '2c0357a57121'
    """
    with open(file, "rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
