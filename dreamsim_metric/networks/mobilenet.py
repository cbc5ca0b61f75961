"""MobileNetV2 up to its last feature map, without timm, which takes longer to import than mini to judge a pair.

Sandler et al., MobileNetV2: Inverted Residuals and Linear Bottlenecks, CVPR 2018, table 2. Parameters have the names
that timm gives them in `mobilenetv2_100`, so that files fit both.
"""

from torch import Tensor, nn

_STEM, _FIRST, _HEAD = 32, 16, 1280  # channels
_STAGES = ((24, 2, 2), (32, 3, 2), (64, 4, 2), (96, 3, 1), (160, 3, 2), (320, 1, 1))  # channels, blocks, first's stride
_EXPANSION = 6


class MobileNetV2(nn.Module):
    """`(N, 3, S, S)` → `(N, 1280, S/32, S/32)`, by `forward` and, as timm's networks name it, `forward_features`."""

    def __init__(self) -> None:
        super().__init__()
        self.conv_stem = _fold_convolution(3, _STEM, kernel=3, stride=2)
        self.bn1 = _Norm(_STEM, nn.ReLU6())
        self.blocks = nn.Sequential(nn.Sequential(_Separable(_STEM, _FIRST)))
        width = _FIRST
        for channels, count, stride in _STAGES:
            first = _Inverted(width, channels, stride)
            self.blocks.append(nn.Sequential(first, *(_Inverted(channels, channels, 1) for _ in range(count - 1))))
            width = channels
        self.conv_head = _fold_convolution(width, _HEAD)
        self.bn2 = _Norm(_HEAD, nn.ReLU6())

    def forward(self, x: Tensor) -> Tensor:
        return self.bn2(self.conv_head(self.blocks(self.bn1(self.conv_stem(x)))))

    forward_features = forward


class _Separable(nn.Module):
    """The first block, which expands nothing and, since it changes the width, adds nothing."""

    def __init__(self, width: int, channels: int):
        super().__init__()
        self.conv_dw = _fold_convolution(width, width, kernel=3, groups=width)
        self.bn1 = _Norm(width, nn.ReLU6())
        self.conv_pw = _fold_convolution(width, channels)
        self.bn2 = _Norm(channels, nn.Identity())

    def forward(self, x: Tensor) -> Tensor:
        return self.bn2(self.conv_pw(self.bn1(self.conv_dw(x))))


class _Inverted(nn.Module):
    """Wide inside, narrow at its ends, which are added where they have one shape."""

    def __init__(self, width: int, channels: int, stride: int):
        super().__init__()
        wide = _EXPANSION * width
        self.adds = stride == 1 and width == channels
        self.conv_pw = _fold_convolution(width, wide)
        self.bn1 = _Norm(wide, nn.ReLU6())
        self.conv_dw = _fold_convolution(wide, wide, kernel=3, stride=stride, groups=wide)
        self.bn2 = _Norm(wide, nn.ReLU6())
        self.conv_pwl = _fold_convolution(wide, channels)
        self.bn3 = _Norm(channels, nn.Identity())

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn3(self.conv_pwl(self.bn2(self.conv_dw(self.bn1(self.conv_pw(x))))))
        return x + y if self.adds else y


class _Norm(nn.BatchNorm2d):
    """Batch normalisation, and the activation behind it."""

    def __init__(self, channels: int, act: nn.Module):
        super().__init__(channels)
        self.act = act

    def forward(self, x: Tensor) -> Tensor:
        return self.act(super().forward(x))


def _fold_convolution(inputs: int, outputs: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, groups=groups, bias=False)
