"""The measuring programs run, on few models and rounds; what they measure is not for tests to judge."""

import re

import numpy as np
import pytest
from PIL import Image

from benchmarks.programs import separation, training_step


@pytest.mark.slow
def test_a_training_step_is_measured_against_the_released_way(capsys):
    training_step.main(["--model", "clip_vitb32", "--triplets", "2", "--steps", "1", "--shared", "--device", "cpu"])
    rows = dict(re.findall(r"^(\w+) +[\d.]+ steps/s +([\d.]+)×", capsys.readouterr().out, re.M))
    assert set(rows) == {"released", "ours"}
    assert float(rows["released"]) == 1


def test_subjects_are_told_apart_as_a_loop_counts():
    random = np.random.default_rng(0)
    units = random.normal(size=(12, 3))
    units /= np.linalg.norm(units, axis=1, keepdims=True)
    names = random.choice(["cat", "cup", "vest"], 12)
    hits, same, other = 0, [], []
    for i in range(12):
        cosines = {j: units[i] @ units[j] for j in range(12) if j != i}
        hits += names[max(cosines, key=cosines.get)] == names[i]
        for j in range(i):
            (same if names[i] == names[j] else other).append(cosines[j])
    nearest, auc = separation.tell_apart(units, names)
    assert nearest == 100 * hits / 12
    np.testing.assert_allclose(auc, np.mean([a > b for a in same for b in other]), rtol=1e-12)


def test_subjects_of_a_folder_are_measured(tmp_path, monkeypatch, capsys):
    for name, colour in (("red", (200, 0, 0)), ("blue", (0, 0, 200))):
        (tmp_path / name).mkdir()
        for i in range(2):
            Image.new("RGB", (32, 32), tuple(c // (i + 1) for c in colour)).save(tmp_path / name / f"{i}.png")
    monkeypatch.setattr("sys.argv", ["separation", str(tmp_path)])
    separation.main()
    assert re.search(r"4 pictures of 2 subjects\nmini: nearest neighbour [\d.]+ %, AUC [\d.]+", capsys.readouterr().out)


@pytest.mark.parametrize(
    ("subfolders", "said"),
    [
        ((), "has 0 pictures of 0 subjects; expected a subfolder of pictures for each of two subjects"),
        (("red",), "has 2 pictures of 1 subjects; expected"),
    ],
)
def test_folders_that_hold_no_subjects_are_said(tmp_path, monkeypatch, subfolders, said):
    Image.new("RGB", (8, 8)).save(tmp_path / "no subject.png")
    for name in subfolders:
        (tmp_path / name).mkdir()
        for i in range(2):
            Image.new("RGB", (8, 8)).save(tmp_path / name / f"{i}.png")
    monkeypatch.setattr("sys.argv", ["separation", str(tmp_path)])
    with pytest.raises(SystemExit, match=f"{tmp_path} {said}"):
        separation.main()


def test_pictures_of_subjects_that_cannot_be_read_are_all_said(tmp_path, monkeypatch):
    for name in ("red", "blue"):
        (tmp_path / name).mkdir()
        Image.new("RGB", (8, 8)).save(tmp_path / name / "0.tiff")
        (tmp_path / name / "1.tiff").write_bytes(b"")
    monkeypatch.setattr("sys.argv", ["separation", str(tmp_path)])
    with pytest.raises(SystemExit, match=r"blue/1.tiff is an empty file.*\n.*red/1.tiff is an empty file"):
        separation.main()
