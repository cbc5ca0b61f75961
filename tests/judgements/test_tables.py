"""Tables of judgements: choosing rows keeps them whole, and whatever is wrong with the data is said at once, by row."""

import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from dreamsim_metric.judgements.tables import DataError, Pairs, Triplets, check


def table(questions, answers=None, **columns):
    """Triplets or pairs from texts like "r a b", one letter or path a picture."""
    questions = [question.split() for question in questions]
    n, width = len(questions), len(questions[0])
    pictures = list(dict.fromkeys(path for question in questions for path in question))
    kind, target = {3: (Triplets, "right"), 2: (Pairs, "same")}[width]
    columns = {
        "name": "set",
        "ids": tuple(str(i) for i in range(n)),
        "pictures": tuple(map(Path, pictures)),
        "index": np.array([[pictures.index(path) for path in question] for question in questions]),
        target: np.array([0.5] * n if answers is None else answers),
        "votes": np.ones(n),
        "splits": ("train",) * n,
        "rows": tuple(f"row {i + 2}" for i in range(n)),
        "problems": (),
    } | columns
    return kind(**columns)


def contents(table):
    """All there is to a row, whatever the numbering of the pictures."""
    optional = [name for name in ("subsets", "prompts") if getattr(table, name, None) is not None]
    return [
        (*table[i], *(getattr(table, name)[i] for name in ("ids", "votes", "splits", "rows", *optional)))
        for i in range(len(table))
    ]


FIVE = table(
    ["r a b", "r c d", "s a c", "t b b2", "u r s"],
    [0.0, 0.25, 0.5, 0.75, 1.0],
    votes=np.arange(1.0, 6.0),
    splits=("train", "train", "val", "test", "test"),
    subsets=("imagenet", "no_imagenet", "imagenet", "imagenet", "no_imagenet"),
    prompts=("a cat", "a dog", "a cat", "a cup", "a bus"),
    problems=("row 9: bad",),
)
JND = table(["a b", "c d", "a d"], [0.0, 1.0, 0.5], splits=("val", "val", "test"))


def test_items_are_paths_and_the_share():
    assert FIVE[1] == ("r", "c", "d", 0.25)
    assert JND[1] == ("c", "d", 1.0)
    assert (len(FIVE), len(JND)) == (5, 3)
    assert [type(value) for value in FIVE[0]] == [str, str, str, float]


def test_a_data_loader_batches_them():
    (references, _, _, right), *_ = DataLoader(FIVE, batch_size=4)
    assert list(references) == ["r", "r", "s", "t"]
    assert right.tolist() == [0.0, 0.25, 0.5, 0.75]


@pytest.mark.parametrize("whole", [FIVE, JND], ids=["triplets", "pairs"])
def test_taking_rows_keeps_all_that_belongs_to_them(whole):
    for which in (np.array([2, 0]), np.array([1]), np.arange(len(whole)), np.array([0, 0]), np.array([], dtype=int)):
        part = whole.take(which)
        assert contents(part) == [contents(whole)[i] for i in which]
        in_order = [path for item in part for path in item[:-1]]
        assert list(map(str, part.pictures)) == list(dict.fromkeys(in_order))
        assert part.index.dtype == np.int64
        assert (part.name, part.problems) == (whole.name, whole.problems)
    mask = np.arange(len(whole)) % 2 == 0
    assert contents(whole.take(mask)) == contents(whole)[::2]


def test_splits_go_by_name_and_subset():
    ids = {name: FIVE.split(name).ids for name in ("all", "train", "val", "test", "test_imagenet", "test_no_imagenet")}
    assert ids == {
        "all": ("0", "1", "2", "3", "4"),
        "train": ("0", "1"),
        "val": ("2",),
        "test": ("3", "4"),
        "test_imagenet": ("3",),
        "test_no_imagenet": ("4",),
    }
    assert JND.split("val").ids == ("0", "1")


@pytest.mark.parametrize(
    ("whole", "name", "there"),
    [
        (FIVE, "dev", r"all \(5 rows\), train \(2 rows\), val \(1 rows\), test \(2 rows\), train_imagenet \(1 rows\)"),
        (FIVE, "val_no_imagenet", r"test_no_imagenet \(1 rows\)$"),
        (JND, "test_imagenet", r"all \(3 rows\), val \(2 rows\), test \(1 rows\)$"),
        (FIVE.take(np.array([], dtype=int)), "all", "it has no rows"),
    ],
    ids=["unknown", "empty", "subsets not known", "no rows"],
)
def test_a_split_that_is_not_there_is_an_error_with_those_that_are(whole, name, there):
    with pytest.raises(ValueError, match=f"got split '{name}'; expected one of those in set: .*{there}"):
        whole.split(name)


