"""`dreamsim-data`: categories, generate, sheet."""

import json

import numpy as np
import PIL.Image
import pytest
import torch

from data_tools import generation
from data_tools.categories import list_categories, read_categories
from data_tools.cli import main
from tests.pipelines import stable_diffusion


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return str(stable_diffusion(tmp_path_factory.mktemp("sd") / "small", safety_checker=False))


SIZES = {"cifar10": 10, "cifar100": 100, "flowers102": 102, "food101": 101, "imagenet": 1000, "sun397": 397}


def test_the_lists_of_nights_are_complete():
    assert {name: count for name, count in list_categories().items() if name in SIZES} == SIZES
    for name in list_categories():
        assert all(category == category.strip() for category in read_categories(name))


def test_lists_are_shown(capsys):
    assert main(["categories"]) == 0
    assert "food101            101" in capsys.readouterr().out
    assert main(["categories", "cifar10"]) == 0
    assert capsys.readouterr().out.split()[:2] == ["airplane", "automobile"]


def test_generate_then_sheet(model, tmp_path, capsys):
    out = tmp_path / "run"
    given = ["generate", "--model", model, "--categories", "cifar10", "--out", str(out), "--steps", "2"]
    assert main([*given, "--triplets", "3", "--device", "cpu", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"groups": 3, "incomplete": 0, "pictures": 9, "dropped": {}}
    assert main(["sheet", str(out), "--side", "32", "--columns", "1"]) == 0
    assert capsys.readouterr().out == f"{out / 'sheet.png'}: 3 lines\n"
    page = np.asarray(PIL.Image.open(out / "sheet.png"))
    first = np.asarray(PIL.Image.open(next((out / "pictures").rglob("000000_ref.png"))))
    assert (page[26:58, 8:40] == first).all()  # at its own size, below a line of text


def test_a_sheet_of_pairs_has_a_line_for_each_picture(model, tmp_path, capsys):
    given = ["generate", "--model", model, "--categories", "cifar10", "--out", str(tmp_path / "run"), "--steps", "4"]
    assert main([*given, "--pairs", "2", "--strengths", "0.5", "1", "--device", "cpu"]) == 0
    assert "4 pairs, 6 pictures" in capsys.readouterr().out
    assert main(["sheet", str(tmp_path / "run")]) == 0
    assert "2 lines" in capsys.readouterr().out


BAD_LISTS = {
    "empty line": ("cat\n\ndog\n", "line 2 is empty"),
    "twice": ("cat\ndog\ncat\n \n", "line 3 repeats 'cat' of line 1; line 4 is empty"),
    "nothing": ("", "no lines"),
}


@pytest.mark.parametrize(("text", "message"), BAD_LISTS.values(), ids=BAD_LISTS)
def test_bad_lines_of_a_list_are_all_named(tmp_path, capsys, text, message):
    (tmp_path / "names.txt").write_text(text)
    assert (
        main(["generate", "--model", "x", "--categories", str(tmp_path / "names.txt"), "--out", str(tmp_path / "run")])
        == 1
    )
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_a_list_that_is_not_text_is_refused(tmp_path):
    (tmp_path / "names.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match="not text in UTF-8"):
        read_categories(str(tmp_path / "names.txt"))


BAD = {
    "unknown list": (
        ["generate", "--model", "x", "--categories", "cifar", "--out", "x"],
        "did you mean cifar10 or cifar100?",
    ),
    "three sizes": (
        [
            "generate",
            "--model",
            "x",
            "--categories",
            "cifar10",
            "--out",
            "x",
            "--triplets",
            "1",
            "--size",
            "8",
            "8",
            "8",
        ],
        "expected a side, or width and height",
    ),
    "no generation": (["sheet", "."], "has no settings.json"),
    "side": (["sheet", ".", "--side", "0"], "got --side 0"),
}


@pytest.mark.parametrize(("arguments", "message"), BAD.values(), ids=BAD)
def test_bad_input_is_one_line(capsys, monkeypatch, tmp_path, arguments, message):
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 1
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_generation_with_nothing_complete_has_no_sheet(tmp_path, capsys):
    (tmp_path / "settings.json").write_text("{}")
    assert main(["sheet", str(tmp_path)]) == 1
    assert "no complete triplet or pair yet" in capsys.readouterr().err
    (tmp_path / "manifest.jsonl").write_text('{"path": "0.png", "group": 0}\n')  # of an earlier version
    assert main(["sheet", str(tmp_path)]) == 1
    assert "manifest.jsonl line 1 lacks attempt, category" in capsys.readouterr().err


def test_a_batch_that_does_not_fit_says_what_to_do(model, monkeypatch, capsys, tmp_path):
    def full(*arguments):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has …")

    monkeypatch.setattr(generation, "generate", full)
    given = ["generate", "--model", model, "--categories", "cifar10", "--triplets", "1", "--out", str(tmp_path)]
    assert main(given) == 1
    assert capsys.readouterr().err == "dreamsim-data: CUDA out of memory; choose a smaller --batch-size\n"
