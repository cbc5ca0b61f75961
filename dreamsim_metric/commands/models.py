"""`dreamsim-metric models`, `info`, `download` and `export`: what models there are, and where they lie."""

from argparse import Namespace
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from dreamsim_metric.card import ModelCard
from dreamsim_metric.commands.names import check_model
from dreamsim_metric.commands.options import add_option, add_options
from dreamsim_metric.commands.output import Output, format_record
from dreamsim_metric.commands.parser import Parser
from dreamsim_metric.commands.program import Command
from dreamsim_metric.models import MODELS, list_models
from dreamsim_metric.weights.folder import MINI, is_checkpoint, read_card


def run_models(arguments: Namespace) -> Output:
    """List the named models."""
    from dreamsim_metric.weights.download import find_model_dir  # which takes longer than all else that a start needs

    return Output(
        [
            {
                "model": card.name,
                "embedding": card.embedding_size,
                "ready": card.name == "mini" or find_model_dir(card.name).is_dir(),
                "agreement": card.agreement,
                "description": card.description,
            }
            for card in map(find_card, list_models())
        ]
    )


def _add_source(to: Parser) -> None:
    add_options(to, "--model", "--weights")


def run_info(arguments: Namespace) -> Output:
    """Show the card of a model."""
    return Output([asdict(find_card(arguments.model, arguments.weights))], format_record, single=True)


def run_download(arguments: Namespace) -> Output:
    """Keep a released model in the cache, or be sure that another can be loaded."""
    name, weights = check_model(arguments.model, arguments.weights), arguments.weights
    if weights and name not in MODELS:
        raise ValueError(f"got --weights with {name}; expected one of the released models: {', '.join(MODELS)}")

    from dreamsim_metric.loading import install, load

    if name in MODELS:
        if weights and is_checkpoint(weights[0]):
            raise ValueError(
                f"{weights[0]} was tuned on {name} and is no release of it; use it by --model {weights[0]}"
            )
        folder: Path | None = install(MODELS[name], weights[0] if weights else None)
    else:
        load(name)
        folder = MINI if name == "mini" else Path(name) if Path(name).is_dir() else None
    return Output([{"model": name, "ready": True, "folder": folder and str(folder)}], format_record)


def _add_export(to: Parser) -> None:
    _add_source(to)
    to.add_argument(
        "--to",
        choices=("onnx", "torch-export", "safetensors"),
        required=True,
        help="format of the file: docs/export.md",
    )
    add_option(to, "--out", required=True, help="file to write: .onnx, .pt2 or .safetensors")


def run_export(arguments: Namespace) -> Output:
    """Write a model for programs without this package."""
    check_model(arguments.model, arguments.weights)

    from dreamsim_metric.export import export
    from dreamsim_metric.loading import load

    metric = load(arguments.model, source=arguments.weights)
    largest = export(metric, arguments.to, arguments.out)
    row = {
        "model": metric.card.name,
        "format": arguments.to,
        "written": str(arguments.out),
        "MB": arguments.out.stat().st_size / 1e6,
        "largest difference": largest,
    }
    return Output([row], format_record)


def find_card(name: str | None, weights: Sequence[Path] | None = None) -> ModelCard:
    """Find the card of a model; of a network that timm, open_clip or the hub has, it takes the network itself.

    Raises:
        As `check_model` and `load`.
    """
    name = check_model(name, weights)
    tuned = any(is_checkpoint(path) for path in (Path(name), *(weights or ())))
    if name in MODELS and not tuned:
        return MODELS[name]
    if not tuned and (":" not in name or Path(name).is_dir()):
        return read_card(MINI if name == "mini" else Path(name))
    from dreamsim_metric.loading import load

    return load(name, source=weights).card


COMMANDS = (
    Command("models", "the named models", run_models),
    Command("info", "what a model is", run_info, _add_source),
    Command("download", "get a released model ready for use without network", run_download, _add_source),
    Command(
        "export", "write a model as a file that loads without this package", run_export, _add_export, extra="export"
    ),
)
