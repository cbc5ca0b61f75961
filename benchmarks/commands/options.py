"""Options that several commands have, and what becomes of them."""

import argparse
import json
import logging
import os
import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dreamsim_metric.scale.cache import Cache

DEFAULT_METRICS = (
    *("mini", "ensemble", "lpips-alex", "lpips-vgg", "lpips-squeeze", "dists", "psnr", "ssim", "ms-ssim"),
    *("clip-i-b32", "dino-vits16", "dinov2-vitb14"),
)


@contextmanager
def quick_without_network() -> Iterator[None]:
    """The hub's client would try each file for half a minute, with many warnings; what fails is said in our words."""
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


def asked_for(arguments: argparse.Namespace) -> tuple[dict[str, Any], Any]:
    """Makers of the metrics that were named, and weights and device for each."""
    import torch

    from benchmarks.metrics.base import Options
    from benchmarks.metrics.registry import find_metrics
    from dreamsim_metric.images.device import default_device

    makers = find_metrics(arguments.metrics)
    weights = _weights(arguments.weights, list(makers))
    device = torch.device(arguments.device or default_device())
    return makers, lambda name: Options(weights.get(name, ()), device)


def open_cache(file: Path | None) -> "Cache":
    """The cache of what metrics computed: in the file that was named, else in the benchmarks' own."""
    from dreamsim_metric.scale.cache import Cache
    from dreamsim_metric.weights.download import cache_dir

    return Cache(file or cache_dir() / "benchmarks.sqlite")


def print_table_json(table: Any) -> None:
    """Print a table (pandas) as JSON, a record a row."""
    print(json.dumps(json.loads(table.to_json(orient="records")), indent=2))


def _weights(given: Sequence[str], metrics: Sequence[str]) -> dict[str, tuple[Path, ...]]:
    found = {}
    for text in given:
        name, equals, files = text.partition("=")
        if not equals or name not in metrics:
            raise ValueError(f"got --weights {text}; expected METRIC=FILE of one of {', '.join(metrics)}")
        found[name] = tuple(map(Path, files.split(",")))
        for file in found[name]:
            if not file.exists():
                raise FileNotFoundError(f"no such file of weights: {file}")
    return found
