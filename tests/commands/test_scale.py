"""`score`, `embed`, `rank`, `duplicates`: tables in and out, what is listed on stderr, errors in one line."""

import csv
import json
import shutil

import pyarrow.parquet as pq
import pytest

from dreamsim_metric import cli, distance, load
from tests.pictures import EXAMPLES

CAT, COFFEE, VEST, VEST_2 = (str(EXAMPLES / name) for name in ("cat.jpg", "coffee.jpg", "vest_1.jpg", "vest_2.jpg"))


@pytest.fixture(autouse=True)
def environment(tmp_path, monkeypatch):
    monkeypatch.setenv("DREAMSIM_METRIC_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("DREAMSIM_METRIC_MODEL", raising=False)


@pytest.fixture
def run(capsys):
    """Calls a command, which must succeed; gives its rows and what it says beside them."""

    def call(*arguments):
        assert cli.main([*map(str, arguments), "--json"]) == 0
        printed = capsys.readouterr()
        return json.loads(printed.out), printed.err

    return call


@pytest.fixture
def fails(capsys):
    """Calls a command, which must fail; gives the last line of what it says."""

    def call(*arguments):
        assert cli.main(list(map(str, arguments))) == 1
        printed = capsys.readouterr()
        assert printed.out == ""
        return printed.err.splitlines()[-1].removeprefix("dreamsim-metric: ")

    return call


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    (folder / "deep" / "er").mkdir(parents=True)
    for file in (VEST, VEST_2, CAT):
        shutil.copy(file, folder)
    shutil.copy(COFFEE, folder / "deep" / "er")
    shutil.copy(CAT, folder / "deep" / "copy.jpg")
    return folder


@pytest.fixture
def table(photos):
    file = photos / "pairs.csv"
    file.write_text(
        "id,reference,picture,note\n"
        '1,vest_1.jpg,vest_2.jpg,"a, b"\n'
        "2,vest_1.jpg,deep/er/coffee.jpg,\n"
        f"3,{CAT},cat.jpg,same\n"
    )
    return file


def test_a_table_of_pairs_keeps_its_columns_and_gets_distances(run, table, photos):
    rows, said = run("score", table)
    assert [list(row) for row in rows] == [["a", "b", "id", "note", "distance"]] * 3
    assert [row["id"] for row in rows] == ["1", "2", "3"]
    assert [row["note"] for row in rows] == ["a, b", "", "same"]
    expected = [distance(VEST, VEST_2), distance(VEST, COFFEE), 0]
    assert [row["distance"] for row in rows] == pytest.approx(expected, abs=1e-6)
    assert rows[2]["distance"] == 0
    assert (rows[0]["a"], rows[2]["a"]) == (str(photos / "vest_1.jpg"), CAT)
    mean, median = sum(expected) / 3, expected[0]
    assert said == f"pairs 3, mean {mean:.4g}, median {median:.4g}\n"


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_tables_are_written_by_their_ending(run, table, tmp_path, ending):
    rows, _ = run("score", table)
    summary, said = run("score", table, "--out", tmp_path / f"scored.{ending}")
    assert said == ""
    assert (summary[0]["pairs"], summary[0]["written"]) == (3, str(tmp_path / f"scored.{ending}"))
    assert summary[0]["mean"] == pytest.approx(sum(row["distance"] for row in rows) / 3)
    if ending == "csv":
        written = list(csv.DictReader((tmp_path / "scored.csv").read_text().splitlines()))
        assert [row | {"distance": str(row["distance"])} for row in rows] == written
    else:
        assert pq.read_table(tmp_path / "scored.parquet").to_pylist() == rows


def test_two_folders_pair_up_by_names_and_then_by_stems(run, fails, photos, tmp_path):
    other = tmp_path / "other"
    (other / "deep").mkdir(parents=True)
    shutil.copy(VEST_2, other / "vest_1.jpg")
    shutil.copy(CAT, other / "cat.jpeg")
    shutil.copy(CAT, other / "deep" / "copy.jpg")
    (other / "alone.png").write_bytes(b"")
    message = "pictures in one folder only (2): "
    assert fails("score", photos, other).startswith(message)
    rows, said = run("score", photos, other, "--on-error", "skip")
    assert [(row["a"], row["b"]) for row in rows] == [
        (str(photos / "cat.jpg"), str(other / "cat.jpeg")),
        (str(photos / "vest_1.jpg"), str(other / "vest_1.jpg")),
    ]
    assert rows[1]["distance"] == pytest.approx(distance(VEST, VEST_2), abs=1e-6)
    assert f"{photos / 'vest_2.jpg'}\n" in said
    assert f"{other / 'alone.png'}\n" in said
    rows, _ = run("score", photos, other, "--on-error", "skip", "--recursive")
    assert str(photos / "deep" / "copy.jpg") in [row["a"] for row in rows]
    assert fails("score", photos / "deep", tmp_path / "other").startswith("no picture in ")


def test_unreadable_pictures_end_score_or_are_listed(run, fails, table, photos):
    (photos / "vest_2.jpg").write_bytes(b"")
    assert "vest_2.jpg is an empty file (0 bytes)" in fails("score", table)
    rows, said = run("score", table, "--on-error", "skip")
    assert [row["distance"] is None for row in rows] == [True, False, False]
    assert said.startswith("dreamsim-metric: left out, cannot be read (1):\n  ")
    assert "pairs 2, mean" in said
    table.write_text("a,b\nnone.jpg,cat.jpg\n")
    assert fails("score", table, "--on-error", "skip").startswith("no pair has two pictures that can be read")


def test_embed_then_rank_and_duplicates_need_no_picture_again(run, fails, photos, tmp_path):
    rows, said = run("embed", photos, "--recursive", "--out", tmp_path / "shards", "--shard-size", "2")
    assert said == ""
    assert (rows[0]["pictures"], rows[0]["shards"], rows[0]["there before"]) == (5, 3, 0)
    assert (
        run("embed", photos, "--recursive", "--out", tmp_path / "shards", "--shard-size", "2")[0][0]["there before"]
        == 3
    )
    expected, _ = run("rank", VEST, photos, "--recursive", "--top", "3")
    shutil.rmtree(photos)
    found, _ = run("rank", VEST, tmp_path / "shards", "--top", "3")
    assert [row["picture"] for row in found] == [row["picture"] for row in expected]
    assert [row["distance"] for row in found] == pytest.approx([row["distance"] for row in expected], abs=1e-6)
    pairs, said = run("duplicates", tmp_path / "shards", "--below", "0.2")
    assert said == "pictures 5, pairs 2, groups 2\n"
    assert [row["distance"] for row in pairs] == [0, pytest.approx(distance(VEST, VEST_2), abs=1e-6)]
    metric = load("mini", device="cpu")
    metric.head.fc1.bias.data[0] += 1
    metric.save_pretrained(tmp_path / "other")
    assert "holds embeddings with other settings: " in fails(
        "rank", VEST, tmp_path / "shards", "--model", tmp_path / "other"
    )


def test_precision_is_part_of_what_a_folder_is(run, fails, photos, tmp_path):
    half, exact = (load("mini", device="cpu", precision=name) for name in ("bfloat16", "float32"))
    run("embed", photos, "--out", tmp_path / "half", "--precision", "bfloat16")
    found, _ = run("rank", VEST, tmp_path / "half", "--top", "3", "--precision", "bfloat16")
    assert found[1]["distance"] == pytest.approx(distance(VEST, VEST_2, model=half), abs=1e-6)
    assert abs(found[1]["distance"] - distance(VEST, VEST_2, model=exact)) > 1e-5
    assert "precision (bfloat16 there, float32 now)" in fails("rank", VEST, tmp_path / "half")


@pytest.mark.slow
def test_compiled_networks_give_the_same_numbers(run, fails, photos, tmp_path):
    run("embed", photos, "--out", tmp_path / "plain")
    run("embed", photos, "--out", tmp_path / "compiled", "--compile", "--batch-size", "3")
    plain, compiled = (run("duplicates", tmp_path / name, "--below", "2")[0] for name in ("plain", "compiled"))
    assert [row["distance"] for row in plain] == pytest.approx([row["distance"] for row in compiled], abs=1e-5)
    assert "precision (float32, compiled there, float32 now)" in fails("rank", VEST, tmp_path / "compiled")


def test_several_queries_have_a_column_of_their_own(run, photos, tmp_path):
    rows, _ = run("rank", photos, CAT, COFFEE, "--top", "1")
    assert [list(row) for row in rows] == [["query", "rank", "picture", "distance"]] * 3
    assert (rows[0]["query"], rows[0]["picture"]) == (str(photos / "cat.jpg"), CAT)
    summary, _ = run("rank", photos, CAT, COFFEE, "--out", tmp_path / "nearest.parquet")
    assert summary == [{"queries": 3, "rows": 6, "written": str(tmp_path / "nearest.parquet")}]
    assert pq.read_table(tmp_path / "nearest.parquet").num_rows == 6
    assert run("rank", CAT, photos, "--approximate")[0] == run("rank", CAT, photos)[0]


def test_duplicates_lists_what_it_leaves_out(run, fails, photos, tmp_path, capsys):
    (photos / "damaged.png").write_text("no picture")
    rows, said = run("duplicates", photos, "--below", "0.2")
    assert [(row["group"], row["a"], row["b"]) for row in rows] == [
        (1, str(photos / "vest_1.jpg"), str(photos / "vest_2.jpg"))
    ]
    assert "damaged.png is not a picture that Pillow can read" in said
    assert "pictures 3, pairs 1, groups 1" in said
    assert "not a picture" in fails("duplicates", photos, "--below", "0.2", "--on-error", "raise")
    assert run("duplicates", photos, "--below", "1e-6")[0] == []
    for form, shown in (("--json", "[]\n"), ("--csv", "group,a,b,distance\n")):
        assert cli.main(["duplicates", str(photos), "--below", "1e-6", form]) == 0
        assert capsys.readouterr().out == shown
    summary, _ = run("duplicates", photos, "--below", "1e-6", "--out", tmp_path / "none.csv")
    assert (summary[0]["pairs"], summary[0]["groups"]) == (0, 0)
    assert (tmp_path / "none.csv").read_text() == "group,a,b,distance\n"


def test_the_cache_is_used_where_it_is_named_and_not_where_it_is_unwanted(run, table, tmp_path):
    run("score", table, "--no-cache")
    assert not (tmp_path / "cache" / "embeddings.sqlite").exists()
    first = run("score", table)
    assert (tmp_path / "cache" / "embeddings.sqlite").is_file()
    assert run("score", table, "--cache", tmp_path / "mine.sqlite") == first
    assert (tmp_path / "mine.sqlite").is_file()


def test_an_interruption_says_what_is_kept(photos, tmp_path, monkeypatch, capsys):
    def interrupt(*_arguments, **_options):
        raise KeyboardInterrupt

    monkeypatch.setattr("dreamsim_metric.scale.scoring.embed_folder", interrupt)
    assert cli.main(["embed", str(photos), "--out", str(tmp_path / "shards")]) == 130
    said = "dreamsim-metric: interrupted; what was embedded is kept, the same command goes on from there\n"
    assert capsys.readouterr().err == said


BAD = {
    "no table": (["score", "{}/none.csv"], "no such table: "),
    "no columns": (["score", "{}/columns.csv"], "has no column a, b (nor reference, picture); found x, y"),
    "empty cell": (
        ["score", "{}/cells.csv"],
        "cells.csv row 4: it has 1 cells; expected 2; cells.csv row 2: b is empty",
    ),
    "no rows": (["score", "{}/header.csv"], "has no rows; expected pairs of pictures"),
    "distances": (["score", "{}/distance.csv"], "has a column distance already; rename it"),
    "three": (["score", CAT, CAT, CAT], "got 3 names; expected a table of pairs, or two folders"),
    "ending": (
        ["score", "{}/none.csv", "--out", "x.txt"],
        "got --out x.txt; expected a name that ends in .csv or .parquet",
    ),
    "empty folder": (["embed", "{}/empty", "--out", "{}/out"], "holds no pictures (no file with a picture's ending)"),
    "out is a file": (["embed", CAT, "--out", "{}/header.csv"], "File exists: "),
    "out below a file": (["embed", CAT, "--out", "{}/header.csv/out"], "Not a directory: "),
    "table nowhere": (["rank", CAT, VEST, "--out", "{}/none/out.csv"], "cannot write "),
    "shard size": (["embed", CAT, "--out", "{}/out", "--shard-size", "0"], "got shard_size 0; expected 1 or more"),
    "below": (["duplicates", CAT, VEST, "--below", "0"], "got below=0.0; expected a distance above 0"),
    "workers": (["rank", CAT, VEST, "--workers", "0"], "got workers 0; expected 1 or more"),
    "cache": (["rank", CAT, VEST, "--cache", "{}/header.csv"], "header.csv as cache"),
    "missing": (["duplicates", "{}/none.jpg", "--below", "1", "--on-error", "raise"], "no such picture: "),
}


@pytest.mark.parametrize(("arguments", "message"), BAD.values(), ids=BAD)
def test_errors_are_one_line_that_says_what_to_do(capsys, tmp_path, arguments, message):
    (tmp_path / "empty").mkdir()
    (tmp_path / "columns.csv").write_text("x,y\n1,2\n")
    (tmp_path / "cells.csv").write_text("a,b\n1, \n1,2\n1\n")
    (tmp_path / "header.csv").write_text("a,b\n")
    (tmp_path / "distance.csv").write_text("a,b,distance\n1,2,3\n")
    assert cli.main([argument.replace("{}", str(tmp_path)) for argument in arguments]) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.count("\n") == 1
    assert message in printed.err


def test_missing_packages_name_the_extra(photos, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    assert cli.main(["embed", str(photos), "--out", str(tmp_path / "shards")]) == 1
    assert "pip install 'dreamsim_metric[scale]'" in capsys.readouterr().err
    assert cli.main(["rank", CAT, VEST, "--json"]) == 0  # which needs none of them
