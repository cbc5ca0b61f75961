"""Options that several commands of `dreamsim-bench` have, and what becomes of them."""

import logging
import os
import socket
import sys
from argparse import Namespace
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.names import check_metrics
from dreamsim_metric.commands.options import add_options
from dreamsim_metric.commands.options import choose_device as chosen_device
from dreamsim_metric.commands.parser import Parser

DEFAULT_METRICS = (
    *("mini", "ensemble", "lpips-alex", "lpips-vgg", "lpips-squeeze", "dists", "psnr", "ssim", "ms-ssim"),
    *("clip-i-b32", "dino-vits16", "dinov2-vitb14"),
)


def add_metrics(to: Parser, metrics: Sequence[str] = DEFAULT_METRICS, *, device: bool = True) -> None:
    """Add the options that say what compares pictures and, unless the command has that already, where."""
    to.add_argument(
        "--metrics", nargs="+", default=metrics, metavar="NAME", help="metrics: names of `dreamsim-bench metrics`"
    )
    to.add_argument(
        "--weights",
        action="append",
        default=[],
        metavar="METRIC=FILE[,FILE]",
        help="weights of a metric on this disk, in place of a download; repeat for more",
    )
    if device:
        add_options(to, "--device")


def add_draws(to: Parser) -> None:
    """Add the options of intervals."""
    to.add_argument("--draws", type=int, default=1000, metavar="N", help="draws of the bootstrap, for intervals")
    add_options(to, "--seed", "--cache")


def check_asked(arguments: Namespace) -> None:
    """Be sure that metrics are known and that weights are there, before anything heavy is imported.

    Raises:
        As `check_metrics`.
        FileNotFoundError: no such file of weights.
        ValueError: `--weights` that name no metric that is asked for.
    """
    check_metrics(arguments.metrics)
    own = any(name.endswith(".py") for name in arguments.metrics)  # of names that only it knows
    for text in arguments.weights:
        name, equals, _ = text.partition("=")
        if not equals or not (own or name in arguments.metrics):
            raise ValueError(f"got --weights {text}; expected METRIC=FILE of one of {', '.join(arguments.metrics)}")
    for files in read_weights(arguments.weights).values():
        for file in files:
            if not file.exists():
                raise FileNotFoundError(f"no such file of weights: {file}")


def read_weights(given: Sequence[str]) -> dict[str, tuple[Path, ...]]:
    """Read `METRIC=FILE[,FILE]`: the files, by metric."""
    parts = (text.partition("=") for text in given)
    return {name: tuple(map(Path, files.split(","))) for name, _, files in parts}


def resolve_metrics(arguments: Namespace) -> tuple[dict[str, Any], Any]:
    """Find makers of the metrics that were named, and weights and device for each."""
    import torch

    from benchmarks.metrics.base import Options
    from benchmarks.metrics.registry import find_metrics

    makers = find_metrics(arguments.metrics)
    weights = read_weights(arguments.weights)
    unknown = [name for name in weights if name not in makers]
    if unknown:
        raise ValueError(f"got --weights {unknown[0]}=…; expected METRIC=FILE of one of {', '.join(makers)}")
    on = torch.device(chosen_device(arguments))
    return makers, lambda name: Options(weights.get(name, ()), on)


@contextmanager
def skip_retries_without_network() -> Iterator[None]:
    """Keep the hub's client from trying each file for half a minute without network, and from its warnings."""
    host = os.environ.get("HF_ENDPOINT", "https://huggingface.co").partition("://")[2].partition("/")[0]
    before = os.environ.get("HF_HUB_OFFLINE")
    try:
        socket.getaddrinfo(host.partition(":")[0], 443)
    except OSError:
        print("no network: weights are looked for on this machine only", file=sys.stderr)
        os.environ["HF_HUB_OFFLINE"] = "1"
    logging.disable(logging.ERROR)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)
        if before is None:
            os.environ.pop("HF_HUB_OFFLINE", None)
