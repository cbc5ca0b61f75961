"""Shards by Ray: on two nodes the bits of one process; what is killed loses nothing and changes nothing."""

import itertools
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time

import numpy as np
import PIL.Image
import psutil
import pytest
import torch

from dreamsim_metric import cli, cluster, connection, load
from dreamsim_metric.connection import Pool, fitting_pool
from dreamsim_metric.scoring import embed_files, embed_folder
from dreamsim_metric.shards import shard_file
from dreamsim_metric.storage import read

SHARD = 5
CLI = [sys.executable, "-m", "dreamsim_metric.cli"]


@pytest.fixture(scope="module")
def metric():
    return load("mini", device="cpu")


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Two hundred pictures, of which one is none."""
    folder = tmp_path_factory.mktemp("pictures")
    random = np.random.default_rng(0)
    for i in range(200):
        levels = random.integers(0, 256, (90, 110, 3), dtype=np.uint8)
        PIL.Image.fromarray(levels).resize((300, 250)).save(folder / f"{i:03}.png")
    (folder / "120.png").write_text("no picture")
    return sorted(map(str, folder.iterdir()))


@pytest.fixture(scope="module")
def expected(files, metric, tmp_path_factory):
    """The folder that one process makes."""
    out = tmp_path_factory.mktemp("expected") / "out"
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    embed_folder(files, out, metric, shard_size=SHARD)
    torch.set_num_threads(before)
    return out


@pytest.fixture
def nodes():
    """A Ray cluster of two nodes on loopback, one CPU each."""
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
        made.add_node(num_cpus=1)
        yield made
        made.shutdown()


def same(made, expected):
    return [read(f"{made}/{file.name}") == file.read_bytes() for file in sorted(expected.iterdir())] == [True] * 41


def actors(nodes):
    """Processes of this cluster that have a model."""
    for node in nodes.list_all_nodes():
        raylet = psutil.Process(node.all_processes["raylet"][0].process.pid)
        yield from (p for p in raylet.children(recursive=True) if "MapWorker" in " ".join(p.cmdline()))


def when_some_are_made(out, act):
    """Do something in another thread when three shards are there; the list gets how many there were then."""
    seen = []

    def wait():
        while (n := len(list(out.glob("*.parquet")))) < 3:
            time.sleep(0.02)
        act()
        seen.append(n)

    threading.Thread(target=wait, daemon=True).start()
    return seen


@pytest.mark.slow
def test_two_nodes_make_the_bytes_of_one_process(nodes, files, metric, expected, tmp_path):
    made = cluster.embed_folder(files, tmp_path / "out", metric, address=nodes.address, shard_size=SHARD)
    assert same(tmp_path / "out", expected)
    assert (made.pictures, made.shards, made.there, list(made.unreadable)) == (200, 40, 0, [files[120]])
    again = cluster.embed_folder(files, tmp_path / "out", metric, address="1.2.3.4:5", shard_size=SHARD)
    assert again.there == 40  # nobody was asked


@pytest.mark.slow
def test_both_nodes_work_and_a_connection_of_the_caller_is_kept(nodes, files, metric, expected, tmp_path):
    import ray
    from ray._common.usage.usage_lib import usage_stats_enabled

    with connection.connected(nodes.address):
        assert not usage_stats_enabled()
        out = tmp_path / "out"
        shards = {i: files[SHARD * i : SHARD * (i + 1)] for i in range(40)}
        shutil.copytree(expected, out)
        for number in shards:
            shard_file(out, number).unlink()
        with connection.connected("1.2.3.4:5"):
            rows = list(cluster.make_shards(shards, out, metric, Pool(2, 1, 0), cluster.Options()))
        assert ray.is_initialized()
        assert sorted(row["shard"] for row in rows) == list(shards)
        # Nodes of one machine share its address, but each has one actor.
        assert len(list(actors(nodes))) <= 2
        spans = sorted((row["began"], row["ended"]) for row in rows)
        assert sum(b < a for (_, a), (b, _) in itertools.pairwise(spans)) > 10  # two at a time
    assert not ray.is_initialized()
    assert same(out, expected)


@pytest.mark.slow
def test_a_killed_actor_loses_nothing(nodes, files, metric, expected, tmp_path):
    def kill():
        next(actors(nodes)).kill()

    seen = when_some_are_made(tmp_path / "out", kill)
    made = cluster.embed_folder(files, tmp_path / "out", metric, address=nodes.address, shard_size=SHARD)
    assert seen[0] < 35
    assert same(tmp_path / "out", expected)
    assert made.there == 0


@pytest.mark.slow
def test_a_killed_node_loses_nothing(nodes, files, metric, expected, tmp_path):
    (node,) = nodes.worker_nodes
    seen = when_some_are_made(tmp_path / "out", lambda: nodes.remove_node(node, allow_graceful=False))
    cluster.embed_folder(files, tmp_path / "out", metric, address=nodes.address, shard_size=SHARD)
    assert seen[0] < 35
    assert same(tmp_path / "out", expected)


@pytest.mark.slow
def test_pictures_and_shards_in_a_store(nodes, files, metric, bucket, tmp_path):
    for file in files[:20]:
        bucket.put(file, os.path.basename(file))
    urls = [f"{bucket.url}/{os.path.basename(file)}" for file in files[:20]]
    cluster.embed_folder(urls, f"{bucket.url}/out", metric, address=nodes.address, shard_size=SHARD)
    embed_folder(urls, tmp_path, metric, shard_size=SHARD)
    assert all(read(f"{bucket.url}/out/{file.name}") == file.read_bytes() for file in tmp_path.iterdir())


@pytest.mark.slow
def test_what_cannot_be_made_ends_the_run_and_keeps_the_rest(nodes, files, metric, expected, tmp_path):
    out = tmp_path / "out"

    def make(**options):
        cluster.embed_folder(files, out, metric, address=nodes.address, shard_size=SHARD, **options)

    with pytest.raises(RuntimeError, match=r"120\.png is not a picture .* finished shards are kept in .*/out$"):
        make(on_error="raise")
    assert 0 < len(list(out.glob("*.parquet"))) < 40
    # A full disk is one more reason that `write_file` has; this is one that needs no disk.
    (out / "embeddings-00039.parquet").mkdir()
    (out / "embeddings-00039.parquet" / "held").touch()
    with pytest.raises(RuntimeError, match=r"cannot write .*embeddings-00039\.parquet .*directory"):
        make()
    shutil.rmtree(out / "embeddings-00039.parquet")

    def deadly(file):
        if file.endswith("007.png"):
            os.kill(os.getpid(), signal.SIGKILL)
        return read(file)

    shutil.rmtree(out)
    with pytest.raises(RuntimeError, match=r"3 actors were killed over shard 1, .*005\.png … .*009\.png; was memory"):
        make(read=deadly)
    make()
    assert same(out, expected)


@pytest.mark.slow
def test_a_killed_command_goes_on_and_ray_and_one_process_end_what_the_other_began(files, expected, tmp_path):
    out = tmp_path / "out"
    folder = os.path.dirname(files[0])
    alone = [*CLI, "embed", folder, "--out", str(out), "--no-cache", "--shard-size", str(SHARD), "--json"]
    by_ray = [*alone, "--ray", "local", "--ray-cpus", "1"]
    quiet = {"check": True, "capture_output": True, "text": True, "env": {**os.environ, "OMP_NUM_THREADS": "1"}}
    started = subprocess.Popen(by_ray, env=quiet["env"], stdout=subprocess.DEVNULL)
    while len(list(out.glob("*.parquet"))) < 3:
        assert started.poll() is None
        time.sleep(0.02)
    started.kill()
    started.wait()
    time.sleep(3)  # its actors go down with it
    there = len(list(out.glob("*.parquet")))
    assert 3 <= there < 40
    done = subprocess.run(by_ray, **quiet)
    (row,) = json.loads(done.stdout)
    assert row["there before"] == there
    assert done.stderr.splitlines()[0] == "dreamsim-metric: left out, cannot be read (1):"
    assert len(done.stderr.splitlines()) == 2  # nothing of Ray's
    assert same(out, expected)
    for number in range(10, 40):
        shard_file(out, number).unlink()
    assert json.loads(subprocess.run(alone, **quiet).stdout)[0]["there before"] == 10
    assert same(out, expected)


@pytest.mark.slow
def test_score_rank_and_duplicates_give_the_same_rows(nodes, files, tmp_path, capsys):
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    folder = tmp_path / "some"
    folder.mkdir()
    for file in files[:12]:
        shutil.copy(file, folder)
    shutil.copy(files[3], folder / "copy.png")
    table = tmp_path / "pairs.csv"
    table.write_text("a,b\n" + "".join(f"{a},{b}\n" for a, b in zip(files[:6], files[6:12], strict=True)))
    ray = ["--ray", nodes.address]
    for command in (
        ["score", str(table)],
        ["score", str(folder), str(folder)],
        ["rank", files[20], str(folder), "--top", "4"],
        ["rank", str(folder), str(folder), "--top", "2"],
        ["duplicates", str(folder), "--below", "0.02"],
    ):
        printed = []
        for options in (["--no-cache"], ray, [*ray, "--shards", str(tmp_path / " ".join(command).replace("/", "-"))]):
            assert not cli.main([*command, "--csv", *options]), capsys.readouterr().err
            printed.append(capsys.readouterr().out)
        assert len(printed[0].splitlines()) > 1
        assert printed[0] == printed[1] == printed[2]
    torch.set_num_threads(before)


@pytest.mark.slow
def test_folders_that_the_machines_do_not_share_are_named(nodes, files, metric, tmp_path, monkeypatch):
    """Other machines have another disk; here they are told of a folder that was there."""
    gone = tmp_path / "gone"
    shutil.copytree(os.path.dirname(files[0]), gone)
    monkeypatch.setattr(cluster, "_folders", lambda shards: {str(gone)})
    shutil.rmtree(gone)
    with pytest.raises(RuntimeError, match=r"/gone is not there; expected folders that all machines share, or URLs"):
        cluster.embed_folder(files, tmp_path / "out", metric, address=nodes.address, shard_size=SHARD)


@pytest.mark.parametrize(
    ("nodes", "device", "cpus", "pool"),
    [
        ([{"CPU": 16}, {"CPU": 8}], None, None, Pool(6, 4, 0)),
        ([{"CPU": 16}, {"CPU": 2}, {}], None, None, Pool(9, 2, 0)),
        ([{"CPU": 16}, {"CPU": 8}], None, 8, Pool(3, 8, 0)),
        ([{"CPU": 64, "GPU": 8}, {"CPU": 32}], None, None, Pool(8, 8, 1)),
        ([{"CPU": 64, "GPU": 1}, {"CPU": 12, "GPU": 1}], "cuda", None, Pool(2, 12, 1)),
        ([{"CPU": 64, "GPU": 8}], None, 16, Pool(4, 16, 1)),
        ([{"CPU": 64, "GPU": 8}, {"CPU": 8}], "cpu", None, Pool(18, 4, 0)),
    ],
)
def test_as_many_actors_as_fit(nodes, device, cpus, pool):
    assert fitting_pool(nodes, device, cpus) == pool


@pytest.mark.parametrize(
    ("nodes", "device", "cpus", "message"),
    [
        ([{"CPU": 4}, {"CPU": 2}], None, 8, "no place for an actor of 8 CPUs: its nodes have 4, 2"),
        ([{}], None, None, "no place for an actor of 4 CPUs: its nodes have 0"),
        ([{"CPU": 4}], "cuda", None, r"no GPU \(1 nodes\)"),
        ([{"CPU": 4}], None, 0, "got 0 CPUs an actor; expected 1 or more"),
    ],
)
def test_pools_without_a_place_are_refused(nodes, device, cpus, message):
    with pytest.raises(ValueError, match=message):
        fitting_pool(nodes, device, cpus)


@pytest.fixture
def silent_server():
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


@pytest.fixture
def other_server():
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer():
            peer, _ = server.accept()
            peer.sendall(b"HTTP/1.1 505 HTTP Version Not Supported\r\n\r\n")
            peer.close()

        threading.Thread(target=answer, daemon=True).start()
        yield f"127.0.0.1:{server.getsockname()[1]}"


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("silent_server", "no Ray cluster at {} (timed out); is `ray start --head` running?"),
        ("other_server", "no Ray cluster at {} (something else answers there); is `ray start --head` running?"),
        ("127.0.0.1:1", "no Ray cluster at {} (Connection refused); is `ray start --head` running?"),
        ("127.0.0.1:99999", "no Ray cluster at {}"),
        ("here", "got '{}' as address of a Ray cluster; expected local, auto or HOST:PORT, on one of its machines"),
        ("ray://127.0.0.1:10001", "got '{}' as address of a Ray cluster; expected local, auto or HOST:PORT"),
    ],
)
def test_a_bad_address_is_one_line_in_seconds(address, message, files, tmp_path, capsys, request, monkeypatch):
    monkeypatch.setattr(connection, "_REACHED", 0.3)
    if address.endswith("_server"):
        address = request.getfixturevalue(address)
    start = time.monotonic()
    assert cli.main(["embed", files[0], "--out", str(tmp_path / "out"), "--ray", address]) == 1
    assert time.monotonic() - start < 10
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith(f"dreamsim-metric: {message.format(address)}")
    assert said.err.count("\n") == 1


def test_without_ray_the_extra_is_named(files, tmp_path, capsys, monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == "ray"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "ray", None)
    assert cli.main(["embed", files[0], "--out", str(tmp_path / "out"), "--ray", "local"]) == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "pip install 'dreamsim_metric[ray]'" in said


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--ray", "local", "--cache", "x.sqlite"], "got --cache with --ray"),
        (["--ray", "local", "--device", "cuda:1"], "got device='cuda:1'; expected 'cpu' or 'cuda'"),
        (["--shards", "x"], "got --shards without --ray"),
    ],
)
def test_options_that_do_not_go_together(options, message, files, capsys):
    assert cli.main(["rank", files[0], files[1], *options]) == 1
    assert message in capsys.readouterr().err


def test_some_of_the_embeddings(files, metric):
    found = embed_files([files[i] for i in (120, 0, 1, 2)], metric)
    first, later = found.only([files[0], files[1], files[0]]), found.only([files[2], files[1], files[120], "other"])
    assert first.files == files[:2]
    assert torch.equal(first.units, found.units[:2])
    assert first.units.data_ptr() == found.units.data_ptr()  # no copy
    assert later.files == [files[2], files[1]]
    assert torch.equal(later.units, found.units[[2, 1]])
    assert later.contents == [found.contents[2], found.contents[1]]
    assert (list(first.unreadable), list(later.unreadable)) == ([], [files[120]])