@st.composite
def triplets(draw):
    pictures = st.sampled_from("abcdefgh")
    questions = draw(st.lists(st.tuples(pictures, pictures, pictures).map(" ".join), min_size=2, max_size=30))
    n = len(questions)
    return table(questions, draw(st.lists(st.floats(0, 1), min_size=n, max_size=n)))


@given(triplets(), st.data())
def test_a_mask_and_its_opposite_part_the_rows(whole, data):
    mask = np.array(data.draw(st.lists(st.booleans(), min_size=len(whole), max_size=len(whole))))
    parts = contents(whole.take(mask)) + contents(whole.take(~mask))
    assert sorted(parts) == sorted(contents(whole))


@given(triplets(), st.floats(0.01, 0.99), st.integers(0, 9))
def test_holding_out_parts_the_rows_by_reference(whole, fraction, seed):
    references = sorted({item[0] for item in whole})
    wanted = round(fraction * len(references))
    if wanted in (0, len(references)):
        with pytest.raises(ValueError, match=r"leaves at least one picture on either side"):
            whole.hold_out(fraction, seed)
        return
    marked = whole.hold_out(fraction, seed)
    assert marked.ids == whole.ids
    rest, held = marked.split("train"), marked.split("val")
    assert not {item[0] for item in rest} & {item[0] for item in held}
    assert len({item[0] for item in held}) == wanted
    assert set(held.splits) == {"val"}
    assert set(rest.splits) == {"train"}
    assert [item for item, i in zip(whole, whole.ids, strict=True) if i in held.ids] == list(held)


def test_what_is_held_out_depends_on_the_seed_and_not_on_the_order_of_rows():
    whole = table([f"{i} a b" for i in range(40)])
    held = [set(whole.hold_out(0.25, seed).split("val").ids) for seed in range(5)]
    assert held == [set(whole.take(np.arange(40)[::-1]).hold_out(0.25, seed).split("val").ids) for seed in range(5)]
    assert len(set(map(frozenset, held))) == 5


FOUR = table(["r a b", "s c d", "t a c", "u b d"])


@pytest.mark.parametrize("fraction", [0, 1, -0.1, 1.5, 0.1, 0.9, float("nan")])
def test_holding_out_nothing_or_everything_is_an_error(fraction):
    with pytest.raises(ValueError, match=rf"got fraction {fraction} of 4 reference pictures in set"):
        FOUR.hold_out(fraction, 0)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"ids": ("0",)}, "unequal length, .*'ids': 1, 'index': 2"),
        ({"subsets": ("cnn",)}, "unequal length, .*'subsets': 1"),
        ({"index": np.zeros((2, 2), int)}, r"shape \(2, 2\); expected \(2, 3\)"),
        ({"index": np.full((2, 3), 9)}, "from 9 to 9; expected positions in the 3 pictures"),
        ({"index": np.full((2, 3), -1)}, "from -1 to -1; expected positions in the 3 pictures"),
    ],
)
def test_a_table_that_does_not_hang_together_is_refused(columns, message):
    with pytest.raises(ValueError, match=message):
        table(["r a b", "r b a"], **columns)


@pytest.fixture
def files(tmp_path, monkeypatch):
    """A folder to work in, with files that the tables' letters name."""
    monkeypatch.chdir(tmp_path)
    for name in "abcdrstuv":
        (tmp_path / name).touch()
    return tmp_path


def problems(*tables, **options):
    with pytest.raises(DataError) as caught:
        check(tables, **options)
    return caught.value.problems


def two(split, *questions, **columns):
    """A table of which the second half is of another split."""
    n = len(questions) // 2
    return table(list(questions), splits=("train",) * n + (split,) * n, **columns)


def test_sound_data_passes(files):
    check([])
    check([table(["r a b", "r b a", "s a c"]), table(["a b", "c c"])])
    check([table(["r a b"]), table(["s c d"], splits=("val",)), table(["t u"], splits=("test",))])


def test_catch_trials_are_allowed(files):
    check([table(["r r b", "r a r"]), table(["a a"])])


