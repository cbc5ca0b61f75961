"""Every format is read from its own layout to the same tables, and every bad row is named while the others are read."""

import json
from pathlib import Path

import numpy as np
import pytest

from dreamsim_metric.judgements.formats import FORMATS
from dreamsim_metric.judgements.readers import find_kinds, read_pairs, read_triplets
from dreamsim_metric.judgements.tables import check
from tests.tables import relative, write

NIGHTS = """\
id,left_vote,right_vote,votes,ref_path,left_path,right_path,split,is_imagenet,prompt
7,1,0,6,ref/000/007.png,distort/000/007_0.png,distort/000/007_1.png,train,True,"An image of a cat, sleeping"
1008,0,1,9,ref/001/008.png,distort/001/008_1.png,distort/001/008_0.png,test,False,An image of a cup
12,0.0,1.0,11,ref/000/012.png,distort/000/012_0.png,distort/000/012_1.png,test,True,An image of a dog
13,1,0,5,ref/000/013.png,distort/000/013_0.png,distort/000/013_1.png,val,True,An image of a hat
14,0,0,0,ref/000/014.png,distort/000/014_0.png,distort/000/014_1.png,val,True,An image of a hat
"""


def touch(folder, *names):
    for name in names:
        write(folder / name, b"")


@pytest.fixture
def nights(tmp_path):
    root = tmp_path / "nights"
    write(root / "data.csv", NIGHTS)
    (root / "ref").mkdir()
    (root / "distort").mkdir()
    return root


@pytest.fixture
def bapps(tmp_path):
    """Two splits of triplets and one of pairs, in the folders of the release."""
    root = tmp_path / "dataset"
    answers = {"2afc/train/mix": (0.5, 1.0), "2afc/val/cnn": (0.2, 0.8, 0.0), "2afc/val/color": (1.0,)}
    for subset, shares in answers.items():
        for i, share in enumerate(shares):
            touch(root / subset, *(f"{part}/{i:06}.png" for part in ("ref", "p0", "p1")))
            (root / subset / "judge").mkdir(exist_ok=True)
            np.save(root / subset / f"judge/{i:06}.npy", np.float32(share) if i else np.array([share]))
    for i, share in enumerate((1 / 3, 1.0)):
        touch(root / "jnd/val/cnn", f"p0/{i:06}.png", f"p1/{i:06}.png", "same/.DS_Store")
        np.save(root / f"jnd/val/cnn/same/{i:06}.npy", share)
    return root


def save_answers(root, split, answers, agreement):
    others = {"answers_diff": [], "agreement_diff": [], "answers_equal": [], "agreement_equal": []}
    write(
        root / f"data/answers_processed_{split}.json",
        json.dumps({"answers": answers, "agreement": agreement, **others}),
    )


@pytest.fixture
def materials(tmp_path):
    """Five pictures; those that differ in a suffix or in case sort as bytes do."""
    root = tmp_path / "material-appearance-similarity"
    names = ("brass.jpg", "aluminium.jpg", "brass2.jpg", "Chrome.jpg", "violet-rubber.jpg", ".DS_Store")
    touch(root / "data/havran1_ennis_298x298_LDR", *names)
    save_answers(root, "train", [[0, 1, 4], [3, 2, 1]], [[3, 1], [2, 2]])
    save_answers(root, "test", [[1, 0, 2]], [[3, 0]])
    return root


def test_nights_is_read_with_its_rule_of_six_votes(nights):
    table = read_triplets(nights)
    assert table.name == "nights"
    assert relative(table, nights) == [
        ("ref/000/007.png", "distort/000/007_0.png", "distort/000/007_1.png", 0.0),
        ("ref/001/008.png", "distort/001/008_1.png", "distort/001/008_0.png", 1.0),
        ("ref/000/012.png", "distort/000/012_0.png", "distort/000/012_1.png", 1.0),
    ]
    assert table.ids == ("7", "1008", "12")
    assert table.votes.tolist() == [6, 9, 11]
    assert table.splits == ("train", "test", "test")
    assert table.subsets == ("imagenet", "no_imagenet", "imagenet")
    assert table.prompts == ("An image of a cat, sleeping", "An image of a cup", "An image of a dog")
    assert table.rows == ("data.csv row 2 (id 7)", "data.csv row 3 (id 1008)", "data.csv row 4 (id 12)")
    assert table.problems == ()
    assert table.split("test_no_imagenet").ids == ("1008",)


def test_how_many_votes_a_triplet_needs_can_be_chosen(nights):
    assert read_triplets(nights, min_votes=9).ids == ("1008", "12")
    everything = read_triplets(nights, min_votes=0)
    assert everything.ids == ("7", "1008", "12", "13")
    assert everything.problems == ("data.csv row 6 (id 14): it has no votes; expected at least 1",)


