"""LPIPS (Zhang, Isola, Efros, Shechtman, Wang, CVPR 2018), by the authors' package: version 0.1, linear layers."""

import contextlib
import io
import warnings
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.metrics.base import Features, Maker, Metric, MetricCard, Options
from benchmarks.metrics.trunks import read_trunk
from dreamsim_metric.networks.guards import agrees, draw_noise

_EXAMPLE = 32  # pixels a side, the least that all three networks take
_NAMES = {"lpips-alex": "alex", "lpips-vgg": "vgg", "lpips-squeeze": "squeeze"}


class LPIPS(Metric):
    """The package's network and layers, the network run once a picture.

    That takes the package's module apart. Where its parts do not give the number of the whole, that runs once a pair.

    Args:
        name: name of the metric, see `METRICS`.
        options: device and weights: a file among them holds the trunk (`trunks.read_trunk`); else torchvision downloads
            it.

    Raises:
        OSError: the trunk cannot be downloaded.
        ValueError: the file does not hold it.
    """

    def __init__(self, name: str, options: Options) -> None:
        self.module = _import_package(_NAMES[name], options).to(options.device)
        self._device = options.device
        self.card = MetricCard(
            name=name,
            direction="distance",
            range=(0, float("inf")),
            input="native",
            preprocessing="as it is, scaled to [-1, 1]; of two sizes, the second is resized to the first",
            weights=f"trunk: {options.weights[0].name if options.weights else 'torchvision'}; lpips package, v0.1",
            citation="Zhang et al. The Unreasonable Effectiveness of Deep Features as a Perceptual Metric. CVPR 2018",
            parameters=sum(parameter.numel() for parameter in self.module.parameters()),
        )
        a, b = draw_noise(
            2, 1, 3, _EXAMPLE, _EXAMPLE, like=torch.zeros(1, dtype=torch.float32, device=options.device)
        ).sigmoid()
        self._divisible = agrees(f"{name} picture by picture", self._by_parts, self._whole, a, b)

    @property
    def device(self) -> torch.device:
        return self._device

    def features(self, pixels: Tensor) -> Features:
        return self._parts(pixels) if self._divisible else (pixels,)

    def compare(self, a: Features, b: Features) -> Tensor:
        return self._compare_parts(a, b) if self._divisible else self._whole(a[0], b[0])

    def _whole(self, a: Tensor, b: Tensor) -> Tensor:
        return self.module(a, b, normalize=True).flatten()

    def _by_parts(self, a: Tensor, b: Tensor) -> Tensor:
        return self._compare_parts(self._parts(a), self._parts(b))

    def _parts(self, pixels: Tensor) -> Features:
        """Scale the features so that LPIPS is their squared Euclidean distance.

        The layers weigh channels, by numbers that are not negative, and average over places. Done once a picture, that
        leaves one pass over the features to each pair.
        """
        import lpips

        outputs = self.module.net(self.module.scaling_layer(2 * pixels - 1))
        weights = (lin.model[-1].weight for lin in self.module.lins)
        return tuple(
            lpips.normalize_tensor(output) * (weight / output[0, 0].numel()).sqrt()
            for output, weight in zip(outputs, weights, strict=True)
        )

    @staticmethod
    def _compare_parts(a: Features, b: Features) -> Tensor:
        return torch.stack([(x - y).square_().sum((1, 2, 3)) for x, y in zip(a, b, strict=True)]).sum(0)


def _import_package(kind: str, options: Options) -> Any:
    import lpips

    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")  # the package calls torchvision and torch.load in ways that are deprecated
        module = lpips.LPIPS(net=kind, pnet_rand=bool(options.weights), verbose=False)
    if options.weights:
        trunk = read_trunk(options.weights[0], kind)
        with torch.no_grad():
            for name, parameter in module.net.named_parameters():
                _fill(parameter, "features." + name.partition(".")[2], trunk, options.weights[0])  # slice1.0.weight
    return module.eval().requires_grad_(False)


def _fill(parameter: nn.Parameter, name: str, trunk: dict[str, Tensor], file: Any) -> None:
    if name not in trunk or trunk[name].shape != parameter.shape:
        found = tuple(trunk[name].shape) if name in trunk else "nothing"
        raise ValueError(f"{file} has {found} for {name}; expected {tuple(parameter.shape)}: is it another network's?")
    parameter.copy_(trunk[name])


def _give_maker(name: str) -> Maker:
    return lambda options: LPIPS(name, options)


METRICS: dict[str, Maker] = {name: _give_maker(name) for name in _NAMES}