BAD_ROWS = {
    "reader": (table(["r a b"], problems=("row 9: x is not a number",)), "set: row 9: x is not a number"),
    "ids": (
        table(["r a b", "r c d", "s a b"], ids=("7", "8", "7")),
        "set: id 7 is given to row 2, row 4; expected each id once",
    ),
    "NaN": (table(["r a b"], [np.nan]), "set: row 2: right is nan; expected a share of votes, in [0, 1]"),
    "above 1": (table(["r a b"], [1.5]), "set: row 2: right is 1.5; expected a share of votes, in [0, 1]"),
    "below 0": (table(["a b"], [-0.5]), "set: row 2: same is -0.5; expected a share of votes, in [0, 1]"),
    "no votes": (table(["r a b"], votes=np.zeros(1)), "set: row 2: votes is 0; expected a number above 0"),
    "NaN votes": (table(["a b"], votes=np.array([np.nan])), "set: row 2: votes is nan; expected a number above 0"),
    "infinite": (table(["a b"], votes=np.array([np.inf])), "set: row 2: votes is inf; expected a number above 0"),
    "no question": (table(["r a a"]), "set: row 2: left and right are the same picture, a"),
}


@pytest.mark.parametrize(("bad", "message"), BAD_ROWS.values(), ids=BAD_ROWS)
def test_a_bad_row_is_named(files, bad, message):
    assert problems(bad) == (message,)


def test_a_missing_file_is_one_problem_however_many_rows_use_it(files):
    (missing,) = problems(table([f"gone {'ab'[i % 2]} {'cd'[i % 2]}" for i in range(500)]))
    assert missing == f"{files / 'gone'} is missing; used by set: row 2, set: row 3, set: row 4 and 497 more"


def test_a_folder_is_no_picture(files):
    (files / "folder").mkdir()
    assert problems(table(["r folder b"])) == (f"{files / 'folder'} is missing; used by set: row 2",)


def test_unreadable_files_are_named_with_the_reason_where_they_are_used(files):
    unreadable = {Path("a"): "truncated", files / "c": "empty", Path("u"): "not used"}
    assert problems(table(["r a b"]), table(["c d"]), unreadable=unreadable) == (
        f"{files / 'a'} is unreadable (truncated); used by set: row 2",
        f"{files / 'c'} is unreadable (empty); used by set: row 2",
    )


def test_pictures_in_several_splits_are_problems_unless_allowed(files):
    tables = table(["r a b", "s a c"], splits=("train", "val")), table(["d r"], splits=("test",), name="jnd")
    hint = "expected each picture in one split, unless shared pictures are allowed"
    assert problems(*tables) == (
        f"{files / 'r'} is in train (set: row 2) and in test (jnd: row 2); {hint}",
        f"{files / 'a'} is in train (set: row 2) and in val (set: row 3); {hint}",
    )
    check(tables, shared_pictures=True)


@pytest.mark.parametrize("again", ["r a b", "r b a", "./r a x/../b"])
def test_a_triplet_in_two_splits_is_always_a_problem_whichever_way_round(files, again):
    message = "the same triplet is in train (set: row 2) and in val (set: row 3); expected each triplet in one split"
    assert problems(two("val", "r a b", again), shared_pictures=True) == (message,)
    assert message in problems(two("val", "r a b", again))
    check([two("train", "r a b", again), two("val", "a r b", "b r a")], shared_pictures=True)


def test_a_pair_in_two_splits_is_a_problem(files):
    message = "the same pair is in val (set: row 2) and in test (other: row 2); expected each pair in one split"
    tables = table(["a b"], splits=("val",)), table(["b a"], splits=("test",), name="other")
    assert problems(*tables, shared_pictures=True) == (message,)


def test_absolute_and_relative_paths_are_one_picture(files):
    assert len(problems(table(["r a b"]), table([f"s c {files / 'a'}"], splits=("val",)))) == 1


def test_everything_is_said_at_once_and_nothing_twice(files):
    whole = table(["r gone a", "r b b"], [2.0, 0.5], ids=("1", "1"), problems=("row 9: bad",))
    found = problems(whole, whole.split("train"))
    assert [text.partition(";")[0] for text in found] == [
        "set: row 9: bad",
        "set: id 1 is given to row 2, row 3",
        "set: row 2: right is 2",
        "set: row 3: left and right are the same picture, b",
        f"{files / 'gone'} is missing",
    ]


@pytest.mark.parametrize(("count", "lines", "last"), [(1, 2, "bad 0"), (20, 21, "bad 19"), (33, 22, "and 13 more")])
def test_the_message_has_a_line_a_problem_and_no_more_than_twenty(count, lines, last):
    error = DataError(f"bad {i}" for i in range(count))
    text = str(error).split("\n")
    assert text[:2] == [f"{count} problem{'s' if count > 1 else ''} in the data:", "bad 0"]
    assert (len(text), text[-1]) == (lines, last)
    assert len(error.problems) == count


def test_the_error_survives_pickling():
    error = pickle.loads(pickle.dumps(DataError(["a", "b"])))
    assert (error.problems, str(error)) == (("a", "b"), "2 problems in the data:\na\nb")