@pytest.mark.parametrize("min_votes", [12, float("inf")])
def test_no_triplet_with_enough_votes_is_an_error(nights, min_votes):
    with pytest.raises(ValueError, match=f"has no rows to use: all 5 have fewer than {min_votes} votes"):
        read_triplets(nights, min_votes=min_votes)


def test_nights_is_recognised_from_its_table_too(nights):
    assert read_triplets(nights / "data.csv").ids == read_triplets(nights).ids
    assert len(read_triplets(nights, "table")) == 4


@pytest.mark.parametrize("column", ["id", "votes", "split", "right_path"])
def test_nights_needs_its_columns(nights, column):
    write(nights / "data.csv", NIGHTS.replace(column, "x", 1))
    with pytest.raises(ValueError, match=f"data.csv has no column {column}; found "):
        read_triplets(nights)


def test_bapps_triplets(bapps):
    table = read_triplets(bapps)
    assert table.name == "dataset"
    assert table.ids == table.rows
    assert table.ids == (
        *("train/mix/000000", "train/mix/000001"),
        *("val/cnn/000000", "val/cnn/000001", "val/cnn/000002", "val/color/000000"),
    )
    assert relative(table, bapps / "2afc")[3] == (
        *("val/cnn/ref/000001.png", "val/cnn/p0/000001.png", "val/cnn/p1/000001.png"),
        pytest.approx(0.8),
    )
    assert table.right == pytest.approx([0.5, 1.0, 0.2, 0.8, 0.0, 1.0])
    assert table.votes.tolist() == [2, 2, 5, 5, 5, 5]
    assert table.splits == ("train",) * 2 + ("val",) * 4
    assert table.subsets == ("mix", "mix", "cnn", "cnn", "cnn", "color")
    assert table.split("val_color").ids == ("val/color/000000",)
    assert list(read_triplets(bapps / "2afc")) == list(table)
    check([table, read_pairs(bapps)])


def test_bapps_pairs(bapps):
    table = read_pairs(bapps)
    assert relative(table, bapps / "jnd/val/cnn") == [
        ("p0/000000.png", "p1/000000.png", pytest.approx(1 / 3)),
        ("p0/000001.png", "p1/000001.png", 1.0),
    ]
    assert (table.ids, table.splits, table.votes.tolist()) == (
        ("val/cnn/000000", "val/cnn/000001"),
        ("val", "val"),
        [3, 3],
    )
    assert list(read_pairs(bapps / "jnd")) == list(table)


@pytest.mark.parametrize("name", ["000001.jpg", "000001.JPEG"])
def test_bapps_may_be_saved_as_jpeg(bapps, name):
    (bapps / "2afc/val/cnn/ref/000001.png").rename(bapps / "2afc/val/cnn/ref" / name)
    table = read_triplets(bapps)
    assert table.problems == ()
    assert Path(table[3][0]).name == name


def replace_answer(data):
    def edit(folder):
        write(folder / "judge/000001.npy", b"") if data is None else np.save(folder / "judge/000001.npy", data)

    return edit


BAD_BAPPS = {
    "picture": (lambda folder: (folder / "p1/000001.png").unlink(), "no file in p1"),
    "answer": (lambda folder: (folder / "judge/000001.npy").unlink(), "no file in judge"),
    "several": (
        lambda folder: [(folder / f"{part}/000001.png").unlink() for part in ("ref", "p0")],
        "no file in ref, p0",
    ),
    "empty file": (replace_answer(None), "judge/000001.npy is not a NumPy file (EOFError"),
    "pickle": (replace_answer(np.array([{}], dtype=object)), "judge/000001.npy is not a NumPy file (ValueError"),
    "two numbers": (replace_answer(np.zeros(2)), "judge/000001.npy holds (2,); expected one number"),
    "text": (replace_answer(np.array("0.5")), "judge/000001.npy holds ()"),
    "NaN": (replace_answer(np.nan), "the share of votes is nan; expected one in [0, 1]"),
    "above 1": (replace_answer(1.5), "the share of votes is 1.5; expected one in [0, 1]"),
}


@pytest.mark.parametrize(("edit", "message"), BAD_BAPPS.values(), ids=BAD_BAPPS)
def test_an_incomplete_bapps_trial_is_named_and_left_out(bapps, edit, message):
    edit(bapps / "2afc/val/cnn")
    table = read_triplets(bapps)
    (problem,) = table.problems
    assert problem.startswith("val/cnn/000001: ")
    assert message in problem
    assert len(table) == 5


def test_a_bapps_folder_that_is_absent_is_one_problem(bapps):
    for file in (bapps / "2afc/val/cnn/judge").iterdir():
        file.unlink()
    assert read_triplets(bapps).problems == ("val/cnn: nothing in judge",)


