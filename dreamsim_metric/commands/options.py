"""Options that several commands have, each written once: it means the same in all of them."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dreamsim_metric.bounds import check_least
from dreamsim_metric.card import PRECISIONS
from dreamsim_metric.commands.parser import Parser

if TYPE_CHECKING:
    from dreamsim_metric.metric import PerceptualMetric
    from dreamsim_metric.scale.cache import Cache

NETWORKS = ("--model", "--weights", "--device", "--batch-size", "--precision", "--compile")
"""Options of all commands that embed pictures."""

_OPTIONS: dict[str, dict[str, Any]] = {
    "--model": {
        "metavar": "NAME",
        "help": "model: a name from `dreamsim-metric models`, a folder, timm:NAME, open_clip:ARCH/TAG or hf:OWNER/REPO "
        "(default: $DREAMSIM_METRIC_MODEL, else mini)",
    },
    "--weights": {
        "type": Path,
        "action": "append",
        "metavar": "PATH",
        "help": "weights on this disk, in place of a download: a release's archive or folder; a file, for timm: and "
        "open_clip:; for the folder of a run, those of the model that it tuned; repeat for the next of several",
    },
    "--device": {
        "metavar": "NAME",
        "help": "device that computes: cpu, cuda, cuda:1, mps (default: cuda where there is one, else cpu)",
    },
    "--precision": {
        "choices": PRECISIONS,
        "default": "float32",
        "help": "numbers that the networks compute with",
    },
    "--compile": {"action": "store_true", "help": "compile the networks: for very many pictures on a GPU"},
    "--batch-size": {
        "type": int,
        "default": 32,
        "metavar": "N",
        "help": "pictures that go through the networks at once",
    },
    "--workers": {
        "type": int,
        "metavar": "N",
        "help": "threads that decode pictures (default: one a core, at most 16)",
    },
    "--seed": {"type": int, "default": 0, "metavar": "N", "help": "seed of everything that is random"},
    "--cache": {
        "type": Path,
        "metavar": "PATH",
        "help": "file that keeps what was computed for the next run (default: in the user cache)",
    },
    "--no-cache": {"action": "store_true", "help": "keep nothing for the next run"},
    "--data": {
        "type": Path,
        "required": True,
        "metavar": "PATH",
        "help": "human judgements: a folder or a table (.csv, .tsv, .parquet, .jsonl), with triplets (2AFC), "
        "pairs (JND) or both",
    },
    "--min-votes": {
        "type": float,
        "metavar": "N",
        "help": "fewest votes of a triplet; others are left out (default: 6 for NIGHTS, else 0)",
    },
    "--out": {"type": Path, "metavar": "PATH"},
}


def add_option(to: "Parser | argparse._MutuallyExclusiveGroup", flag: str, **changes: Any) -> None:
    """Add an option.

    Args:
        to: the command's parser.
        flag: name of the option.
        changes: what differs in this command: a default, or the help where what is in a batch is not a picture.
    """
    to.add_argument(flag, **{**_OPTIONS[flag], **changes})


def add_options(to: Parser, *flags: str) -> None:
    """Add options as all commands have them."""
    for flag in flags:
        add_option(to, flag)


def add_cache(to: Parser) -> None:
    """Add the options that say where embeddings are kept."""
    kept = to.add_mutually_exclusive_group()
    add_option(kept, "--cache")
    add_option(kept, "--no-cache")


def open_cache(arguments: argparse.Namespace) -> "Cache":
    """Open the cache that `--cache` names, else the user's one."""
    from dreamsim_metric.scale.cache import Cache, name_cache_file

    return Cache(arguments.cache or name_cache_file())


def add_common(to: Parser, version: str, *, prints: bool) -> None:
    """Add what every command has.

    Args:
        to: the command's parser.
        version: text that `--version` prints.
        prints: whether the command prints results.
    """
    if prints:
        forms = to.add_mutually_exclusive_group()
        forms.add_argument("--json", action="store_true", help="print JSON")
        forms.add_argument("--csv", action="store_true", help="print CSV")
    else:
        to.set_defaults(json=False, csv=False)
    to.add_argument("--debug", action="store_true", help="show where an error comes from")
    to.add_argument("--version", action="version", version=version, help="show the version and exit")


def check_shared(arguments: argparse.Namespace) -> None:
    """Be sure, before anything is imported for it, that numbers which several commands take are large enough.

    Raises:
        ValueError: one is not.
    """
    for name in ("batch_size", "workers", "draws"):
        number = getattr(arguments, name, None)
        if number is not None:
            check_least(f"--{name.replace('_', '-')}", number)


def choose_device(arguments: argparse.Namespace) -> str:
    """Choose the device: `--device`, else CUDA where there is one, else the CPU."""
    from dreamsim_metric.images.device import choose_default_device

    return arguments.device or choose_default_device()


def load_metric(arguments: argparse.Namespace, on: str | None = None) -> "PerceptualMetric":
    """Load the metric that the options of `NETWORKS` say, on the device `on` in place of theirs."""
    from dreamsim_metric.loading import load

    metric = load(
        arguments.model,
        source=arguments.weights,
        device=on or choose_device(arguments),
        precision=arguments.precision,
    )
    if arguments.compile:
        metric.compile_networks()
    return metric
