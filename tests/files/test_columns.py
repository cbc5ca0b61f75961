"""Tables by column: what other programs write is read, and what was read is written as it was."""

import csv
import datetime
import decimal
import io
import json

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dreamsim_metric.files.columns import Columns, read_columns
from dreamsim_metric.files.table import Sheet, write_columns
from tests.tables import write

CELLS = st.text(st.characters(codec="utf-8", exclude_characters="\0"))
AWKWARD = [
    ("code", "1.10", "note", "", "note", "index"),
    ("007", "1.10", "a, b", "", "twice", "0"),
    ("", "NaN", 'he said "hi"', " led by a space", "", "1"),
    ("1e5", "-0", "two\nlines", "and\r\nmore", "or\rthis", "2"),
    ("TRUE", "2024-01-01", "=1+1", ";", "\t", "é…日本"),
]


def csv_bytes(rows, delimiter=",", end="\n", encoding="utf-8"):
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=delimiter, lineterminator=end, quoting=csv.QUOTE_ALL).writerows(rows)
    return text.getvalue().encode(encoding)


def cells(table):
    return [tuple(column.name for column in table.columns), *zip(*(c.texts() for c in table.columns), strict=True)]


SAVED = {
    "plain": csv_bytes(AWKWARD),
    "Windows": csv_bytes(AWKWARD, end="\r\n"),
    "with a mark": csv_bytes(AWKWARD, encoding="utf-8-sig"),
    "semicolons": csv_bytes(AWKWARD, delimiter=";"),
    "tabs in UTF-16": csv_bytes(AWKWARD, delimiter="\t", encoding="utf-16"),
}


@pytest.mark.parametrize("saved", SAVED.values(), ids=SAVED)
@pytest.mark.parametrize("ending", ["csv", "tsv"])
def test_text_comes_back_as_it_was(tmp_path, saved, ending):
    table = read_columns(write(tmp_path / "given.csv", saved))
    assert cells(table) == AWKWARD
    write_columns(tmp_path / f"out.{ending}", table)
    written = (tmp_path / f"out.{ending}").read_bytes().decode()
    delimiter = "," if ending == "csv" else "\t"
    assert [tuple(row) for row in csv.reader(io.StringIO(written, newline=""), delimiter=delimiter)] == AWKWARD
    assert cells(read_columns(tmp_path / f"out.{ending}")) == AWKWARD


@given(st.lists(st.tuples(CELLS, CELLS), min_size=1))
def test_any_text_comes_back(tmp_path_factory, rows):
    folder = tmp_path_factory.mktemp("tables")
    for ending in ("csv", "tsv", "parquet", "jsonl"):
        table = Columns.of([{"a": a, "b": b} for a, b in rows], {"a": str, "b": str})
        write_columns(folder / f"x.{ending}", table)
        assert cells(read_columns(folder / f"x.{ending}")) == [("a", "b"), *rows]


def test_pandas_reads_the_same_cells(tmp_path):
    """An oracle for the reading, too: the same cells as pandas' own parser."""
    write_columns(tmp_path / "out.csv", read_columns(write(tmp_path / "given.csv", csv_bytes(AWKWARD))))
    found = pd.read_csv(tmp_path / "out.csv", dtype=str, keep_default_na=False, header=None)
    assert [tuple(row) for row in found.itertuples(index=False)] == AWKWARD


TYPED = pa.table(
    {
        "code": pa.array(["007", None, ""], pa.large_string()),
        "kind": pa.array(["x", "y", None]).dictionary_encode(),
        "n": pa.array([1, None, 3], pa.int8()),
        "share": pa.array([0.1, None, 1], pa.float32()),
        "truth": pa.array([True, False, None]),
        "when": pa.array([0, 1, None], pa.timestamp("ns", "UTC")),
        "cost": pa.array([decimal.Decimal("1.10"), None, decimal.Decimal("2.00")]),
        "tags": pa.array([["a", "b"], [], None]),
        "picture": pa.array([{"bytes": b"\xff", "path": None}, None, None]),
        "view": pa.array(["x", "y", None], pa.string_view()),
    }
)


def test_parquet_keeps_its_types_and_notes(tmp_path):
    pq.write_table(TYPED.replace_schema_metadata({"who": "me"}), tmp_path / "given.parquet")
    write_columns(tmp_path / "out.parquet", read_columns(tmp_path / "given.parquet"))
    given, found = (pq.read_table(tmp_path / f"{name}.parquet") for name in ("given", "out"))
    assert found.equals(given, check_metadata=True)


