"""Tables of pairs to score: which rows can be used, and what is written, also by a run that was stopped."""

import os

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from dreamsim_metric.files.store import read
from dreamsim_metric.files.table import write_columns
from dreamsim_metric.scale.cache import Cache
from dreamsim_metric.scale.comparisons import pair_folders, read_comparisons
from dreamsim_metric.scale.embedding import Options
from dreamsim_metric.scale.scoring import score_pairs, score_table
from tests.pictures import EXAMPLES, PHOTOGRAPHS
from tests.tables import write

SKIP = Options(on_error="skip")


def links(folder):
    for file in PHOTOGRAPHS:
        os.symlink(file, folder / file.name)
    return folder


ROWS = {
    "plain": ("a,b\n1,2\n3,4\n", ["1", "3"], {}),
    "judged": ("id,a_path,b_path\nx,1,2\n", ["1"], {}),
    "the first names win": ("reference,picture,b,a\n9,9,2,1\n", ["1"], {}),
    "spaces": ("a, b\n1, 2\n 3, 4\n", ["1", "3"], {}),
    "spaces before some": ("a,b\n 1,2\n", ["1"], {}),
    "blank lines": ("\na,b\n\n1,2\n\n,\n", ["1", ""], {}),
    "an empty cell": ("a,b\n1, \n3,4\n", ["", "3"], {0: "b is empty"}),
    "two empty cells": ("a,b,n\n,,x\n", [""], {0: "a and b are empty"}),
    "a cell lacks": ("a,b,n\n1,2\n3,4,n\n", ["", "3"], {0: "it has 2 cells; expected 3"}),
    "two columns of a name that nothing asks for": ("a,b,n,n\n1,2,x,y\n", ["1"], {}),
}


@pytest.mark.parametrize(("text", "expected", "problems"), ROWS.values(), ids=ROWS)
def test_rows_that_can_be_used(tmp_path, text, expected, problems):
    pairs = read_comparisons(write(tmp_path / "x.csv", text))
    assert pairs.a == [name and str(tmp_path / name) for name in expected]
    assert pairs.problems == problems


def test_a_url_is_no_path_below_the_table(tmp_path):
    pairs = read_comparisons(write(tmp_path / "x.csv", f"a,b\ns3://some/1.png,{tmp_path}/2.png\n"))
    assert pairs.files() == ["s3://some/1.png", f"{tmp_path}/2.png"]


def test_a_column_of_pictures_that_is_there_twice_is_a_doubt(tmp_path):
    with pytest.raises(ValueError, match="has several columns of one name; found a, b, a"):
        read_comparisons(write(tmp_path / "x.csv", "a,b,a\n1,2,3\n"))


def test_a_frame_comes_back_with_its_types(metric, tmp_path):
    names = ["cat.jpg", "coffee.jpg", None, "cat.jpg"]
    frame = pd.DataFrame(
        {
            "left": pd.Categorical(names),
            "right": pd.array(["coffee.jpg", "coffee.jpg", "cat.jpg", "none.jpg"], "string"),
            "code": ["007", "", None, "1.10"],
            "n": pd.array([1, None, 3, 4], "Int64"),
        },
        index=["p", "q", "r", "s"],
    )
    frame.to_parquet(links(tmp_path) / "pairs.parquet")
    columns = ("left", "right")
    d, unreadable = score_table(
        tmp_path / "pairs.parquet", tmp_path / "out.parquet", metric, columns=columns, options=SKIP
    )
    found = pd.read_parquet(tmp_path / "out.parquet")
    reason = f"no such picture: {tmp_path}/none.jpg"
    assert unreadable == {f"{tmp_path}/none.jpg": reason}
    assert [None if pd.isna(error) else error for error in found.pop("error")] == [None, None, "left is empty", reason]
    expected, _ = score_pairs([str(EXAMPLES / "cat.jpg")], [str(EXAMPLES / "coffee.jpg")], metric)
    torch.testing.assert_close(d[:2], torch.tensor([expected.item(), 0]), rtol=0, atol=1e-6)
    assert found.pop("distance").dropna().tolist() == d[:2].tolist()
    pd.testing.assert_frame_equal(found, frame)
    schema = pq.read_schema(tmp_path / "out.parquet")
    assert (schema.field("distance").type, schema.field("error").type) == (pa.float64(), pa.string())


