"""Tables of one's own, as CSV files: counts and shares, however they were saved; bad rows and bad files are named."""

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dreamsim_metric.files.columns import Columns
from dreamsim_metric.files.table import Sheet, format_csv, write_columns, write_csv
from dreamsim_metric.judgements.readers import find_kinds as kinds_of
from dreamsim_metric.judgements.readers import read_pairs, read_triplets
from dreamsim_metric.judgements.tables import DataError, check
from tests.places import ROOT
from tests.tables import relative, write

COUNTS = """\
id,ref_path,left_path,right_path,left_votes,right_votes,split
a,pics/r.jpg,pics/a.jpg,pics/b.jpg,3,1,train
b,pics/r.jpg,pics/b.jpg,pics/c.jpg,0,2,test
"""
SHARES = "ref_path,left_path,right_path,left_vote,right_vote\n"


CELLS = st.text(st.characters(codec="utf-8", exclude_characters="\0\r"))


@given(st.lists(st.fixed_dictionaries({"id": CELLS, "a, b": CELLS, "votes": st.integers(0, 9)}), min_size=1))
def test_rows_are_written_as_pythons_reader_reads_them(rows):
    found = list(csv.DictReader(io.StringIO(format_csv(rows), newline="")))
    assert found == [{**row, "votes": str(row["votes"])} for row in rows]


def test_columns_have_an_order_and_absent_cells_are_empty():
    rows = [{"b": 1}, {"a": None, "b": 0.5}]
    assert format_csv(rows, ["a", "b"]) == "a,b\n,1\n,0.5\n"
    assert format_csv([], ["a", "b"]) == "a,b\n"
    assert format_csv([]) == ""
    with pytest.raises(ValueError, match="'a'"):
        format_csv(rows)


def test_names_in_quotes_do_not_say_what_is_between_cells(tmp_path):
    sheet = Sheet(write(tmp_path / "x.csv", 'a;"b, c, d, e";f\n1;2;3\n'))
    assert [record.cells for record in sheet.records] == [{"a": "1", "b, c, d, e": "2", "f": "3"}]


def test_columns_that_a_spreadsheet_left_without_names_are_no_doubt(tmp_path):
    sheet = Sheet(write(tmp_path / "x.csv", "a,b,,\n1,2,,\n"))
    assert [(record.cells["a"], record.cells["b"]) for record in sheet.records] == [("1", "2")]


def test_a_written_table_is_read_back(tmp_path):
    write_csv(tmp_path / "ü.csv", [{"id": "é, 1", "path": 'a"b'}])
    sheet = Sheet(tmp_path / "ü.csv")
    assert [record.cells for record in sheet.records] == [{"id": "é, 1", "path": 'a"b'}]


def test_a_table_of_counts(tmp_path):
    write(tmp_path / "mine/data.csv", COUNTS)
    table = read_triplets(tmp_path / "mine")
    assert table.name == "mine"
    assert relative(table, tmp_path / "mine") == [
        ("pics/r.jpg", "pics/a.jpg", "pics/b.jpg", 0.25),
        ("pics/r.jpg", "pics/b.jpg", "pics/c.jpg", 1.0),
    ]
    assert table.votes.tolist() == [4, 2]
    assert table.splits == ("train", "test")
    assert table.subsets is None
    assert table.prompts is None
    assert [path.name for path in table.pictures] == ["r.jpg", "a.jpg", "b.jpg", "c.jpg"]
    assert table.index.tolist() == [[0, 1, 2], [0, 2, 3]]
    assert read_triplets(tmp_path / "mine", min_votes=3).ids == ("a",)


def test_a_table_of_shares_needs_neither_ids_nor_votes_nor_splits(tmp_path):
    file = write(tmp_path / "mine/some.csv", SHARES + "r,a,b,0.25,0.75\ns,a,b,1,0\nr,c,d,0.333,0.667\n")
    table = read_triplets(file)
    assert table.name == "mine"
    assert table.right.tolist() == [0.75, 0.0, 0.667]
    assert table.votes.tolist() == [1, 1, 1]
    assert (table.ids, table.splits) == (("2", "3", "4"), ("train",) * 3)
    assert table.rows == ("some.csv row 2", "some.csv row 3", "some.csv row 4")
    assert table.problems == ()


