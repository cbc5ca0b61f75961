"""The command line, `dreamsim-data`."""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from dreamsim_metric.command import run_command

from .categories import list_categories, read_categories

# Heavy imports (torch, diffusers) are in the functions that need them: `--help` and errors come at once.


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        argv: the arguments; default those of the process.

    Returns:
        As `dreamsim_metric.command.run_command`.
    """
    arguments = _parser().parse_args(argv)
    return run_command(
        "dreamsim-data",
        lambda: arguments.run(arguments),
        extra="data",
        debug=arguments.debug,
        interrupted="the same command goes on where it was",
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="dreamsim-data", description="make human similarity data")
    parser.add_argument("--debug", action="store_true", help="show where an error comes from")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _generate_parser(commands.add_parser("generate", help="pictures of one prompt from several seeds, or variations"))
    sheet = commands.add_parser("sheet", help="a contact sheet of what was generated")
    sheet.set_defaults(run=_sheet)
    sheet.add_argument("folder", type=Path, metavar="DIR", help="generate's --out")
    sheet.add_argument("--out", type=Path, metavar="FILE", help="default: sheet.png in the folder")
    sheet.add_argument("--side", type=int, default=128, metavar="N", help="pixels of a picture (default: 128)")
    sheet.add_argument("--columns", type=int, default=2, metavar="N", help="lines side by side (default: 2)")
    categories = commands.add_parser("categories", help="the lists of categories; or the names in one")
    categories.set_defaults(run=_categories)
    categories.add_argument("name", nargs="?", metavar="LIST")
    return parser


def _generate_parser(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(run=_generate)
    add = parser.add_argument
    add("--model", required=True, metavar="MODEL", help="a folder with a pipeline, or OWNER/NAME of the hub")
    add("--categories", required=True, metavar="LIST", help="a list (dreamsim-data categories) or a file, one a line")
    add("--template", default="An image of a {category}", metavar="TEXT", help="default: %(default)s")
    add("--triplets", type=int, default=0, metavar="N", help="three seeds of one prompt each")
    add("--pairs", type=int, default=0, metavar="N", help="pictures, each with its variations")
    add("--strengths", type=float, nargs="+", default=[0.2, 0.4, 0.6, 0.8], metavar="S", help="of the variations, to 1")
    add("--vary", choices=("image", "noise"), default="image", help="image-to-image, or the noise at the beginning")
    add(
        "--out",
        required=True,
        type=Path,
        metavar="DIR",
        help="for the pictures and tables; a run that is there goes on",
    )
    add("--steps", type=int, default=30, metavar="N", help="of the scheduler (default: 30)")
    add("--guidance", type=float, metavar="SCALE", help="default: the pipeline's own")
    add("--size", type=int, nargs="+", metavar="N", help="pixels: a side, or width and height (default: the model's)")
    add("--scheduler", metavar="CLASS", help="one of diffusers' that fits (default: the pipeline's)")
    add("--seed", type=int, default=0, help="of everything (default: 0)")
    add("--batch-size", type=int, default=4, metavar="N", help="pictures at once (default: 4)")
    add("--revision", help="of the hub's repository")
    add("--variant", help="of the weights' files, such as fp16")
    add("--dtype", metavar="DTYPE", help="float32, float16 or bfloat16 (default: float16 on CUDA, else float32)")
    add("--device", help="default: cuda where there is one, else cpu")
    add("--json", action="store_true", help="print what came of it as JSON")


def _generate(arguments: argparse.Namespace) -> None:
    names = read_categories(arguments.categories)
    size = arguments.size
    if size is not None and len(size) > 2:
        raise ValueError(f"got --size {' '.join(map(str, size))}; expected a side, or width and height")
    import torch

    from .generation import Config, generate

    _quiet()
    cuda = torch.cuda.is_available() if arguments.device is None else arguments.device.startswith("cuda")
    config = Config(
        model=arguments.model,
        categories=names,
        size=(size[0], size[-1]) if size else None,
        dtype=arguments.dtype or ("float16" if cuda else "float32"),
        **{
            name: getattr(arguments, name)
            for name in ("template", "triplets", "pairs", "strengths", "vary", "revision", "variant", "scheduler")
        },
        **{name: getattr(arguments, name) for name in ("steps", "guidance", "seed", "batch_size")},
    )
    summary = generate(config, arguments.out, arguments.device)
    if int(os.environ.get("LOCAL_RANK", "0")):
        return
    if arguments.json:
        print(json.dumps(asdict(summary)))
        return
    kind = "triplets" if config.triplets else "pairs"
    print(f"{summary.groups} {kind}, {summary.pictures} pictures in {arguments.out}")
    for reason, count in summary.dropped.items():
        print(f"{count} dropped: {reason}")
    if summary.incomplete:
        print(f"{summary.incomplete} {kind} incomplete: no seed gave a picture that could be kept")


def _quiet() -> None:
    """The libraries' bars and remarks on loading are not about what the user asked for."""
    import diffusers
    import transformers

    for library in (diffusers, transformers):
        library.utils.logging.set_verbosity_error()
        library.utils.logging.disable_progress_bar()


def _sheet(arguments: argparse.Namespace) -> None:
    from .sheet import sheet

    for option, value in (("--side", arguments.side), ("--columns", arguments.columns)):
        if value < 1:
            raise ValueError(f"got {option} {value}; expected 1 or more")
    path = arguments.out or arguments.folder / "sheet.png"
    shown = sheet(arguments.folder, path, arguments.side, arguments.columns)
    print(f"{path}: {shown} lines")


def _categories(arguments: argparse.Namespace) -> None:
    if arguments.name:
        print("\n".join(read_categories(arguments.name)))
        return
    for name, count in list_categories().items():
        print(f"{name:16} {count:5}")


if __name__ == "__main__":
    sys.exit(main())
