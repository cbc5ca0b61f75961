"""Votes become data sets that training and evaluation read, and bad data sets are found out."""

import csv
import json
import shutil

import numpy as np
import PIL.Image
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_tools import collection
from data_tools.cli import main
from data_tools.collection import assign_splits, collect
from data_tools.simulation import Observer, compute_evidence, simulate
from data_tools.validate import validate, write_line
from dreamsim_metric.judgements.readers import read_pairs, read_triplets
from dreamsim_metric.judgements.tables import DataError
from tests.studies import pairs, serving, study, triplets


def judged(folder, make, raters=4, count=12, **options):
    """A study that simulated raters have answered."""
    asked = study(folder / "study", make(folder / "pictures", count), practice=0, **options)
    with serving(folder / "study") as url:
        simulate(url, folder / "study", raters, Observer(noise=0.02, lapse=0, seed=1), at_once=1)
    return asked


@pytest.fixture(scope="module")
def triplet_study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("triplets")
    return folder, judged(folder, triplets, rounds=(2, 1), sentinel_every=6)


def test_triplets_are_exported_as_nights_and_read_as_they_are(triplet_study, tmp_path):
    folder, asked = triplet_study
    found = collect(folder / "study", tmp_path / "data")
    table = read_triplets(tmp_path / "data")
    assert len(table) == found["questions kept"] == sum(found[split] for split in ("train", "val", "test")) > 0
    assert set(table.right.tolist()) <= {0.0, 1.0}
    assert set(table.votes.tolist()) == {3.0}
    with open(tmp_path / "data" / "data.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    columns = "id,left_vote,right_vote,votes,ref_path,left_path,right_path,split,is_imagenet,prompt"
    assert ",".join(rows[0]) == columns
    prompts = {split: {row["prompt"] for row in rows if row["split"] == split} for split in ("train", "val", "test")}
    assert sum(map(len, prompts.values())) == len(set().union(*prompts.values())) > 1
    known = {
        (folder / "pictures" / item.pictures[0]).read_bytes(): item for item in asked.items() if item.kind == "main"
    }
    says = compute_evidence(asked, Observer())
    for row in rows:  # each row has the pictures of its question, on their sides, and what the observers saw in them
        item = known[(tmp_path / "data" / row["ref_path"]).read_bytes()]
        for column, path in zip(("left_path", "right_path"), item.pictures[1:], strict=True):
            assert (tmp_path / "data" / row[column]).read_bytes() == (folder / "pictures" / path).read_bytes()
        assert row["prompt"] == item.prompt
        if abs(says[item.id]) > 0.2:  # ten times the noise
            assert float(row["left_vote"]) == (says[item.id] > 0)
    assert json.loads((tmp_path / "data" / "export.json").read_text())["simulated responses"] == found["responses"]
    assert write_line(validate(tmp_path / "data")[0]).startswith(f"{len(table)} triplets")


def test_disputed_triplets_and_those_with_fewer_votes_are_kept_when_asked_for(triplet_study, tmp_path):
    folder, _ = triplet_study
    few = collect(folder / "study", tmp_path / "few")
    all_of_them = collect(folder / "study", tmp_path / "all", min_votes=1, disputed=True)
    assert all_of_them["questions kept"] == all_of_them["questions with votes"] == 12 >= few["questions kept"]


def test_pairs_are_exported_as_a_table_and_read_as_they_are(tmp_path):
    judged(tmp_path, pairs, rounds=(3,), trials=12, sentinel_every=0)
    found = collect(tmp_path / "study", tmp_path / "data")
    table = read_pairs(tmp_path / "data")
    assert len(table) == found["questions kept"] == 12
    assert set(table.votes.tolist()) == {3.0}
    assert write_line(validate(tmp_path / "data")[0]).startswith("12 pairs, 24 pictures, 36 votes")


@given(
    counts=st.lists(st.integers(1, 30), min_size=1, max_size=40),
    seed=st.integers(0, 3),
)
def test_splits_keep_categories_whole_and_come_near_the_shares(counts, seed):
    categories = [f"c{i}" for i, count in enumerate(counts) for _ in range(count)]
    found = assign_splits(categories, {"train": 0.8, "val": 0.1, "test": 0.1}, seed)
    assert set(found) == set(categories)
    sizes = {name: sum(found[category] == name for category in categories) for name in ("train", "val", "test")}
    for name, share in (("train", 0.8), ("val", 0.1), ("test", 0.1)):
        assert abs(sizes[name] - share * len(categories)) <= max(counts)
    assert found == assign_splits(categories[::-1], {"train": 0.8, "val": 0.1, "test": 0.1}, seed)


@pytest.mark.parametrize("shares", [{}, {"train": 0.5}, {"train": 1.5, "test": -0.5}])
def test_shares_that_are_none_are_refused(shares):
    with pytest.raises(ValueError, match="sum to 1"):
        assign_splits(["a"], shares)


def test_a_folder_that_is_not_empty_is_left_alone(triplet_study, tmp_path):
    folder, _ = triplet_study
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="not empty"):
        collect(folder / "study", tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["mine.txt"]


def test_a_disk_that_fills_up_leaves_nothing_behind(triplet_study, tmp_path, monkeypatch):
    folder, _ = triplet_study
    honest, copied = shutil.copyfile, []

    def full(source, target):
        if len(copied) == 4:
            raise OSError(28, "No space left on device", str(target))
        copied.append(honest(source, target))

    monkeypatch.setattr(collection.shutil, "copyfile", full)
    with pytest.raises(OSError, match="No space left"):
        collect(folder / "study", tmp_path / "data")
    assert list(tmp_path.iterdir()) == []


def test_nothing_left_is_an_error(triplet_study, tmp_path, capsys):
    folder, _ = triplet_study
    assert main(["collect", str(folder / "study"), "--out", str(tmp_path / "data"), "--min-ms", "1e9"]) == 1
    assert "no question is left after filtering" in capsys.readouterr().err
    assert not (tmp_path / "data").exists()


def test_a_study_without_votes_says_what_makes_them(tmp_path, capsys):
    study(tmp_path / "study", triplets(tmp_path / "pictures"))
    for command in (["collect", "--out", str(tmp_path / "data")], ["stats"]):
        assert main([command[0], str(tmp_path / "study"), *command[1:]]) == 1
        assert "dreamsim-data serve makes it" in capsys.readouterr().err


def test_stats_are_printed_and_plotted(triplet_study, tmp_path, capsys):
    folder, _ = triplet_study
    assert main(["stats", str(folder / "study"), "--out", str(tmp_path / "plot.png")]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("SIMULATED: ")
    assert "Krippendorff's alpha" in shown
    with PIL.Image.open(tmp_path / "plot.png") as picture:
        assert picture.size[0] > 500
    assert main(["stats", str(folder / "study"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["task"] == "2afc"


def _damage(folder, how):
    file = folder / "data.csv"
    text = file.read_text()
    if how == "missing":
        (folder / "ref/000/000.png").unlink()
    elif how == "unreadable":
        (folder / "ref/000/000.png").write_bytes(b"no picture")
    elif how == "leak":
        lines = text.splitlines()
        cells = lines[1].split(",")
        file.write_text(text + ",".join(["99", *cells[1:7], "other", *cells[8:]]) + "\n")
    elif how == "sum":
        lines = text.splitlines()
        cells = lines[1].split(",")
        file.write_text("\n".join([lines[0], ",".join([cells[0], "0.2", "0.2", *cells[3:]]), *lines[2:]]) + "\n")


DAMAGE = {"missing": "missing", "unreadable": "unreadable", "leak": "is in .* and in other", "sum": "do not sum to 1"}


@pytest.mark.parametrize(("how", "message"), DAMAGE.items(), ids=DAMAGE)
def test_what_is_wrong_with_a_data_set_is_found(triplet_study, tmp_path, how, message):
    folder, _ = triplet_study
    collect(folder / "study", tmp_path / "data")
    _damage(tmp_path / "data", how)
    with pytest.raises(DataError, match=message):
        validate(tmp_path / "data")


def test_validate_says_what_it_looked_for(tmp_path, capsys):
    assert main(["validate", str(tmp_path / "nothing")]) == 1
    assert "no such folder" in capsys.readouterr().err
    assert main(["validate", str(tmp_path)]) == 1
    assert "expected data.csv or jnd.csv" in capsys.readouterr().err


def test_simulated_raters_follow_the_stated_model(tmp_path):
    """Many raters on a few triplets: their share of "right" is the formula's."""
    asked = study(tmp_path / "study", triplets(tmp_path / "pictures", 4), practice=0, sentinel_every=0, rounds=(60,))
    observer = Observer(noise=0.3, lapse=0.1, seed=3)
    with serving(tmp_path / "study") as url:
        simulate(url, tmp_path / "study", 60, observer, at_once=1)
    collect(tmp_path / "study", tmp_path / "data", disputed=True)
    table = read_triplets(tmp_path / "data")
    known = compute_evidence(asked, observer)
    order = [item.id for item in asked.items()]
    expected = {0.05 + 0.9 / (1 + np.exp(known[name] / 0.3)) for name in order}  # of "right"
    assert np.allclose(sorted(table.right), sorted(expected), atol=0.2)  # three standard errors of 60 votes
