"""From names on the command line to metrics."""

import importlib
from collections.abc import Sequence
from pathlib import Path

from benchmarks import names as known
from benchmarks.files import import_file
from benchmarks.metrics.base import Maker
from benchmarks.metrics.ours import Embedding


def find_metrics(names: Sequence[str]) -> dict[str, Maker]:
    """Find the makers of the metrics named, in that order; modules of others are not imported.

    Args:
        names: names of this folder's metrics; of models, for `dreamsim_metric.load`; or `.py` files with a dictionary
            `METRICS`.

    Raises:
        FileNotFoundError: no such file.
        ValueError: an unknown name, with the nearest ones, or a file without `METRICS`.

    Example:
        >>> from benchmarks.metrics.base import Options
        >>> make = find_metrics(["psnr"])["psnr"]
        >>> make(Options()).card.direction
        'similarity'
    """
    known.check_metrics(names)
    home = {name: module for module, inside in known.METRICS.items() for name in inside}
    found: dict[str, Maker] = {}
    for name in names:
        if name in home:
            found[name] = _load_module(home[name])[name]
        elif name.endswith(".py"):
            found.update(import_file(Path(name), "METRICS"))
        else:
            found[name] = _make_model(name)
    return found


def _load_module(name: str) -> dict[str, Maker]:
    makers: dict[str, Maker] = importlib.import_module(f"benchmarks.metrics.{name}").METRICS
    return makers


def _make_model(name: str) -> Maker:
    return lambda options: Embedding(name, options)
