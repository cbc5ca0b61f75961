"""`evaluate` and `calibrate` on data of every kind, against distances and scores computed here."""

import csv
import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from dreamsim_metric import cli, distance, load
from dreamsim_metric.evaluation.judging import calibrate, judge, tabulate_scores
from dreamsim_metric.judgements.readers import read_pairs, read_triplets
from dreamsim_metric.judgements.tables import DataError
from dreamsim_metric.weights.folder import read_card
from tests.judged import write_network, write_pairs, write_triplets


@pytest.fixture
def data(tmp_path):
    return write_pairs(write_triplets(tmp_path / "judged", triplets=90, splits=("val", "test", "test")))


@pytest.fixture
def network(tmp_path):
    return write_network(tmp_path, "cnn")


@pytest.fixture
def run(capsys):
    def run(*arguments):
        assert cli.main([*map(str, arguments), "--json"]) == 0, capsys.readouterr().err
        return json.loads(capsys.readouterr().out)

    return run


def test_distances_are_those_of_the_metric(data, network):
    metric = load(network)
    triplets, pairs = read_triplets(data).split("test"), read_pairs(data)
    judged = judge(metric, triplets, pairs, batch_size=5)
    for i in range(0, len(triplets), 7):
        reference, left, right, _ = triplets[i]
        assert judged.left[i] == pytest.approx(distance(reference, left, model=metric), abs=1e-6)
        assert judged.right[i] == pytest.approx(distance(reference, right, model=metric), abs=1e-6)
    for i in range(0, len(pairs), 7):
        assert judged.distances[i] == pytest.approx(distance(*pairs[i][:2], model=metric), abs=1e-6)


def test_the_scores_are_those_of_a_loop(data, network, run):
    rows = {row["score"]: row for row in run("evaluate", "--model", network, "--data", data)}
    triplets = read_triplets(data).split("test")
    metric = load(network)
    majority, votes = [], []
    for reference, left, right, share in triplets:
        d = metric([reference] * 2, [left, right])
        chosen = float(d[1] < d[0])
        votes.append(chosen * share + (1 - chosen) * (1 - share))
        if share != 0.5:
            majority.append(chosen == (share > 0.5))
    found = rows["2AFC agreement with the majority, %"]
    assert found["value"] == pytest.approx(100 * np.mean(majority))
    assert found["n"] == len(majority)
    assert found["low"] <= found["value"] <= found["high"]
    assert found["ref_low"] <= found["value"] <= found["ref_high"]
    assert rows["2AFC agreement with the votes, %"]["value"] == pytest.approx(100 * np.mean(votes))
    margins = [row for name, row in rows.items() if "margin" in name]
    assert sum(row["n"] for row in margins) == len(majority)
    assert not any("JND" in name for name in rows), "its pairs are of another split"


def test_both_kinds_of_judgements_are_scored_where_both_are(data, network, run):
    names = [row["score"] for row in run("evaluate", "--model", network, "--data", data, "--split", "val")]
    assert "JND average precision, %" in names
    assert "2AFC agreement with the majority, %" in names
    only = run("evaluate", "--model", network, "--data", data / "jnd.csv", "--split", "val")
    assert [row["score"] for row in only] == ["JND average precision, %"]
    assert only[0]["low"] <= only[0]["value"] <= only[0]["high"]
    assert {row["n"] for row in run("evaluate", "--model", network, "--data", data / "data.csv", "--split", "all")} >= {
        90
    }


def test_a_report_holds_scores_distances_and_pictures(data, network, run, tmp_path):
    run("calibrate", "--model", network, "--data", data)
    rows = run(
        "evaluate", "--model", network, "--data", data, "--split", "val", "--out", tmp_path / "out", "--hardest", 3
    )
    made = {file.name for file in (tmp_path / "out").iterdir()}
    pictures = {"hardest.png", "reliability_left.png", "reliability_same.png"}
    assert made == {"evaluation.json", "triplets.csv", "pairs.csv"} | pictures
    assert json.loads((tmp_path / "out" / "evaluation.json").read_text())["scores"] == rows
    with open(tmp_path / "out" / "triplets.csv", newline="") as file:
        table = list(csv.DictReader(file))
    assert [row["id"] for row in table] == list(read_triplets(data).split("val").ids)
    assert all(0 < float(row["left_distance"]) < 2 for row in table)


def test_calibration_is_kept_on_the_card_and_answers(data, network, run):
    curves = run("calibrate", "--model", network, "--data", data)
    assert [row["curve"] for row in curves] == ["probability_left", "probability_same"]
    metric = load(network)
    assert metric.card.left.data == metric.card.same.data == "judged val"
    reference, left, right, _ = read_triplets(data)[0]
    p = metric.probability_left(reference, left, right)
    expected = metric.card.left(metric(reference, left) - metric(reference, right))
    torch.testing.assert_close(p, expected)
    torch.testing.assert_close(metric.probability_left(reference, right, left), 1 - p)
    assert metric.probability_left(reference, [left, right], [right, left]).shape == (2,)
    assert metric.probability_same(reference, reference) > metric.probability_same(reference, left)
    # distances themselves are what they were
    assert "calibration error of probability_left" in {
        row["score"] for row in run("evaluate", "--model", network, "--data", data)
    }


