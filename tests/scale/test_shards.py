"""A folder of embeddings: whole shards, the same bytes however often it was stopped."""

import json
import math
import os
import re
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import PIL.Image
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from dreamsim_metric import cli, embed, load
from dreamsim_metric.scale.cache import Cache
from dreamsim_metric.scale.embedding import Options
from dreamsim_metric.scale.scoring import embed_files, embed_folder, to_table
from dreamsim_metric.scale.shards import check_settings, is_shards, name_shard_file, read_shards
from tests.mixed import BAD, listed


def test_a_table_has_a_row_a_file(metric, folder):
    files = listed(folder)
    table = to_table(files, embed_files(files, metric))
    assert table.schema.field("embedding").type == pa.list_(pa.float32(), 2560)
    assert table["path"].to_pylist() == files
    alone = embed(files[0], model=metric)
    assert table["embedding"][0].as_py() == pytest.approx(alone[0].tolist(), abs=1e-6)
    for row in table.to_pylist():
        bad = Path(row["path"]).name in BAD
        assert (row["error"] is not None) is bad
        assert (row["embedding"] is None) is bad
        assert (row["sha256"] is None) is bad


def test_shards_hold_what_embed_files_gives(metric, folder, tmp_path):
    made = embed_folder(listed(folder), tmp_path / "out", metric, shard_size=10)
    assert (made.pictures, made.shards, made.there, len(made.unreadable)) == (27, 3, 0, 5)
    assert is_shards(tmp_path / "out")
    assert not is_shards(folder)
    found, expected = read_shards(tmp_path / "out"), embed_files(listed(folder), metric)
    assert found.files == expected.files
    assert found.contents == expected.contents
    assert found.unreadable == expected.unreadable
    torch.testing.assert_close(found.units, expected.units, atol=1e-6, rtol=0)
    check_settings(tmp_path / "out", metric, "pillow")


def shard_bytes(out):
    return {file.name: file.read_bytes() for file in sorted(out.glob("[!.]*"))}


def test_a_second_run_skips_what_is_there_and_makes_again_what_is_damaged(metric, folder, tmp_path, seen):
    embed_folder(listed(folder), tmp_path / "out", metric, shard_size=10)
    before, embedded = shard_bytes(tmp_path / "out"), sum(seen)
    made = embed_folder(listed(folder), tmp_path / "out", metric, shard_size=10)
    assert made.there == 3
    assert len(made.unreadable) == 5
    assert sum(seen) == embedded
    name_shard_file(tmp_path / "out", 1).write_bytes(before["embeddings-00001.parquet"][:1000])
    pq.write_table(
        pq.read_table(name_shard_file(tmp_path / "out", 2)).drop(["error"]), name_shard_file(tmp_path / "out", 2)
    )
    assert embed_folder(listed(folder), tmp_path / "out", metric, shard_size=10).there == 1
    assert shard_bytes(tmp_path / "out") == before


@pytest.mark.parametrize("batches", [1, 5, 9])
def test_an_interrupted_run_goes_on_and_ends_with_the_same_bytes(metric, folder, tmp_path, batches):
    files, options = listed(folder), {"options": Options(batch_size=2), "shard_size": 20}
    embed_folder(files, tmp_path / "whole", metric, **options)
    left = iter(range(batches))

    def interrupt(_module, _inputs):
        if next(left, None) is None:
            raise KeyboardInterrupt

    cache = Cache(tmp_path / "cache.sqlite")
    handle = metric.head.register_forward_pre_hook(interrupt)
    with pytest.raises(KeyboardInterrupt):
        embed_folder(files, tmp_path / "stopped", metric, cache, **options)
    handle.remove()
    embed_folder(files, tmp_path / "stopped", metric, cache, **options)
    assert shard_bytes(tmp_path / "stopped") == shard_bytes(tmp_path / "whole")


@pytest.mark.slow
def test_a_killed_run_goes_on_and_ends_with_the_same_bytes(metric, folder, tmp_path, monkeypatch):
    for i in range(20, 60):
        PIL.Image.fromarray(np.full((30, 30, 3), i, dtype=np.uint8)).save(folder / f"{i}.png")
    options = ["--shard-size", "5", "--batch-size", "2", "--device", "cpu", "--model", "mini"]

    def arguments(out):
        return ["embed", str(folder), "--out", str(tmp_path / out), *options]

    killed = subprocess.Popen(
        [sys.executable, "-m", "dreamsim_metric.cli", *arguments("killed")],
        env=os.environ
        | {"DREAMSIM_METRIC_CACHE": str(tmp_path / "cache"), "OMP_NUM_THREADS": str(torch.get_num_threads())},
        stderr=subprocess.PIPE,
    )
    deadline = time.monotonic() + 120
    while not name_shard_file(tmp_path / "killed", 2).exists():
        assert killed.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.005)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    left = set(shard_bytes(tmp_path / "killed"))
    monkeypatch.setenv("DREAMSIM_METRIC_CACHE", str(tmp_path / "cache"))
    assert cli.main(arguments("killed")) == 0
    monkeypatch.setenv("DREAMSIM_METRIC_CACHE", str(tmp_path / "another cache"))
    assert cli.main(arguments("whole")) == 0
    assert shard_bytes(tmp_path / "killed") == shard_bytes(tmp_path / "whole")
    assert left < set(shard_bytes(tmp_path / "whole"))


