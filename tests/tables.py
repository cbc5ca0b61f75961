"""Small files of judgements, for the tests of their readers."""

from pathlib import Path


def write(path, text):
    """A file of this text or these bytes, in a folder made for it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def relative(table, root):
    """The items, with paths as in the data."""
    return [(*(Path(path).relative_to(root).as_posix() for path in item[:-1]), item[-1]) for item in table]
