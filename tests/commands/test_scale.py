"""`score`, `embed`, `rank`, `duplicates`: tables in and out, what is listed on stderr, errors in one line."""

import csv
import json
import os
import shutil
from pathlib import Path

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


def test_a_table_of_pairs_comes_back_as_it_was_with_distances(run, table):
    rows, said = run("score", table)
    expected = [distance(VEST, VEST_2), distance(VEST, COFFEE), 0]
    assert [row.pop("distance") for row in rows] == pytest.approx(expected, abs=1e-6)
    assert [list(row.items()) for row in rows] == [
        list(row.items()) for row in csv.DictReader(table.read_text().splitlines())
    ]
    mean, median = sum(expected) / 3, expected[0]
    assert said == f"pairs 3, mean {mean:.4g}, median {median:.4g}\n"


@pytest.mark.parametrize("ending", ["csv", "tsv", "parquet", "jsonl"])
def test_tables_are_written_by_their_ending(run, table, photos, ending):
    rows, _ = run("score", table)
    out = photos / f"scored.{ending}"
    summary, said = run("score", table, "--out", out)
    assert said == ""
    assert (summary[0]["pairs"], summary[0]["written"]) == (3, str(out))
    assert summary[0]["mean"] == pytest.approx(sum(row["distance"] for row in rows) / 3)
    if ending in ("csv", "tsv"):
        written = list(csv.DictReader(out.read_text().splitlines(), delimiter="," if ending == "csv" else "\t"))
        assert [row | {"distance": str(row["distance"])} for row in rows] == written
    elif ending == "parquet":
        assert pq.read_table(out).to_pylist() == rows
    else:
        assert [json.loads(line) for line in out.read_text().splitlines()] == rows
    again = photos / f"again.{ending}"
    run("score", out, "--out", again)
    assert again.read_bytes() == out.read_bytes()


def test_a_row_that_cannot_be_used_is_one_row_without_a_distance(run, fails, photos):
    table = photos / "pairs.csv"
    table.write_text(f"a,b,n\n{VEST},vest_2.jpg,1\n,cat.jpg,2\n,,\ncat.jpg\n{CAT},none.jpg,5\n{CAT},cat.jpg,6,7\n")
    message = fails("score", table)
    assert message == (
        "pairs.csv row 3: a is empty; pairs.csv row 5: it has 1 cells; expected 3; pairs.csv row 7: it has 4 cells; "
        "expected 3; leave such rows out with --on-error skip (on_error='skip')"
    )
    rows, said = run("score", table, "--on-error", "skip")
    assert [(row["a"], row["b"], row["n"]) for row in rows] == [
        (VEST, "vest_2.jpg", "1"),
        ("", "cat.jpg", "2"),
        ("", "", ""),
        ("cat.jpg", "", ""),
        (CAT, "none.jpg", "5"),
        (CAT, "cat.jpg", "6"),
    ]
    assert [row["distance"] is None for row in rows] == [False, True, True, True, True, True]
    assert [row["error"] for row in rows] == [
        None,
        "a is empty",
        None,
        "it has 1 cells; expected 3",
        f"no such picture: {photos}/none.jpg",
        "it has 4 cells; expected 3",
    ]
    assert "left out, cannot be used (3):\n  pairs.csv row 3: a is empty\n" in said
    (photos / "none.jpg").write_bytes((photos / "cat.jpg").read_bytes())
    run("score", table, "--on-error", "skip", "--out", photos / "scored.csv")
    rows, _ = run("score", photos / "scored.csv", "--on-error", "skip")
    assert list(rows[0]) == ["a", "b", "n", "distance", "error"]
    assert (rows[4]["distance"], rows[4]["error"]) == (0, None)


def test_other_columns_of_pictures_are_named(run, fails, photos):
    table = photos / "pairs.csv"
    table.write_text("left,right,b,a\ncat.jpg,vest_1.jpg,x,y\n")
    rows, _ = run("score", table, "--columns", "left", "right")
    assert rows[0].pop("distance") == pytest.approx(distance(CAT, VEST), abs=1e-6)
    assert rows == [{"left": "cat.jpg", "right": "vest_1.jpg", "b": "x", "a": "y"}]
    message = fails("score", table, "--columns", "left", "rigth")
    assert message == f"{table} has no column rigth; found left, right, b, a"
    assert fails("score", photos, photos, "--columns", "a", "b").startswith("got --columns with two folders")
    table.write_text("id,a_path,b_path,same\n1,cat.jpg,vest_1.jpg,0\n")  # a table of judgements
    assert run("score", table)[0][0]["distance"] == pytest.approx(distance(CAT, VEST), abs=1e-6)


