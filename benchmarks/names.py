"""Names that the command line takes, known before what they stand for is imported: a slip is answered at once."""

from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

from dreamsim_metric.messages import say_known
from dreamsim_metric.models import list_models
from dreamsim_metric.weights.folder import is_checkpoint

METRICS: dict[str, tuple[str, ...]] = {
    "clip_text": ("clip-t-b32", "clip-t-l14"),
    "dists": ("dists",),
    "formulas": (
        *("psnr", "ssim", "ms-ssim", "iw-ssim", "vif", "fsim", "gmsd", "ms-gmsd", "vsi", "haarpsi", "mdsi", "sr-sim"),
        "dss",
    ),
    "lpips": ("lpips-alex", "lpips-vgg", "lpips-squeeze"),
    "ours": ("clip-i-b32", "clip-i-l14", "dino-vits16", "dino-vits8", "dinov2-vits14", "dinov2-vitb14"),
}
"""The metrics in the modules of `benchmarks.metrics`, by module."""

SOURCES = (
    *("nights", "bapps", "materials", "table", "matrix", "tid2013", "kadid10k", "pipal", "csiq", "live", "ratings"),
    "things",
)
"""The data sets in the modules of `benchmarks.human.data`, in the order in which a folder is recognised."""

METHODS = (
    *("plain", "dreambooth", "dreambooth-lora", "dreambooth-no-prior", "textual-inversion", "custom-diffusion"),
    *("decomposition", "fabric", "ip-adapter"),
)
"""The methods of personalization."""

GROUPS = ("startup", "alone", "distance", "one-to-many", "peers", "models", "files", "growth", "peak")
"""The groups of contests of `dreamsim-bench speed`."""


def known_metrics() -> list[str]:
    """List the metrics that are in this package."""
    return [name for names in METRICS.values() for name in names]


def check_metrics(names: Iterable[str]) -> None:
    """Be sure that names can be metrics': of this package, of models, or `.py` files with a dictionary `METRICS`.

    Raises:
        FileNotFoundError: no such file.
        ValueError: an unknown name, with the nearest ones.
    """
    known = [*known_metrics(), *list_models()]
    for name in names:
        if name.endswith(".py"):
            _check_file(name)
        elif name not in known and ":" not in name and not _is_model(Path(name)):
            others = "timm:NAME, open_clip:ARCH/TAG, hf:OWNER/REPO, a model's folder, or a .py file with METRICS"
            raise _unknown("metric", name, known, others)


def _is_model(path: Path) -> bool:
    return path.is_dir() or is_checkpoint(path)


def check_source(name: str) -> None:
    """Be sure that a name can be a data set's.

    Raises:
        As `check_metrics`.
    """
    if name.endswith(".py"):
        _check_file(name)
    elif name not in SOURCES:
        raise _unknown("data set", name, SOURCES, "or a .py file with SOURCES")


def check_methods(names: Iterable[str]) -> None:
    """Be sure that names are methods'.

    Raises:
        ValueError: an unknown name, with the nearest ones.
    """
    for name in names:
        if name not in METHODS:
            raise _unknown("method", name, METHODS)


def check_groups(names: Sequence[str]) -> None:
    """Be sure that names are those of groups of contests, and that there are some.

    Raises:
        ValueError: they are not.
    """
    unknown = [name for name in names if name not in GROUPS]
    if unknown or not names:
        raise ValueError(f"got groups {', '.join(unknown) or 'none'}; expected some of {', '.join(GROUPS)}")


def _check_file(name: str) -> None:
    if not Path(name).is_file():
        raise FileNotFoundError(f"no such file: {name}")


def _unknown(what: str, name: str, known: Collection[str], others: str = "") -> ValueError:
    return ValueError(f"unknown {what} {name!r}: {say_known(name, list(known))}{others and f'; {others}'}")