def test_a_run_that_was_stopped_writes_the_same_file(metric, tmp_path, monkeypatch):
    monkeypatch.setattr("dreamsim_metric.scale.embedding._SAVED", 1)  # there are six pictures only
    table, names = links(tmp_path) / "pairs.csv", [file.name for file in PHOTOGRAPHS]
    write(table, "a,b,note\n" + "".join(f'{a},{b},"{a}, {b}"\n' for a, b in zip(names, names[::-1], strict=True)))
    score_table(table, tmp_path / "whole.csv", metric, options=Options(batch_size=1, on_error="raise"))
    asked: list[str] = []

    def stop(name):
        asked.append(name)
        if len(asked) == len(names):
            raise KeyboardInterrupt
        return read(name)

    def go_on(reading=read):
        options = Options(batch_size=1, workers=1, on_error="raise", read=reading)
        score_table(table, tmp_path / "stopped.csv", metric, Cache(tmp_path / "cache.sqlite"), options=options)

    with pytest.raises(KeyboardInterrupt):
        go_on(stop)
    assert not (tmp_path / "stopped.csv").exists()
    go_on()
    assert (tmp_path / "stopped.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()


@pytest.mark.parametrize("out", ["out.csv", "out.tsv", "out.jsonl"])
def test_what_a_format_cannot_hold_is_said_before_anything_is_read(metric, tmp_path, out):
    picture = pa.array([{"bytes": b"\xff", "path": "x"}])
    pq.write_table(pa.table({"a": ["1"], "b": ["2"], "picture": picture}), tmp_path / "pairs.parquet")
    with pytest.raises(ValueError, match=r"column picture holds struct<.*write \.parquet"):
        score_table(tmp_path / "pairs.parquet", tmp_path / out, metric)
    lines = write(tmp_path / "pairs.jsonl", '{"a": "1", "b": "2", "n": 1}\n{"a": "1", "b": "2", "n": "x"}\n')
    with pytest.raises(ValueError, match=r"column n holds values of several kinds .*; write \.jsonl or \.csv"):
        score_table(lines, tmp_path / "out.parquet", metric)


def test_a_name_that_is_not_utf8_is_said_before_anything_is_read(tmp_path):
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        with open(os.path.join(os.fsencode(tmp_path / folder), b"B\xe4r \xe9.png"), "wb"):
            pass
    pairs, alone = pair_folders(str(tmp_path / "one"), str(tmp_path / "two"))
    assert not alone
    for name in ("out.csv", "out.parquet"):
        with pytest.raises(ValueError, match=r"column a holds '.*B\\udce4r .*', which is not UTF-8; .* write \.jsonl"):
            pairs.check(skip=True, out=tmp_path / name)
    pairs.check(skip=True, out=tmp_path / "out.jsonl")
    write_columns(tmp_path / "out.jsonl", pairs.scored([0.5]))
    assert read_comparisons(tmp_path / "out.jsonl").files() == pairs.files()


def test_what_would_be_lost_is_said_before_anything_is_read(metric, tmp_path):
    def never(name):
        raise AssertionError(name)

    table = write(tmp_path / "pairs.csv", "a,b,error\n1,2,0.5\n")
    for out, options, message in (
        ("pairs.csv", SKIP, "column error of its own"),
        ("pairs.csv", Options(on_error="raise", read=never), "which is the table itself"),
        ("out.xlsx", SKIP, "expected a name that ends in"),
    ):
        with pytest.raises(ValueError, match=message):
            score_table(table, tmp_path / out, metric, options=options)
    with pytest.raises(FileNotFoundError, match="no such folder"):
        score_table(table, tmp_path / "none/out.csv", metric)
