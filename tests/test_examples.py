"""The example scripts do what they say."""

import pytest
import torchvision

from dreamsim_metric import PerceptualMetric, load
from examples.agreement import agreement
from examples.make_mini import CARD, convert

from .pictures import EXAMPLES

VEST, AGAIN, CUP, CAT = (EXAMPLES / f"{name}.jpg" for name in ("vest_1", "vest_2", "coffee", "cat"))
COUNTS = "id,ref_path,left_path,right_path,left_votes,right_votes,split"
SHARES = COUNTS.replace("votes", "vote")


@pytest.mark.parametrize("header", [COUNTS, SHARES])
def test_agreement_is_the_share_of_majorities_that_the_metric_joins(tmp_path, header):
    rows = [
        f"0,{VEST},{AGAIN},{CUP},1,0,train",  # joined
        f"1,{VEST},{CUP},{AGAIN},0,1,train",  # joined
        f"2,{VEST},{CUP},{AGAIN},0.75,0.25,train",  # not joined
        f"3,{CAT},{CUP},{CUP},1,0,train",  # the metric sees no difference: half
        f"4,{VEST},{CUP},{AGAIN},0.5,0.5,train",  # people do not agree: left out
        f"5,{VEST},{CUP},{AGAIN},1,0,test",
    ]
    (tmp_path / "data.csv").write_text("\n".join([header, *rows]))
    percent, error, n = agreement(tmp_path, "train", "mini")
    assert (percent, n) == (pytest.approx(62.5), 4)
    assert 0 < error < 50


def test_minis_recipe_takes_torchvisions_names():
    metric = PerceptualMetric(CARD, convert(torchvision.models.mobilenet_v2().state_dict()))
    assert metric.card == load("mini").card
