"""A folder as people have them: pictures of many sizes, copies, links, and files that are no pictures."""

import shutil
from pathlib import Path

import numpy as np
import PIL.Image

from tests.pictures import PHOTOGRAPHS

FILES = [str(path) for path in PHOTOGRAPHS]
BAD = {"empty.png", "text.png", "cut off.jpg", "cut off again.jpg", "to nowhere.png"}


def write_mixed(folder):
    """Twenty small pictures of which two are copies, and five files that are none."""
    folder.mkdir()
    random = np.random.default_rng(0)
    for i in range(20):
        size = (40 + i, 60 - i, 3)
        PIL.Image.fromarray(random.integers(0, 256, size, dtype=np.uint8)).save(folder / f"{i:02}.png")
    shutil.copy(folder / "03.png", folder / "19.png")
    shutil.copy(folder / "03.png", folder / "with spaces é 🙂.png")
    (folder / "empty.png").write_bytes(b"")
    (folder / "text.png").write_text("no picture")
    whole = Path(FILES[0]).read_bytes()
    (folder / "cut off.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "cut off again.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "to nowhere.png").symlink_to(folder.parent / "none.png")
    (folder / "link.png").symlink_to(folder / "05.png")
    return folder


def listed(folder):
    return sorted(str(file) for file in folder.iterdir())
