"""Rows about formulas that compare two pictures."""

import math
from typing import Any, Literal

import numpy as np
import torch

from dreamsim_metric import distance
from examples.differences.photographs import compressed, levels, photograph, pixels
from examples.differences.rows import Row, Value


def ssim() -> Row:
    """Compute the SSIM of a photograph and its JPEG, each library at its defaults."""
    whole, worse = photograph(), compressed(photograph(), 20)
    a, b = pixels(whole), pixels(worse)

    def by_skimage() -> float:
        from skimage.metrics import structural_similarity

        return float(structural_similarity(levels(whole), levels(worse), channel_axis=2))

    def by_piq(downsample: bool) -> float:
        import piq

        found: Any = piq.ssim(a, b, downsample=downsample)
        return float(found)

    def by_torchmetrics() -> float:
        from torchmetrics.functional.image import structural_similarity_index_measure

        found: Any = structural_similarity_index_measure(b, a, data_range=1.0)
        return float(found)

    def by_pytorch_msssim() -> float:
        from pytorch_msssim import ssim as compute

        return float(compute(a, b, data_range=1.0))

    def by_kornia() -> float:
        from kornia.metrics import ssim as compute

        return float(compute(a, b, 11).mean())

    def by_sewar() -> float:
        import sewar

        return float(sewar.ssim(levels(whole), levels(worse))[0])

    return Row(
        "SSIM of a 512 × 512 photograph and its JPEG at quality 20",
        {
            "scikit-image": by_skimage,
            "torchmetrics": by_torchmetrics,
            "pytorch-msssim": by_pytorch_msssim,
            "kornia: window 11": by_kornia,
            "sewar": by_sewar,
            "piq": lambda: by_piq(True),
            "piq: downsample=False": lambda: by_piq(False),
        },
        "windows: uniform 7, Gaussian 11, uniform 11; covariance of a sample or a population; piq averages pictures "
        "down first, from 384 pixels on",
        "`ssim` of the benchmarks: [benchmarks.md](benchmarks.md) says which",
        tolerance=0.002,
    )


def negative() -> Row:
    """Compute the MS-SSIM of a picture and its negative."""
    picture = pixels(photograph(256, 256))

    def by_torchmetrics(normalize: Literal["relu"] | None) -> Value:
        from torchmetrics.functional.image import multiscale_structural_similarity_index_measure as compute

        return as_value(float(compute(picture, 1 - picture, data_range=1.0, normalize=normalize)))

    def by_piq() -> float:
        import piq

        return float(piq.multi_scale_ssim(picture, 1 - picture))

    def by_pytorch_msssim() -> float:
        from pytorch_msssim import ms_ssim

        return float(ms_ssim(picture, 1 - picture, data_range=1.0))

    def by_sewar() -> float:
        import sewar

        array = levels(photograph(256, 256))
        return float(np.real(sewar.msssim(array, 255 - array)))

    return Row(
        "MS-SSIM of a photograph and its negative",
        {
            "torchmetrics": lambda: by_torchmetrics("relu"),
            "torchmetrics: normalize=None": lambda: by_torchmetrics(None),
            "piq": by_piq,
            "pytorch-msssim": by_pytorch_msssim,
            "sewar": by_sewar,
        },
        "the product has fractional powers of negative numbers: set to 0 first, left as NaN, or the sign kept",
        "`ms-ssim` of the benchmarks is piq's",
    )


def flat() -> Row:
    """Compare a picture of one colour with itself."""
    grey = torch.full((1, 3, 128, 128), 0.5)

    def by_torchmetrics(name: str) -> Value:
        from torchmetrics.functional import image

        return as_value(float(getattr(image, name)(grey, grey)))

    def by_piq() -> float:
        import piq

        return float(piq.vif_p(grey, grey))

    def by_sewar(name: str) -> Value:
        import sewar

        array = np.full((128, 128, 3), 128, np.uint8)
        with np.errstate(all="ignore"):
            return as_value(float(getattr(sewar, name)(array, array)))

    return Row(
        "A picture of one grey compared with itself (expected: 1, of the distance 0)",
        {
            "torchmetrics: VIF": lambda: by_torchmetrics("visual_information_fidelity"),
            "piq: VIFp": by_piq,
            "sewar: VIFp": lambda: by_sewar("vifp"),
            "torchmetrics: UQI": lambda: by_torchmetrics("universal_image_quality_index"),
            "sewar: UQI": lambda: by_sewar("uqi"),
            "torchmetrics: SCC": lambda: by_torchmetrics("spatial_correlation_coefficient"),
            "sewar: SCC": lambda: by_sewar("scc"),
            "dreamsim_metric: distance": lambda: float(distance(grey, grey, model="mini")),
        },
        "0 / 0, with or without a small number added",
        "d(x, x) is exactly 0",
    )


def as_value(number: float) -> Value:
    """Return the number, or "NaN"."""
    return "NaN" if math.isnan(number) else number


ROWS = (ssim, negative, flat)