def test_other_settings_are_refused_by_name(metric, folder, tmp_path):
    out, files = tmp_path / "out", listed(folder)[:5]
    embed_folder(files, out, metric)
    other = load("mini", device="cpu")
    other.head.fc1.bias.data[0] += 1
    half = load("mini", device="cpu").half()
    for call, names in {
        (lambda: embed_folder(files[:4], out, metric)): ["pictures (5 there, 4 now)", "files ("],
        (lambda: embed_folder(files, out, metric, shard_size=2)): ["shard_size (4096 there, 2 now)"],
        (lambda: embed_folder(files, out, metric, options=Options(decoder="torchvision"))): ["decoder (Pillow"],
        (lambda: embed_folder(files, out, other)): ["weights ("],
        (lambda: check_settings(out, other, "pillow")): ["weights ("],
        (lambda: check_settings(out, half, "pillow")): ["weights (", "precision (float32 there, float16 now)"],
    }.items():
        with pytest.raises(ValueError, match="holds embeddings with other settings") as error:
            call()
        assert all(name in str(error.value) for name in names)
        assert str(error.value).count(" there, ") == len(names)


def test_a_folder_that_is_not_one_of_shards_is_said(metric, folder, tmp_path):
    out = tmp_path / "out"
    embed_folder(listed(folder), out, metric, shard_size=10)
    name_shard_file(out, 1).unlink()
    whole = (out / "settings.json").read_text()
    with pytest.raises(ValueError, match=r"embeddings-00001.parquet is missing or damaged"):
        read_shards(out)
    (out / "settings.json").write_text("{")
    with pytest.raises(ValueError, match="is not JSON"):
        read_shards(out)
    for key in ("pictures", "shard_size", "embedding_size"):  # an earlier version had other names
        (out / "settings.json").write_text(json.dumps({name: 1 for name in json.loads(whole) if name != key}))
        with pytest.raises(ValueError, match=rf"settings.json lacks {key}, perhaps as one of another version; remove"):
            read_shards(out)
    (out / "settings.json").unlink()
    with pytest.raises(ValueError, match=r"holds shards without settings.json"):
        embed_folder(listed(folder), out, metric)
    with pytest.raises(ValueError, match="got shard_size 0"):
        embed_folder(listed(folder), tmp_path / "new", metric, shard_size=0)


def test_a_full_disk_leaves_what_was_there(folder, tmp_path, capsys):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))  # as a full disk: writing more fails
    try:
        arguments = ["embed", str(folder), "--out", str(tmp_path / "out"), "--no-cache", "--device", "cpu"]
        assert cli.main(arguments) == 1
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert re.fullmatch(r"dreamsim-metric: cannot write .*embeddings-00000.parquet .*\n", capsys.readouterr().err)
    assert [file.name for file in (tmp_path / "out").glob("[!.]*")] == ["settings.json"]


def test_settings_are_readable(metric, folder, tmp_path):
    embed_folder(listed(folder), tmp_path / "out", metric)
    settings = json.loads((tmp_path / "out" / "settings.json").read_text())
    assert settings["model"] == "mini"
    assert (settings["pictures"], settings["embedding_size"], settings["precision"]) == (27, 2560, "float32")
    assert pq.read_metadata(name_shard_file(tmp_path / "out", 0)).num_rows == 27


def damage_row(file, change):
    """Write a shard anew, sound but for its numbers."""
    table = pq.read_table(file)
    units = np.stack(table["embedding"].drop_null().to_pylist()).astype(np.float32)
    change(units)
    missing = pa.array([one is None for one in table["embedding"].to_pylist()])
    values = np.zeros((table.num_rows, units.shape[1]), dtype=np.float32)
    values[~missing.to_numpy(zero_copy_only=False)] = units
    column = pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), units.shape[1], mask=missing)
    pq.write_table(table.set_column(2, "embedding", column), file)


def flip_bit(file):
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 0x10
    file.write_bytes(content)


@pytest.mark.parametrize(
    "damage",
    [
        flip_bit,
        lambda file: damage_row(file, lambda units: units.fill(math.nan)),
        lambda file: damage_row(file, lambda units: units.__imul__(2)),
        lambda file: pq.write_table(pq.read_table(file).drop_columns(["error"]), file),
        lambda file: file.write_bytes(b"PAR1"),
    ],
    ids=["a bit", "NaN", "twice as long", "no column", "cut"],
)
def test_damaged_numbers_are_named_and_made_again(metric, folder, tmp_path, damage):
    out = tmp_path / "out"
    embed_folder(listed(folder), out, metric, shard_size=10)
    whole = shard_bytes(out)
    damage(name_shard_file(out, 1))
    with pytest.raises(ValueError, match=r"embeddings-00001.parquet is missing or damaged"):
        read_shards(out)
    assert embed_folder(listed(folder), out, metric, shard_size=10).there == 2
    assert shard_bytes(out) == whole


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("shard_size", -1, "has shard_size -1; expected 1 or more"),
        ("shard_size", 0, "has shard_size 0; expected 1 or more"),
        ("shard_size", 1e3, "has shard_size 1000.0; expected 1 or more"),
        ("pictures", "x", "has pictures 'x'; expected 0 or more"),
        ("pictures", True, "has pictures True; expected 0 or more"),
        ("pictures", 0, "holds more than the 0 pictures"),
        ("pictures", 10, "holds more than the 10 pictures"),
        ("pictures", 10**9, "embeddings-00002.parquet is missing or damaged"),
        ("embedding_size", 7, "embeddings-00000.parquet is missing or damaged"),
    ],
)
def test_settings_that_cannot_be_are_named(metric, folder, tmp_path, name, value, message):
    out = tmp_path / "out"
    embed_folder(listed(folder), out, metric, shard_size=10)
    settings = json.loads((out / "settings.json").read_text())
    (out / "settings.json").write_text(json.dumps(settings | {name: value}))
    with pytest.raises(ValueError, match=message):
        read_shards(out)
