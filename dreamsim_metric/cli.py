"""The command `dreamsim-metric`: results on stdout as a table, JSON or CSV; progress and errors on stderr."""

import argparse
import csv
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from . import __version__
from .models import MODELS, ModelCard, list_models, unknown_model
from .weights import model_dir

Row = dict[str, Any]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line. Returns the exit status: 0, 1 for an error, 2 for a wrong call, 130 when interrupted."""
    arguments = _parser().parse_args(argv)
    try:
        _print(arguments.run(arguments), arguments)
        sys.stdout.flush()
        return 0
    except BrokenPipeError:  # the reader, `head` say, has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        print("dreamsim-metric: interrupted", file=sys.stderr)
        return 130
    except Exception as error:
        if arguments.debug:
            raise
        text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        print(f"dreamsim-metric: {' '.join((text or type(error).__name__).split())}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    output = argparse.ArgumentParser(add_help=False)
    formats = output.add_mutually_exclusive_group()
    formats.add_argument("--json", action="store_true", help="print JSON")
    formats.add_argument("--csv", action="store_true", help="print CSV")
    output.add_argument("--debug", action="store_true", help="show the traceback of an error")

    scoring = argparse.ArgumentParser(add_help=False)
    scoring.add_argument("--model", help="a name from `models`, a folder, timm:…, open_clip:… or hf:… (default: mini)")
    scoring.add_argument("--device", help="cpu, cuda, cuda:1, mps (default: cuda where there is one, else cpu)")
    scoring.add_argument("--batch-size", type=int, default=32, metavar="N", help="pictures at once (default: 32)")

    parser = argparse.ArgumentParser(prog="dreamsim-metric", description="How similar two pictures look to a person.")
    parser.add_argument("--version", action="version", version=f"dreamsim-metric {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, run: Any, help_: str, *parents: argparse.ArgumentParser) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=help_, description=help_, parents=[*parents, output])
        added.set_defaults(run=run)
        return added

    pair = command("distance", _distance, "distances between one picture and others", scoring)
    pair.add_argument("a", metavar="A")
    pair.add_argument("b", metavar="B", nargs="+")
    matrix = command("matrix", _matrix, "distances between all pictures", scoring)
    matrix.add_argument("pictures", metavar="DIR|FILE", nargs="+")
    rank = command("rank", _rank, "the pictures of a folder, nearest first", scoring)
    rank.add_argument("query", metavar="QUERY")
    rank.add_argument("pictures", metavar="DIR|FILE", nargs="+")
    rank.add_argument("--top", type=int, default=10, metavar="K", help="how many (default: 10)")
    command("models", _models, "the named models")
    info = command("info", _info, "what a model is")
    info.add_argument("model", metavar="MODEL")
    download = command("download", _download, "get a released model ready for use without network")
    download.add_argument("model", metavar="MODEL")
    download.add_argument("--from", dest="source", metavar="PATH", help="a release archive or folder already on disk")
    return parser


def _distance(arguments: argparse.Namespace) -> list[Row]:
    d = _from_one(arguments.a, arguments.b, arguments)
    return [{"a": arguments.a, "b": b, "distance": value} for b, value in zip(arguments.b, d, strict=True)]


def _matrix(arguments: argparse.Namespace) -> list[Row]:
    from .functional import embed
    from .metric import all_distances

    files = _files(arguments.pictures)
    u = embed(files, progress=True, **_scoring(arguments))
    rows = zip(files, all_distances(u, u).tolist(), strict=True)
    return [{"picture": file, **dict(zip(files, values, strict=True))} for file, values in rows]


def _rank(arguments: argparse.Namespace) -> list[Row]:
    if arguments.top < 1:
        raise ValueError(f"got --top {arguments.top}; expected 1 or more")
    files = _files(arguments.pictures)
    nearest = sorted(zip(_from_one(arguments.query, files, arguments), files, strict=True))[: arguments.top]
    return [{"rank": i, "picture": file, "distance": d} for i, (d, file) in enumerate(nearest, start=1)]


def _from_one(reference: str, files: list[str], arguments: argparse.Namespace) -> list[float]:
    from .functional import embed
    from .metric import all_distances

    scoring = _scoring(arguments)
    u = embed(reference, **scoring)
    return all_distances(u, embed(files, progress=True, **scoring))[0].tolist()


def _models(arguments: argparse.Namespace) -> list[Row]:
    return [
        {
            "model": name,
            "embedding": card.embedding_size,
            "ready": "yes" if name == "mini" or model_dir(name).is_dir() else "download",
            "agreement": "; ".join(f"{on} {percent:g} %" for on, percent in card.agreement.items()),
            "description": card.description,
        }
        for name in list_models()
        for card in [_card(name)]
    ]


def _info(arguments: argparse.Namespace) -> list[Row]:
    from .metric import load

    named = arguments.model in list_models()
    return [asdict(_card(arguments.model) if named else load(arguments.model).card)]


def _download(arguments: argparse.Namespace) -> list[Row]:
    from .metric import install, load

    if arguments.model in MODELS:
        folder = install(MODELS[arguments.model], Path(arguments.source) if arguments.source else None)
        return [{"model": arguments.model, "folder": str(folder)}]
    if arguments.source:
        raise ValueError(f"got --from with {arguments.model}; expected one of the released models: {', '.join(MODELS)}")
    load(arguments.model)
    return [{"model": arguments.model, "folder": "ready (in the wheel or in its library's own cache)"}]


def _card(name: str) -> ModelCard:
    if name == "mini":
        from .metric import MINI

        return ModelCard.from_json((MINI / "card.json").read_text(encoding="utf-8"))
    if name not in MODELS:
        raise unknown_model(name)
    return MODELS[name]


def _scoring(arguments: argparse.Namespace) -> dict[str, Any]:
    """Arguments of `embed`; the metric is made here so that its calls share it."""
    import torch

    from .metric import load

    device = arguments.device or ("cuda" if torch.cuda.is_available() else "cpu")
    return {"model": load(arguments.model, device=device), "batch_size": arguments.batch_size}


def _files(given: list[str]) -> list[str]:
    """Files as given; a folder stands for the pictures in it, in the order of their names."""
    import PIL.Image

    endings = set(PIL.Image.registered_extensions())
    files: list[str] = []
    for name in given:
        if Path(name).is_dir():
            found = sorted(str(file) for file in Path(name).iterdir() if file.suffix.lower() in endings)
            if not found:
                raise ValueError(f"{name} holds no pictures (no file with a picture's ending); name a folder that does")
            files += found
        else:
            files.append(name)
    return files


def _print(rows: list[Row], arguments: argparse.Namespace) -> None:
    if arguments.json:
        one = arguments.run is _info
        print(json.dumps(rows[0] if one else rows, indent=2))
    elif arguments.csv:
        writer = csv.DictWriter(sys.stdout, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    elif arguments.run in (_info, _download):
        width = max(len(name) for name in rows[0])
        for name, value in rows[0].items():
            print(f"{name:{width}}  {json.dumps(value) if isinstance(value, list | tuple | dict) else value}")
    else:
        _print_table([{name: _shown(value) for name, value in row.items()} for row in rows])


def _shown(value: Any) -> str:
    return f"{value:.4f}" if isinstance(value, float) else str(value)


def _print_table(rows: list[dict[str, str]]) -> None:
    widths = {name: max(len(name), *(len(row[name]) for row in rows)) for name in rows[0]}
    for row in [{name: name for name in rows[0]}, *rows]:
        cells = (
            f"{value:>{widths[name]}}" if value[:1].isdigit() else f"{value:{widths[name]}}"
            for name, value in row.items()
        )
        print("  ".join(cells).rstrip())


if __name__ == "__main__":
    sys.exit(main())
