"""The parts that messages share."""

import errno
import shutil

import pytest

from dreamsim_metric.messages import list_briefly, say_error, say_error_with_kind, say_known, suggest

NAMES = ["a", "b", "c", "d", "e"]


@pytest.mark.parametrize("count", range(6))
@pytest.mark.parametrize("most", range(1, 7))
def test_every_item_is_either_said_or_counted(count, most):
    said, _, more = list_briefly(NAMES[:count], most).partition(" and ")
    assert [name for name in said.split(", ") if name] == NAMES[: min(count, most)]
    assert more == (f"{count - most} more" if count > most else "")


@pytest.mark.parametrize(
    ("between", "text"), [(", ", "a, b and 3 more"), ("; ", "a; b; and 3 more"), ("\n", "a\nb\nand 3 more")]
)
def test_the_count_follows_what_stands_between(between, text):
    assert list_briefly(NAMES, 2, between) == text


def test_the_most_similar_name_is_the_first_of_three_at_most():
    assert suggest("dino_vitb14", ["mini", "dinov2_vitb14"]) == "did you mean dinov2_vitb14 or mini?"
    many = suggest("psmr", ["psnr", "psmrs", "psnrs", "psnr-y"])
    assert many.startswith("did you mean psmrs or ")
    assert many.count(" or ") == 2
    assert suggest("zebra", ["mini", "clip"]) == ""


def test_known_names_are_said_whether_one_is_similar_or_not():
    assert say_known("minii", ["mini", "clip"]) == "did you mean mini? Known: mini, clip"
    assert say_known("zebra", ["mini", "clip"]) == "Known: mini, clip"


ERRORS = {
    "words": (ValueError("got 3;\n  expected 2"), "got 3; expected 2", "ValueError: got 3; expected 2"),
    "no words": (TimeoutError(), "TimeoutError", "TimeoutError"),
    "a key": (KeyError("r"), "'r'", "KeyError: 'r'"),
    "a full disk": (OSError(errno.ENOSPC, "cannot write x"), "cannot write x", "OSError: cannot write x"),
    "of a library": (OSError("s3: denied"), "s3: denied", "OSError: s3: denied"),
    "two files": (OSError(18, "Cross-device link", "a", None, "b"), "Cross-device link: a: b", None),
}


@pytest.mark.parametrize(("error", "text", "with_kind"), ERRORS.values(), ids=ERRORS)
def test_an_error_is_one_line(error, text, with_kind):
    assert say_error(error) == text
    assert with_kind in (None, say_error_with_kind(error))


def test_an_error_of_the_disk_names_the_file(tmp_path):
    with pytest.raises(FileNotFoundError) as caught:
        shutil.copyfile(tmp_path / "gone", tmp_path / "copy")
    assert say_error(caught.value) == f"No such file or directory: {tmp_path / 'gone'}"
