"""`dreamsim-data generate`, `sheet` and `categories`: pictures that people can judge."""

import os
from argparse import Namespace
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from data_tools.categories import list_categories, read_categories
from data_tools.commands.pipeline import add_pipeline, check_pipeline
from data_tools.manifest import check_folder_of_run
from dreamsim_metric.bounds import check_least
from dreamsim_metric.commands.names import check_folder
from dreamsim_metric.commands.options import add_option
from dreamsim_metric.commands.output import Output
from dreamsim_metric.commands.parser import Parser
from dreamsim_metric.commands.program import Command


def _add_generate(to: Parser) -> None:
    to.add_argument(
        "--categories", required=True, metavar="NAME", help="list of `dreamsim-data categories`, or a file, one a line"
    )
    to.add_argument("--template", default="An image of a {category}", metavar="TEXT", help="prompt of a category")
    to.add_argument("--triplets", type=int, metavar="N", help="triplets, of three seeds of one prompt each")
    to.add_argument("--pairs", type=int, metavar="N", help="pictures to vary, each in all strengths")
    to.add_argument(
        "--strengths", type=float, nargs="+", default=[0.2, 0.4, 0.6, 0.8], metavar="N", help="strengths, up to 1"
    )
    to.add_argument(
        "--vary", choices=("image", "noise"), default="image", help="what varies: the picture, or the noise before it"
    )
    add_option(to, "--out", required=True, help="folder for pictures and tables; a run that is there goes on")
    to.add_argument("--steps", type=int, default=30, metavar="N", help="steps of the scheduler")
    to.add_argument("--guidance", type=float, metavar="N", help="scale of guidance (default: the pipeline's own)")
    to.add_argument(
        "--size",
        type=int,
        nargs="+",
        metavar="N",
        help="pixels: a side, or width and height (default: the model's own)",
    )
    to.add_argument(
        "--scheduler", metavar="NAME", help="class of diffusers that fits the pipeline (default: the pipeline's own)"
    )
    add_option(to, "--seed")
    add_option(to, "--batch-size", default=4)
    add_pipeline(to)


def run_generate(arguments: Namespace) -> Output | None:
    """Paint triplets or pairs."""
    names = read_categories(arguments.categories)
    size = arguments.size
    if size is not None and len(size) > 2:
        raise ValueError(f"got --size {' '.join(map(str, size))}; expected a side, or width and height")
    check_pipeline(arguments.model, arguments.additions)
    if os.environ.get("RANK", "0") == "0":  # of several processes, the first begins the folder
        check_folder_of_run(arguments.out)

    from data_tools.generation import Config, generate
    from dreamsim_metric.images.device import choose_default_device

    _silence_libraries()
    cuda = (arguments.device or choose_default_device()).startswith("cuda")
    same = ("model", "additions", "template", "strengths", "vary", "revision", "variant", "scheduler")
    config = Config(
        categories=names,
        triplets=arguments.triplets or 0,
        pairs=arguments.pairs or 0,
        size=(size[0], size[-1]) if size else None,
        dtype=arguments.precision or ("float16" if cuda else "float32"),
        **{name: getattr(arguments, name) for name in (*same, "steps", "guidance", "seed", "batch_size")},
    )
    summary = generate(config, arguments.out, arguments.device)
    if int(os.environ.get("LOCAL_RANK", "0")):  # one of several processes, of which one speaks
        return None

    def lines(rows: Any) -> Iterator[str]:
        kind = "triplets" if config.triplets else "pairs"
        yield f"{summary.groups} {kind}, {summary.pictures} pictures in {arguments.out}"
        for reason, count in summary.dropped.items():
            yield f"{count} dropped: {reason}"
        if summary.incomplete:
            yield f"{summary.incomplete} {kind} incomplete: no seed gave a picture that could be kept"

    return Output([asdict(summary)], lines, single=True)


def _silence_libraries() -> None:
    """The libraries' bars and remarks on loading are not about what the user asked for."""
    import diffusers
    import transformers

    for library in (diffusers, transformers):
        library.utils.logging.set_verbosity_error()
        library.utils.logging.disable_progress_bar()


def _add_sheet(to: Parser) -> None:
    to.add_argument("folder", type=Path, metavar="DIR", help="folder that `generate` wrote to")
    add_option(to, "--out", help="picture to write, PNG (default: sheet.png in the folder)")
    to.add_argument("--side", type=int, default=128, metavar="N", help="pixels of a picture's side")
    to.add_argument("--columns", type=int, default=2, metavar="N", help="lines side by side")


def run_sheet(arguments: Namespace) -> Output:
    """Put all pictures on one."""
    for option, value in (("--side", arguments.side), ("--columns", arguments.columns)):
        check_least(option, value)
    check_folder(arguments.folder)

    from data_tools.sheet import write_sheet

    path = arguments.out or arguments.folder / "sheet.png"
    shown = write_sheet(arguments.folder, path, arguments.side, arguments.columns)
    return Output([{"written": str(path), "lines": shown}], lambda rows: [f"{path}: {shown} lines"])


def _add_categories(to: Parser) -> None:
    to.add_argument("name", nargs="?", metavar="NAME", help="list whose names are shown (default: all lists)")


def run_categories(arguments: Namespace) -> Output:
    """Show the lists of categories, or the names in one."""
    if arguments.name:
        names = read_categories(arguments.name)
        return Output([{"category": name} for name in names], lambda rows: names)
    rows = [{"list": name, "categories": count} for name, count in list_categories().items()]
    return Output(rows, lambda rows: (f"{row['list']:16} {row['categories']:5}" for row in rows))


COMMANDS = (
    Command("generate", "pictures of one prompt from several seeds, or variations", run_generate, _add_generate),
    Command("sheet", "a contact sheet of what was generated", run_sheet, _add_sheet),
    Command("categories", "the lists of categories; or the names in one", run_categories, _add_categories),
)
