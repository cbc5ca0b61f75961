"""How many raters the experiment's server can have at once, and what a kill in the middle loses (nothing).

    python -m benchmarks.programs.study_load [--raters 50] [--triplets 200] [--votes 5]

Simulated raters answer as fast as they can, so each stands for many people. Half way the server is killed (SIGKILL)
and started again. Prints raters, answers, requests a second, median and 99th percentile of the time to an
acknowledged answer, and how many answers were lost, stored twice or too many for a question.
"""

import json
import signal
import subprocess
import tempfile
import threading
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image

from data_tools.names import Names
from data_tools.secret import STUDY_SECRET, read_secret
from data_tools.serving import find_free_port, start
from data_tools.simulation import Observer, simulate
from data_tools.study import Study
from data_tools.votes import read_responses
from dreamsim_metric.commands.parser import Parser
from dreamsim_metric.files.table import write_csv
from dreamsim_metric.judgements.columns import TRIPLET_PATHS


def write_pictures(folder: Path, triplets: int) -> None:
    """Write triplets of noise, in the layout of `generate`."""
    (folder / "pictures").mkdir(parents=True)
    random = np.random.default_rng(0)
    rows = []
    for group in range(triplets):
        paths = [f"pictures/{group}_{part}.png" for part in ("ref", "left", "right")]
        for path in paths:
            PIL.Image.fromarray(random.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(folder / path)
        named = dict(zip(TRIPLET_PATHS, paths, strict=True))
        rows.append({"id": group, **named, "prompt": "noise", "category": f"category {group % 10}"})
    write_csv(folder / "triplets.csv", rows)


def main(raters: int, triplets: int, votes: int) -> dict[str, Any]:
    """Run the study, and print the figures."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write_pictures(root / "pictures", triplets)
        trials = triplets * votes // raters
        study = replace(
            Study.of(root / "pictures"),
            rounds=(votes,),
            trials=trials,
            practice=1,
            sentinel_every=10,
            min_sentinels=0.0,
        )
        study.write(root / "study")
        port = find_free_port()
        process = start(root / "study", port, stdout=subprocess.DEVNULL)
        acknowledged = Counter[tuple[str, str]]()
        seconds, times = list[float](), list[float]()
        half, killed = threading.Event(), list[float]()

        def heard(rater: str, item: str, took: float) -> None:
            acknowledged[rater, item] += 1
            seconds.append(took)
            times.append(time.monotonic())
            if len(seconds) == triplets * votes // 2:
                half.set()

        def kill() -> None:
            nonlocal process
            half.wait()
            process.send_signal(signal.SIGKILL)
            process.wait()
            begun = time.monotonic()
            process = start(root / "study", port, stdout=subprocess.DEVNULL)
            killed.append(time.monotonic() - begun)

        killer = threading.Thread(target=kill, daemon=True)
        killer.start()
        simulate(f"http://127.0.0.1:{port}", root / "study", raters, Observer(), at_once=raters, heard=heard)
        killer.join()
        wall = times[-1] - times[0] - killed[0]
        process.terminate()
        process.wait()
        names = Names(read_secret(root / "study" / STUDY_SECRET))
        rows = read_responses(root / "study", study)
        stored = Counter((names.token(row["rater"]), names.item(row["item"])) for row in rows)
        counts = Counter(row["item"] for row in rows if row["kind"] == "main")
        ordinary = sorted(seconds)
        return {
            "raters": raters,
            "answers": len(rows),
            "answers a second": round(len(rows) / wall, 1),
            "median ms": round(1000 * ordinary[len(ordinary) // 2], 1),
            "p99 ms": round(1000 * ordinary[int(0.99 * len(ordinary))], 1),
            "seconds away after SIGKILL": round(killed[0], 1),
            "lost": len(set(acknowledged) - set(stored)),
            "stored twice": sum(count > 1 for count in stored.values()),
            "questions with too many votes": sum(count > votes for count in counts.values()),
            "questions with too few votes": triplets - sum(count >= votes for count in counts.values()),
        }


if __name__ == "__main__":
    parser = Parser(description="Load the experiment's server, and kill it half way.")
    parser.add_argument("--raters", type=int, default=50, metavar="N", help="raters who take part")
    parser.add_argument("--triplets", type=int, default=200, metavar="N", help="triplets that are judged")
    parser.add_argument("--votes", type=int, default=5, metavar="N", help="votes of each triplet")
    print(json.dumps(main(**vars(parser.parse_args())), indent=2))