def test_a_named_model_is_calibrated_into_a_folder(data, run, tmp_path, capsys):
    run("calibrate", "--model", "mini", "--data", data, "--out", tmp_path / "calibrated")
    metric = load(tmp_path / "calibrated")
    assert metric.card.name == "calibrated"
    a, b = torch.rand(2, 1, 3, 32, 32)
    torch.testing.assert_close(metric(a, b), load("mini")(a, b), rtol=0, atol=1e-7)
    assert 0 < metric.probability_same(a, b) < 1
    assert cli.main(["calibrate", "--model", "mini", "--data", str(data)]) == 1
    assert "got no --out; mini is not a folder" in capsys.readouterr().err


def test_a_model_without_curves_says_how_to_get_them():
    a, b, c = torch.rand(3, 1, 3, 32, 32)
    metric = load("mini")
    assert metric.card.left.data == "materials train"  # and nothing that says what is the same
    metric.card = replace(metric.card, left=None)
    with pytest.raises(
        ValueError, match=r"no calibration for probability_same; .*dreamsim-metric calibrate --model mini"
    ):
        metric.probability_same(a, b)
    with pytest.raises(ValueError, match="no calibration for probability_left"):
        metric.probability_left(a, b, c)


def test_figures_are_recorded_on_the_card_when_asked(data, network, run, capsys):
    rows = run("evaluate", "--model", network, "--data", data, "--split", "val", "--record")
    values = {row["score"]: round(row["value"], 2) for row in rows}
    assert read_card(network).agreement == {
        "judged val 2AFC": values["2AFC agreement with the majority, %"],
        "judged val JND AP": values["JND average precision, %"],
    }
    assert cli.main(["evaluate", "--model", "mini", "--data", str(data), "--record"]) == 1
    assert "got --record with mini" in capsys.readouterr().err


def test_sides_of_the_data_do_not_change_the_calibration_error(data, network):
    """Data that always has the majority on the left must not make a fair curve look unfair."""
    from dataclasses import replace

    triplets = read_triplets(data)
    flip = triplets.right > 0.5
    index = np.where(flip[:, None], triplets.index[:, [0, 2, 1]], triplets.index)
    sided = replace(triplets, index=index, right=np.where(flip, 1 - triplets.right, triplets.right))
    metric = load(network)
    errors = []
    for table in (triplets, sided):
        judged = judge(metric, table, None)
        card = calibrate(judged, metric.card, "x")
        rows = {row["score"]: row["value"] for row in tabulate_scores(judged, card)}
        errors.append((rows["calibration error of probability_left"], card.left.scale))
    assert errors[0] == pytest.approx(errors[1], rel=1e-6)


def test_everything_wrong_with_the_data_is_listed(data, network, capsys):
    (data / "1.png").write_bytes(b"nothing")
    (data / "2.png").unlink()
    assert cli.main(["evaluate", "--model", str(network), "--data", str(data)]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert any("1.png is unreadable" in line for line in lines)
    assert any("2.png is" in line for line in lines)
    assert lines[-1].endswith("problems in the data, listed above; nothing was done")
    with pytest.raises(DataError):
        cli.main(["evaluate", "--model", str(network), "--data", str(data), "--debug"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--data", "nowhere"], "no such data set: nowhere"),
        (["--data", ".", "--split", "test"], "of no known format; looked for"),
        (["--data", "judged", "--split", "tset"], "got split 'tset'; expected one of those in judged"),
        (["--data", "judged", "--hardest", "0"], "got --hardest 0; expected 1 or more"),
        (["--data", "judged", "--min-votes", "99"], "have fewer than 99 votes"),
    ],
)
def test_wrong_calls_are_one_clear_line(data, network, capsys, monkeypatch, arguments, message):
    monkeypatch.chdir(data.parent)
    assert cli.main(["evaluate", "--model", str(network), *arguments]) == 1
    error = capsys.readouterr().err
    assert message in error
    assert len([line for line in error.splitlines() if line.startswith("dreamsim-metric:")]) == 1


def test_judging_takes_precision_and_cache_and_calibrating_never_keeps_rounded_weights(data, network, run, tmp_path):
    call = ["--model", network, "--data", data, "--split", "val", "--device", "cpu"]
    values = {}
    for precision in ("float32", "bfloat16"):
        given = ["--precision", precision, "--cache", tmp_path / "kept", "--out", tmp_path / precision]
        values[precision] = [row["value"] for row in run("calibrate", *call, *given) if "value" in row]
        whole, kept = (load(folder).state_dict() for folder in (network, tmp_path / precision))
        assert all(kept[name].dtype == whole[name].dtype and torch.equal(kept[name], whole[name]) for name in whole)
    cards = [read_card(tmp_path / precision) for precision in values]
    assert cards[0].same.threshold == pytest.approx(cards[1].same.threshold, rel=0.05)
    assert cards[0].same.threshold != cards[1].same.threshold  # measured in other numbers
    assert (tmp_path / "kept").is_file()
    run("evaluate", *call, "--precision", "bfloat16", "--no-cache", "--out", tmp_path / "evaluated")
    assert json.loads((tmp_path / "evaluated" / "evaluation.json").read_text())["precision"] == "bfloat16"


def test_a_second_evaluation_embeds_nothing(data, network, run, tmp_path, monkeypatch):
    call = ["evaluate", "--model", network, "--data", data, "--cache", tmp_path / "kept"]
    first = run(*call)
    monkeypatch.setattr("dreamsim_metric.metric.PerceptualMetric.features", None)
    assert run(*call) == first
