"""DISTS (Ding, Ma, Wang, Simoncelli, TPAMI 2020), by piq."""

import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.metrics.base import Features, Maker, Metric, MetricCard, Options, Unmeasurable
from benchmarks.metrics.trunks import read_trunk
from dreamsim_metric.messages import say_error_with_kind
from dreamsim_metric.networks.guards import agrees, draw_noise

_LAYERS = ("3", "8", "15", "22", "29")  # relu1_2, relu2_2, relu3_3, relu4_3, relu5_3
_CHANNELS = (3, 64, 128, 256, 512, 512)
_SIDE = 256
_EXAMPLE = 32  # pixels a side


class DISTS(Metric):
    """DISTS by piq's module, its VGG16 run once a picture.

    That takes the module apart. Where its parts do not give the number of the whole, that runs once a pair.

    Args:
        options: device and weights, which are two files: VGG16's convolutions (`trunks.read_trunk`) and `weights.pt` of
            the authors' package `DISTS-pytorch`; without them, piq and torchvision download theirs.

    Raises:
        OSError: weights cannot be downloaded.
        Unmeasurable: piq builds its module otherwise by now.
        ValueError: a file does not hold them.
    """

    def __init__(self, options: Options) -> None:
        self.module = (_load_files(options.weights) if options.weights else _download()).to(options.device)
        self._device = options.device
        self.card = MetricCard(
            name="dists",
            direction="distance",
            range=(0, 1),
            input=f"shorter side {_SIDE}",
            preprocessing=f"shorter side shrunk to {_SIDE}, Pillow's bicubic; of two sizes, the second to the first",
            weights=", ".join(file.name for file in options.weights) or "piq's and torchvision's",
            citation="Ding et al. Image Quality Assessment: Unifying Structure and Texture Similarity. TPAMI 2020",
            parameters=sum(parameter.numel() for parameter in self.module.model.parameters()) + 2 * sum(_CHANNELS),
        )
        a, b = draw_noise(
            2, 1, 3, _EXAMPLE, _EXAMPLE, like=torch.zeros(1, dtype=torch.float32, device=options.device)
        ).sigmoid()
        self._divisible = agrees("dists picture by picture", self._by_parts, self._whole, a, b)

    @property
    def device(self) -> torch.device:
        return self._device

    def key(self) -> str:
        weights = torch.cat([weight.flatten() for weight in self.module.weights])
        return super().key() + str(weights.double().square().sum().item())  # piq keeps them out of the state dict

    def read(self, picture: Any, size: tuple[int, int] | None = None) -> Tensor:
        pixels = super().read(picture, size)
        height, width = pixels.shape[1:]
        scale = _SIDE / min(height, width)
        # piq shrinks larger pictures by bilinear sampling without antialiasing, which makes aliases of fine texture.
        return super().read(picture, (round(scale * height), round(scale * width))) if scale < 1 else pixels

    def features(self, pixels: Tensor) -> Features:
        return self._parts(pixels) if self._divisible else (pixels,)

    def compare(self, a: Features, b: Features) -> Tensor:
        return self._compare_parts(a, b) if self._divisible else self._whole(a[0], b[0])

    def _whole(self, a: Tensor, b: Tensor) -> Tensor:
        return self.module(b, a)

    def _by_parts(self, a: Tensor, b: Tensor) -> Tensor:
        return self._compare_parts(self._parts(a), self._parts(b))

    def _parts(self, pixels: Tensor) -> Features:
        return tuple(self.module.get_features(pixels))

    def _compare_parts(self, a: Features, b: Features) -> Tensor:
        similarities = self.module.compute_distance(b, a)
        weighted = [(s * w.to(s)).mean((2, 3)) for s, w in zip(similarities, self.module.weights, strict=True)]
        return 1 - torch.cat(weighted, dim=1).sum(1)


def _download() -> Any:
    import piq

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # piq calls torchvision in a way that is deprecated
        return piq.DISTS(reduction="none").eval()


def _load_files(files: tuple[Path, ...]) -> Any:
    import piq
    from torchvision.models import vgg16

    if len(files) != 2:
        raise ValueError(f"got {len(files)} files of weights for dists; expected two: VGG16's and DISTS' own")
    trunk = read_trunk(files[0], "vgg")
    network = vgg16().features
    try:
        network.load_state_dict({name.removeprefix("features."): tensor for name, tensor in trunk.items()})
    except RuntimeError as error:
        raise ValueError(f"{files[0]} does not hold VGG16's convolutions ({error})") from error
    try:
        own = torch.load(files[1], map_location="cpu", weights_only=True)
        total = own["alpha"].sum() + own["beta"].sum()
        weights = [part / total for name in ("alpha", "beta") for part in own[name].split(_CHANNELS, dim=1)]
    except Exception as error:  # archives and pickles fail in many ways
        raise ValueError(f"{files[1]} does not hold alpha and beta ({say_error_with_kind(error)})") from error
    module = piq.DISTS.__new__(piq.DISTS)  # whose own constructor downloads
    try:
        piq.ContentLoss.__init__(
            module,
            network,
            layers=_LAYERS,
            weights=weights,
            replace_pooling=True,
            reduction="none",
            allow_layers_weights_mismatch=True,
        )
    except TypeError as error:
        raise Unmeasurable(f"piq {piq.__version__} takes no network from files ({error}); give no weights") from error
    return module.eval()


METRICS: dict[str, Maker] = {"dists": DISTS}
