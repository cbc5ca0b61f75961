"""The commands `score`, `embed`, `rank` and `duplicates` of `dreamsim-metric`."""

import argparse
import csv
import io
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .folders import write_file

if TYPE_CHECKING:
    from .cache import Cache
    from .embedding import Embeddings
    from .metric import PerceptualMetric

Row = dict[str, Any]
Adder = Callable[..., argparse.ArgumentParser]
_TABLES = (".csv", ".parquet")


def add_scoring_commands(command: Adder, scoring: argparse.ArgumentParser) -> None:
    """Add the four to a parser.

    Args:
        command: name, function, help, parents → the command's parser.
        scoring: the options of `load_metric`, and `--batch-size`.
    """
    reading = argparse.ArgumentParser(add_help=False)
    reading.add_argument("--recursive", action="store_true", help="folders in folders too")
    reading.add_argument("--workers", type=int, metavar="N", help="threads that decode (default: one a core)")
    reading.add_argument("--decoder", choices=("pillow", "torchvision"), default="pillow", help="default: pillow")
    reading.add_argument(
        "--resize-on", choices=("host", "device"), default="host", help="where pictures are resized (default: host)"
    )
    kept = reading.add_mutually_exclusive_group()
    kept.add_argument("--cache", type=Path, metavar="FILE", help="of embeddings (default: in the user cache)")
    kept.add_argument("--no-cache", action="store_true", help="keep no embeddings for the next run")

    def add(name: str, run: Any, help_: str, on_error: str) -> argparse.ArgumentParser:
        added = command(name, run, help_, scoring, reading)
        added.add_argument(
            "--on-error",
            choices=("skip", "raise"),
            default=on_error,
            help=f"list pictures that cannot be read, or stop at them (default: {on_error})",
        )
        added.set_defaults(extra="scale", interrupted="what was embedded is kept, the same command goes on from there")
        return added

    search = "through faiss: quicker among very many, and misses some"
    table = "write the rows to a table, .csv or .parquet"
    score = add("score", _score, "distances of many pairs, from a table or two folders", "raise")
    score.add_argument(
        "pairs", metavar="PAIRS.csv | DIR_A DIR_B", nargs="+", help="columns a, b or reference, picture; or equal names"
    )
    score.add_argument("--out", type=Path, metavar="FILE", help=table)
    embed = add("embed", _embed, "the embeddings of a folder's pictures, as Parquet", "skip")
    embed.add_argument(
        "pictures", metavar="DIR|FILE", nargs="+", help="pictures, or folders that stand for those in them"
    )
    embed.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for the shards")
    embed.add_argument("--shard-size", type=int, default=4096, metavar="N", help="pictures a file (default: 4096)")
    rank = add("rank", _rank, "the pictures of a folder, nearest first", "raise")
    rank.add_argument(
        "query", metavar="QUERY", help="the picture that the others are compared to, or a folder of several"
    )
    rank.add_argument(
        "pictures", metavar="DIR|FILE", nargs="+", help="pictures, folders of them, or one that `embed` made"
    )
    rank.add_argument("--top", type=int, default=10, metavar="K", help="how many (default: 10)")
    rank.add_argument("--approximate", action="store_true", help=search)
    rank.add_argument("--out", type=Path, metavar="FILE", help=table)
    duplicates = add("duplicates", _duplicates, "pictures that look nearly the same, in groups", "skip")
    duplicates.add_argument(
        "pictures", metavar="DIR|FILE", nargs="+", help="pictures, folders, or one that `embed` made"
    )
    duplicates.add_argument("--below", type=float, required=True, metavar="T", help="distance that counts as the same")
    duplicates.add_argument("--approximate", action="store_true", help=search)
    duplicates.add_argument("--out", type=Path, metavar="FILE", help=table)


def _score(arguments: argparse.Namespace) -> list[Row]:
    import numpy as np

    from .pairs import pair_folders, read_pairs
    from .scoring import score_pairs

    _check_table(arguments.out)
    if len(arguments.pairs) > 2:
        raise ValueError(f"got {len(arguments.pairs)} names; expected a table of pairs, or two folders")
    if len(arguments.pairs) == 2:
        one, other = arguments.pairs
        rows, alone = pair_folders(one, other, arguments.recursive)
        if alone and arguments.on_error == "raise":
            names = ", ".join(alone[:3]) + (f" and {len(alone) - 3} more" if len(alone) > 3 else "")
            raise ValueError(
                f"pictures in one folder only ({len(alone)}): {names}; leave them out with --on-error skip"
            )
        _list("left out, in one folder only", alone)
    else:
        rows = read_pairs(Path(arguments.pairs[0]))
    metric, cache, options = _prepared(arguments)
    d, unreadable = score_pairs([row["a"] for row in rows], [row["b"] for row in rows], metric, cache, **options)
    _list_unreadable(unreadable)
    for row, value in zip(rows, d.tolist(), strict=True):
        row["distance"] = None if value != value else value
    known = d[~d.isnan()].double().numpy()
    if not len(known):
        raise ValueError(f"no pair has two pictures that can be read; {len(rows)} were given")
    summary = {"pairs": len(known), "mean": float(known.mean()), "median": float(np.median(known))}
    if arguments.out:
        return _written(arguments.out, rows, summary)
    print(", ".join(f"{name} {value:.4g}" for name, value in summary.items()), file=sys.stderr)
    return rows


