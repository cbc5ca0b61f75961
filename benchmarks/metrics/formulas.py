"""Metrics that are formulas on pixels, from piq.

Whether a formula shrinks pictures first is decided by its paper, and said on its card. SSIM (2004) is defined on the
pixels as they are, and piq's shrinking, which its authors only recommended later, is off.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
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
    sees: str = "as it is"
    options: dict[str, Any] = field(default_factory=dict)
    mixes: bool = False  # whether piq's number of a pair depends on the others of its batch


_AVERAGED = "averaged down by the shorter side / 256, rounded, first (from 384 pixels on), as its authors do"
_HALVED = "averaged down to half its size first, as its paper says"

_FORMULAS = {
    "psnr": _Formula("psnr", "similarity", (0, _INFINITE), "peak signal-to-noise ratio, dB"),
    "ssim": _Formula(
        "ssim", "similarity", (-1, 1), "Wang et al. Image Quality Assessment. TIP 2004", options={"downsample": False}
    ),
    "ms-ssim": _Formula(
        *("multi_scale_ssim", "similarity", (0, 1), "Wang et al. Multiscale SSIM. Asilomar 2003"),
        sees="as it is, then halved four times, which its scales are",
    ),
    "iw-ssim": _Formula(
        *("information_weighted_ssim", "similarity", (0, 1), "Wang & Li. Information Content Weighting. TIP 2011"),
        sees="its luma as it is, then halved four times, which its scales are",
    ),
    "vif": _Formula(
        *("vif_p", "similarity", (0, _INFINITE), "Sheikh & Bovik. Image Information. TIP 2006; pixel domain"),
        sees="its luma as it is, then halved three times, which its scales are",
    ),
    "fsim": _Formula("fsim", "similarity", (0, 1), "Zhang et al. FSIM. TIP 2011; with colour", _AVERAGED),
    "gmsd": _Formula(
        "gmsd", "distance", (0, 1), "Xue et al. Gradient Magnitude Similarity Deviation. TIP 2014", _HALVED
    ),
    "ms-gmsd": _Formula(
        *("multi_scale_gmsd", "distance", (0, 1), "Zhang et al. MS-GMSD. ICASSP 2017"),
        sees="its luma as it is, then halved three times, which its scales are",
    ),
    "vsi": _Formula(*("vsi", "similarity", (0, 1), "Zhang et al. Visual Saliency-Induced Index. TIP 2014", _AVERAGED)),
    "haarpsi": _Formula("haarpsi", "similarity", (0, 1), "Reisenhofer et al. HaarPSI. SPIC 2018", _HALVED),
    "mdsi": _Formula(
        *("mdsi", "distance", (0, _INFINITE), "Nafchi et al. Mean Deviation Similarity Index. Access 2016", _AVERAGED)
    ),
    "sr-sim": _Formula("srsim", "similarity", (0, 1), "Zhang & Li. SR-SIM. ICIP 2012", _AVERAGED, mixes=True),
    "dss": _Formula("dss", "similarity", (0, 1), "Balanov et al. DCT Subbands Similarity. ICIP 2015"),
}


class Formula(Metric):
    """A function of two pictures, which shrinks them where its paper does.

    Args:
        name: name of the metric, see `METRICS`.
        formula: function of piq and what its numbers mean.
        options: device; no weights are needed.
    """

    def __init__(self, name: str, formula: _Formula, options: Options) -> None:
        import piq

        self._function: Callable[..., Any] = partial(getattr(piq, formula.function), **formula.options)
        self._device, self._at_once = options.device, 1 if formula.mixes else None
        self.card = MetricCard(
            name=name,
            direction=formula.direction,
            range=formula.range,
            input="native",
            preprocessing=f"{formula.sees}; of two sizes, the second is resized to the first, Pillow's bicubic",
            citation=f"{formula.citation}; piq {piq.__version__}",
        )

    @property
    def device(self) -> torch.device:
        return self._device

    def compare(self, a: Features, b: Features) -> Tensor:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # piq's own calls, of which users can do nothing
            some = zip(*(side[0].split(self._at_once or len(side[0])) for side in (b, a)), strict=True)
            return torch.cat([self._function(y, x, data_range=1.0, reduction="none").reshape(len(x)) for y, x in some])


def _give_maker(name: str, formula: _Formula) -> Maker:
    return lambda options: Formula(name, formula, options)


METRICS: dict[str, Maker] = {name: _give_maker(name, formula) for name, formula in _FORMULAS.items()}
