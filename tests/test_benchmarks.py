"""The measuring programs run, on few models and rounds; what they measure is not for tests to judge."""

import re

from benchmarks import speed, training_step


def test_speed_prints_a_row_a_model_with_the_ratio_to_the_first(capsys):
    speed.main(["--models", "mini", "clip_vitb32", "--batch-size", "1", "--rounds", "1"])
    rows = dict(re.findall(r"^(\w+) +[\d.]+ +([\d.]+)$", capsys.readouterr().out, re.M))
    assert set(rows) == {"mini", "clip_vitb32"}
    assert float(rows["mini"]) == 1


def test_a_training_step_is_measured_against_the_released_way(capsys):
    training_step.main(["--model", "clip_vitb32", "--triplets", "2", "--steps", "1", "--shared", "--device", "cpu"])
    rows = dict(re.findall(r"^(\w+) +[\d.]+ steps/s +([\d.]+)×", capsys.readouterr().out, re.M))
    assert set(rows) == {"released", "ours"}
    assert float(rows["released"]) == 1
