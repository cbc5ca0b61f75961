"""`dreamsim-metric score`, `embed`, `rank` and `duplicates`: very many pictures."""

import math
import sys
from argparse import Namespace
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from dreamsim_metric.bounds import check_least
from dreamsim_metric.commands.names import check_folder, check_model, check_pictures
from dreamsim_metric.commands.options import NETWORKS, add_cache, add_option, add_options, load_metric, open_cache
from dreamsim_metric.commands.output import Output
from dreamsim_metric.commands.parser import Parser
from dreamsim_metric.commands.pictures import MANY
from dreamsim_metric.commands.program import Command
from dreamsim_metric.files.columns import ENDINGS, Columns
from dreamsim_metric.files.pictures import find_pictures
from dreamsim_metric.files.store import make_path
from dreamsim_metric.files.table import Row, check_ending, check_names, write_columns
from dreamsim_metric.messages import list_briefly, make_printable
from dreamsim_metric.scale.comparisons import Comparisons, pair_folders, read_comparisons

if TYPE_CHECKING:
    from dreamsim_metric.metric import PerceptualMetric
    from dreamsim_metric.scale.cache import Cache
    from dreamsim_metric.scale.embedding import Embeddings, Options

_WRITTEN = f"table to write the rows to: {', '.join(ENDINGS[:-1])} or {ENDINGS[-1]}"
_RANKED = {"query": str, "rank": int, "picture": str, "distance": float}
_DUPLICATES = {"group": int, "a": str, "b": str, "distance": float}
_EMBEDDED = f"{MANY}, or one folder that `embed` made"


def _add_score(to: Parser) -> None:
    to.add_argument(
        "pairs",
        metavar="PAIRS.csv | DIR_A DIR_B",
        nargs="+",
        help="table with columns a, b or reference, picture, which is given back with distances (.csv, .tsv, .parquet, "
        ".jsonl); or two folders, whose files of equal names are pairs",
    )
    to.add_argument(
        "--columns", nargs=2, default=(), metavar=("A", "B"), help="names of the table's two columns of pictures"
    )
    to.add_argument(
        "--fetch",
        action="store_true",
        help="fetch pictures from addresses in the table that name a machine, such as https://",
    )
    add_option(to, "--out", help=_WRITTEN)
    _add_reading(to, "raise")
    _add_shards(to)


def _add_embed(to: Parser) -> None:
    to.add_argument("pictures", metavar="DIR|FILE", nargs="+", help=MANY)
    add_option(to, "--out", type=str, required=True, help="folder for the shards, or a URL such as s3://…")
    to.add_argument("--shard-size", type=int, default=4096, metavar="N", help="pictures in a file")
    _add_reading(to, "skip")


def _add_rank(to: Parser) -> None:
    to.add_argument("query", metavar="QUERY", help="picture that the others are compared to, or a folder of several")
    to.add_argument("pictures", metavar="DIR|FILE", nargs="+", help=_EMBEDDED)
    to.add_argument("--top", type=int, default=10, metavar="N", help="pictures listed for a query")
    _add_search(to)
    _add_reading(to, "raise")
    _add_shards(to)


def _add_duplicates(to: Parser) -> None:
    to.add_argument("pictures", metavar="DIR|FILE", nargs="+", help=_EMBEDDED)
    to.add_argument(
        "--below", type=float, required=True, metavar="N", help="distance below which pictures are the same"
    )
    _add_search(to)
    _add_reading(to, "skip")
    _add_shards(to)


def _add_search(to: Parser) -> None:
    to.add_argument(
        "--approximate", action="store_true", help="search through faiss: quicker among very many, and misses some"
    )
    add_option(to, "--out", help=_WRITTEN)


def _add_shards(to: Parser) -> None:
    to.add_argument(
        "--shards", metavar="PATH", help="folder that keeps the embeddings, as `embed --out` does; with --ray"
    )


