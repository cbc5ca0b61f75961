"""Pictures and shards in a store: a real S3 server (moto's) on loopback, and what is written beside and renamed."""

import os

import pytest
import torch

from dreamsim_metric import cli
from dreamsim_metric.files.pictures import find_pictures
from dreamsim_metric.files.store import is_url, make_path, read, read_local, write
from dreamsim_metric.files.table import write_columns
from dreamsim_metric.formats import LARGEST
from dreamsim_metric.scale.comparisons import pair_folders, read_comparisons
from dreamsim_metric.scale.scoring import embed_files, embed_folder
from dreamsim_metric.scale.shards import is_shards, read_shards
from tests.pictures import PHOTOGRAPHS

FILES = [str(path) for path in PHOTOGRAPHS[:3]]


def test_a_store_gives_the_embeddings_of_the_disk(metric, bucket):
    for i, file in enumerate(FILES):
        bucket.put(file, f"pictures/{i}.jpg")
    found = embed_files(find_pictures([f"{bucket.url}/pictures"]), metric)
    assert found.files == [f"{bucket.url}/pictures/{i}.jpg" for i in range(3)]
    assert torch.equal(found.units, embed_files(FILES, metric).units)


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to("/dev/zero")], ids=["pipe", "device"])
def test_what_may_never_end_is_not_read(tmp_path, make):
    make(tmp_path / "a.png")
    with pytest.raises(ValueError, match=r"a\.png is no regular file but a pipe, socket or device"):
        read_local(str(tmp_path / "a.png"))


def test_a_file_larger_than_any_picture_is_not_read(tmp_path):
    with open(tmp_path / "a.png", "wb") as file:
        file.truncate(LARGEST + 1)
    with pytest.raises(
        ValueError, match=r"a\.png has 4,294,967,297 bytes; expected a picture, of 4,294,967,296 at most"
    ):
        read_local(str(tmp_path / "a.png"))


def test_shards_in_a_store_have_the_bytes_of_those_on_disk_and_are_gone_on_with(metric, bucket, tmp_path):
    embed_folder(FILES, tmp_path / "disk", metric, shard_size=2)
    for there in (0, 2):
        assert embed_folder(FILES, f"{bucket.url}/out", metric, shard_size=2).there == there
    for file in (tmp_path / "disk").glob("[!.]*"):
        assert read(f"{bucket.url}/out/{file.name}") == file.read_bytes()
    write(make_path(f"{bucket.url}/out/embeddings-00001.parquet"), b"damaged")
    assert embed_folder(FILES, f"{bucket.url}/out", metric, shard_size=2).there == 1
    assert is_shards(f"{bucket.url}/out")
    assert not is_shards(f"{bucket.url}/nothing")
    assert torch.equal(read_shards(f"{bucket.url}/out").units, read_shards(tmp_path / "disk").units)
    with pytest.raises(ValueError, match="pictures"):
        embed_folder(FILES[:2], f"{bucket.url}/out", metric, shard_size=2)


