"""The commands `score`, `embed`, `rank` and `duplicates` of `dreamsim-metric`."""

import argparse
import csv
import io
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dreamsim_metric.files.write import write_file

if TYPE_CHECKING:
    from dreamsim_metric.metric import PerceptualMetric
    from dreamsim_metric.scale.cache import Cache
    from dreamsim_metric.scale.embedding import Embeddings, Options

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
    reading.add_argument(
        "--ray", metavar="ADDRESS", help="embed by a Ray cluster: local, auto or HOST:PORT (docs/cluster.md)"
    )
    reading.add_argument(
        "--ray-cpus", type=int, metavar="N", help="CPUs of one model on the cluster (default: up to 4, with a GPU 16)"
    )
    kept = reading.add_mutually_exclusive_group()
    kept.add_argument("--cache", type=Path, metavar="FILE", help="of embeddings (default: in the user cache)")
    kept.add_argument("--no-cache", action="store_true", help="keep no embeddings for the next run")

    def add(
        name: str, run: Any, help_: str, on_error: str, *parents: argparse.ArgumentParser
    ) -> argparse.ArgumentParser:
        added = command(name, run, help_, scoring, reading, *parents)
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
    shards = argparse.ArgumentParser(add_help=False)
    shards.add_argument("--shards", metavar="DIR", help="with --ray, keep the embeddings there, as `embed --out` does")
    score = add("score", _score, "distances of many pairs, from a table or two folders", "raise", shards)
    score.add_argument(
        "pairs", metavar="PAIRS.csv | DIR_A DIR_B", nargs="+", help="columns a, b or reference, picture; or equal names"
    )
    score.add_argument("--out", type=Path, metavar="FILE", help=table)
    embed = add("embed", _embed, "the embeddings of a folder's pictures, as Parquet", "skip")
    embed.add_argument(
        "pictures", metavar="DIR|FILE", nargs="+", help="pictures, or folders that stand for those in them"
    )
    embed.add_argument("--out", required=True, metavar="DIR", help="folder for the shards, or a URL such as s3://…")
    embed.add_argument("--shard-size", type=int, default=4096, metavar="N", help="pictures a file (default: 4096)")
    rank = add("rank", _rank, "the pictures of a folder, nearest first", "raise", shards)
    rank.add_argument(
        "query", metavar="QUERY", help="the picture that the others are compared to, or a folder of several"
    )
    rank.add_argument(
        "pictures", metavar="DIR|FILE", nargs="+", help="pictures, folders of them, or one that `embed` made"
    )
    rank.add_argument("--top", type=int, default=10, metavar="K", help="how many (default: 10)")
    rank.add_argument("--approximate", action="store_true", help=search)
    rank.add_argument("--out", type=Path, metavar="FILE", help=table)
    duplicates = add("duplicates", _duplicates, "pictures that look nearly the same, in groups", "skip", shards)
    duplicates.add_argument(
        "pictures", metavar="DIR|FILE", nargs="+", help="pictures, folders, or one that `embed` made"
    )
    duplicates.add_argument("--below", type=float, required=True, metavar="T", help="distance that counts as the same")
    duplicates.add_argument("--approximate", action="store_true", help=search)
    duplicates.add_argument("--out", type=Path, metavar="FILE", help=table)


def _score(arguments: argparse.Namespace) -> list[Row]:
    import numpy as np

    from dreamsim_metric.files.store import location
    from dreamsim_metric.scale.pairs import pair_folders, read_pairs
    from dreamsim_metric.scale.scoring import distances_of

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
        rows = read_pairs(location(arguments.pairs[0]))
    a, b = ([row[side] for row in rows] for side in ("a", "b"))
    found = _found([*a, *b], arguments, _prepared(arguments))
    _list_unreadable(found.unreadable)
    d = distances_of(found, a, b)
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
    from dreamsim_metric.files.pictures import find_pictures
    from dreamsim_metric.scale.scoring import embed_folder

    files = find_pictures(arguments.pictures, arguments.recursive)
    metric, cache, options = _prepared(arguments)
    if arguments.ray:
        from dreamsim_metric.scale import ray_cluster as cluster

        made = cluster.embed_folder(
            files,
            arguments.out,
            metric,
            address=arguments.ray,
            device=arguments.device,
            cpus=arguments.ray_cpus,
            shard_size=arguments.shard_size,
            options=options,
        )
    else:
        made = embed_folder(files, arguments.out, metric, cache, options=options, shard_size=arguments.shard_size)
    _list_unreadable(made.unreadable)
    return [
        {
            "pictures": made.pictures,
            "unreadable": len(made.unreadable),
            "shards": made.shards,
            "there before": made.there,
            "embedding": metric.card.embedding_size,
            "written": arguments.out,
        }
    ]


