"""The commands `train`, `evaluate` and `calibrate` of `dreamsim-metric`."""

import argparse
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from dreamsim_metric.bounds import check_least
from dreamsim_metric.evaluation.judging import Judged, Row, calibrate, judge, scores, write_report
from dreamsim_metric.files.json_file import read_json
from dreamsim_metric.files.write import write_file
from dreamsim_metric.images.device import default_device
from dreamsim_metric.judgements.readers import kinds, read_pairs, read_triplets
from dreamsim_metric.loading import default_model, load
from dreamsim_metric.metric import PerceptualMetric
from dreamsim_metric.weights.folder import CARD, read_card


def train_command(argv: Sequence[str]) -> list[Row]:
    """`train PRESET --data … --out …`: tune a metric. Returns the figures of the best model."""
    import tyro

    from dreamsim_metric.training.config import presets

    config = tyro.extras.overridable_config_cli(
        presets(tyro.MISSING, tyro.MISSING),
        prog="dreamsim-metric train",
        description="Tune a metric on judged triplets. Several GPUs: accelerate launch -m dreamsim_metric.cli train …",
        args=list(argv),
    )
    # After the command line is known to be right: it takes seconds to import.
    from dreamsim_metric.training.loop import train

    folder = train(config)
    if os.environ.get("RANK", "0") != "0":  # one of several processes, of which one speaks
        return []
    metrics = read_json(folder / "metrics.json", "train again into another folder")
    return [{"model": str(folder), **metrics}]


def evaluate_command(arguments: argparse.Namespace) -> list[Row]:
    """`evaluate MODEL --data DIR`: agreement with people, with intervals."""
    check_least("--hardest", arguments.hardest)
    model = arguments.model or default_model()
    if arguments.record and not (Path(model) / CARD).is_file():
        raise ValueError(
            f"got --record with {model}; expected the folder of a model, such as a run or save_pretrained's"
        )
    metric, judged, data = _judged(arguments)
    rows = scores(judged, metric.card)
    if arguments.out:
        about = {"model": model, "data": str(arguments.data), "split": arguments.split, "card": metric.card.name}
        write_report(Path(arguments.out), judged, metric.card, rows, about, arguments.hardest)
    if arguments.record:
        found = {row["score"]: row["value"] for row in rows}
        names = {"2AFC": "2AFC agreement with the majority, %", "JND AP": "JND average precision, %"}
        figures = {f"{data} {name}": round(found[score], 2) for name, score in names.items() if score in found}
        card = read_card(Path(model))
        _write_card(Path(model), replace(card, agreement=card.agreement | figures))
    return rows


def calibrate_command(arguments: argparse.Namespace) -> list[Row]:
    """`calibrate MODEL --data DIR`: what its distances mean, kept on the card."""
    name = arguments.model or default_model()
    if not arguments.out and not (Path(name) / CARD).is_file():
        raise ValueError(f"got no --out; {name} is not a folder that could keep the curves")
    metric, judged, data = _judged(arguments)
    card = calibrate(judged, metric.card, data)
    if arguments.out:
        metric.card = replace(card, name=Path(arguments.out).name)
        metric.save_pretrained(arguments.out)
    else:
        _write_card(Path(name), replace(read_card(Path(name)), left=card.left, same=card.same))
    curves = {"probability_left": card.left, "probability_same": card.same}
    return [{"curve": kind, **vars(curve)} for kind, curve in curves.items() if curve is not None]


def _write_card(folder: Path, card: Any) -> None:
    write_file(folder / CARD, card.to_json().encode())


def _judged(arguments: argparse.Namespace) -> tuple[PerceptualMetric, Judged, str]:

    held = kinds(arguments.data)
    triplets = pairs = None
    if "triplets" in held or not held:  # if it holds nothing, the error says what was looked for
        triplets = read_triplets(arguments.data, arguments.format, min_votes=arguments.min_votes)
    if "pairs" in held:
        pairs = read_pairs(arguments.data, arguments.format if arguments.format in ("table", "bapps") else None)
    table: Any = triplets or pairs
    data = f"{table.name} {arguments.split}"
    triplets, pairs = _split(triplets, arguments.split, pairs), _split(pairs, arguments.split, triplets)
    metric = load(arguments.model, device=arguments.device or default_device())
    judged = judge(metric, triplets, pairs, batch_size=arguments.batch_size, workers=arguments.workers)
    return metric, judged, data


def _split(table: Any, split: str, other: Any) -> Any:
    """The split, or nothing where only the other table has it."""
    if table is None or (split not in ("all", *table.splits) and other is not None and split in other.splits):
        return None
    return table.split(split)