def test_shares_above_one_are_counts(tmp_path):
    file = write(tmp_path / "data.csv", SHARES + "r,a,b,1,0\nr,a,c,3,1\nr,b,c,0,0\nr,b,d,2.5,1\n")
    table = read_triplets(file)
    assert table.right.tolist() == [0.0, 0.25]
    assert table.votes.tolist() == [1, 4]
    assert table.problems == (
        "data.csv row 4: it has no votes; expected at least 1",
        "data.csv row 5: left_vote is '2.5'; expected a whole number, 0 or more",
    )


def test_a_wrong_sum_among_fractions_is_a_mistake_and_makes_no_counts(tmp_path):
    file = write(tmp_path / "data.csv", SHARES + "r,a,b,0.25,0.75\nr,a,c,0.7,0.7\nr,b,c,0.5,0.5\n")
    table = read_triplets(file)
    assert table.right.tolist() == [0.75, 0.5]
    assert table.problems == ("data.csv row 3: left_vote 0.7 and right_vote 0.7 do not sum to 1",)


def test_counts_by_one_mistake_among_whole_shares_contradict_the_number_of_votes(tmp_path):
    file = write(tmp_path / "data.csv", "votes," + SHARES + "6,r,a,b,1,0\n2,r,a,c,1,1\n7,r,b,c,0,1\n")
    table = read_triplets(file)
    assert table.ids == ("3",)
    message = "are counts, as a row exceeds 1; expected the sum of"
    assert table.problems == (
        f"data.csv row 2: 1 and 0 {message} 6 votes",
        f"data.csv row 4: 0 and 1 {message} 7 votes",
    )


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=20))
def test_counts_and_shares_of_the_same_votes_are_one_table(tmp_path_factory, votes):
    votes = [*votes, (1, 2)]
    folder = tmp_path_factory.mktemp("votes")
    counted = "".join(f"r,a{i},b{i},{left},{right}\n" for i, (left, right) in enumerate(votes))
    counts = read_triplets(write(folder / "counts.csv", SHARES + counted))
    explicit = SHARES.replace("_vote", "_votes") + counted
    assert list(read_triplets(write(folder / "explicit.csv", explicit))) == list(counts)
    shared = "".join(
        f"r,a{i},b{i},{left / (left + right)},{right / (left + right)}\n"
        for i, (left, right) in enumerate(votes)
        if left + right
    )
    shares = read_triplets(write(folder / "shares.csv", SHARES + shared))
    assert list(shares) == list(counts)
    assert counts.votes.tolist() == [sum(pair) for pair in votes if sum(pair)]
    assert len(counts.problems) == votes.count((0, 0))


def test_two_spellings_of_a_path_are_one_picture(tmp_path):
    rows = f"./r,x/../a,b,1,0\nr,a,../{tmp_path.name}/b,0,1\n{tmp_path / 'r'},../c,d,0,1\n"
    table = read_triplets(write(tmp_path / "data.csv", SHARES + rows))
    expected = [tmp_path / "r", tmp_path / "a", tmp_path / "b", tmp_path.parent / "c", tmp_path / "d"]
    assert list(table.pictures) == expected


FORMATTINGS = {
    "byte-order mark": ("﻿" + COUNTS, (2, 3)),
    "Windows line ends": (COUNTS.replace("\n", "\r\n"), (2, 3)),
    "blank rows": (COUNTS.replace("\nb,", "\n\n,,,,,,\nb,"), (2, 5)),
    "blank first row": ("\n" + COUNTS, (3, 4)),
    "spaces": (COUNTS.replace(",", ", "), (2, 3)),
    "quotes": (COUNTS.replace("pics/r.jpg", '"pics/r.jpg"'), (2, 3)),
    "no last line end": (COUNTS.rstrip(), (2, 3)),
    "semicolons": (COUNTS.replace(",", ";"), (2, 3)),
    "tabs": (COUNTS.replace(",", "\t"), (2, 3)),
    "UTF-16": (COUNTS.encode("utf-16"), (2, 3)),
    "UTF-16 with tabs and Windows line ends": (
        COUNTS.replace(",", "\t").replace("\n", "\r\n").encode("utf-16"),
        (2, 3),
    ),
}


