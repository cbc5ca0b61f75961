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

from dreamsim_metric import cli, load
from dreamsim_metric.files.store import read
from dreamsim_metric.scale import ray_cluster as cluster
from dreamsim_metric.scale import ray_connection as connection
from dreamsim_metric.scale.embedding import Options
from dreamsim_metric.scale.ray_connection import Pool, plan_pool
from dreamsim_metric.scale.scoring import embed_files, embed_folder
from dreamsim_metric.scale.shards import name_shard_file

SHARD, SHARDS = 3, 30
CLI = [sys.executable, "-m", "dreamsim_metric.cli"]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Ninety pictures, of which one is none."""
    folder = tmp_path_factory.mktemp("pictures")
    random = np.random.default_rng(0)
    for i in range(SHARD * SHARDS):
        levels = random.integers(0, 256, (90, 110, 3), dtype=np.uint8)
        PIL.Image.fromarray(levels).resize((300, 250)).save(folder / f"{i:03}.bmp")
    (folder / "070.bmp").write_text("no picture")
    return sorted(map(str, folder.glob("[!.]*")))


@pytest.fixture
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def expected(files, metric, tmp_path_factory):
    """The folder that one process makes."""
    out = tmp_path_factory.mktemp("expected") / "out"
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    embed_folder(files, out, metric, shard_size=SHARD)
    torch.set_num_threads(before)
    return out


@pytest.fixture(scope="module")
def two_nodes(s3_server):  # whose address its processes inherit
    from ray.cluster_utils import Cluster

    before = set(psutil.Process().children(recursive=True))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
        yield made
        processes = set(psutil.Process().children(recursive=True)) - before
        made.shutdown()
        assert len(processes) > 3
        assert psutil.wait_procs(processes, timeout=60)[1] == []


@pytest.fixture
def nodes(two_nodes):
    """A Ray cluster of two nodes on loopback, one CPU each."""
    if not two_nodes.worker_nodes:  # also after one was killed
        two_nodes.add_node(num_cpus=1)
    return two_nodes


def same(made, expected):
    equal = [read(f"{made}/{file.name}") == file.read_bytes() for file in expected.glob("[!.]*")]
    return equal == [True] * (SHARDS + 1)


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
            time.sleep(0.01)
        act()
        seen.append(n)

    threading.Thread(target=wait, daemon=True).start()
    return seen


def test_two_nodes_make_the_bytes_of_one_process(nodes, files, metric, expected, tmp_path, monkeypatch):
    rows, make_shards = [], cluster.make_shards

    def noted(*arguments):
        for row in make_shards(*arguments):
            rows.append(row)
            yield row

    monkeypatch.setattr(cluster, "make_shards", noted)
    made = cluster.embed_folder(files, tmp_path / "out", metric, address=nodes.address, shard_size=SHARD)
    assert same(tmp_path / "out", expected)
    assert (made.pictures, made.shards, made.there, list(made.unreadable)) == (90, SHARDS, 0, [files[70]])
    assert sorted(row["shard"] for row in rows) == list(range(SHARDS))
    assert len({row["actor"] for row in rows}) == 2
    spans = sorted((row["began"], row["ended"]) for row in rows)
    assert any(b < a for (_, a), (b, _) in itertools.pairwise(spans))  # two at a time
    again = cluster.embed_folder(files, tmp_path / "out", metric, address="1.2.3.4:5", shard_size=SHARD)
    assert again.there == SHARDS  # nobody was asked


@pytest.mark.slow
def test_a_connection_of_the_caller_is_kept_and_nothing_is_sent_home(nodes, files, metric, tmp_path):
    import ray
    from ray._common.usage.usage_lib import usage_stats_enabled

    with connection.connect(nodes.address):
        assert not usage_stats_enabled()
        cluster.embed_folder(files[:3], tmp_path / "out", metric, address="1.2.3.4:5")
        assert ray.is_initialized()
    assert not ray.is_initialized()


@pytest.mark.slow
def test_precision_and_compiling_reach_the_actors(nodes, files, one_thread, tmp_path):
    half = load("mini", device="cpu", precision="bfloat16")
    there = cluster.embed_files(files[:6], half, address=nodes.address, shards=tmp_path / "half")
    assert torch.equal(there.units, embed_files(files[:6], half).units)
    compiled = load("mini", device="cpu")
    compiled.compile_networks((8,))
    there = cluster.embed_files(
        files[:6], compiled, address=nodes.address, shards=tmp_path / "compiled", options=Options(batch_size=6)
    )
    assert json.loads((tmp_path / "compiled" / "settings.json").read_text())["precision"] == "float32, compiled"
    torch.testing.assert_close(there.units, embed_files(files[:6], load("mini")).units, atol=1e-5, rtol=0)


@pytest.mark.slow
def test_a_killed_actor_loses_nothing(nodes, files, metric, expected, tmp_path):
    seen = when_some_are_made(tmp_path / "out", lambda: next(actors(nodes)).kill())
    made = cluster.embed_folder(files, tmp_path / "out", metric, address=nodes.address, shard_size=SHARD)
    assert seen[0] < SHARDS - 5
    assert same(tmp_path / "out", expected)
    assert made.there == 0


@pytest.mark.slow
def test_a_killed_node_loses_nothing(nodes, files, metric, expected, tmp_path):
    (node,) = nodes.worker_nodes
    seen = when_some_are_made(tmp_path / "out", lambda: nodes.remove_node(node, allow_graceful=False))
    cluster.embed_folder(files, tmp_path / "out", metric, address=nodes.address, shard_size=SHARD)
    assert seen[0] < SHARDS - 5
    assert same(tmp_path / "out", expected)


@pytest.mark.slow
def test_pictures_and_shards_in_a_store(nodes, files, metric, bucket, tmp_path):
    for file in files[:20]:
        bucket.put(file, os.path.basename(file))
    urls = [f"{bucket.url}/{os.path.basename(file)}" for file in files[:20]]
    cluster.embed_folder(urls, f"{bucket.url}/out", metric, address=nodes.address, shard_size=SHARD)
    embed_folder(urls, tmp_path, metric, shard_size=SHARD)
    assert all(read(f"{bucket.url}/out/{file.name}") == file.read_bytes() for file in tmp_path.glob("[!.]*"))


@pytest.mark.slow
def test_what_cannot_be_made_ends_the_run_and_keeps_the_rest(nodes, files, metric, expected, tmp_path):
    out = tmp_path / "out"

    def make(**options):
        settings = Options(**options)
        cluster.embed_folder(files, out, metric, address=nodes.address, shard_size=SHARD, options=settings)

    with pytest.raises(RuntimeError, match=r"070\.bmp is not a picture .* finished shards are kept in .*/out$"):
        make(on_error="raise")
    assert 0 < len(list(out.glob("*.parquet"))) < SHARDS
    # A full disk is one more reason that `write_file` has; this is one that needs no disk.
    (out / "embeddings-00029.parquet").mkdir()
    (out / "embeddings-00029.parquet" / "held").touch()
    with pytest.raises(RuntimeError, match=r"cannot write .*embeddings-00029\.parquet .*directory"):
        make()
    shutil.rmtree(out / "embeddings-00029.parquet")
    make()
    assert same(out, expected)


@pytest.mark.slow
def test_a_picture_that_kills_its_actor_is_given_up_after_three(nodes, files, metric, tmp_path):
    def deadly(file):
        if file.endswith("004.bmp"):
            os.kill(os.getpid(), signal.SIGKILL)
        return read(file)

    options = Options(read=deadly)
    with pytest.raises(RuntimeError, match=r"3 actors were killed over shard 1, .*003\.bmp … .*005\.bmp; was memory"):
        cluster.embed_folder(files[:9], tmp_path, metric, address=nodes.address, shard_size=SHARD, options=options)


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
    assert 3 <= there < SHARDS
    done = subprocess.run(by_ray, **quiet)
    (row,) = json.loads(done.stdout)
    assert row["there before"] == there
    assert done.stderr.splitlines()[0] == "dreamsim-metric: left out, cannot be read (1):"
    assert len(done.stderr.splitlines()) == 2  # nothing of Ray's
    assert same(out, expected)
    for number in range(10, SHARDS):
        name_shard_file(out, number).unlink()
    assert json.loads(subprocess.run(alone, **quiet).stdout)[0]["there before"] == 10
    assert same(out, expected)


@pytest.mark.slow
def test_score_rank_and_duplicates_give_the_same_rows(nodes, files, one_thread, tmp_path, capsys):
    folder = tmp_path / "some"
    folder.mkdir()
    for file in files[:12]:
        shutil.copy(file, folder)
    shutil.copy(files[3], folder / "copy.bmp")
    table = tmp_path / "pairs.csv"
    table.write_text("a,b\n" + "".join(f"{a},{b}\n" for a, b in zip(files[:6], files[6:12], strict=True)))
    shards = ["--shards", str(tmp_path / "shards")]
    for command, options in (
        (["score", str(table)], []),
        (["score", str(folder), str(folder)], shards),
        (["duplicates", str(folder), "--below", "0.02"], shards),  # which are there by now
        (["rank", str(folder), str(folder), "--top", "2"], []),
        (["rank", files[20], str(folder), "--top", "4"], []),
    ):
        printed = []
        for how in (["--no-cache"], ["--ray", nodes.address, *options]):
            assert not cli.main([*command, "--csv", *how]), capsys.readouterr().err
            printed.append(capsys.readouterr().out)
        assert len(printed[0].splitlines()) > 1
        assert printed[0] == printed[1]


@pytest.mark.slow
def test_folders_that_the_machines_do_not_share_are_named(nodes, files, metric, tmp_path, monkeypatch):
    """Other machines have another disk; here they are told of a folder that was there."""
    gone = tmp_path / "gone"
    shutil.copytree(os.path.dirname(files[0]), gone)
    monkeypatch.setattr(cluster, "_list_folders", lambda shards: {str(gone)})
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
    assert plan_pool(nodes, device, cpus) == pool


@pytest.mark.parametrize(
    ("nodes", "device", "cpus", "message"),
    [
        ([{"CPU": 4}, {"CPU": 2}], None, 8, "no place for an actor of 8 CPUs: its nodes have 4, 2"),
        ([{}], None, None, "no place for an actor of 4 CPUs: its nodes have 0"),
        ([{"CPU": 4}], "cuda", None, r"no GPU \(1 nodes\)"),
        ([{"CPU": 4}], None, 0, "got CPUs of an actor 0; expected 1 or more"),
    ],
)
def test_pools_without_a_place_are_refused(nodes, device, cpus, message):
    with pytest.raises(ValueError, match=message):
        plan_pool(nodes, device, cpus)


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
    found = embed_files([files[i] for i in (70, 0, 1, 2)], metric)
    first, later = found.only([files[0], files[1], files[0]]), found.only([files[2], files[1], files[70], "other"])
    assert first.files == files[:2]
    assert torch.equal(first.units, found.units[:2])
    assert first.units.data_ptr() == found.units.data_ptr()  # no copy
    assert later.files == [files[2], files[1]]
    assert torch.equal(later.units, found.units[[2, 1]])
    assert later.contents == [found.contents[2], found.contents[1]]
    assert (list(first.unreadable), list(later.unreadable)) == ([], [files[70]])
