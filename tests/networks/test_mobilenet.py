"""mini's own MobileNetV2 is timm's, to the last bit."""

import timm
import torch
from torch import nn

from dreamsim_metric.card import Branch
from dreamsim_metric.models import IMAGENET
from dreamsim_metric.networks.backbone import create_network
from dreamsim_metric.networks.mobilenet import MobileNetV2

LAST = Branch("timm:mobilenetv2_100", "stages", *IMAGENET, {"num_classes": 0}, (("mean", -1), ("std", -1)))


def both():
    """The two with the same weights, none of which is neutral."""
    torch.manual_seed(0)
    expected, network = timm.create_model("mobilenetv2_100", num_classes=0), MobileNetV2()
    for module in expected.modules():
        if isinstance(module, nn.BatchNorm2d):
            for values in (module.weight.data, module.bias.data, module.running_mean, module.running_var):
                values.uniform_(0.5, 1.5)
    network.load_state_dict(expected.state_dict())
    return expected.eval(), network.eval()


def test_maps_are_timms():
    expected, network = both()
    pixels = torch.rand(2, 3, 224, 160, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(network(pixels), expected.forward_features(pixels), rtol=0, atol=0)


def test_gradients_and_training_are_timms():
    expected, network = both()
    pixels = torch.rand(4, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    for each in (expected, network):
        each.train().forward_features(pixels).square().mean().backward()
    found = dict(network.named_parameters())
    for name, parameter in expected.named_parameters():
        torch.testing.assert_close(found[name].grad, parameter.grad, rtol=1e-4, atol=1e-7)
    torch.testing.assert_close(network.state_dict(), expected.state_dict())


def test_it_stands_in_only_where_the_last_map_is_all_that_is_read():
    assert isinstance(create_network(LAST, 224), MobileNetV2)
    for feature, stages in (("stages", (("mean", 2), ("std", -1))), ("pooled", ())):
        other = Branch("timm:mobilenetv2_100", feature, *IMAGENET, {"num_classes": 0}, stages)
        assert type(create_network(other, 224)).__module__.startswith("timm.")
