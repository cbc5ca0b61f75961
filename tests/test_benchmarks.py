"""The measuring programs run, on few models and rounds; what they measure is not for tests to judge."""

import re

from benchmarks import speed


def test_speed_prints_a_row_a_model_with_the_ratio_to_the_first(capsys):
    speed.main(["--models", "mini", "clip_vitb32", "--batch-size", "1", "--rounds", "1"])
    rows = dict(re.findall(r"^(\w+) +[\d.]+ +([\d.]+)$", capsys.readouterr().out, re.M))
    assert set(rows) == {"mini", "clip_vitb32"}
    assert float(rows["mini"]) == 1
