"""Scores of methods as text, each under what it is."""

import pandas as pd


def print_scores(scores: pd.DataFrame) -> None:
    """A table a score and metric, best method first: value, 95 % interval over subjects; its definition above it.

    Args:
        scores: as `scoring.score` returns it.
    """
    for (protocol, name, metric), rows in scores.groupby(["protocol", "score", "metric"], sort=False):
        first = rows.iloc[0]
        print(f"{protocol}, {name}, {metric} ({first['better']} is better): {first['definition']}")
        for row in rows.sort_values("value", ascending=first["better"] == "lower").itertuples():
            interval = f"{row.low:.3f} to {row.high:.3f}" if row.low == row.low else "one subject: no interval"
            counts = f"{row.subjects} subjects, {row.pictures} pictures"
            print(f"  {row.method:<28} {row.value:>8.3f}   {interval:<26} {counts}")
        print()