def test_nothing_of_the_table_is_lost(fails, photos, monkeypatch):
    monkeypatch.chdir(photos)
    table = photos / "pairs.csv"
    table.write_text("a,b,error\ncat.jpg,cat.jpg,0.5\n")
    (photos / "link.csv").symlink_to(table)
    for out in ("pairs.csv", "./pairs.csv", "link.csv"):
        assert "for the result, which is the table itself; name another file" in fails("score", table, "--out", out)
    assert "has a column error of its own, which would be lost; rename it" in fails(
        "score", table, "--on-error", "skip"
    )
    assert table.read_text() == "a,b,error\ncat.jpg,cat.jpg,0.5\n"


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
    "no columns": (
        ["score", "{}/columns.csv"],
        "has no column a, b (nor reference and picture, nor a_path and b_path; --columns, or columns=, names yours); ",
    ),
    "empty cell": (
        ["score", "{}/cells.csv"],
        "cells.csv row 2: b is empty; cells.csv row 4: it has 1 cells; expected 2",
    ),
    "no rows": (["score", "{}/header.csv"], "has no rows; expected pairs of pictures"),
    "three": (["score", CAT, CAT, CAT], "got 3 names; expected a table of pairs, or two folders"),
    "ending": (
        ["score", "{}/none.csv", "--out", "x.txt"],
        "got x.txt; expected a name that ends in .csv, .tsv, .parquet or .jsonl",
    ),
    "empty folder": (["embed", "{}/empty", "--out", "{}/out"], "holds no pictures (no file with a picture's ending)"),
    "out is a file": (["embed", CAT, "--out", "{}/header.csv"], "header.csv is a file; choose another folder"),
    "out below a file": (["embed", CAT, "--out", "{}/header.csv/out"], "Not a directory: "),
    "table nowhere": (["rank", CAT, VEST, "--out", "{}/none/out.csv"], "no such folder: "),
    "shard size": (["embed", CAT, "--out", "{}/out", "--shard-size", "0"], "got --shard-size 0; expected 1 or more"),
    "below": (["duplicates", CAT, VEST, "--below", "0"], "got below=0.0; expected a distance above 0"),
    "workers": (["rank", CAT, VEST, "--workers", "0"], "got --workers 0; expected 1 or more"),
    "cache": (["rank", CAT, VEST, "--cache", "{}/header.csv"], "header.csv as cache"),
    "missing": (["duplicates", "{}/none.jpg", "--below", "1", "--on-error", "raise"], "no such picture: "),
}


@pytest.mark.parametrize(("arguments", "message"), BAD.values(), ids=BAD)
def test_errors_are_one_line_that_says_what_to_do(capsys, tmp_path, arguments, message):
    (tmp_path / "empty").mkdir()
    (tmp_path / "columns.csv").write_text("x,y\n1,2\n")
    (tmp_path / "cells.csv").write_text("a,b\n1, \n1,2\n1\n")
    (tmp_path / "header.csv").write_text("a,b\n")
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


HOSTILE = "cat\x1b]0;owned\x07\u202e.jpg"


def test_escape_sequences_in_names_do_not_reach_the_terminal(tmp_path, capsys):
    shutil.copy("examples/cat.jpg", tmp_path / HOSTILE)
    (tmp_path / f"no{HOSTILE}").write_bytes(b"none")
    for arguments in (
        ["rank", CAT, str(tmp_path), "--on-error", "skip"],
        ["distance", CAT, str(tmp_path / f"no{HOSTILE}")],
    ):
        cli.main([*arguments, *(["--no-cache"] if arguments[0] == "rank" else []), "--device", "cpu"])
        said = "".join(capsys.readouterr())
        assert r"cat\x1b]0;owned\x07\u202e.jpg" in said
        assert not {"\x1b", "\x07", "\u202e"} & set(said)


def test_names_that_are_not_utf_8_are_said_before_the_work_and_can_be_printed(tmp_path, capsys, monkeypatch):
    name = os.fsdecode(os.fsencode(tmp_path) + b"/a\xff.jpg")
    shutil.copy("examples/cat.jpg", name)
    options = ["--no-cache", "--device", "cpu"]
    assert cli.main(["rank", CAT, str(tmp_path), *options]) == 0
    assert r"a\udcff.jpg" in capsys.readouterr().out
    monkeypatch.setattr("dreamsim_metric.scale.embedding._Run.embed", None)
    for arguments in (
        ["embed", str(tmp_path), "--out", str(tmp_path / "out")],
        ["rank", CAT, str(tmp_path), "--out", str(tmp_path / "out.csv")],
    ):
        assert cli.main([*arguments, *options]) == 1
        assert r"names that are not UTF-8, which tables cannot hold: " in capsys.readouterr().err


@pytest.mark.parametrize(
    "address", ["https://127.0.0.1:9/a.png", "sftp://host/a.png", "zip://a.png::http://10.0.0.1/a.zip"]
)
def test_addresses_in_a_table_are_not_fetched_unless_asked_for(tmp_path, capsys, monkeypatch, address):
    fetched = []
    monkeypatch.setattr("dreamsim_metric.files.store.make_path", lambda name: fetched.append(name) or Path(name))
    (tmp_path / "pairs.csv").write_text(f"a,b\n{Path(CAT).resolve()},{address}\n")
    options = ["--no-cache", "--device", "cpu"]
    assert cli.main(["score", str(tmp_path / "pairs.csv"), *options]) == 1
    assert f"pairs.csv row 2: {address} would be fetched; allow that with --fetch" in capsys.readouterr().err
    assert not fetched
    cli.main(["score", str(tmp_path / "pairs.csv"), "--fetch", *options])
    assert fetched == [address]
