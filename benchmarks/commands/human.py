"""`dreamsim-bench human`, `data` and `metrics`: metrics beside people."""

from argparse import Namespace
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.commands.options import (
    add_draws,
    add_metrics,
    check_asked,
    resolve_metrics,
    skip_retries_without_network,
)
from benchmarks.names import check_source, list_metrics
from dreamsim_metric.commands.names import check_folder
from dreamsim_metric.commands.options import add_option, open_cache
from dreamsim_metric.commands.output import Output, list_rows
from dreamsim_metric.commands.parser import Parser
from dreamsim_metric.commands.program import Command
from dreamsim_metric.models import list_models


def _add_human(to: Parser) -> None:
    add_option(
        to,
        "--data",
        type=str,
        action="append",
        metavar="[NAME=]PATH",
        help="human judgements: a folder or table, with the name that `dreamsim-bench data` has for its kind where its "
        "files do not tell; repeat for more",
    )
    to.add_argument(
        "--split",
        nargs="+",
        default=[],
        metavar="NAME",
        help="parts of the data (default: those that it is reported on)",
    )
    add_metrics(to)
    add_draws(to)
    add_option(to, "--batch-size")
    add_option(to, "--out", required=True, help="folder for the tables")


def run_human(arguments: Namespace) -> Output:
    """Measure agreement of metrics with people."""
    for given in arguments.data:
        name, _, path = given.rpartition("=")
        if name:
            check_source(name)
        if not Path(path).exists():
            raise FileNotFoundError(f"no such data set: {path}; expected NAME=FOLDER, or a folder or a table")
    check_asked(arguments)

    from benchmarks.human.sources import read_parts

    parts = [part for given in arguments.data for part in read_parts(given, arguments.split)]
    with skip_retries_without_network():  # before anything imports the hub's client
        scores = _measure(arguments, parts)

    def lines(rows: Any) -> Iterator[str]:
        yield from score_lines(scores)
        yield from format_metrics(arguments.out)

    return Output(list_rows(scores), lines)


def _measure(arguments: Namespace, parts: Sequence[Any]) -> Any:
    from benchmarks.human.run import run

    makers, options = resolve_metrics(arguments)
    return run(
        makers,
        parts,
        arguments.out,
        open_cache(arguments),
        options=options,
        draws=arguments.draws,
        seed=arguments.seed,
        batch_size=arguments.batch_size,
        command=arguments.command_line,
    )


def score_lines(scores: Any) -> Iterator[str]:
    """Write a table a figure, best metric first: value, 95 % interval over references (else judgements), and people."""
    for (data, split, score), rows in scores.groupby(["data", "split", "score"], sort=False):
        first = rows.iloc[0]
        known = {"people": "people", "others": "one person against the others", "ceiling": "at most"}
        notes = [f"{text} {first[name]:.4g}" for name, text in known.items() if first[name] == first[name]]
        yield f"{data} {split}, {score}, {first['n']} judgements" + (f" ({'; '.join(notes)})" if notes else "")
        for _, row in rows.sort_values("value", ascending=False).iterrows():
            low, high = ("low", "high") if row["ref_low"] != row["ref_low"] else ("ref_low", "ref_high")
            digits = 1 if score.endswith("%") else 3
            interval = f"{row[low]:.{digits}f} to {row[high]:.{digits}f}"
            yield f"  {row['rank']:>2}  {row['metric']:<28} {row['value']:>7.{digits}f}   {interval}"
        yield ""


def format_metrics(out: Path) -> Iterator[str]:
    """Write a line for each metric: what its numbers are and what it sees, or why it has no figures."""
    import pandas as pd

    for row in pd.read_parquet(out / "metrics.parquet").itertuples():
        seen = f"{row.direction} from {row.lowest:g} to {row.highest:g}, input {row.input}: {row.preprocessing}"
        status = "" if row.status == "measured" else str(row.status)
        text = "; ".join(filter(None, [seen if row.direction else "", status]))
        yield f"{row.metric:<28} {text if len(text) < 140 else text[:140] + '…'}"


def _add_data(to: Parser) -> None:
    to.add_argument(
        "name", nargs="?", metavar="NAME", help="data set, or a .py file with SOURCES (default: all are listed)"
    )
    to.add_argument("folder", nargs="?", type=Path, metavar="DIR", help="folder that is checked row by row")


def run_data(arguments: Namespace) -> Output:
    """List the data sets, or say of one where it is to be had and whether it is whole."""
    if arguments.name is not None:
        check_source(arguments.name)
    if arguments.folder is not None and not arguments.folder.is_file():
        check_folder(arguments.folder)

    from benchmarks.human.sources import collect_sources, find_source

    if arguments.name is None:
        rows = [{"data": name, "kind": source.kind} for name, source in collect_sources().items()]
        width = max(len(row["data"]) for row in rows)
        return Output(rows, lambda rows: (f"{row['data']:<{width}}  {row['kind']}" for row in rows))
    name, source = find_source(arguments.name)
    row = {
        "data": name,
        "title": source.title or name,
        "kind": source.kind,
        "get": source.get,
        "licence": source.licence,
        "citation": source.citation,
        "published": dict(source.rows),
    }
    if arguments.folder is not None:
        row |= _check_on_disk(source, arguments.folder)
    return Output([row], _format_sources, single=True)


def _check_on_disk(source: Any, folder: Path) -> dict[str, Any]:
    from benchmarks.human.sources import report_missing_rows
    from dreamsim_metric.judgements.tables import check

    tables = source.read(folder)
    check(tables, shared_pictures=True)
    found = [
        {
            "table": type(table).__name__,
            "rows": len(table),
            "pictures": len(table.pictures),
            "splits": {split: int(mask.sum()) for split, mask in table.split_masks().items()},
        }
        for table in tables
    ]
    return {"on disk": found, "missing": report_missing_rows(source, tables)}


def _format_sources(rows: Any) -> Iterator[str]:
    (row,) = rows
    yield f"{row['title']}: {row['kind']}"
    yield f"get it: {row['get']}"
    yield f"licence: {row['licence']}"
    if row["citation"]:
        yield f"cite: {row['citation']}"
    if row["published"]:
        yield "published judgements: " + _format_counts(row["published"])
    for table in row.get("on disk", ()):
        sizes = f"{table['rows']} rows, {table['pictures']} pictures"
        yield f"on disk: {table['table']}, {sizes}: {_format_counts(table['splits'])}"
    for line in row.get("missing", ()):
        yield f"note: {line}"
    if "missing" in row:
        yield "readable, but not as published" if row["missing"] else "whole"


def _format_counts(by_split: dict[str, int]) -> str:
    return ", ".join(f"{split} {count}" for split, count in by_split.items())


def run_metrics(arguments: Namespace) -> Output:
    """List the metrics."""
    models, others = list_models(), list_metrics()

    def lines(rows: Any) -> Iterator[str]:
        kinds = "timm:NAME, open_clip:ARCH/TAG, hf:OWNER/REPO, a folder"
        yield f"models of dreamsim_metric: {', '.join(models)}, {kinds}"
        yield f"others: {', '.join(others)}, a .py file with METRICS"

    rows = [{"metric": name, "model": name in models} for name in (*models, *others)]
    return Output(rows, lines)


COMMANDS = (
    Command("human", "metrics × human data sets: agreement, intervals, tests", run_human, _add_human),
    Command("data", "the data sets; for one: where to get it, and whether it is whole", run_data, _add_data),
    Command("metrics", "the metrics", run_metrics),
)