@pytest.mark.parametrize(("text", "numbers"), FORMATTINGS.values(), ids=FORMATTINGS)
def test_tables_are_read_however_they_were_saved(tmp_path, text, numbers):
    expected = read_triplets(write(tmp_path / "plain.csv", COUNTS))
    table = read_triplets(write(tmp_path / "data.csv", text))
    assert list(table) == list(expected)
    assert table.ids == expected.ids
    assert table.rows == tuple(f"data.csv row {n} (id {i})" for n, i in zip(numbers, "ab", strict=True))


ROW = "id,ref_path,left_path,right_path,left_vote,right_vote,votes,split,is_imagenet\nok,r,a,b,1,0,1,val,True\n{}\n"
BAD_ROWS = {
    "no number": ("x,r,a,b,yes,0,1,val,True", "left_vote is 'yes'; expected a number, 0 or more"),
    "NaN": ("x,r,a,b,1,nan,1,val,True", "right_vote is 'nan'; expected a number, 0 or more"),
    "infinite": ("x,r,a,b,inf,0,1,val,True", "left_vote is 'inf'; expected a number, 0 or more"),
    "negative": ("x,r,a,b,-0.5,1.5,1,val,True", "left_vote is '-0.5'; expected a number, 0 or more"),
    "no vote": ("x,r,a,b,,0,1,val,True", "left_vote is empty"),
    "wrong sum": ("x,r,a,b,0.5,0.4,1,val,True", "left_vote 0.5 and right_vote 0.4 do not sum to 1"),
    "no votes": ("x,r,a,b,1,0,0,val,True", "it has no votes; expected at least 1"),
    "negative votes": ("x,r,a,b,1,0,-3,val,True", "votes is '-3'; expected a number, 0 or more"),
    "no path": ("x,r,,b,1,0,1,val,True", "left_path is empty"),
    "no split": ("x,r,a,b,1,0,1, ,True", "split is empty"),
    "no truth": ("x,r,a,b,1,0,1,val,perhaps", "is_imagenet is 'perhaps'; expected True or False"),
    "short": ("x,r,a", "it has 3 cells; expected 9"),
    "long": ("x,r,a,b,1,0,1,val,True,more", "it has 10 cells; expected 9"),
}


@pytest.mark.parametrize(("row", "message"), BAD_ROWS.values(), ids=BAD_ROWS)
def test_a_bad_row_is_named_and_left_out(tmp_path, row, message):
    table = read_triplets(write(tmp_path / "data.csv", ROW.format(row)))
    assert table.ids == ("ok",)
    assert table.problems == (f"data.csv row 3 (id x): {message}",)
    with pytest.raises(DataError, match="id x"):
        check([table])


def test_a_row_without_its_id_is_named_by_its_number(tmp_path):
    table = read_triplets(write(tmp_path / "data.csv", ROW.format(",r,a,b,1,0,1,val,True")))
    assert table.problems == ("data.csv row 3 (id ): id is empty",)


def test_a_table_of_bad_rows_only_is_an_error_with_all_of_them(tmp_path):
    with pytest.raises(DataError) as caught:
        read_triplets(write(tmp_path / "data.csv", SHARES + "r,a,b,x,0\nr,a,c,0,y\n"))
    assert len(caught.value.problems) == 2


BAD_TABLES = {
    "empty": ("", r"data\.csv is empty; expected a header and rows"),
    "header only": (COUNTS.partition("\n")[0], r"has no rows to use: it is empty"),
    "no path": (
        COUNTS.replace("left_path", "left"),
        r"data\.csv has no column left_path .*; found id, ref_path, left, right_path, left_votes, right_votes, split",
    ),
    "no votes": (
        "ref_path,left_path,right_path\nr,a,b\n",
        r"has no column left_vote, right_vote \(or left_votes, right_votes\); found ref_path, left_path, right_path",
    ),
    "a column twice": (COUNTS.replace("split", "id"), "has several columns of one name; found id, ref_path, .*, id"),
    "Latin 1": (
        COUNTS.replace("pics", "Bäume").encode("latin-1"),
        r"is not UTF-8 text \(.*\); save it as CSV in UTF-8",
    ),
    "a workbook": (b"PK\x03\x04\x14\x00\x06\x00\xb5\x55", r"is not UTF-8 text \(.*\); save it as CSV in UTF-8"),
    "open quote": (COUNTS.replace("b,pics", 'b,"pics'), r"data\.csv is not a CSV table \(.*\); is a quote left open\?"),
}


