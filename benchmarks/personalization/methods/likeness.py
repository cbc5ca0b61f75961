"""How alike pictures in memory are to a metric of the human benchmark."""

from collections.abc import Sequence

import numpy as np
import PIL.Image
import torch

from benchmarks.metrics.base import Features, Metric

_AT_ONCE = 8


@torch.inference_mode()
def measure_similarities(metric: Metric, a: Sequence[PIL.Image.Image], b: Sequence[PIL.Image.Image]) -> np.ndarray:
    """Compare every two pictures: `(len(a), len(b))` float64, a similarity, or 1 − d where the metric is a distance.

    Metrics that see pictures at their own size see those of `b` at the size of each of `a`.
    """
    seen: dict[tuple[int, int] | None, Features] = {}
    rows = []
    for one in a:
        size = metric.own_size(one) if metric.card.input == "native" else None
        if size not in seen:
            seen[size] = _compute_features(metric, b, size)
        repeated = tuple(part.expand(len(b), *part.shape[1:]) for part in _compute_features(metric, [one], None))
        rows.append(metric.compare(repeated, seen[size]).double().cpu().numpy())
    found = np.stack(rows)
    return found if metric.card.direction == "similarity" else 1 - found


def _compute_features(metric: Metric, pictures: Sequence[PIL.Image.Image], size: tuple[int, int] | None) -> Features:
    parts = []
    for start in range(0, len(pictures), _AT_ONCE):
        pixels = torch.stack([metric.read(picture, size) for picture in pictures[start : start + _AT_ONCE]])
        parts.append(metric.features(pixels.to(metric.device)))
    return tuple(torch.cat(part) for part in zip(*parts, strict=True))
