"""`dreamsim-bench speed`."""

import argparse
import math
from pathlib import Path
from typing import Any

from benchmarks.commands.options import print_table_json

# Heavy imports (torch, pandas) are in the functions that need them: `--help` and errors come at once.

DEFAULT_GROUPS = ("startup", "alone", "distance", "one-to-many", "peers", "files", "growth", "peak")


def add_speed(commands: Any) -> None:
    """Add it to the parser of `dreamsim-bench`."""
    speed = commands.add_parser("speed", help="time and memory: ours, dreamsim, LPIPS, piq, torchmetrics, timm")
    speed.set_defaults(run=_speed)
    speed.add_argument(
        "--groups",
        nargs="+",
        default=DEFAULT_GROUPS,
        metavar="GROUP",
        help=f"what to time (default: {' '.join(DEFAULT_GROUPS)}; also models)",
    )
    speed.add_argument("--out", required=True, type=Path, metavar="DIR", help="folder for the table")
    speed.add_argument("--device", choices=("cpu", "cuda"), help="default: cuda where there is one, else cpu")
    speed.add_argument("--model", metavar="TYPE", help="ours against released dreamsim (default: ensemble)")
    speed.add_argument(
        "--threads", nargs="+", type=int, default=(), metavar="N", help="on the CPU (default: 1 and all cores)"
    )
    speed.add_argument(
        "--batches", nargs="+", type=int, default=(), metavar="N", help="pairs at once (default: 1 8 32, cuda also 128)"
    )
    speed.add_argument(
        "--precisions",
        nargs="+",
        default=(),
        metavar="P",
        help="of ours: float32, tf32, bfloat16, float16; each also +compiled (default: what is quick here)",
    )
    speed.add_argument("--rounds", type=int, default=5, metavar="N", help="of each contest, at most (default: 5)")
    speed.add_argument(
        "--minutes", type=float, default=math.inf, metavar="M", help="for all of it; what does not fit has fewer rounds"
    )
    speed.add_argument(
        "--max-pictures", type=int, default=10_000, metavar="N", help="where the growth curve ends (default: 10000)"
    )
    speed.add_argument("--quick", action="store_true", help="few and small, to see that it works")
    speed.add_argument(
        "--releases", type=Path, metavar="DIR", help="keeps releases with random weights (default: in the user cache)"
    )
    speed.add_argument("--json", action="store_true", help="print what was found as JSON")


def _speed(arguments: argparse.Namespace) -> None:
    from benchmarks.speed.plan import make_plan
    from benchmarks.speed.printing import markdown
    from benchmarks.speed.run import run
    from benchmarks.speed.targets import read_targets
    from dreamsim_metric.weights.download import cache_dir

    plan = make_plan(
        arguments.device,
        model=arguments.model,
        home=(arguments.releases or cache_dir() / "benchmarks" / "releases").absolute(),
        threads=arguments.threads,
        batches=arguments.batches,
        precisions=arguments.precisions,
        max_pictures=arguments.max_pictures,
        quick=arguments.quick,
    )
    table = run(
        arguments.groups,
        arguments.out,
        plan,
        rounds=arguments.rounds,
        minutes=arguments.minutes,
        command=["dreamsim-bench", *arguments.command],
    )
    if arguments.json:
        print_table_json(table)
    else:
        print(markdown(table, read_targets(table)))