@pytest.mark.parametrize(("text", "message"), BAD_TABLES.values(), ids=BAD_TABLES)
def test_a_file_that_is_no_table_is_an_error_that_says_why(tmp_path, text, message):
    write(tmp_path / "data.csv", text)
    with pytest.raises(ValueError, match=message):
        read_triplets(tmp_path)


def test_a_table_of_pairs(tmp_path):
    text = "id,a_path,b_path,same,votes,split\nx,a.png,b.png,0.5,4,val\ny,a.png,a.png,1,3,test\n"
    table = read_pairs(write(tmp_path / "mine/jnd.csv", text).parent)
    assert relative(table, tmp_path / "mine") == [("a.png", "b.png", 0.5), ("a.png", "a.png", 1.0)]
    assert (table.name, table.ids, table.splits) == ("mine", ("x", "y"), ("val", "test"))
    assert table.votes.tolist() == [4, 3]
    assert table.index.tolist() == [[0, 1], [0, 0]]
    assert table.rows == ("jnd.csv row 2 (id x)", "jnd.csv row 3 (id y)")


def test_a_table_of_pairs_needs_only_paths_and_answers(tmp_path):
    table = read_pairs(write(tmp_path / "pairs.csv", "a_path,b_path,same\na,b,0\nc,d,3\n"))
    assert (table.ids, table.splits, table.votes.tolist()) == (("2",), ("train",), [1])
    assert table.problems == ("pairs.csv row 3: the share of votes is 3; expected one in [0, 1]",)
    with pytest.raises(ValueError, match=r"pairs\.csv has no column b_path, same; found a_path"):
        read_pairs(write(tmp_path / "pairs.csv", "a_path\na\n"))


MATERIALS_2AFC = ROOT.parent / "shared/data/materials-2afc"


@pytest.mark.skipif(not MATERIALS_2AFC.is_dir(), reason="the data is not beside the repository")
def test_a_real_table_of_25801_triplets():
    table = read_triplets(MATERIALS_2AFC)
    assert (len(table), len(table.pictures), len(table.split("test"))) == (25801, 100, 3000)
    assert int((table.split("test").right == 0.5).sum()) == 262
    check([table], shared_pictures=True)


@pytest.mark.parametrize("ending", ["tsv", "parquet", "jsonl", "ndjson"])
def test_judgements_are_read_in_every_format(tmp_path, ending):
    """Typed, as programs write them: counts are numbers, and what is true is a truth."""
    rows = [
        {"id": "007", "ref_path": "r", "left_path": "a", "right_path": "b", "left_vote": 0.25, "is_imagenet": True},
        {"id": "1.10", "ref_path": "r", "left_path": "a", "right_path": "c", "left_vote": 1.0, "is_imagenet": False},
    ]
    rows = [row | {"right_vote": 1 - row["left_vote"], "votes": 4} for row in rows]
    kinds = {name: type(value) for name, value in rows[0].items()}
    write_columns(tmp_path / f"mine.{ending.replace('ndjson', 'jsonl')}", Columns.of(rows, kinds))
    if ending == "ndjson":
        (tmp_path / "mine.jsonl").rename(tmp_path / "mine.ndjson")
    table = read_triplets(tmp_path / f"mine.{ending}")
    assert (table.ids, table.right.tolist(), table.votes.tolist()) == (("007", "1.10"), [0.75, 0.0], [4, 4])
    assert table.subsets == ("imagenet", "no_imagenet")
    assert kinds_of(tmp_path / f"mine.{ending}") == {"triplets"}