def test_folders_in_a_store_are_listed_like_those_on_disk(bucket, tmp_path):
    for name in ("b.jpg", "a.png", ".hidden.jpg", "notes.txt", "deeper/c.jpg", ".deeper/d.jpg"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x")
        bucket.put(path, f"listed/{name}")
    for recursive in (False, True):
        expected = [os.path.relpath(file, tmp_path) for file in find_pictures([str(tmp_path)], recursive)]
        got = find_pictures([f"{bucket.url}/listed/"], recursive)
        assert got == [f"{bucket.url}/listed/{name}" for name in expected]
    bucket.put(tmp_path / "notes.txt", "texts/notes.txt")
    with pytest.raises(ValueError, match=f"{bucket.url}/texts holds no pictures"):
        find_pictures([f"{bucket.url}/texts"])


def test_pairs_in_a_store(bucket, tmp_path):
    for folder in ("one", "two"):
        bucket.put(FILES[0], f"pairs/{folder}/x/1.jpg")
    pairs, alone = pair_folders(f"{bucket.url}/pairs/one/", f"{bucket.url}/pairs/two", recursive=True)
    assert (pairs.a, pairs.b) == ([f"{bucket.url}/pairs/one/x/1.jpg"], [f"{bucket.url}/pairs/two/x/1.jpg"])
    assert not alone
    table = tmp_path / "pairs.csv"
    table.write_text(f"a,b\nhere.jpg,{bucket.url}/there.jpg\n")
    assert read_comparisons(table).files() == [str(tmp_path / "here.jpg"), f"{bucket.url}/there.jpg"]
    bucket.put(table, "pairs/pairs.csv")
    there = make_path(f"{bucket.url}/pairs/pairs.csv")
    assert read_comparisons(there).files() == [f"{bucket.url}/pairs/here.jpg", f"{bucket.url}/there.jpg"]
    for ending in ("parquet", "jsonl"):
        write_columns(tmp_path / f"pairs.{ending}", read_comparisons(table).table)
        bucket.put(tmp_path / f"pairs.{ending}", f"pairs/pairs.{ending}")
        assert read_comparisons(make_path(f"{bucket.url}/pairs/pairs.{ending}")).a == [f"{bucket.url}/pairs/here.jpg"]


def test_what_a_store_does_not_have_is_listed(metric, bucket):
    bucket.put(FILES[0], "some/0.jpg")
    found = embed_files([f"{bucket.url}/some/0.jpg", f"{bucket.url}/some/1.jpg", "s3://no-such-bucket/1.jpg"], metric)
    assert found.files == [f"{bucket.url}/some/0.jpg"]
    assert found.unreadable[f"{bucket.url}/some/1.jpg"] == f"no such picture: {bucket.url}/some/1.jpg"
    assert "no-such-bucket/1.jpg" in found.unreadable["s3://no-such-bucket/1.jpg"]


def test_the_command_reads_and_writes_stores(bucket, capsys):
    for i, file in enumerate([*FILES, FILES[0]]):
        bucket.put(file, f"command/{i}.jpg")
    assert not cli.main(["embed", f"{bucket.url}/command", "--out", f"{bucket.url}/made", "--no-cache"])
    assert not cli.main(["duplicates", f"{bucket.url}/made", "--below", "0.01", "--csv"])
    printed = capsys.readouterr().out
    assert printed.splitlines()[-1] == f"1,{bucket.url}/command/0.jpg,{bucket.url}/command/3.jpg,0.0"


@pytest.mark.parametrize("folder", ["file://{}", "memory://folder"])
def test_elsewhere_files_are_written_beside_and_renamed(folder, tmp_path):
    folder = folder.format(tmp_path)
    there = make_path(f"{folder}/file")
    for data in (b"one", b"two"):
        write(there, data)
        assert read(f"{folder}/file") == data
        assert [file.name for file in there.parent.iterdir()] == ["file"]


def test_what_cannot_be_written_is_named():
    with pytest.raises(OSError, match=r"cannot write http://127\.0\.0\.1:1/file"):
        write(make_path("http://127.0.0.1:1/file"), b"x")


def test_a_file_url_is_a_path(tmp_path):
    assert make_path(f"file://{tmp_path}/x") == tmp_path / "x"
    (tmp_path / "x.png").touch()
    assert find_pictures([f"file://{tmp_path}"]) == [f"file://{tmp_path}/x.png"]


@pytest.mark.parametrize(
    ("name", "url"),
    [("s3://b/x", True), ("file:///x", True), ("C:/x.jpg", False), ("C://x.jpg", False), ("a/b:c//d", False)],
)
def test_urls_are_told_from_paths(name, url):
    assert is_url(name) == url


def test_stores_that_there_are_not_are_said(monkeypatch):
    with pytest.raises(ValueError, match=r"got nosuch://x/y; expected a store that fsspec knows"):
        make_path("nosuch://x/y")
    monkeypatch.setitem(__import__("sys").modules, "upath", None)
    with pytest.raises(ImportError, match=r"s3://x/y needs more packages .*\[ray\]"):
        make_path("s3://x/y")
