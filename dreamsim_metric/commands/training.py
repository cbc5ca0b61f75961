"""`dreamsim-metric train`, `evaluate` and `calibrate`: models and what people said."""

import argparse
import os
from argparse import Namespace
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dreamsim_metric.bounds import check_least
from dreamsim_metric.commands.fields import add_fields, show_defaults
from dreamsim_metric.commands.names import check_data, check_model, check_new
from dreamsim_metric.commands.options import NETWORKS, add_cache, add_option, add_options, load_metric, open_cache
from dreamsim_metric.commands.output import Output, format_record
from dreamsim_metric.commands.parser import Parser
from dreamsim_metric.commands.program import Command
from dreamsim_metric.files.json_file import read_json
from dreamsim_metric.files.write import write_file
from dreamsim_metric.judgements.formats import FORMATS
from dreamsim_metric.models import choose_default_model
from dreamsim_metric.weights.folder import CARD, read_card

if TYPE_CHECKING:
    from dreamsim_metric.evaluation.judging import Judged
    from dreamsim_metric.metric import PerceptualMetric
    from dreamsim_metric.training.config import Config


def _add_train(to: Parser) -> None:
    from dreamsim_metric.training.config import Config, list_presets

    known = list_presets(Path(), Path())
    to.description = (
        "Tune a metric on judged triplets. The defaults shown are those of the PRESET before --help,\n"
        "without one those that presets begin with.\n"
        "Several GPUs: accelerate launch -m dreamsim_metric.cli train …"
    )
    to.epilog = "presets:\n" + "\n".join(f"  {name:15} {about}" for name, (about, _) in known.items())

    class Choose(argparse.Action):
        """Chooses a preset, whose values are then the defaults that the help says."""

        def __call__(self, parser: Any, namespace: Namespace, values: Any, option_string: str | None = None) -> None:
            setattr(namespace, self.dest, values)
            show_defaults(options, Config, {**vars(known[values][1]), "data": None, "out": None})

    to.add_argument(
        "preset", metavar="PRESET", choices=tuple(known), action=Choose, help="recipe to begin with, see below"
    )
    options = add_fields(to, Config)


def run_train(arguments: Namespace) -> Output | None:
    """Tune a metric; what is printed are the figures of the best model."""
    config = _make_config(arguments)
    check_data(config.data)
    if config.weights and len(config.weights) != len(config.model):
        raise ValueError(f"got {len(config.weights)} --weights; expected one for each of {', '.join(config.model)}")
    for i, name in enumerate(config.model):
        check_model(name, config.weights[i : i + 1])

    from dreamsim_metric.judgements.readers import find_kinds, read_triplets  # without torch
    from dreamsim_metric.training.checkpoints import check_out

    if "triplets" not in find_kinds(config.data):
        read_triplets(config.data, config.format)  # says what was looked for
    if os.environ.get("RANK", "0") == "0":  # of several processes, the first begins the folder
        check_out(config)

    from dreamsim_metric.training.loop import train

    folder = train(config)
    if os.environ.get("RANK", "0") != "0":  # one of several processes, of which one speaks
        return None
    metrics = read_json(folder / "metrics.json", "train again into another folder")
    return Output([{"model": str(folder), **metrics}], format_record)


def _make_config(arguments: Namespace) -> "Config":
    from dreamsim_metric.training.config import list_presets

    given = vars(arguments)
    _, preset = list_presets(arguments.data, arguments.out)[arguments.preset]
    values = {field.name: given[field.name] for field in fields(preset) if field.name in given}
    changes: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in values.items()}
    return replace(preset, **changes)


def _add_judging(to: Parser, split: str) -> None:
    add_options(to, "--data")
    to.add_argument("--split", default=split, metavar="NAME", help="part of the data, or all")
    to.add_argument("--format", choices=FORMATS, help="format of the data (default: by its layout)")
    add_options(to, "--min-votes", *NETWORKS, "--workers")
    add_cache(to)


def _add_evaluate(to: Parser) -> None:
    _add_judging(to, "test")
    add_option(to, "--out", help="folder for tables, the hardest triplets and reliability diagrams")
    to.add_argument("--hardest", type=int, default=12, metavar="N", help="triplets on the sheet of the hardest")
    to.add_argument("--record", action="store_true", help="keep the agreement on the card of the model's folder")


