"""Many files to numbers: the same bits as one by one, each content once, whatever is damaged or cached."""

import math
import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import torch

from dreamsim_metric import distance, embed, load
from dreamsim_metric.images.ahead import count_workers
from dreamsim_metric.scale.cache import Cache, compute_key
from dreamsim_metric.scale.embedding import Embeddings, Options, compute_metric_key
from dreamsim_metric.scale.scoring import embed_files, find_duplicates, rank, score_pairs
from tests.mixed import BAD, FILES, listed


@pytest.mark.parametrize("batch_size", [1, 4, 32])
@pytest.mark.parametrize("workers", [1, 3])
def test_embeddings_have_the_bits_of_metric_embed(metric, batch_size, workers):
    found = embed_files(FILES, metric, options=Options(batch_size=batch_size, workers=workers))
    loop = [metric.embed(FILES[i : i + batch_size]) for i in range(0, len(FILES), batch_size)]
    assert torch.equal(found.units, torch.cat(loop))
    assert torch.equal(embed(FILES, model=metric, batch_size=batch_size), found.units)
    assert found.files == FILES
    assert found.unreadable == {}


def test_each_content_is_embedded_once(metric, folder, seen):
    files = listed(folder)
    found = embed_files([*files, *files], metric, options=Options(batch_size=8))
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
        embed_files([FILES[0], str(folder / name)], metric, options=Options(on_error="raise"))


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


def test_a_cache_of_another_version_is_said(tmp_path):
    with closing(sqlite3.connect(tmp_path / "kept")) as base:
        base.execute("CREATE TABLE found (model TEXT, content TEXT, value BLOB)")
    with pytest.raises(OSError, match=r"cannot use .*kept as cache \(no such column: metric\); name another file"):
        Cache(tmp_path / "kept")


def test_the_cache_tells_models_precisions_and_decoders_apart(metric):
    half = load("mini", device="cpu").half()  # whose weights were rounded to float16 already
    other = load("mini", device="cpu")
    other.head.fc1.bias.data[0] += 1
    keys = [
        compute_metric_key(metric),
        compute_metric_key(half),
        compute_metric_key(other),
        compute_metric_key(metric, "torchvision"),
    ]
    assert len(set(keys)) == 4
    assert compute_metric_key(load("mini", device="cpu")) == compute_metric_key(metric)
    assert compute_key(["a"], []) != compute_key(["b"], [])


def test_a_store_of_any_kind_can_be_read(metric):
    store = {f"memory://{i}": Path(file).read_bytes() for i, file in enumerate(FILES)}
    found = embed_files([*store, "memory://none"], metric, options=Options(read=lambda file: store[file]))
    assert torch.equal(found.units, embed(FILES, model=metric))
    assert list(found.unreadable) == ["memory://none"]


def test_pairs_have_their_distances(metric, folder, seen):
    a, b = [FILES[0], FILES[1], FILES[0], FILES[4]], [FILES[1], FILES[2], FILES[0], FILES[5]]
    d, unreadable = score_pairs(a, b, metric)
    assert sum(seen) == 5
    assert d.tolist() == pytest.approx([distance(x, y, model=metric) for x, y in zip(a, b, strict=True)], abs=1e-6)
    assert d[2] == 0
    assert unreadable == {}
    d, unreadable = score_pairs([*a, "none.jpg"], [*b, FILES[0]], metric, options=Options(on_error="skip"))
    assert d.isnan().tolist() == [False] * 4 + [True]
    assert list(unreadable) == ["none.jpg"]
    with pytest.raises(FileNotFoundError, match=r"no such picture: none\.jpg"):
        score_pairs(["none.jpg"], FILES[:1], metric)
    with pytest.raises(ValueError, match="got 2 and 1 files; expected pairs"):
        score_pairs(FILES[:2], FILES[:1], metric)


def test_duplicates_come_in_groups(metric, folder):
    names = ["03.png", "04.png", "19.png", "05.png", "link.png", "with spaces é 🙂.png"]
    found = embed_files([str(folder / name) for name in names], metric)
    rows = find_duplicates(found, 1e-6)
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


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "got batch_size 0; expected 1 or more"),
        ({"workers": 0}, "got workers 0; expected 1 or more"),
        ({"decoder": "cv2"}, "got decoder='cv2'; expected 'pillow' or 'torchvision'"),
        ({"on_error": "ignore"}, "got on_error='ignore'; expected 'skip' or 'raise'"),
        ({"resize_on": "gpu"}, "got resize_on='gpu'; expected 'host' or 'device'"),
    ],
)
def test_bad_options_say_what_is_wrong(options, message):
    with pytest.raises(ValueError, match=message):
        Options(**options)
    assert count_workers(None) >= 1


@pytest.mark.parametrize("value", [b"", b"short", "text", None, bytes(8 + 4 * 2560)])
def test_what_is_damaged_in_the_cache_is_made_again(metric, tmp_path, value):
    files, store = ["examples/cat.jpg", "examples/coffee.jpg"], tmp_path / "cache.sqlite"
    expected = embed_files(files, metric, Cache(store))
    with sqlite3.connect(store) as base:
        base.execute("UPDATE found SET value = ?", (value,))
    assert torch.equal(embed_files(files, metric, Cache(store)).units, expected.units)
    with sqlite3.connect(store) as base:
        assert all(len(kept) > 2560 for (kept,) in base.execute("SELECT value FROM found"))


def test_a_flipped_bit_in_the_cache_is_noticed(tmp_path):
    cache = Cache(tmp_path / "cache.sqlite")
    cache.put("m", {"c": np.ones(4)})
    with sqlite3.connect(tmp_path / "cache.sqlite") as base:
        (value,) = base.execute("SELECT value FROM found").fetchone()
        base.execute("UPDATE found SET value = ?", (value[:-1] + bytes([value[-1] ^ 1]),))
    assert cache.get("m", ["c"]) == {}


def test_a_cache_that_another_process_holds_is_said(tmp_path, monkeypatch):
    cache = Cache(tmp_path / "cache.sqlite")
    cache._base.execute("PRAGMA busy_timeout = 10")
    with closing(sqlite3.connect(tmp_path / "cache.sqlite")) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(
            OSError, match=r"cannot write to .*cache\.sqlite as cache .*locked.*another process holds it"
        ):
            cache.put("m", {"c": np.ones(4)})


def test_embeddings_that_are_not_finite_are_set_aside_and_never_ranked_first(metric, monkeypatch):
    honest = type(metric).to_unit

    def broken(self, features):
        units = honest(self, features)
        units[0] = math.nan
        return units

    monkeypatch.setattr(type(metric), "to_unit", broken)
    files = ["examples/cat.jpg", "examples/coffee.jpg"]
    found = embed_files(files, metric)
    assert found.files == files[1:]
    assert "cat.jpg has an embedding that is not finite; use --precision float32" in found.unreadable[files[0]]
    spoiled = Embeddings(["a", "b"], torch.tensor([[math.nan, 0.0], [0.0, 1.0]]), ["", ""])
    for call in (lambda: list(rank(spoiled, spoiled)), lambda: find_duplicates(spoiled, below=0.5)):
        with pytest.raises(ValueError, match="not finite; expected unit vectors"):
            call()
