"""The command `dreamsim-metric`: results on stdout as a table, JSON or CSV; progress and errors on stderr."""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from dreamsim_metric.card import PRECISIONS, ModelCard
from dreamsim_metric.commands.run import run_command
from dreamsim_metric.commands.scale import add_scoring_commands, load_metric
from dreamsim_metric.files.pictures import find_pictures
from dreamsim_metric.files.table import format_csv
from dreamsim_metric.models import MODELS, list_models, unknown_model
from dreamsim_metric.version import __version__
from dreamsim_metric.weights.download import model_dir
from dreamsim_metric.weights.folder import CARD, MINI

Row = dict[str, Any]

_EXAMPLES = """examples:
  dreamsim-metric distance cat.jpg dog.jpg          0 is the same picture, 2 the most that two can differ
  dreamsim-metric rank cat.jpg photos --top 5       what in a folder looks most like a picture
  dreamsim-metric matrix photos --csv > all.csv     every pair
  dreamsim-metric score pairs.csv --out scored.csv  a table of pairs, of any length; two folders work too
  dreamsim-metric duplicates photos --below 0.05    what is there twice, or nearly
  dreamsim-metric download ensemble                 the model for published comparisons; then --model ensemble
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line. Returns the exit status: 0, 1 for an error, 2 for a wrong call, 130 when interrupted."""
    argv = list(sys.argv[1:] if argv is None else argv)
    # The options of `train` are those of training.config, which argparse cannot pass on as they are.
    rest = argv[1:] if argv[:1] == ["train"] else []
    ours = [option for option in rest if option in ("--json", "--csv", "--debug")]
    arguments = _parser().parse_args([*argv[: len(argv) - len(rest)], *ours])
    arguments.rest = [option for option in rest if option not in ours]
    return run_command(
        "dreamsim-metric",
        lambda: _print(arguments.run(arguments), arguments),
        extra=getattr(arguments, "extra", "train"),
        debug=arguments.debug,
        interrupted=getattr(arguments, "interrupted", ""),
    )


