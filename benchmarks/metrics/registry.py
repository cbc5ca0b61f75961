"""From names on the command line to metrics."""

import difflib
import importlib
import pkgutil
from collections.abc import Sequence
from pathlib import Path

import benchmarks.metrics
from benchmarks.files import import_file
from benchmarks.metrics.base import Maker
from benchmarks.metrics.ours import Embedding
from dreamsim_metric import list_models


def built_in() -> dict[str, Maker]:
    """Collect all metrics of this folder, by name."""
    names = sorted(module.name for module in pkgutil.iter_modules(benchmarks.metrics.__path__))
    modules = (importlib.import_module(f"benchmarks.metrics.{name}") for name in names)
    return {name: maker for module in modules for name, maker in getattr(module, "METRICS", {}).items()}


def find_metrics(names: Sequence[str]) -> dict[str, Maker]:
    """Find the makers of the metrics named, in that order.

    Args:
        names: Names of this folder's metrics; of models, for `dreamsim_metric.load`; or `.py` files with a dictionary
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
    known, found = built_in(), {}
    for name in names:
        if name in known:
            found[name] = known[name]
        elif name.endswith(".py"):
            found.update(import_file(Path(name), "METRICS"))
        elif name in list_models() or ":" in name or Path(name).is_dir():
            found[name] = _model(name)
        else:
            near = difflib.get_close_matches(name, [*known, *list_models()], n=3, cutoff=0.4)
            raise ValueError(
                f"unknown metric {name!r}: "
                + (f"did you mean {' or '.join(near)}? " if near else "")
                + f"Known: {', '.join([*known, *list_models()])}; timm:NAME, open_clip:ARCH/TAG, hf:OWNER/REPO, a "
                "model's folder, or a .py file with METRICS"
            )
    return found


def _model(name: str) -> Maker:
    return lambda options: Embedding(name, options)