@pytest.mark.parametrize("root", ["", "data"])
def test_materials(materials, root):
    table = read_triplets(materials / root)
    assert table.name == (root or materials.name)
    assert relative(table, materials / "data/havran1_ennis_298x298_LDR") == [
        ("Chrome.jpg", "aluminium.jpg", "violet-rubber.jpg", 0.25),
        ("brass2.jpg", "brass.jpg", "aluminium.jpg", 0.5),
        ("aluminium.jpg", "Chrome.jpg", "brass.jpg", 0.0),
    ]
    assert table.votes.tolist() == [4, 4, 3]
    assert table.ids == ("train/0", "train/1", "test/0")
    assert table.splits == ("train", "train", "test")
    assert table.rows[-1] == "answers_processed_test.json answer 0"
    check([table], shared_pictures=True)


BAD_MATERIALS = {
    "position": ([[0, 1, 5]], [[3, 1]], "answer 0: picture 5; expected less than 5, the number of pictures"),
    "negative": ([[0, -1, 4]], [[3, 1]], "answer 0: [0, -1, 4] with votes [3, 1]; expected three positions and two co"),
    "two": ([[0, 1]], [[3, 1]], "answer 0: [0, 1] with votes [3, 1]; expected three positions"),
    "not whole": ([[0, 1, 2.5]], [[3, 1]], "answer 0: [0, 1, 2.5] with votes"),
    "no list": ([3], [[3, 1]], "answer 0: 3 with votes"),
    "one count": ([[0, 1, 2]], [[3]], "answer 0: [0, 1, 2] with votes [3]"),
    "no votes": ([[0, 1, 2]], [[0, 0]], "answer 0: it has no votes"),
    "unequal": ([[0, 1, 2]], [], ": 1 answers and 0 agreements; expected one for each, left all out"),
}


@pytest.mark.parametrize(("answers", "agreement", "message"), BAD_MATERIALS.values(), ids=BAD_MATERIALS)
def test_a_bad_answer_of_materials_is_named_and_left_out(materials, answers, agreement, message):
    save_answers(materials, "test", answers, agreement)
    table = read_triplets(materials)
    (problem,) = table.problems
    assert problem.startswith("answers_processed_test.json")
    assert message in problem
    assert table.ids == ("train/0", "train/1")


def test_a_picture_too_many_in_materials_is_a_problem(materials):
    touch(materials / "data/havran1_ennis_298x298_LDR", "copper.jpg")
    (problem,) = read_triplets(materials).problems
    assert problem.endswith("havran1_ennis_298x298_LDR: 6 pictures; expected 5, as the answers count")


@pytest.mark.parametrize("text", ["{", "[]", '{"answers": []}', '{"answers": 1, "agreement": []}', b"\xff"])
def test_materials_not_as_published_is_an_error(materials, text):
    file = write(materials / "data/answers_processed_test.json", text)
    with pytest.raises(ValueError, match=rf"{file.name} is not as published \(.*; expected JSON with answers and agre"):
        read_triplets(materials)


def test_materials_without_its_pictures_is_an_error(materials):
    for file in (materials / "data/havran1_ennis_298x298_LDR").iterdir():
        file.unlink()
    with pytest.raises(FileNotFoundError, match=r"no pictures in .*havran1_ennis_298x298_LDR"):
        read_triplets(materials)


def test_what_is_of_no_known_format_says_what_was_looked_for(tmp_path):
    write(tmp_path / "notes.txt", "")
    for root in (tmp_path, tmp_path / "notes.txt"):
        with pytest.raises(ValueError, match="is of no known format; looked for data") as caught:
            read_triplets(root)
        assert all(f"({name})" in str(caught.value) for name in FORMATS)
        with pytest.raises(
            ValueError, match=r"looked for jnd_votes.*jnd\.csv, or a \.csv file \(table\); train/ or val/ with .*same"
        ):
            read_pairs(root)


@pytest.mark.parametrize("format", [None, *FORMATS])
def test_what_is_not_there_is_an_error(tmp_path, format):
    with pytest.raises(FileNotFoundError, match=r"no such data set: .*gone"):
        read_triplets(tmp_path / "gone", format)


@pytest.mark.parametrize(
    ("format", "error", "message"),
    [
        ("nights", FileNotFoundError, r"no such table: .*data\.csv"),
        ("table", FileNotFoundError, r"no such table: .*data\.csv"),
        ("bapps", ValueError, r"is not BAPPS; expected train/ or val/ with \*/judge/, in it or in 2afc/"),
        ("materials", FileNotFoundError, r"no answers_processed_train\.json in .* or its data/"),
        ("parquet", ValueError, "got format 'parquet'; expected one of nights, table, materials, bapps"),
    ],
)
def test_a_format_that_is_not_there_is_an_error(tmp_path, format, error, message):
    with pytest.raises(error, match=message):
        read_triplets(tmp_path, format)