def run_evaluate(arguments: Namespace) -> Output:
    """Measure agreement with people, with intervals."""
    check_least("--hardest", arguments.hardest)
    model = arguments.model or choose_default_model()
    if arguments.record and not (Path(model) / CARD).is_file():
        raise ValueError(
            f"got --record with {model}; expected the folder of a model, such as a run or save_pretrained's"
        )
    if arguments.record and arguments.precision != "float32":
        raise ValueError(f"got --record with --precision {arguments.precision}; a card's figures are those of float32")
    metric, judged, data = _read_judged(arguments)

    from dreamsim_metric.evaluation.judging import tabulate_scores, write_report

    rows = tabulate_scores(judged, metric.card)
    if arguments.out:
        about = {"model": model, "data": str(arguments.data), "split": arguments.split, "card": metric.card.name}
        about |= {"precision": arguments.precision}
        write_report(arguments.out, judged, metric.card, rows, about, arguments.hardest)
    if arguments.record:
        found = {row["score"]: row["value"] for row in rows}
        names = {"2AFC": "2AFC agreement with the majority, %", "JND AP": "JND average precision, %"}
        figures = {f"{data} {name}": round(found[score], 2) for name, score in names.items() if score in found}
        card = read_card(Path(model))
        _write_card(Path(model), replace(card, agreement=card.agreement | figures))
    return Output(rows)


def _add_calibrate(to: Parser) -> None:
    _add_judging(to, "val")
    add_option(to, "--out", help="folder for the model with its curves (default: its own)")


def run_calibrate(arguments: Namespace) -> Output:
    """Fit what a model's distances mean, and keep it on its card."""
    name = arguments.model or choose_default_model()
    if not arguments.out and not (Path(name) / CARD).is_file():
        raise ValueError(f"got no --out; {name} is not a folder that could keep the curves")
    check_new(arguments.out)
    metric, judged, data = _read_judged(arguments)

    from dreamsim_metric.evaluation.judging import calibrate

    card = calibrate(judged, metric.card, data)
    if arguments.out:
        from dreamsim_metric.loading import load

        kept = load(arguments.model, source=arguments.weights)  # in float32, whatever was measured with
        kept.card = replace(card, name=arguments.out.name)
        kept.save_pretrained(arguments.out)
    else:
        _write_card(Path(name), replace(read_card(Path(name)), left=card.left, same=card.same))
    curves = {"probability_left": card.left, "probability_same": card.same}
    return Output([{"curve": kind, **vars(curve)} for kind, curve in curves.items() if curve is not None])


def _write_card(folder: Path, card: Any) -> None:
    write_file(folder / CARD, card.to_json().encode())


def _read_judged(arguments: Namespace) -> tuple["PerceptualMetric", "Judged", str]:
    """The model, its distances of what people judged, and what that is called."""
    check_model(arguments.model, arguments.weights)
    check_data(arguments.data)

    from dreamsim_metric.judgements.readers import find_kinds, read_pairs, read_triplets  # without torch

    held = find_kinds(arguments.data)
    triplets = pairs = None
    if "triplets" in held or not held:  # if it holds nothing, the error says what was looked for
        triplets = read_triplets(arguments.data, arguments.format, min_votes=arguments.min_votes)
    if "pairs" in held:
        pairs = read_pairs(arguments.data, arguments.format if arguments.format in ("table", "bapps") else None)
    table: Any = triplets or pairs
    data = f"{table.name} {arguments.split}"
    triplets, pairs = _split(triplets, arguments.split, pairs), _split(pairs, arguments.split, triplets)

    from dreamsim_metric.evaluation.judging import judge

    metric = load_metric(arguments)
    cache = None if arguments.no_cache else open_cache(arguments)
    judged = judge(metric, triplets, pairs, cache, batch_size=arguments.batch_size, workers=arguments.workers)
    return metric, judged, data


def _split(table: Any, split: str, other: Any) -> Any:
    """The split, or nothing where only the other table has it."""
    if table is None or (split not in ("all", *table.splits) and other is not None and split in other.splits):
        return None
    return table.split(split)


COMMANDS = (
    Command("train", "tune a metric on judged triplets: train PRESET --help", run_train, _add_train, extra="train"),
    Command("evaluate", "how well a model agrees with people", run_evaluate, _add_evaluate, extra="train"),
    Command(
        "calibrate", "what a model's distances mean, kept on its card", run_calibrate, _add_calibrate, extra="train"
    ),
)