def _add_reading(to: Parser, on_error: str) -> None:
    to.add_argument("--recursive", action="store_true", help="look in folders inside folders too")
    to.add_argument(
        "--on-error",
        choices=("skip", "raise"),
        default=on_error,
        help="pictures that cannot be read: list them and go on, or stop at the first",
    )
    add_options(to, *NETWORKS)
    add_option(to, "--workers")
    to.add_argument("--decoder", choices=("pillow", "torchvision"), default="pillow", help="library that decodes")
    to.add_argument(
        "--resize-on", choices=("host", "device"), default="host", help="where pictures are resized: CPU or GPU"
    )
    add_cache(to)
    to.add_argument(
        "--ray",
        metavar="ADDRESS",
        help="address of a Ray cluster that embeds: local, auto or HOST:PORT (docs/cluster.md)",
    )
    to.add_argument(
        "--ray-cpus", type=int, metavar="N", help="CPUs of one model on the cluster (default: up to 4, with a GPU 16)"
    )


def run_score(arguments: Namespace) -> Output:
    """Compute the distances of many pairs."""
    check_ending(arguments.out)
    check_model(arguments.model, arguments.weights)
    pairs = _read_pairs(arguments)
    skip = arguments.on_error == "skip"
    pairs.check(skip=skip, out=arguments.out)
    if not skip:
        check_pictures(pairs.files())
    _list("left out, cannot be used", pairs.report())

    import numpy as np

    from dreamsim_metric.scale.scoring import compute_distances

    found = _format_found(pairs.files(), arguments, _prepare(arguments))
    _list_unreadable(found.unreadable)
    d = compute_distances(found, pairs.a, pairs.b)
    known = d[~d.isnan()].double().numpy()
    if not len(known):
        raise ValueError(f"no pair has two pictures that can be read; {len(d)} were given")
    summary = {"pairs": len(known), "mean": float(known.mean()), "median": float(np.median(known))}
    table = pairs.scored(d.tolist(), found.unreadable if skip else None)
    if arguments.out:
        return _write(arguments.out, table, summary)
    print(", ".join(f"{name} {value:.4g}" for name, value in summary.items()), file=sys.stderr)
    return Output(table.rows())


def _read_pairs(arguments: Namespace) -> Comparisons:
    """What the table says, or what is in both folders."""
    if len(arguments.pairs) > 2:
        raise ValueError(f"got {len(arguments.pairs)} names; expected a table of pairs, or two folders")
    if len(arguments.pairs) == 1:
        return read_comparisons(make_path(arguments.pairs[0]), arguments.columns, fetch=arguments.fetch)
    if arguments.columns:
        raise ValueError("got --columns with two folders; expected a table of pairs")
    one, other = arguments.pairs
    for folder in (one, other):
        check_folder(folder)
    pairs, alone = pair_folders(one, other, arguments.recursive)
    if alone and arguments.on_error == "raise":
        raise ValueError(
            f"pictures in one folder only ({len(alone)}): {list_briefly(alone)}; leave them out with --on-error skip"
        )
    _list("left out, in one folder only", alone)
    return pairs


def run_embed(arguments: Namespace) -> Output:
    """Write the embeddings of pictures, some thousand a file."""
    check_model(arguments.model, arguments.weights)
    check_least("--shard-size", arguments.shard_size)
    files = _list_files(arguments)

    from dreamsim_metric.scale.scoring import embed_folder

    metric, cache, options = _prepare(arguments)
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
    row = {
        "pictures": made.pictures,
        "unreadable": len(made.unreadable),
        "shards": made.shards,
        "there before": made.there,
        "embedding": metric.card.embedding_size,
        "written": arguments.out,
    }
    return Output([row])


