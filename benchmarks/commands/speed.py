"""`dreamsim-bench speed`."""

import math
from argparse import Namespace
from pathlib import Path

from benchmarks.names import GROUPS, check_groups, check_precisions
from dreamsim_metric.bounds import check_least
from dreamsim_metric.commands.options import add_option
from dreamsim_metric.commands.output import Output, list_rows
from dreamsim_metric.commands.parser import Parser
from dreamsim_metric.commands.program import Command
from dreamsim_metric.models import MODELS

DEFAULT_GROUPS = tuple(name for name in GROUPS if name != "models")


def _add_speed(to: Parser) -> None:
    to.add_argument(
        "--groups",
        nargs="+",
        default=DEFAULT_GROUPS,
        metavar="NAME",
        help=f"groups of contests: {', '.join(GROUPS)}",
    )
    add_option(to, "--out", required=True, help="folder for the table")
    add_option(to, "--device", help="device that computes: cpu or cuda (default: cuda where there is one, else cpu)")
    add_option(to, "--model", help="model of ours beside released dreamsim, one of its types (default: ensemble)")
    to.add_argument("--threads", nargs="+", type=int, metavar="N", help="threads on the CPU (default: 1 and all cores)")
    to.add_argument(
        "--batches", nargs="+", type=int, metavar="N", help="pairs at once (default: 1 8 32, on cuda also 128)"
    )
    to.add_argument(
        "--precisions",
        nargs="+",
        metavar="NAME",
        help="numbers that our networks compute with: float32, tf32, bfloat16, float16; each also +compiled (default: "
        "what is quick here)",
    )
    to.add_argument("--rounds", type=int, default=5, metavar="N", help="rounds of each contest, at most")
    to.add_argument(
        "--minutes", type=float, metavar="N", help="minutes for all of it; what does not fit has fewer rounds"
    )
    to.add_argument(
        "--max-pictures", type=int, default=10_000, metavar="N", help="pictures where the growth curve ends"
    )
    to.add_argument("--quick", action="store_true", help="measure few and small contests, to see that it works")
    to.add_argument(
        "--releases",
        type=Path,
        metavar="PATH",
        help="folder of releases with random weights (default: in the user cache)",
    )


def run_speed(arguments: Namespace) -> Output:
    """Measure time and memory."""
    check_groups(arguments.groups)
    if arguments.model is not None and arguments.model not in MODELS:
        raise ValueError(f"got model {arguments.model!r}; expected a released type: {', '.join(MODELS)}")
    if arguments.device not in (None, "cpu", "cuda"):
        raise ValueError(f"got --device {arguments.device}; expected cpu or cuda")
    check_precisions(arguments.precisions or ())
    for option in ("threads", "batches", "rounds", "max_pictures"):
        given = getattr(arguments, option)
        if given is not None:
            check_least(f"--{option.replace('_', '-')}", min(given) if isinstance(given, list) else given)

    from benchmarks.speed.plan import make_plan
    from benchmarks.speed.printing import format_markdown
    from benchmarks.speed.run import run
    from benchmarks.speed.targets import read_targets
    from dreamsim_metric.weights.download import find_cache_dir

    plan = make_plan(
        arguments.device,
        model=arguments.model,
        home=(arguments.releases or find_cache_dir() / "benchmarks" / "releases").absolute(),
        threads=arguments.threads or (),
        batches=arguments.batches or (),
        precisions=arguments.precisions or (),
        max_pictures=arguments.max_pictures,
        quick=arguments.quick,
    )
    table = run(
        arguments.groups,
        arguments.out,
        plan,
        rounds=arguments.rounds,
        minutes=math.inf if arguments.minutes is None else arguments.minutes,
        command=arguments.command_line,
    )
    return Output(list_rows(table), lambda rows: [format_markdown(table, read_targets(table))])


COMMANDS = (Command("speed", "time and memory: ours, dreamsim, LPIPS, piq, torchmetrics, timm", run_speed, _add_speed),)
