"""Pictures to judge, studies of them, and a server that runs."""

import csv
import threading
import time
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import PIL.Image
import uvicorn

from data_tools.server import create_app
from data_tools.study import Study

CATEGORIES = ("cat", "dog", "cup")


def triplets(folder, count=12):
    """What `generate --triplets` leaves: squares in squares, of random colours."""
    return _pictures(folder, "triplets.csv", count, ("ref", "left", "right"))


def pairs(folder, count=12):
    """What `generate --pairs` leaves."""
    return _pictures(folder, "pairs.csv", count, ("a", "b"))


def _pictures(folder, table, count, parts):
    (folder / "pictures").mkdir(parents=True)
    random = np.random.default_rng(0)
    rows = []
    for group in range(count):
        paths = {}
        for part in parts:
            pixels = np.full((64, 64, 3), random.integers(0, 256, 3), dtype=np.uint8)
            pixels[16:48, 16:48] = random.integers(0, 256, 3)
            paths[f"{part}_path"] = f"pictures/{group}_{part}.png"
            PIL.Image.fromarray(pixels).save(folder / paths[f"{part}_path"])
        category = CATEGORIES[group % len(CATEGORIES)]
        rows.append({"id": group, **paths, "prompt": f"An image of a {category}", "category": category})
    with open(folder / table, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return folder


def study(folder, pictures, **options):
    """A study of such pictures, written; raters of tests answer at once, and a few questions."""
    made = replace(Study.of(pictures), **{"min_wait_ms": 0, "min_answers": 0, **options})
    made.write(folder)
    return made


@contextmanager
def serving(folder):
    """The real server, in a thread; yields its address."""
    app = create_app(folder)
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning", access_log=False))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
        app.state.votes.close()
