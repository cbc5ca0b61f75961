"""`dreamsim-bench human`, `data` and `metrics`."""

import argparse
from pathlib import Path
from typing import Any

from benchmarks.commands.options import _print_json, asked_for, quick_without_network


def _human(arguments: argparse.Namespace) -> None:
    with quick_without_network():  # before anything imports the hub's client
        _measure(arguments)


def _measure(arguments: argparse.Namespace) -> None:
    from benchmarks.human.run import run
    from benchmarks.human.sources import read_parts
    from dreamsim_metric.scale.cache import Cache, cache_file

    for option, value in (("--draws", arguments.draws), ("--batch-size", arguments.batch_size)):
        if value < 1:
            raise ValueError(f"got {option} {value}; expected 1 or more")
    makers, options = asked_for(arguments)
    parts = [part for given in arguments.data for part in read_parts(given, arguments.split)]
    scores = run(
        makers,
        parts,
        arguments.out,
        Cache(arguments.cache or cache_file()),
        options=options,
        draws=arguments.draws,
        seed=arguments.seed,
        batch_size=arguments.batch_size,
        command=["dreamsim-bench", *arguments.command],
    )
    if arguments.json:
        _print_json(scores)
    else:
        print_scores(scores)
        print_metrics(arguments.out)


def print_scores(scores: Any) -> None:
    """A table a figure, best metric first: value, 95 % interval over references (else judgements), and people."""
    for (data, split, score), rows in scores.groupby(["data", "split", "score"], sort=False):
        first = rows.iloc[0]
        known = {"people": "people", "others": "one person against the others", "ceiling": "at most"}
        notes = [f"{text} {first[name]:.4g}" for name, text in known.items() if first[name] == first[name]]
        print(f"{data} {split}, {score}, {first['n']} judgements" + (f" ({'; '.join(notes)})" if notes else ""))
        for _, row in rows.sort_values("value", ascending=False).iterrows():
            low, high = ("low", "high") if row["ref_low"] != row["ref_low"] else ("ref_low", "ref_high")
            digits = 1 if score.endswith("%") else 3
            interval = f"{row[low]:.{digits}f} to {row[high]:.{digits}f}"
            print(f"  {row['rank']:>2}  {row['metric']:<28} {row['value']:>7.{digits}f}   {interval}")
        print()


def print_metrics(out: Path) -> None:
    """A line for each metric: what its numbers are and what it sees, or why it has no figures."""
    import pandas as pd

    for row in pd.read_parquet(out / "metrics.parquet").itertuples():
        seen = f"{row.direction} from {row.low:g} to {row.high:g}, input {row.input}: {row.preprocessing}"
        status = "" if row.status == "measured" else str(row.status)
        text = "; ".join(filter(None, [seen if row.direction else "", status]))
        print(f"{row.metric:<28} {text if len(text) < 140 else text[:140] + '…'}")


def _data(arguments: argparse.Namespace) -> None:
    from benchmarks.human.sources import built_in, find_source, missing_rows
    from dreamsim_metric.judgements.tables import check

    if arguments.name is None:
        width = max(map(len, built_in()))
        for name, source in built_in().items():
            print(f"{name:<{width}}  {source.kind}")
        return
    name, source = find_source(arguments.name)
    print(f"{source.title or name}: {source.kind}\nget it: {source.get}\nlicence: {source.licence}")
    if source.citation:
        print(f"cite: {source.citation}")
    if source.rows:
        print("published judgements: " + ", ".join(f"{split} {count}" for split, count in source.rows.items()))
    if arguments.folder is None:
        return
    if not arguments.folder.exists():
        raise FileNotFoundError(f"no such folder: {arguments.folder}")
    tables = source.read(arguments.folder)
    check(tables, shared_pictures=True)
    for table in tables:
        splits = ", ".join(f"{split} {mask.sum()}" for split, mask in table.split_masks().items())
        print(f"on disk: {type(table).__name__}, {len(table)} rows, {len(table.pictures)} pictures: {splits}")
    incomplete = missing_rows(source, tables)
    for line in incomplete:
        print(f"note: {line}")
    print("whole" if not incomplete else "readable, but not as published")


def _metrics(arguments: argparse.Namespace) -> None:
    from benchmarks.metrics.registry import built_in
    from dreamsim_metric import list_models

    print(
        f"models of dreamsim_metric: {', '.join(list_models())}, timm:NAME, open_clip:ARCH/TAG, hf:OWNER/REPO, a folder"
    )
    print(f"others: {', '.join(built_in())}, a .py file with METRICS")
