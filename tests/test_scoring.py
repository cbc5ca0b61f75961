"""Many files to numbers: the same bits as one by one, each content once, whatever is damaged, cached or killed."""

import json
import os
import re
import resource
import shutil
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

from dreamsim_metric import cli, distance, embed, load
from dreamsim_metric.cache import Cache, key
from dreamsim_metric.decoding import NotOnDeviceError, ToDevice, decode, in_order, worker_count
from dreamsim_metric.embedding import metric_key
from dreamsim_metric.images import to_pixels
from dreamsim_metric.scoring import duplicates, embed_files, embed_folder, embed_shard, rank, score_pairs
from dreamsim_metric.shards import check_settings, is_shards, read_shards, shard_file

from .pictures import PHOTOGRAPHS

FILES = [str(path) for path in PHOTOGRAPHS]


@pytest.fixture(scope="module")
def metric():
    return load("mini", device="cpu")


@pytest.fixture
def folder(tmp_path):
    """Twenty small pictures of which two are copies, and five files that are none."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    random = np.random.default_rng(0)
    for i in range(20):
        size = (40 + i, 60 - i, 3)
        PIL.Image.fromarray(random.integers(0, 256, size, dtype=np.uint8)).save(folder / f"{i:02}.png")
    shutil.copy(folder / "03.png", folder / "19.png")
    shutil.copy(folder / "03.png", folder / "with spaces é 🙂.png")
    (folder / "empty.png").write_bytes(b"")
    (folder / "text.png").write_text("no picture")
    whole = Path(FILES[0]).read_bytes()
    (folder / "cut off.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "cut off again.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "to nowhere.png").symlink_to(tmp_path / "none.png")
    (folder / "link.png").symlink_to(folder / "05.png")
    return folder


BAD = {"empty.png", "text.png", "cut off.jpg", "cut off again.jpg", "to nowhere.png"}


def listed(folder):
    return sorted(str(file) for file in folder.iterdir())


@pytest.fixture
def seen(metric):
    """How many pictures went through the model, batch by batch."""
    counts = []
    handle = metric.head.register_forward_pre_hook(lambda _module, inputs: counts.append(len(inputs[0])))
    yield counts
    handle.remove()


@pytest.mark.parametrize("batch_size", [1, 4, 32])
@pytest.mark.parametrize("workers", [1, 3])
def test_embeddings_have_the_bits_of_metric_embed(metric, batch_size, workers):
    found = embed_files(FILES, metric, batch_size=batch_size, workers=workers)
    loop = [metric.embed(FILES[i : i + batch_size]) for i in range(0, len(FILES), batch_size)]
    assert torch.equal(found.units, torch.cat(loop))
    assert torch.equal(embed(FILES, model=metric, batch_size=batch_size), found.units)
    assert found.files == FILES
    assert found.unreadable == {}


def test_each_content_is_embedded_once(metric, folder, seen):
    files = listed(folder)
    found = embed_files([*files, *files], metric, batch_size=8)
    assert sum(seen) == 19
    rows = found.rows()
    for name in ("19.png", "with spaces é 🙂.png"):
        assert torch.equal(found.units[rows[str(folder / name)]], found.units[rows[str(folder / "03.png")]])
    assert torch.equal(found.units[rows[str(folder / "link.png")]], found.units[rows[str(folder / "05.png")]])
    assert found.files == [file for file in files if Path(file).name not in BAD]
    assert len(set(found.contents)) == 19


def test_what_cannot_be_read_is_listed_with_reasons(metric, folder):
    found = embed_files(listed(folder), metric)
    assert set(found.unreadable) == {str(folder / name) for name in BAD}
    for file, why in found.unreadable.items():
        assert file in why
        assert "\n" not in why
    reasons = {Path(file).name: why for file, why in found.unreadable.items()}
    assert "empty file (0 bytes)" in reasons["empty.png"]
    assert "not a picture that Pillow can read" in reasons["text.png"]
    assert "will not decode" in reasons["cut off.jpg"]
    assert "will not decode" in reasons["cut off again.jpg"]
    assert "no such picture" in reasons["to nowhere.png"]


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("empty.png", ValueError, "empty file"),
        ("cut off.jpg", ValueError, "will not decode"),
        ("to nowhere.png", FileNotFoundError, "no such picture"),
        ("", ValueError, "is a folder"),
    ],
)
def test_the_first_that_cannot_be_read_ends_it_when_asked(metric, folder, name, error, message):
    with pytest.raises(error, match=message):
        embed_files([FILES[0], str(folder / name)], metric, on_error="raise")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission_is_listed(metric, folder):
    (folder / "00.png").chmod(0)
    assert "cannot be read (Permission denied)" in embed_files([str(folder / "00.png")], metric).unreadable.popitem()[1]


def test_nothing_readable_is_no_error(metric, folder):
    found = embed_files([str(folder / name) for name in sorted(BAD)], metric)
    assert found.units.shape == (0, 2560)
    assert len(found.unreadable) == 5
    assert embed_files([], metric).units.shape == (0, 2560)


def test_the_cache_gives_the_same_and_goes_by_content(metric, folder, tmp_path, seen):
    cache = Cache(tmp_path / "cache.sqlite")
    first = embed_files(listed(folder), metric, cache)
    assert sum(seen) == 19
    shutil.copytree(folder, tmp_path / "moved", symlinks=True)
    again = embed_files(listed(tmp_path / "moved"), metric, Cache(tmp_path / "cache.sqlite"))
    assert sum(seen) == 19
    assert torch.equal(again.units, first.units)
    assert len(again.unreadable) == 5
    shutil.copy(folder / "07.png", folder / "08.png")  # another content under an old name
    changed = embed_files(listed(folder), metric, cache)
    assert torch.equal(changed.units[8], first.units[7])


def test_the_cache_tells_models_precisions_and_decoders_apart(metric):
    half = load("mini", device="cpu").half()  # whose weights were rounded to float16 already
    other = load("mini", device="cpu")
    other.head.fc1.bias.data[0] += 1
    keys = [metric_key(metric), metric_key(half), metric_key(other), metric_key(metric, "torchvision")]
    assert len(set(keys)) == 4
    assert metric_key(load("mini", device="cpu")) == metric_key(metric)
    assert key(["a"], []) != key(["b"], [])


def test_a_table_has_a_row_a_file(metric, folder):
    files = listed(folder)
    table = embed_shard(files, metric)
    assert table.schema.field("embedding").type == pa.list_(pa.float32(), 2560)
    assert table["path"].to_pylist() == files
    alone = embed(files[0], model=metric)
    assert table["embedding"][0].as_py() == pytest.approx(alone[0].tolist(), abs=1e-6)
    for row in table.to_pylist():
        bad = Path(row["path"]).name in BAD
        assert (row["error"] is not None) is bad
        assert (row["embedding"] is None) is bad
        assert (row["sha256"] is None) is bad


def test_a_store_of_any_kind_can_be_read(metric):
    store = {f"memory://{i}": Path(file).read_bytes() for i, file in enumerate(FILES)}
    found = embed_files([*store, "memory://none"], metric, read=lambda file: store[file])
    assert torch.equal(found.units, embed(FILES, model=metric))
    assert list(found.unreadable) == ["memory://none"]


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
    return {file.name: file.read_bytes() for file in sorted(out.iterdir())}


def test_a_second_run_skips_what_is_there_and_makes_again_what_is_damaged(metric, folder, tmp_path, seen):
    embed_folder(listed(folder), tmp_path / "out", metric, shard_size=10)
    before, embedded = shard_bytes(tmp_path / "out"), sum(seen)
    made = embed_folder(listed(folder), tmp_path / "out", metric, shard_size=10)
    assert made.there == 3
    assert len(made.unreadable) == 5
    assert sum(seen) == embedded
    shard_file(tmp_path / "out", 1).write_bytes(before["embeddings-00001.parquet"][:1000])
    assert embed_folder(listed(folder), tmp_path / "out", metric, shard_size=10).there == 2
    assert shard_bytes(tmp_path / "out") == before


@pytest.mark.parametrize("batches", [1, 5, 9])
def test_an_interrupted_run_goes_on_and_ends_with_the_same_bytes(metric, folder, tmp_path, batches):
    files, options = listed(folder), {"batch_size": 2, "shard_size": 20}
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
    while not shard_file(tmp_path / "killed", 2).exists():
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
        (lambda: embed_folder(files, out, metric, decoder="torchvision")): ["decoder (Pillow"],
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
    shard_file(out, 1).unlink()
    with pytest.raises(ValueError, match=r"embeddings-00001.parquet is missing or damaged"):
        read_shards(out)
    (out / "settings.json").write_text("{")
    with pytest.raises(ValueError, match="is not JSON"):
        read_shards(out)
    (out / "settings.json").unlink()
    with pytest.raises(ValueError, match=r"holds shards without settings.json"):
        embed_folder(listed(folder), out, metric)
    with pytest.raises(ValueError, match="got shard_size=0"):
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
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["settings.json"]


def test_pairs_have_their_distances(metric, folder, seen):
    a, b = [FILES[0], FILES[1], FILES[0], FILES[4]], [FILES[1], FILES[2], FILES[0], FILES[5]]
    d, unreadable = score_pairs(a, b, metric)
    assert sum(seen) == 5
    assert d.tolist() == pytest.approx([distance(x, y, model=metric) for x, y in zip(a, b, strict=True)], abs=1e-6)
    assert d[2] == 0
    assert unreadable == {}
    d, unreadable = score_pairs([*a, "none.jpg"], [*b, FILES[0]], metric, on_error="skip")
    assert d.isnan().tolist() == [False] * 4 + [True]
    assert list(unreadable) == ["none.jpg"]
    with pytest.raises(FileNotFoundError, match=r"no such picture: none\.jpg"):
        score_pairs(["none.jpg"], FILES[:1], metric)
    with pytest.raises(ValueError, match="got 2 and 1 files; expected pairs"):
        score_pairs(FILES[:2], FILES[:1], metric)


def test_duplicates_come_in_groups(metric, folder):
    names = ["03.png", "04.png", "19.png", "05.png", "link.png", "with spaces é 🙂.png"]
    found = embed_files([str(folder / name) for name in names], metric)
    rows = duplicates(found, 1e-6)
    short = [(row["group"], Path(row["a"]).name, Path(row["b"]).name, row["distance"]) for row in rows]
    assert short == [
        (1, "03.png", "19.png", 0),
        (1, "03.png", "with spaces é 🙂.png", 0),
        (1, "19.png", "with spaces é 🙂.png", 0),
        (2, "05.png", "link.png", 0),
    ]


def test_rank_gives_each_query_its_nearest(metric):
    found = embed_files(FILES, metric)
    rows = list(rank(found, found, 2))
    assert [row["query"] for row in rows] == [file for file in FILES for _ in range(2)]
    assert all(row["picture"] == row["query"] and row["distance"] == 0 for row in rows[::2])
    vest = [row for row in rows if row["query"] == FILES[4]]
    assert (vest[1]["picture"], vest[1]["rank"]) == (FILES[5], 2)


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK", "rotated", "progressive"])
def test_torchvision_decodes_as_pillow_does(metric, tmp_path, mode):
    image, file = PIL.Image.open(FILES[1]), tmp_path / "a.jpg"
    exif = PIL.Image.Exif()
    if mode == "rotated":
        exif[0x0112] = 6
    image = image.convert(mode) if mode in ("L", "CMYK") else image
    image.save(file, quality=90, progressive=mode == "progressive", exif=exif)
    data = file.read_bytes()
    by_pillow, by_torchvision = (decode(data, "a.jpg", None, decoder) for decoder in ("pillow", "torchvision"))
    assert by_pillow.shape == by_torchvision.shape
    assert (by_pillow.int() - by_torchvision.int()).abs().max() <= 2
    assert torch.equal(to_pixels(file, None)[0], by_pillow / 255)
    left = decode(data, "a.jpg", 224, "torchvision", "cuda")
    assert left.ndim == (3 if mode in ("CMYK", "rotated") else 1)  # which nvJPEG could not do


def test_torchvision_finds_the_same_files_unreadable(metric, folder):
    by_pillow, by_torchvision = (
        embed_files(listed(folder), metric, decoder=name) for name in ("pillow", "torchvision")
    )
    assert by_pillow.unreadable == by_torchvision.unreadable
    torch.testing.assert_close(by_pillow.units, by_torchvision.units, atol=1e-6, rtol=0)


def test_resizing_on_the_device_gives_the_same_bits(metric):
    host, device = (embed_files(FILES, metric, resize_on=where) for where in ("host", "device"))
    assert torch.equal(host.units, device.units)


def test_a_jpeg_that_the_device_will_not_decode_goes_through_pillow(metric, folder, monkeypatch):
    """As on CUDA, where JPEGs are left to nvJPEG: the files go to the device as they are, and it refuses."""
    monkeypatch.setattr(
        "dreamsim_metric.embedding.decode",
        lambda data, file, size, decoder, device: decode(data, file, size, "torchvision", "cuda"),
    )
    refused = []

    def refuse(encoded, device):
        refused.append(len(encoded))

    monkeypatch.setattr("dreamsim_metric.decoding._by_torchvision", refuse)
    with pytest.raises(NotOnDeviceError):
        ToDevice(torch.device("cpu"), 224)([torch.zeros(9, dtype=torch.uint8)])
    broken = bytearray(Path(FILES[0]).read_bytes())
    (folder / "broken.jpg").write_bytes(broken[:500] + broken[-2:])
    found = embed_files([*FILES, str(folder / "broken.jpg")], metric)
    assert torch.equal(found.units, embed(FILES, model=metric))
    assert list(found.unreadable) == [str(folder / "broken.jpg")]
    assert refused == [1, len(FILES)]  # what is left of the broken one Pillow does not take for a JPEG


def test_reading_ahead_is_bounded_and_in_order():
    from concurrent.futures import ThreadPoolExecutor

    taken = []

    def items():
        for i in range(100):
            taken.append(i)
            yield i

    with ThreadPoolExecutor(4) as pool:
        results = in_order(pool, lambda i: i * i, items(), 6)
        assert [next(results) for _ in range(10)] == [i * i for i in range(10)]
        assert len(taken) == 16
        assert list(results) == [i * i for i in range(10, 100)]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "got batch_size=0; expected 1 or more"),
        ({"workers": 0}, "got workers=0; expected 1 or more"),
        ({"decoder": "cv2"}, "got decoder='cv2'; expected 'pillow' or 'torchvision'"),
        ({"on_error": "ignore"}, "got on_error='ignore'; expected 'skip' or 'raise'"),
        ({"resize_on": "gpu"}, "got resize_on='gpu'; expected 'host' or 'device'"),
    ],
)
def test_bad_options_say_what_is_wrong(metric, options, message):
    with pytest.raises(ValueError, match=message):
        embed_files(FILES[:1], metric, **options)
    assert worker_count(None) >= 1


def test_settings_are_readable(metric, folder, tmp_path):
    embed_folder(listed(folder), tmp_path / "out", metric)
    settings = json.loads((tmp_path / "out" / "settings.json").read_text())
    assert settings["model"] == "mini"
    assert (settings["pictures"], settings["embedding_size"], settings["precision"]) == (27, 2560, "float32")
    assert pq.read_metadata(shard_file(tmp_path / "out", 0)).num_rows == 27