def _parser() -> argparse.ArgumentParser:
    output = argparse.ArgumentParser(add_help=False)
    formats = output.add_mutually_exclusive_group()
    formats.add_argument("--json", action="store_true", help="print JSON")
    formats.add_argument("--csv", action="store_true", help="print CSV")
    output.add_argument("--debug", action="store_true", help="show the traceback of an error")

    kinds = "a name from `models`, a folder, timm:NAME, open_clip:ARCH/TAG or hf:OWNER/REPO"
    scoring = argparse.ArgumentParser(add_help=False)
    scoring.add_argument("--model", help=f"{kinds} (default: $DREAMSIM_METRIC_MODEL, else mini)")
    scoring.add_argument("--device", help="cpu, cuda, cuda:1, mps (default: cuda where there is one, else cpu)")
    scoring.add_argument("--batch-size", type=int, default=32, metavar="N", help="pictures at once (default: 32)")
    scoring.add_argument(
        "--precision", choices=PRECISIONS, default="float32", help="of the networks (default: float32)"
    )
    scoring.add_argument("--compile", action="store_true", help="compile the networks: for very many pictures on a GPU")

    parser = argparse.ArgumentParser(
        prog="dreamsim-metric",
        description="How different two pictures look to a person.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"dreamsim-metric {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add_data_arguments(to: argparse.ArgumentParser, split: str) -> None:
        to.add_argument(
            "model", metavar="MODEL", nargs="?", help=f"{kinds} (default: $DREAMSIM_METRIC_MODEL, else mini)"
        )
        to.add_argument(
            "--data", required=True, metavar="DIR", help="judged triplets (2AFC), judged pairs (JND) or both"
        )
        to.add_argument("--split", default=split, help=f"which part of the data, or all (default: {split})")
        to.add_argument("--format", choices=("nights", "table", "bapps", "materials"), help="default: by its layout")
        to.add_argument(
            "--min-votes", type=float, metavar="N", help="leave out triplets with fewer (NIGHTS: 6, else 0)"
        )
        to.add_argument("--device", help="cpu, cuda, cuda:1, mps (default: cuda where there is one, else cpu)")
        to.add_argument("--batch-size", type=int, default=32, metavar="N", help="pictures at once (default: 32)")
        to.add_argument("--workers", type=int, default=4, metavar="N", help="threads that decode (default: 4)")

    def command(name: str, run: Any, help_: str, *parents: argparse.ArgumentParser) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=help_, description=help_, parents=[*parents, output])
        added.set_defaults(run=run)
        return added

    pictures = "pictures, or folders that stand for the pictures directly in them"
    pair = command("distance", _distance, "distances between one picture and others", scoring)
    pair.add_argument("a", metavar="A", help="a picture")
    pair.add_argument("b", metavar="B", nargs="+", help=pictures)
    matrix = command("matrix", _matrix, "distances between all pictures", scoring)
    matrix.add_argument("pictures", metavar="DIR|FILE", nargs="+", help=pictures)
    add_scoring_commands(command, scoring)
    difference = command("difference", _difference, "a picture of where two pictures differ", scoring)
    difference.add_argument("a", metavar="A", help="a picture")
    difference.add_argument("b", metavar="B", help="the picture that the map is laid over")
    difference.add_argument("--out", required=True, metavar="FILE", help="the picture to write, PNG")
    command("train", _train, "tune a metric on judged triplets: train PRESET --help")
    evaluation = command("evaluate", _evaluate, "how well a model agrees with people")
    calibration = command("calibrate", _calibrate, "fit what a model's distances mean, and keep it on its card")
    add_data_arguments(evaluation, "test")
    evaluation.add_argument("--out", metavar="DIR", help="write tables, the hardest triplets and reliability diagrams")
    evaluation.add_argument("--hardest", type=int, default=12, metavar="N", help="triplets on that sheet (default: 12)")
    evaluation.add_argument(
        "--record", action="store_true", help="keep the agreement on the card of the model's folder"
    )
    add_data_arguments(calibration, "val")
    calibration.add_argument("--out", metavar="DIR", help="folder for the model with its curves (default: its own)")
    command("models", _models, "the named models")
    info = command("info", _info, "what a model is")
    info.add_argument("model", metavar="MODEL", help=kinds)
    download = command("download", _download, "get a released model ready for use without network")
    download.add_argument("model", metavar="MODEL", help=kinds)
    download.add_argument("--from", dest="source", metavar="PATH", help="a release already on disk: archive or folder")
    exporting = command("export", _export, "write a model as a file that loads without this package")
    exporting.add_argument("model", metavar="MODEL", help=kinds)
    exporting.add_argument(
        "--to", choices=("onnx", "torch-export", "safetensors"), required=True, help="docs/export.md"
    )
    exporting.add_argument(
        "--out", required=True, metavar="FILE", help="the file to write: .onnx, .pt2 or .safetensors"
    )
    exporting.set_defaults(extra="export")
    return parser


def _distance(arguments: argparse.Namespace) -> list[Row]:
    files = find_pictures(arguments.b)
    d = _from_one(arguments.a, files, arguments)
    return [{"a": arguments.a, "b": b, "distance": value} for b, value in zip(files, d, strict=True)]


def _matrix(arguments: argparse.Namespace) -> list[Row]:
    from dreamsim_metric.distances import all_distances
    from dreamsim_metric.functional import embed

    files = find_pictures(arguments.pictures)
    u = embed(files, progress=True, **_scoring(arguments))
    rows = zip(files, all_distances(u, u).tolist(), strict=True)
    return [{"picture": file, **dict(zip(files, values, strict=True))} for file, values in rows]


def _from_one(reference: str, files: list[str], arguments: argparse.Namespace) -> list[float]:
    from dreamsim_metric.distances import all_distances
    from dreamsim_metric.functional import embed

    scoring = _scoring(arguments)
    return all_distances(embed(reference, **scoring), embed(files, progress=True, **scoring))[0].tolist()


def _difference(arguments: argparse.Namespace) -> list[Row]:
    import PIL.Image
    import PIL.ImageOps

    from dreamsim_metric.difference import overlay
    from dreamsim_metric.files.write import write_file
    from dreamsim_metric.images.encoding import encode

    metric = _scoring(arguments)["model"]
    found = metric.difference_map(arguments.a, arguments.b)[0]
    with PIL.Image.open(arguments.b) as opened:
        drawn = overlay(PIL.ImageOps.exif_transpose(opened).convert("RGB"), found)
    write_file(Path(arguments.out), encode(drawn))
    y, x = divmod(int(found.argmax()), found.shape[1])
    return [
        {
            "a": arguments.a,
            "b": arguments.b,
            "distance": metric(arguments.a, arguments.b).item(),
            "most different": found.max().item(),
            "at x": x / found.shape[1],
            "at y": y / found.shape[0],
            "written": arguments.out,
        }
    ]


def _train(arguments: argparse.Namespace) -> list[Row]:
    from dreamsim_metric.commands.training import train_command

    return train_command(arguments.rest)


def _evaluate(arguments: argparse.Namespace) -> list[Row]:
    from dreamsim_metric.commands.training import evaluate_command

    return evaluate_command(arguments)


def _calibrate(arguments: argparse.Namespace) -> list[Row]:
    from dreamsim_metric.commands.training import calibrate_command

    return calibrate_command(arguments)


def _models(arguments: argparse.Namespace) -> list[Row]:
    return [
        {
            "model": card.name,
            "embedding": card.embedding_size,
            "ready": card.name == "mini" or model_dir(card.name).is_dir(),
            "agreement": card.agreement,
            "description": card.description,
        }
        for card in map(_card, list_models())
    ]


def _info(arguments: argparse.Namespace) -> list[Row]:
    return [asdict(_card(arguments.model))]


def _download(arguments: argparse.Namespace) -> list[Row]:
    from dreamsim_metric.loading import install, load

    name = arguments.model
    if name in MODELS:
        folder: Path | None = install(MODELS[name], Path(arguments.source) if arguments.source else None)
    elif arguments.source:
        raise ValueError(f"got --from with {name}; expected one of the released models: {', '.join(MODELS)}")
    else:
        load(name)
        folder = MINI if name == "mini" else Path(name) if Path(name).is_dir() else None
    return [{"model": name, "ready": True, "folder": folder and str(folder)}]


def _export(arguments: argparse.Namespace) -> list[Row]:
    from dreamsim_metric.export import export
    from dreamsim_metric.loading import load

    metric = load(arguments.model)
    difference = export(metric, arguments.to, arguments.out)
    return [
        {
            "model": metric.card.name,
            "format": arguments.to,
            "written": arguments.out,
            "MB": Path(arguments.out).stat().st_size / 1e6,
            "largest difference": difference,
        }
    ]


def _card(name: str) -> ModelCard:
    if name in MODELS:
        return MODELS[name]
    folder = MINI if name == "mini" else Path(name)
    if (folder / CARD).is_file():
        return ModelCard.from_json((folder / CARD).read_text(encoding="utf-8"))
    if ":" not in name:
        raise unknown_model(name)
    from dreamsim_metric.loading import load

    return load(name).card


def _scoring(arguments: argparse.Namespace) -> dict[str, Any]:
    """Arguments of `embed`; the metric is made here so that its calls share it."""
    return {"model": load_metric(arguments), "batch_size": arguments.batch_size}


def _print(rows: list[Row], arguments: argparse.Namespace) -> None:
    if not rows:
        return
    if arguments.json:
        print(json.dumps(rows[0] if arguments.run is _info else rows, indent=2))
    elif arguments.csv:
        print(format_csv([{name: _cell(value) for name, value in row.items()} for row in rows]), end="")
    elif arguments.run in (_info, _download, _train, _export):
        _print_record(rows[0])
    elif arguments.run is _matrix:  # paths are too wide to head columns
        names = ["picture", *map(str, range(1, len(rows[0])))]
        _print_table([{"": i, **dict(zip(names, row.values(), strict=True))} for i, row in enumerate(rows, start=1)])
    else:
        _print_table(rows)


def _cell(value: Any) -> Any:
    return json.dumps(value) if isinstance(value, dict | list | tuple | bool) else value


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None:
        return "none"
    if isinstance(value, dict):  # agreement by data set: the last is the test
        return next((f"{percent:.1f} % {on}" for on, percent in reversed(value.items())), "")
    if isinstance(value, float):  # what is next to nothing is not shown as nothing
        return f"{value:.0e}" if 0 < abs(value) < 5e-5 else f"{value:.4f}"
    return str(value)


def _print_table(rows: list[Row]) -> None:
    shown = ({name: "" if value is None else _shown(value) for name, value in row.items()} for row in rows)
    cells = [{name: name for name in rows[0]}, *shown]
    widths = {name: max(len(row[name]) for row in cells) for name in rows[0]}
    right = {name for name, value in rows[0].items() if isinstance(value, int | float) and not isinstance(value, bool)}
    for row in cells:
        line = (f"{value:{'>' if name in right else '<'}{widths[name]}}" for name, value in row.items())
        print("  ".join(line).rstrip())


def _print_record(row: Row) -> None:
    width = max(map(len, row))
    for name, value in row.items():
        items = [f"{key}: {held}" for key, held in value.items()] if isinstance(value, dict) else [_shown(value)]
        if isinstance(value, tuple):
            items = [
                ", ".join(f"{key} {held}" for key, held in item.items() if held)
                if isinstance(item, dict)
                else str(item)
                for item in value
            ]
        for i, item in enumerate(items):
            print(f"{name if i == 0 else '':{width}}  {item}")


if __name__ == "__main__":
    sys.exit(main())
