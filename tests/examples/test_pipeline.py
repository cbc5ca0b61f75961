"""From a text-to-image model to a tuned metric, all commands after one another."""

import re

import pytest

from examples import pipeline


@pytest.mark.slow
def test_generated_judged_filtered_exported_trained_and_evaluated(tmp_path, capfd):
    (tmp_path / "names.txt").write_text("pizza\nlemon\ndress\n")
    # Two raters may lapse on sentinels and be left out: the others must be enough for three votes.
    sizes = {"triplets": 9, "raters": 8, "noise": 0.002, "steps": 4, "epochs": 1}
    pipeline.main(tmp_path / "out", "mini-diffusion", str(tmp_path / "names.txt"), **sizes)
    shown = capfd.readouterr().out
    commands = re.findall(r"^\$ (\S+ \S+)", shown, re.M)
    assert commands == [
        "dreamsim-data generate",
        "dreamsim-data study",
        "dreamsim-data simulate",
        "dreamsim-data stats",
        "dreamsim-data collect",
        "dreamsim-data validate",
        "dreamsim-metric train",
        *["dreamsim-metric evaluate"] * 2,
    ]
    assert "SIMULATED" in shown
    assert (tmp_path / "out" / "run" / "card.json").is_file()
    assert (tmp_path / "out" / "agreement.png").is_file()
