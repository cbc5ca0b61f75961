"""Names that the command line takes, known before what they stand for is imported: a slip is answered at once."""

from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

from dreamsim_metric.card import PRECISIONS
from dreamsim_metric.messages import say_known, suggest
from dreamsim_metric.models import check_library_name, is_of_library, list_models
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

PRESETS = ("mini", "paper", "sd15", "sd21", "sdxl")
"""The presets of the methods' settings."""

_TUNING = ("steps", "learning_rate", "batch_size", "weight_decay", "flip", "seed", "save_every")
_DREAMBOOTH = (
    *(*_TUNING, "identifier", "prompt", "prior_weight", "class_pictures", "class_sampling", "train_text", "rank"),
)
SETTINGS: dict[str, tuple[str, ...]] = {
    "plain": (),
    **dict.fromkeys(("dreambooth", "dreambooth-lora", "dreambooth-no-prior"), _DREAMBOOTH),
    "textual-inversion": (*_TUNING, "vectors", "initial", "templates"),
    "custom-diffusion": (*_TUNING, "initial", "prior_weight", "class_pictures", "class_sampling"),
    "decomposition": (
        *(*_TUNING, "seeds", "trial", "depth", "metrics", "samples", "kept", "sampling", "initial", "templates"),
    ),
    "fabric": (
        *("start", "end", "min_weight", "max_weight", "neg_scale", "pos_bottleneck", "neg_bottleneck", "rounds"),
        *("per_round", "dropout", "chooser", "seed"),
    ),
    "ip-adapter": ("weights", "subfolder", "file", "scale"),
}
"""The settings of each method."""

GROUPS = ("startup", "alone", "distance", "one-to-many", "peers", "models", "files", "growth", "peak")
"""The groups of contests of `dreamsim-bench speed`."""


def list_metrics() -> list[str]:
    """List the metrics that are in this package."""
    return [name for names in METRICS.values() for name in names]


def check_metrics(names: Iterable[str]) -> None:
    """Be sure that names can be metrics': of this package, of models, or `.py` files with a dictionary `METRICS`.

    Raises:
        FileNotFoundError: no such file.
        ValueError: an unknown name, with the nearest ones.
    """
    known = [*list_metrics(), *list_models()]
    for name in names:
        if name.endswith(".py"):
            _check_file(name)
        elif is_of_library(name):
            check_library_name(name, tagged=False)
        elif name not in known and not _is_model(Path(name)):
            others = "timm:NAME, open_clip:ARCH/TAG, hf:OWNER/REPO, a model's folder, or a .py file with METRICS"
            raise _say_unknown("metric", name, known, others)


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
        raise _say_unknown("data set", name, SOURCES, "or a .py file with SOURCES")


def check_methods(names: Iterable[str]) -> None:
    """Be sure that names are methods'.

    Raises:
        ValueError: an unknown name, with the nearest ones.
    """
    for name in names:
        if name not in METHODS:
            raise _say_unknown("method", name, METHODS)


def check_preset(name: str) -> None:
    """Be sure that a name is a preset's.

    Raises:
        ValueError: an unknown name, with those that there are.
    """
    if name not in PRESETS:
        raise ValueError(f"unknown preset {name!r}; expected one of {', '.join(PRESETS)}")


def read_settings(given: Iterable[str], methods: Sequence[str]) -> list[tuple[str, str, str]]:
    """Read `METHOD.FIELD=VALUE`.

    Args:
        given: texts of that form.
        methods: names of the methods that are asked for.

    Returns:
        Method, field and value of each, as texts.

    Raises:
        ValueError: another form, or an unknown method or field.

    Example:
        >>> read_settings(["dreambooth.steps=400"], ["plain", "dreambooth"])
        [('dreambooth', 'steps', '400')]
    """
    found = []
    for text in given:
        target, equals, value = text.partition("=")
        name, dot, field = target.rpartition(".")
        if not equals or not dot or name not in methods:
            raise ValueError(f"got --set {text}; expected METHOD.FIELD=VALUE of one of {', '.join(methods)}")
        if field not in SETTINGS[name]:
            hint = suggest(field, SETTINGS[name]).removesuffix("?")
            known = ", ".join(sorted(SETTINGS[name])) or "nothing to set"
            raise ValueError(f"{name} has no {field!r}{hint and f': {hint}'}; it has {known}")
        found.append((name, field, value))
    return found


def check_groups(names: Sequence[str]) -> None:
    """Be sure that names are those of groups of contests, and that there are some.

    Raises:
        ValueError: they are not.
    """
    unknown = [name for name in names if name not in GROUPS]
    if unknown or not names:
        raise ValueError(f"got groups {', '.join(unknown) or 'none'}; expected some of {', '.join(GROUPS)}")


def check_precisions(names: Iterable[str]) -> None:
    """Be sure that texts are `PRECISION` or `PRECISION+compiled`.

    Raises:
        ValueError: one is not.
    """
    for text in names:
        precision, _, more = text.partition("+")
        if precision not in PRECISIONS or more not in ("", "compiled"):
            raise ValueError(f"got precision {text!r}; expected {', '.join(PRECISIONS)}, with +compiled or without")


def _check_file(name: str) -> None:
    if not Path(name).is_file():
        raise FileNotFoundError(f"no such file: {name}")


def _say_unknown(what: str, name: str, known: Collection[str], others: str = "") -> ValueError:
    return ValueError(f"unknown {what} {name!r}: {say_known(name, list(known))}{others and f'; {others}'}")