def test_parquet_becomes_text_where_it_can(tmp_path):
    pq.write_table(TYPED.drop_columns(["tags", "picture", "when"]), tmp_path / "given.parquet")
    write_columns(tmp_path / "out.csv", read_columns(tmp_path / "given.parquet"))
    assert (tmp_path / "out.csv").read_text() == (
        "code,kind,n,share,truth,cost,view\n007,x,1,0.1,true,1.10,x\n,y,,,false,,y\n,,3,1,,2.00,\n"
    )
    pq.write_table(TYPED.drop_columns(["picture"]), tmp_path / "given.parquet")
    write_columns(tmp_path / "out.jsonl", read_columns(tmp_path / "given.parquet"))
    first = json.loads((tmp_path / "out.jsonl").read_text().splitlines()[0])
    assert (first["code"], first["n"], first["truth"], first["cost"], first["tags"]) == (
        "007",
        1,
        True,
        "1.10",
        ["a", "b"],
    )
    assert datetime.datetime.fromisoformat(first["when"]).year == 1970


@pytest.mark.parametrize(
    ("ending", "column"), [("csv", "tags"), ("csv", "picture"), ("tsv", "tags"), ("jsonl", "picture")]
)
def test_what_a_format_cannot_hold_is_said_and_nothing_written(tmp_path, ending, column):
    pq.write_table(TYPED, tmp_path / "given.parquet")
    table = read_columns(tmp_path / "given.parquet")
    with pytest.raises(ValueError, match=r"column (tags|picture) holds .*, which cannot be text.*write \.parquet"):
        write_columns(tmp_path / f"out.{ending}", Columns([table.find(column)]))
    assert [file.name for file in tmp_path.iterdir()] == ["given.parquet"]


def test_an_index_of_pandas_stays_one(tmp_path):
    frame = pd.DataFrame({"a": ["x", "y"], "kind": pd.Categorical(["p", "q"])}, index=["one", "two"])
    frame.to_parquet(tmp_path / "given.parquet")
    write_columns(tmp_path / "out.parquet", read_columns(tmp_path / "given.parquet"))
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "out.parquet"), frame)


def test_json_lines_keep_values_of_any_kind(tmp_path):
    rows = [
        {"a": "007", "n": 1, "deep": {"x": [1, None]}},
        {"a": "é", "n": 0.5, "deep": None},
        {"a": None, "n": True, "deep": 1},
    ]
    file = write(tmp_path / "given.jsonl", "\n".join(map(json.dumps, rows)) + "\n\n")
    table = read_columns(file)
    assert (table.rows(), table.numbers) == (rows, [1, 2, 3])
    assert table.find("n").texts() == ["1", "0.5", "true"]
    assert table.find("a").texts() == ["007", "é", ""]
    write_columns(tmp_path / "out.jsonl", table)
    assert read_columns(tmp_path / "out.jsonl").rows() == rows
    with pytest.raises(ValueError, match=r"column deep holds values of several kinds \(.*\); write \.jsonl or \.csv"):
        write_columns(tmp_path / "out.parquet", Columns([table.find("deep")]))


def test_an_empty_table_has_types(tmp_path):
    write_columns(tmp_path / "none.parquet", Columns.of([], {"group": int, "a": str, "distance": float}))
    assert [str(kind) for kind in pq.read_table(tmp_path / "none.parquet").schema.types] == [
        "int64",
        "string",
        "double",
    ]


BAD = {
    "no file": ("x.parquet", None, FileNotFoundError, "no such table"),
    "not Parquet": ("x.parquet", "a,b\n", ValueError, "is not a Parquet table"),
    "no JSON": ("x.jsonl", '{"a": 1}\n{"a": \n', ValueError, "line 2 is no JSON .*; expected an object a line"),
    "an array": ("x.ndjson", "[1]\n", ValueError, r"line 1 is \[1\]; expected an object a line"),
    "no lines": ("x.jsonl", "\n", ValueError, "is empty; expected an object a line"),
    "blank": ("x.csv", "\n ,\n", ValueError, "is empty; expected a header and rows"),
}


@pytest.mark.parametrize(("name", "text", "kind", "message"), BAD.values(), ids=BAD)
def test_what_is_no_table_is_said(tmp_path, name, text, kind, message):
    if text is not None:
        write(tmp_path / name, text)
    with pytest.raises(kind, match=message):
        read_columns(tmp_path / name)


@pytest.mark.parametrize("ending", ["parquet", "jsonl", "tsv"])
def test_tables_of_any_format_have_rows_of_texts(tmp_path, ending):
    kinds = {"id": str, "votes": int, "share": float}
    write_columns(tmp_path / f"x.{ending}", Columns.of([{"id": "7", "votes": 3, "share": 0.25}], kinds))
    (record,) = Sheet(tmp_path / f"x.{ending}").records
    assert record.cells == {"id": "7", "votes": "3", "share": "0.25"}
    assert record.where == f"x.{ending} row {2 if ending == 'tsv' else 1} (id 7)"
