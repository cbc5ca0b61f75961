"""Metrics that are formulas on pixels, from piq."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from benchmarks.metrics.base import Features, Maker, Metric, MetricCard, Options

_INFINITE = float("inf")


@dataclass(frozen=True)
class _Formula:
    function: str  # in piq
    direction: Literal["distance", "similarity"]
    range: tuple[float, float]
    citation: str


_FORMULAS = {
    "psnr": _Formula("psnr", "similarity", (0, _INFINITE), "peak signal-to-noise ratio, dB"),
    "ssim": _Formula("ssim", "similarity", (-1, 1), "Wang et al. Image Quality Assessment. TIP 2004"),
    "ms-ssim": _Formula("multi_scale_ssim", "similarity", (0, 1), "Wang et al. Multiscale SSIM. Asilomar 2003"),
    "iw-ssim": _Formula(
        "information_weighted_ssim", "similarity", (0, 1), "Wang & Li. Information Content Weighting. TIP 2011"
    ),
    "vif": _Formula("vif_p", "similarity", (0, _INFINITE), "Sheikh & Bovik. Image Information. TIP 2006; pixel domain"),
    "fsim": _Formula("fsim", "similarity", (0, 1), "Zhang et al. FSIM. TIP 2011; with colour"),
    "gmsd": _Formula("gmsd", "distance", (0, 1), "Xue et al. Gradient Magnitude Similarity Deviation. TIP 2014"),
    "ms-gmsd": _Formula("multi_scale_gmsd", "distance", (0, 1), "Zhang et al. MS-GMSD. ICASSP 2017"),
    "vsi": _Formula("vsi", "similarity", (0, 1), "Zhang et al. Visual Saliency-Induced Index. TIP 2014"),
    "haarpsi": _Formula("haarpsi", "similarity", (0, 1), "Reisenhofer et al. HaarPSI. SPIC 2018"),
    "mdsi": _Formula("mdsi", "distance", (0, _INFINITE), "Nafchi et al. Mean Deviation Similarity Index. Access 2016"),
    "sr-sim": _Formula("srsim", "similarity", (0, 1), "Zhang & Li. SR-SIM. ICIP 2012"),
    "dss": _Formula("dss", "similarity", (0, 1), "Balanov et al. DCT Subbands Similarity. ICIP 2015"),
}


class Formula(Metric):
    """A function of two pictures as they are.

    Args:
        name: name of the metric, see `METRICS`.
        formula: function of piq and what its numbers mean.
        options: device; no weights are needed.
    """

    def __init__(self, name: str, formula: _Formula, options: Options) -> None:
        import piq

        self._function: Callable[..., Any] = getattr(piq, formula.function)
        self._device = options.device
        self.card = MetricCard(
            name=name,
            direction=formula.direction,
            range=formula.range,
            input="native",
            preprocessing="as it is; of two sizes, the second is resized to the first, Pillow's bicubic",
            citation=f"{formula.citation}; piq {piq.__version__}",
        )

    @property
    def device(self) -> torch.device:
        return self._device

    def compare(self, a: Features, b: Features) -> Tensor:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # piq's own calls, of which users can do nothing
            return self._function(b[0], a[0], data_range=1.0, reduction="none").reshape(len(a[0]))


def _maker(name: str, formula: _Formula) -> Maker:
    return lambda options: Formula(name, formula, options)


METRICS: dict[str, Maker] = {name: _maker(name, formula) for name, formula in _FORMULAS.items()}
