"""`dreamsim-data validate` refuses what `train` refuses, and passes what it passes."""

import json
from dataclasses import replace

import PIL.Image
import pytest

from data_tools.cli import main
from data_tools.validate import validate
from dreamsim_metric.evaluation.judging import judge
from dreamsim_metric.judgements.readers import read_triplets
from dreamsim_metric.judgements.tables import DataError
from dreamsim_metric.training.config import Config
from dreamsim_metric.training.loop import train
from tests.judged import write_network, write_pairs, write_triplets

pytestmark = pytest.mark.usefixtures("fresh_accelerate")


@pytest.fixture
def data(tmp_path):
    return write_triplets(tmp_path / "judged")


def first_picture(folder):
    return read_triplets(folder).pictures[0]


def animate(file):
    frames = [PIL.Image.new("RGB", (48, 48), colour) for colour in ("red", "blue")]
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:])


DAMAGE = {
    "animated": (animate, r"is unreadable \(.* has several frames \(GIF\)"),
    "empty": (lambda file: file.write_bytes(b""), r"is unreadable \(.* is an empty file"),
    "cut off": (lambda file: file.write_bytes(file.read_bytes()[:200]), r"is unreadable \("),
    "missing": (lambda file: file.unlink(), "is missing"),
}


@pytest.mark.parametrize(("damage", "message"), DAMAGE.values(), ids=DAMAGE)
def test_whoever_reads_a_data_set_refuses_the_same_pictures_in_the_same_words(data, tmp_path, metric, damage, message):
    damage(first_picture(data))
    config = Config(
        data, tmp_path / "pixels", model=(str(write_network(tmp_path, "cnn")),), rank=2, shared_pictures=True
    )
    said = []
    for read in (
        lambda: validate(data),
        lambda: train(config),
        lambda: train(replace(config, out=tmp_path / "features", rank=0, head="linear")),
        lambda: judge(metric, read_triplets(data), None),
    ):
        with pytest.raises(DataError, match=message) as error:
            read()
        said.append([problem.partition("; used by")[0] for problem in error.value.problems])
    assert said == said[:1] * 4
    assert len(said[0]) == 1


def test_pictures_in_several_splits_pass_where_that_is_allowed(tmp_path, capsys):
    folder = write_triplets(tmp_path / "judged", splits=("train", "test"))
    assert main(["validate", str(folder)]) == 1
    assert "expected each picture in one split" in capsys.readouterr().err
    assert main(["validate", str(folder), "--shared-pictures"]) == 0
    assert capsys.readouterr().out == "60 triplets, 24 pictures, 300 votes: train 30, test 30\n"


def test_json_has_what_is_in_a_data_set_as_numbers(tmp_path, capsys):
    folder = write_pairs(write_triplets(tmp_path / "judged", triplets=20, splits=("train", "test")))
    assert main(["validate", str(folder), "--shared-pictures", "--json"]) == 0
    triplets, pairs = json.loads(capsys.readouterr().out)
    assert triplets["splits"] == {"train": 10, "test": 10}
    assert (triplets["table"], triplets["rows"], triplets["votes"]) == ("triplets", 20, 100)
    assert (pairs["table"], pairs["rows"], pairs["splits"]) == ("pairs", 60, {"val": 60})
    assert main(["validate", str(folder), "--shared-pictures"]) == 0
    assert "20 triplets, " in capsys.readouterr().out
