"""The example scripts do what they say."""

import torchvision

from dreamsim_metric import PerceptualMetric, load
from examples.make_mini import CARD, convert


def test_minis_recipe_takes_torchvisions_names():
    metric = PerceptualMetric(CARD, convert(torchvision.models.mobilenet_v2().state_dict()))
    assert metric.card == load("mini").card
