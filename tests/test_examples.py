"""The example scripts do what they say."""

import pytest
import timm
import torch
import torchvision

from dreamsim_metric import PerceptualMetric, load
from examples import timm_weights
from examples.make_mini import CARD, convert


def test_minis_recipe_takes_torchvisions_names():
    metric = PerceptualMetric(CARD, convert(torchvision.models.mobilenet_v2().state_dict()))
    assert metric.card == load("mini").card


def test_weights_of_other_packages_get_timms_names(tmp_path):
    """EfficientNet-Lite0 as its package names it, made of a network of timm's; MobileNetV2 as torchvision makes it."""
    torch.manual_seed(0)
    pixels = torch.rand(2, 3, 224, 224)
    network = timm.create_model("tf_efficientnet_lite0").eval()
    back = {new: old for old, new in timm_weights.lite0_names().items()}
    split = ((name.rpartition("."), tensor) for name, tensor in network.state_dict().items())
    torch.save({f"{back[module]}.{part}": tensor for (module, _, part), tensor in split}, tmp_path / "lite0.pth")
    other = torchvision.models.mobilenet_v2().eval()
    torch.save(other.state_dict(), tmp_path / "mobile.pth")
    for file, name in (("lite0", "tf_efficientnet_lite0"), ("mobile", "mobilenetv2_100")):
        timm_weights.main(str(tmp_path / f"{file}.pth"), str(tmp_path / f"{file}.safetensors"))
        metric = load(f"timm:{name}#pooled", source=tmp_path / f"{file}.safetensors")
        branch = metric.branches[0]
        with torch.inference_mode():
            x = (pixels - branch.mean) / branch.std
            expected = network.forward_features(x) if file == "lite0" else other.features(x)
            assert torch.allclose(metric.features(pixels), expected.mean((2, 3)), atol=1e-5)
    torch.save({"conv1.weight": torch.zeros(1)}, tmp_path / "resnet.pth")
    with pytest.raises(SystemExit, match=r"has conv1.weight; expected weights of EfficientNet-Lite0"):
        timm_weights.main(str(tmp_path / "resnet.pth"), str(tmp_path / "out.safetensors"))