def _rank(arguments: argparse.Namespace) -> list[Row]:
    from dreamsim_metric.files.pictures import find_pictures
    from dreamsim_metric.scale.scoring import rank

    _check_table(arguments.out)
    if arguments.top < 1:
        raise ValueError(f"got --top {arguments.top}; expected 1 or more")
    queries = find_pictures([arguments.query], arguments.recursive)
    prepared = _prepared(arguments)
    pictures = _shards(arguments, prepared)
    if pictures is None:
        files = find_pictures(arguments.pictures, arguments.recursive)
        found = _found([*files, *queries], arguments, prepared)
        asked, pictures = found.only(queries), found.only(files)
    else:
        asked = _found(queries, arguments, prepared)
    _list_unreadable(asked.unreadable | pictures.unreadable)
    rows = list(rank(asked, pictures, arguments.top, approximate=arguments.approximate))
    if queries == [arguments.query]:
        rows = [{name: value for name, value in row.items() if name != "query"} for row in rows]
    return _written(arguments.out, rows, {"queries": len(asked.files), "rows": len(rows)}) if arguments.out else rows


def _duplicates(arguments: argparse.Namespace) -> list[Row]:
    from dreamsim_metric.files.pictures import find_pictures
    from dreamsim_metric.scale.scoring import duplicates

    _check_table(arguments.out)
    pictures = _shards(arguments)
    if pictures is None:
        pictures = _found(find_pictures(arguments.pictures, arguments.recursive), arguments, _prepared(arguments))
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


def load_metric(arguments: argparse.Namespace, device: str | None = None) -> "PerceptualMetric":
    """The metric that `--model`, `--device` (unless given here), `--precision` and `--compile` say."""
    import torch

    from dreamsim_metric.loading import load

    device = device or arguments.device or ("cuda" if torch.cuda.is_available() else "cpu")
    metric = load(arguments.model, device=device, precision=arguments.precision)
    if arguments.compile:
        metric.compile_networks()
    return metric


def _prepared(arguments: argparse.Namespace) -> tuple["PerceptualMetric", "Cache | None", "Options"]:
    """Metric, cache and options of `embed_files`."""
    from dreamsim_metric.scale.cache import Cache, cache_file
    from dreamsim_metric.scale.embedding import Options

    names = ("batch_size", "workers", "decoder", "resize_on", "on_error")
    # Before the model is loaded, so that what is wrong with them is said at once.
    options = Options(**{name: getattr(arguments, name) for name in names}, progress=True)
    if arguments.ray:
        from dreamsim_metric.scale.ray_connection import reach

        reach(arguments.ray)
        if arguments.cache:
            raise ValueError(
                "got --cache with --ray; a cache is one machine's: with Ray, finished shards are what is kept"
            )
        return load_metric(arguments, "cpu"), None, options  # the actors choose their devices
    metric = load_metric(arguments)
    cache = None if arguments.no_cache else Cache(arguments.cache or cache_file())
    return metric, cache, options


def _shards(arguments: argparse.Namespace, prepared: tuple | None = None) -> "Embeddings | None":
    """The embeddings, where what is named is a folder of shards."""
    from dreamsim_metric.files.store import location
    from dreamsim_metric.scale.shards import check_settings, is_shards, read_shards

    if len(arguments.pictures) > 1 or not is_shards(arguments.pictures[0]):
        return None
    if prepared:
        check_settings(location(arguments.pictures[0]), prepared[0], arguments.decoder)
    return read_shards(arguments.pictures[0])


def _found(files: list[str], arguments: argparse.Namespace, prepared: tuple) -> "Embeddings":
    metric, cache, options = prepared
    if arguments.ray:
        from dreamsim_metric.scale import ray_cluster as cluster

        return cluster.embed_files(
            files,
            metric,
            address=arguments.ray,
            shards=arguments.shards,
            device=arguments.device,
            cpus=arguments.ray_cpus,
            options=options,
        )
    if arguments.shards:
        raise ValueError("got --shards without --ray; `dreamsim-metric embed` makes such a folder")
    from dreamsim_metric.scale.scoring import embed_files

    return embed_files(files, metric, cache, options)


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
