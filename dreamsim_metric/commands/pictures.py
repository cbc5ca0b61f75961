"""`dreamsim-metric distance`, `matrix` and `difference`: a few pictures, compared at once."""

from argparse import Namespace
from collections.abc import Sequence
from typing import Any

from dreamsim_metric.commands.names import check_model, check_pictures
from dreamsim_metric.commands.options import NETWORKS, add_option, add_options, load_metric
from dreamsim_metric.commands.output import Output, format_matrix
from dreamsim_metric.commands.parser import Parser
from dreamsim_metric.commands.program import Command
from dreamsim_metric.files.pictures import find_pictures

MANY = "pictures, or folders that stand for the pictures in them"
"""Help of arguments that name pictures."""


def _add_distance(to: Parser) -> None:
    to.add_argument("a", metavar="A", help="picture that the others are compared to")
    to.add_argument("b", metavar="B", nargs="+", help=MANY)
    add_options(to, *NETWORKS)


def run_distance(arguments: Namespace) -> Output:
    """Compare one picture to others."""
    check_pictures([arguments.a])
    files = _find_named(arguments, arguments.b)

    from dreamsim_metric.distances import compare_all
    from dreamsim_metric.functional import embed

    options = _choose_embedding(arguments)
    d = compare_all(embed(arguments.a, **options), embed(files, progress=True, **options))[0].tolist()
    return Output([{"a": arguments.a, "b": b, "distance": value} for b, value in zip(files, d, strict=True)])


def _add_matrix(to: Parser) -> None:
    to.add_argument("pictures", metavar="DIR|FILE", nargs="+", help=MANY)
    add_options(to, *NETWORKS)


def run_matrix(arguments: Namespace) -> Output:
    """Compare all pictures to one another."""
    files = _find_named(arguments, arguments.pictures)

    from dreamsim_metric.distances import compare_all
    from dreamsim_metric.functional import embed

    u = embed(files, progress=True, **_choose_embedding(arguments))
    rows = zip(files, compare_all(u, u).tolist(), strict=True)
    return Output([{"picture": file, **dict(zip(files, values, strict=True))} for file, values in rows], format_matrix)


def _add_difference(to: Parser) -> None:
    to.add_argument("a", metavar="A", help="picture that the other is compared to")
    to.add_argument("b", metavar="B", help="picture that the map is laid over")
    add_option(to, "--out", required=True, help="picture to write, PNG")
    add_options(to, *(flag for flag in NETWORKS if flag != "--batch-size"))


def run_difference(arguments: Namespace) -> Output:
    """Draw where two pictures differ."""
    check_pictures([arguments.a, arguments.b])
    check_model(arguments.model, arguments.weights)

    from dreamsim_metric.difference import overlay
    from dreamsim_metric.files.write import write_file
    from dreamsim_metric.images.convert import to_image
    from dreamsim_metric.images.encoding import encode

    metric = load_metric(arguments)
    found = metric.difference_map(arguments.a, arguments.b)[0]
    write_file(arguments.out, encode(overlay(to_image(arguments.b), found)))
    y, x = divmod(int(found.argmax()), found.shape[1])
    row = {
        "a": arguments.a,
        "b": arguments.b,
        "distance": metric(arguments.a, arguments.b).item(),
        "most different": found.max().item(),
        "at x": x / found.shape[1],
        "at y": y / found.shape[0],
        "written": str(arguments.out),
    }
    return Output([row])


def _find_named(arguments: Namespace, pictures: Sequence[str]) -> list[str]:
    """The pictures, which are there, for a model that can be."""
    check_pictures(pictures)
    check_model(arguments.model, arguments.weights)
    return find_pictures(pictures)


def _choose_embedding(arguments: Namespace) -> dict[str, Any]:
    """Options of `embed`; the metric is made once for all calls."""
    return {"model": load_metric(arguments), "batch_size": arguments.batch_size}


COMMANDS = (
    Command("distance", "distances between one picture and others", run_distance, _add_distance),
    Command("matrix", "distances between all pictures", run_matrix, _add_matrix),
    Command("difference", "a picture of where two pictures differ", run_difference, _add_difference),
)