def _embed(arguments: argparse.Namespace) -> list[Row]:
    from .listing import find_pictures
    from .scoring import embed_folder

    files = find_pictures(arguments.pictures, arguments.recursive)
    metric, cache, options = _prepared(arguments)
    made = embed_folder(files, arguments.out, metric, cache, shard_size=arguments.shard_size, **options)
    _list_unreadable(made.unreadable)
    return [
        {
            "pictures": made.pictures,
            "unreadable": len(made.unreadable),
            "shards": made.shards,
            "there before": made.there,
            "embedding": metric.card.embedding_size,
            "written": str(arguments.out),
        }
    ]


def _rank(arguments: argparse.Namespace) -> list[Row]:
    from .listing import find_pictures
    from .scoring import embed_files, rank

    _check_table(arguments.out)
    if arguments.top < 1:
        raise ValueError(f"got --top {arguments.top}; expected 1 or more")
    queries = find_pictures([arguments.query], arguments.recursive)
    prepared = _prepared(arguments)
    pictures = _embeddings(arguments, prepared)
    metric, cache, options = prepared
    asked = embed_files(queries, metric, cache, **options | {"progress": len(queries) > 1})
    _list_unreadable(asked.unreadable | pictures.unreadable)
    rows = list(rank(asked, pictures, arguments.top, approximate=arguments.approximate))
    if not Path(arguments.query).is_dir():
        rows = [{name: value for name, value in row.items() if name != "query"} for row in rows]
    return _written(arguments.out, rows, {"queries": len(asked.files), "rows": len(rows)}) if arguments.out else rows


def _duplicates(arguments: argparse.Namespace) -> list[Row]:
    from .scoring import duplicates

    _check_table(arguments.out)
    pictures = _embeddings(arguments)
    _list_unreadable(pictures.unreadable)
    rows = duplicates(pictures, arguments.below, approximate=arguments.approximate)
    summary = {
        "pictures": len(pictures.files),
        "pairs": len(rows),
        "groups": rows[-1]["group"] if rows else 0,
    }
    if arguments.out:
        return _written(arguments.out, rows, summary, columns=("group", "a", "b", "distance"))
    print(", ".join(f"{name} {value}" for name, value in summary.items()), file=sys.stderr)
    return rows


def load_metric(arguments: argparse.Namespace) -> "PerceptualMetric":
    """The metric that `--model`, `--device`, `--precision` and `--compile` say."""
    import torch

    from .loading import load

    device = arguments.device or ("cuda" if torch.cuda.is_available() else "cpu")
    metric = load(arguments.model, device=device, precision=arguments.precision)
    return metric.compiled() if arguments.compile else metric


def _prepared(arguments: argparse.Namespace) -> tuple[Any, "Cache | None", dict[str, Any]]:
    """Metric, cache and options of `embed_files`."""
    from .cache import Cache, cache_file
    from .embedding import Options

    names = ("batch_size", "workers", "decoder", "resize_on", "on_error")
    options = {name: getattr(arguments, name) for name in names} | {"progress": True}
    Options(**options)  # what is wrong with them is said before the model is loaded
    metric = load_metric(arguments)
    cache = None if arguments.no_cache else Cache(arguments.cache or cache_file())
    return metric, cache, options


def _embeddings(arguments: argparse.Namespace, prepared: tuple | None = None) -> "Embeddings":
    """Of the pictures named, or as a folder of shards holds them."""
    from .listing import find_pictures
    from .scoring import embed_files
    from .shards import check_settings, is_shards, read_shards

    if len(arguments.pictures) == 1 and is_shards(arguments.pictures[0]):
        if prepared:
            check_settings(Path(arguments.pictures[0]), prepared[0], arguments.decoder)
        return read_shards(arguments.pictures[0])
    files = find_pictures(arguments.pictures, arguments.recursive)
    metric, cache, options = prepared or _prepared(arguments)
    return embed_files(files, metric, cache, **options)


def _list_unreadable(unreadable: dict[str, str]) -> None:
    _list("left out, cannot be read", list(unreadable.values()))


def _list(what: str, items: list[str]) -> None:
    if items:
        print(f"dreamsim-metric: {what} ({len(items)}):", *items, sep="\n  ", file=sys.stderr)


def _check_table(out: Path | None) -> None:
    if out and out.suffix.lower() not in _TABLES:
        raise ValueError(f"got --out {out}; expected a name that ends in {' or '.join(_TABLES)}")


def _written(out: Path, rows: list[Row], summary: Row, columns: tuple[str, ...] = ()) -> list[Row]:
    """Write a table; returns the summary."""
    names = list(rows[0]) if rows else list(columns)
    if out.suffix.lower() == ".parquet":
        import pyarrow as pa
        import pyarrow.parquet as pq

        buffer = pa.BufferOutputStream()
        pq.write_table(pa.table({name: [row[name] for row in rows] for name in names}), buffer)
        write_file(out, buffer.getvalue().to_pybytes())
    else:
        text = io.StringIO()
        writer = csv.DictWriter(text, fieldnames=names, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        write_file(out, text.getvalue().encode())
    return [{**summary, "written": str(out)}]