def run_rank(arguments: Namespace) -> Output:
    """List the pictures that are nearest to a picture, or to each of several."""
    check_ending(arguments.out)
    check_least("--top", arguments.top)
    check_model(arguments.model, arguments.weights)
    check_pictures([arguments.query])
    queries = find_pictures([arguments.query], arguments.recursive)
    files = _list_files(arguments)

    from dreamsim_metric.scale.scoring import rank

    prepared = _prepare(arguments)
    if files:
        found = _format_found([*files, *queries], arguments, prepared)
        asked, pictures = found.only(queries), found.only(files)
    else:
        pictures, asked = _read_shards(arguments, prepared), _format_found(queries, arguments, prepared)
    _list_unreadable(asked.unreadable | pictures.unreadable)
    rows = rank(asked, pictures, arguments.top, approximate=arguments.approximate)
    table = Columns.of(list(rows), _RANKED)
    if queries == [arguments.query]:
        table = replace(table, columns=[column for column in table.columns if column.name != "query"])
    if arguments.out:
        return _write(arguments.out, table, {"queries": len(asked.files), "rows": len(table.columns[0].values)})
    return Output(table.rows())


def run_duplicates(arguments: Namespace) -> Output:
    """List pictures that look nearly the same, in groups."""
    check_ending(arguments.out)
    if not 0 < arguments.below < math.inf:
        raise ValueError(f"got below={arguments.below}; expected a distance above 0")
    check_model(arguments.model, arguments.weights)
    files = _list_files(arguments)

    from dreamsim_metric.scale.scoring import find_duplicates

    pictures = _format_found(files, arguments, _prepare(arguments)) if files else _read_shards(arguments)
    _list_unreadable(pictures.unreadable)
    rows = find_duplicates(pictures, arguments.below, approximate=arguments.approximate)
    summary = {
        "pictures": len(pictures.files),
        "pairs": len(rows),
        "groups": rows[-1]["group"] if rows else 0,
    }
    if arguments.out:
        return _write(arguments.out, Columns.of(rows, _DUPLICATES), summary)
    print(", ".join(f"{name} {value}" for name, value in summary.items()), file=sys.stderr)
    return Output(rows, columns=tuple(_DUPLICATES))


def _list_files(arguments: Namespace) -> list[str]:
    """The pictures named, none where what is named is a folder of shards.

    Files that are not there are said at once, but where pictures that cannot be read are left out: they are listed.
    """
    if arguments.on_error == "raise":
        check_pictures(arguments.pictures)
    first = make_path(arguments.pictures[0])
    if "shards" in arguments and len(arguments.pictures) == 1 and next(first.glob("*.parquet"), None) is not None:
        from dreamsim_metric.scale.shards import is_shards

        if is_shards(first):
            return []
    return find_pictures(arguments.pictures, arguments.recursive)


def _prepare(arguments: Namespace) -> tuple["PerceptualMetric", "Cache | None", "Options"]:
    """Metric, cache and options of `embed_files`."""
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
    return load_metric(arguments), None if arguments.no_cache else open_cache(arguments), options


def _read_shards(arguments: Namespace, prepared: tuple | None = None) -> "Embeddings":
    """The embeddings of a folder of shards, which the metric could have made, if there is one."""
    from dreamsim_metric.scale.shards import check_settings, read_shards

    if prepared:
        check_settings(make_path(arguments.pictures[0]), prepared[0], arguments.decoder)
    return read_shards(arguments.pictures[0])


def _format_found(files: list[str], arguments: Namespace, prepared: tuple) -> "Embeddings":
    metric, cache, options = prepared
    if arguments.out:
        check_names(files)
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
        print(f"dreamsim-metric: {what} ({len(items)}):", *map(make_printable, items), sep="\n  ", file=sys.stderr)


def _write(out: Path, table: Columns, summary: Row) -> Output:
    """Write a table; what is printed is the summary."""
    write_columns(out, table)
    return Output([{**summary, "written": str(out)}])


_KEPT = "what was embedded is kept, the same command goes on from there"
COMMANDS = tuple(
    Command(name, help, run, options, extra="scale", interrupted=_KEPT)
    for name, help, run, options in (
        ("score", "distances of many pairs, from a table or two folders", run_score, _add_score),
        ("embed", "the embeddings of a folder's pictures, as Parquet", run_embed, _add_embed),
        ("rank", "the pictures of a folder, nearest first", run_rank, _add_rank),
        ("duplicates", "pictures that look nearly the same, in groups", run_duplicates, _add_duplicates),
    )
)
