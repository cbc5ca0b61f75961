"""The command line, `dreamsim-data`."""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from data_tools.categories import list_categories, read_categories
from dreamsim_metric.commands.run import run_command

# Heavy imports (torch, diffusers) are in the functions that need them: `--help` and errors come at once.


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        argv: the arguments; default those of the process.

    Returns:
        As `dreamsim_metric.commands.run.run_command`.
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
    _study_parser(commands.add_parser("study", help="what people are to judge of the pictures"))
    serve = commands.add_parser("serve", help="the page where people judge, and the server that keeps their votes")
    serve.set_defaults(run=_serve)
    serve.add_argument("folder", type=Path, metavar="STUDY", help="study's --out")
    serve.add_argument("--host", default="127.0.0.1", help="address to listen at; 0.0.0.0: all (default: %(default)s)")
    serve.add_argument("--port", type=int, default=8000, help="default: %(default)s")
    simulate = commands.add_parser("simulate", help="answers of a model of noisy raters, to try a study; no people's")
    simulate.set_defaults(run=_simulate)
    simulate.add_argument("folder", type=Path, metavar="STUDY", help="that is served at --url")
    simulate.add_argument("--url", default="http://127.0.0.1:8000", help="default: %(default)s")
    simulate.add_argument("--raters", type=int, default=10, metavar="N", help="default: %(default)s")
    simulate.add_argument("--noise", type=float, default=0.05, metavar="D", help="in units of distance (default: 0.05)")
    simulate.add_argument("--careless", type=float, default=0.0, metavar="SHARE", help="of raters who never look")
    simulate.add_argument("--seed", type=int, default=0)
    for name, run, text in (
        ("export", _export, "what people agree on, as a data set to train on"),
        ("stats", _stats, "how much people agree"),
    ):
        command = commands.add_parser(name, help=text)
        command.set_defaults(run=run)
        command.add_argument("folder", type=Path, metavar="STUDY")
        command.add_argument("--quick", type=float, default=0.0, metavar="MS", help="leave out answers that took less")
        command.add_argument(
            "--max-quick", type=float, default=1.0, metavar="SHARE", help="and raters with more of them"
        )
        command.add_argument("--json", action="store_true", help="for programs")
        if name == "export":
            command.add_argument("--out", required=True, type=Path, metavar="DIR", help="a new folder")
            command.add_argument("--min-votes", type=int, metavar="N", help="default: those of all rounds; pairs: 1")
            command.add_argument("--disputed", action="store_true", help="keep triplets that people disagree on")
        else:
            command.add_argument("--out", type=Path, metavar="FILE", help="a picture of the figures, .png or .svg")
    validate = commands.add_parser("validate", help="look for everything that is wrong with a data set")
    validate.set_defaults(run=_validate)
    validate.add_argument("folder", type=Path, metavar="DIR", help="with data.csv or jnd.csv")
    validate.add_argument("--shared-pictures", action="store_true", help="allow pictures that several splits show")
    return parser


def _study_parser(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(run=_study)
    add = parser.add_argument
    add("pictures", type=Path, metavar="DIR", help="generate's --out")
    add("--out", required=True, type=Path, metavar="STUDY", help="a new folder")
    add("--rounds", type=int, nargs="+", metavar="N", help="votes of each round; only what is unanimous goes on")
    add("--trials", type=int, metavar="N", help="questions a rater (default: 50)")
    add("--practice", type=int, metavar="N", help="screens with feedback first (default: 2)")
    add("--sentinel-every", type=int, metavar="N", help="an obvious question among so many; 0: none (default: 10)")
    add(
        "--min-sentinels",
        type=float,
        metavar="SHARE",
        help="to be right on, else a rater does not count (default: 0.75)",
    )
    add("--lease-minutes", type=float, metavar="N", help="until a question is given to another (default: 20)")
    add("--seed", type=int, help="default: 0")


def _generate_parser(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(run=_generate)
    add = parser.add_argument
    add("--model", default="mini-diffusion", help="a folder, or OWNER/NAME of the hub (default: %(default)s)")
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

    from data_tools.generation import Config, generate

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
    from data_tools.sheet import sheet

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


def _study(arguments: argparse.Namespace) -> None:
    from data_tools.study import STUDY, Study

    names = ("trials", "practice", "sentinel_every", "min_sentinels", "lease_minutes", "seed")
    options = {name: getattr(arguments, name) for name in names if getattr(arguments, name) is not None}
    if arguments.rounds:
        options["rounds"] = tuple(arguments.rounds)
    study = Study.of(arguments.pictures, **options)
    count = sum(item.kind == "main" for item in study.items())
    study.write(arguments.out)
    kind = "triplets" if study.task == "2afc" else "pairs"
    print(f"{arguments.out / STUDY}: {count} {kind}; its texts are yours to edit")
    print(f"dreamsim-data serve {arguments.out}")


def _serve(arguments: argparse.Namespace) -> None:
    import uvicorn

    from data_tools.server import create_app, link

    app = create_app(arguments.folder)
    print(f"people:  http://{arguments.host}:{arguments.port}/")
    print(f"for you: http://{arguments.host}:{arguments.port}{link(arguments.folder)}", flush=True)
    # No access log: it would hold raters' addresses.
    uvicorn.run(app, host=arguments.host, port=arguments.port, log_level="warning", access_log=False)


def _simulate(arguments: argparse.Namespace) -> None:
    from data_tools.simulation import Observer, simulate
    from data_tools.study import Study

    observer = Observer(noise=arguments.noise, careless=arguments.careless, seed=arguments.seed)
    answered = simulate(arguments.url, Study.read(arguments.folder), arguments.raters, observer)
    print(f"{arguments.raters} simulated raters answered {answered} screens")


def _export(arguments: argparse.Namespace) -> None:
    from data_tools.export import export_study

    found = export_study(
        arguments.folder,
        arguments.out,
        quick_ms=arguments.quick,
        max_quick=arguments.max_quick,
        min_votes=arguments.min_votes,
        disputed=arguments.disputed,
    )
    print(json.dumps(found) if arguments.json else "\n".join(f"{name:10} {value}" for name, value in found.items()))


def _stats(arguments: argparse.Namespace) -> None:
    from data_tools.stats import lines, measure, plot

    found = measure(arguments.folder, arguments.quick, arguments.max_quick)
    if arguments.out:
        plot(found, arguments.out)
    print(json.dumps(found) if arguments.json else "\n".join(lines(found)))


def _validate(arguments: argparse.Namespace) -> None:
    from data_tools.validate import validate

    print("\n".join(validate(arguments.folder, shared_pictures=arguments.shared_pictures)))


if __name__ == "__main__":
    sys.exit(main())
