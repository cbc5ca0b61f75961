"""What a second Ray node is worth: pictures a second on one node and on two of as many cores, on loopback.

OMP_NUM_THREADS=1 python -m benchmarks.programs.ray_nodes PICTURES --cpus 1 --rounds 5
"""

import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from dreamsim_metric import load
from dreamsim_metric.commands.options import add_option
from dreamsim_metric.commands.parser import Parser
from dreamsim_metric.files.pictures import find_pictures
from dreamsim_metric.metric import PerceptualMetric
from dreamsim_metric.scale.embedding import Options
from dreamsim_metric.scale.ray_cluster import make_shards
from dreamsim_metric.scale.ray_connection import Pool, connect
from dreamsim_metric.scale.shards import begin


def main() -> None:
    """Run the program."""
    parser = Parser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("pictures", metavar="DIR", help="folder of pictures")
    add_option(parser, "--model")
    parser.add_argument("--cpus", type=int, default=1, metavar="N", help="CPUs of each node")
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="rounds of one node and two, in turn")
    parser.add_argument("--shard-size", type=int, default=64, metavar="N", help="pictures in a file")
    arguments = parser.parse_args()
    files = find_pictures([arguments.pictures], recursive=True)
    metric = load(arguments.model)
    rows = []
    for number in range(arguments.rounds):
        for nodes in (1, 2) if number % 2 == 0 else (2, 1):
            rows.append({"round": number, **measure(files, metric, nodes, arguments.cpus, arguments.shard_size)})
            print(json.dumps(rows[-1]), file=sys.stderr)
    print(json.dumps(summarize(rows) | {"pictures": len(files), "cpus": arguments.cpus}, indent=2))


def measure(files: list[str], metric: PerceptualMetric, nodes: int, cpus: int, size: int) -> dict[str, Any]:
    """Make a run on a cluster made for it.

    Returns:
        `seconds` from asking for shards to the last, and `working` from when every actor had begun one.
    """
    from ray.cluster_utils import Cluster

    shards = {number: files[i : i + size] for number, i in enumerate(range(0, len(files), size))}
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": cpus, "include_dashboard": False})
    try:
        for _ in range(nodes - 1):
            cluster.add_node(num_cpus=cpus)
        with tempfile.TemporaryDirectory() as out, connect(cluster.address):
            begin(Path(out), files, metric, "pillow", size)
            start = time.time()
            made = list(make_shards(shards, Path(out), metric, Pool(nodes, cpus, 0), Options()))
            seconds = time.time() - start
    finally:
        cluster.shutdown()
    return {
        "nodes": nodes,
        "seconds": seconds,
        "rate": len(files) / seconds,
        "working_rate": compute_working_rate(made, nodes),
    }


def compute_working_rate(made: list[dict[str, Any]], nodes: int) -> float:
    """Compute pictures a second while all actors work: from the last one's first shard to the first one's last."""
    by_actor: dict[int, list[dict[str, Any]]] = {}
    for row in made:
        by_actor.setdefault(row["actor"], []).append(row)
    if len(by_actor) < nodes:
        raise RuntimeError(f"{len(by_actor)} of {nodes} actors made shards; give more pictures or smaller shards")
    start = max(min(row["began"] for row in rows) for rows in by_actor.values())
    end = min(max(row["ended"] for row in rows) for rows in by_actor.values())
    inside = (
        max(0.0, min(row["ended"], end) - max(row["began"], start)) / (row["ended"] - row["began"]) * row["pictures"]
        for row in made
    )
    return sum(inside) / (end - start)


def summarize(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Compute medians over rounds of rates, and of the ratio of two nodes to one in the same round."""
    found: dict[str, Any] = {"load average": os.getloadavg()[0]}
    for rate in ("working_rate", "rate"):
        by_round: dict[int, dict[int, float]] = {}
        for row in rows:
            by_round.setdefault(row["round"], {})[row["nodes"]] = row[rate]
        for nodes in (1, 2):
            found[f"{rate}, {nodes}"] = statistics.median(rates[nodes] for rates in by_round.values())
        ratios = sorted(rates[2] / rates[1] for rates in by_round.values())
        found[f"{rate}, ratio"] = {"median": statistics.median(ratios), "least": ratios[0], "most": ratios[-1]}
    return found


if __name__ == "__main__":
    main()