def test_formats_without_pairs_are_refused(nights):
    with pytest.raises(ValueError, match="got format 'materials'; expected one of nights, table, bapps"):
        read_pairs(nights, "materials")
    with pytest.raises(FileNotFoundError, match=r"has no jnd_votes\.csv"):
        read_pairs(nights, "nights")


@pytest.mark.parametrize("level", ["..", ".", "2afc", "2afc/val", "2afc/val/cnn"])
def test_bapps_may_be_named_by_any_of_its_folders(bapps, level, monkeypatch):
    whole = read_triplets(bapps)
    for root in (bapps / level, Path(level)):  # a relative name, too, of which "." says nothing
        monkeypatch.chdir(bapps)
        if level == "2afc/val/cnn" and not root.is_absolute():
            monkeypatch.chdir(bapps / level)
            root = Path(".")
        table = read_triplets(root)
        wanted = [i for i, name in enumerate(whole.ids) if "val" not in level or name.startswith(level[5:])]
        assert table.ids == tuple(whole.ids[i] for i in wanted)
        assert table.right.tolist() == [whole.right[i] for i in wanted]
        assert table.subsets == tuple(whole.subsets[i] for i in wanted)
        assert all(path.exists() for path in table.pictures)


@pytest.mark.parametrize("level", ["jnd", "jnd/val", "jnd/val/cnn"])
def test_bapps_pairs_may_be_named_by_any_of_their_folders(bapps, level):
    assert find_kinds(bapps / level) == {"pairs"}
    assert read_pairs(bapps / level).same.tolist() == read_pairs(bapps).same.tolist()
    with pytest.raises(ValueError, match="of no known format"):
        read_triplets(bapps / level)


RAW = """id,left_vote,right_vote,votes,ref_path,left_path,right_path
0,1,0,1,ref/000/000.png,distort/000/000_0.png,distort/000/000_1.png
1,0.25,0.75,4,ref/000/001.png,distort/000/001_0.png,distort/000/001_1.png
2,0,0,0,ref/000/002.png,distort/000/002_0.png,distort/000/002_1.png
"""


def test_unfiltered_nights_is_read_with_all_its_votes(tmp_path):
    write(tmp_path / "unfiltered/nights_raw.csv", RAW)
    for root in (tmp_path / "unfiltered", tmp_path / "unfiltered/nights_raw.csv"):
        assert find_kinds(root) == {"triplets"}
        for format in (None, "nights"):
            table = read_triplets(root, format)
            assert (table.ids, table.right.tolist(), table.votes.tolist()) == (("0", "1"), [0.0, 0.75], [1.0, 4.0])
            assert table.pictures[0] == tmp_path / "unfiltered/ref/000/000.png"
            assert set(table.splits) == {"test"}


JND = {
    "shares of triplets": "id,ref_path,left_path,right_path,left_vote,right_vote,votes\n7,ref/a,d/b,d/c,0.25,1,4\n",
    "counts of triplets": "id,ref_path,left_path,right_path,left_same,right_same,votes\n7,ref/a,d/b,d/c,1,4,4\n",
    "shares of pairs": "id,a_path,b_path,same\n7-left,ref/a,d/b,0.25\n7-right,ref/a,d/c,1\n",
    "counts of pairs": "id,path_1,path_2,same,different\n7-left,ref/a,d/b,1,3\n7-right,ref/a,d/c,4,0\n",
}


@pytest.mark.parametrize("text", JND.values(), ids=JND)
@pytest.mark.parametrize("place", ["nights/jnd_votes.csv", "jnd_votes.csv"])
def test_the_pairs_of_nights_are_read(nights, text, place):
    file = nights.parent / place
    write(file, text)
    for root in (nights, file):
        assert "pairs" in find_kinds(root)
        table = read_pairs(root)
        assert (table.ids, table.same.tolist()) == (("7-left", "7-right"), [0.25, 1.0])
        assert [path.relative_to(nights).as_posix() for path in table.pictures] == ["ref/a", "d/b", "d/c"]
    assert len(read_triplets(nights)) == 3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("id,one,two,answer\n1,a,b,1\n", "has columns id, one, two, answer; expected two of paths"),
        ("id,a_path,b_path,same\n1,a,b,3\n", "has counts in same, and no column votes"),
        ("id,a_path,b_path,same,votes\n1,a,b,3,2\n", "same is 3 of 2 votes"),
    ],
)
def test_pairs_of_nights_that_cannot_be_told_are_not_guessed(nights, text, message):
    write(nights / "jnd_votes.csv", text)
    with pytest.raises(ValueError, match=message):
        read_pairs(nights / "jnd_votes.csv")
    assert len(read_triplets(nights)) == 3
