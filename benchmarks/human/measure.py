"""Distances of everything that people judged: each picture goes through a metric's network once."""

import numpy as np

from benchmarks.human.tables import COMPARED, Judgements
from benchmarks.metrics.base import Metric, Unmeasurable
from benchmarks.metrics.compare import compare_pairs, compare_prompts
from dreamsim_metric.judgements.tables import Triplets
from dreamsim_metric.scale.cache import Cache


def measure(
    metric: Metric, table: Judgements, cache: Cache, *, batch_size: int = 32, workers: int | None = None
) -> np.ndarray:
    """Measure the distances between the pictures that each row of a table is about.

    Args:
        metric: metric of any kind.
        table: judgements of people.
        cache: cache of what was computed before.
        batch_size: pictures of one size that go through a network at once.
        workers: threads that decode pictures; None for one a core, at most 16.

    Returns:
        `(N, K)` float64, for the K pairs of columns in `tables.COMPARED`, larger the more different: similarities have
        their sign changed.

    Raises:
        Unmeasurable: the metric cannot take these pictures, and why.
        OSError: the cache cannot be written.
    """
    columns = COMPARED[type(table)]
    pairs = np.concatenate([table.index[:, list(pair)] for pair in columns])
    if metric.text is None:
        d = compare_pairs(metric, table.pictures, pairs, cache, batch_size=batch_size, workers=workers)
    elif isinstance(table, Triplets) and table.prompts is not None:
        prompts = list(dict.fromkeys(table.prompts))
        asked = [prompts.index(prompt) for prompt in table.prompts] * len(columns)
        pairs = np.stack([np.array(asked), pairs[:, 1]], axis=1)
        d = compare_prompts(metric, prompts, table.pictures, pairs, cache, batch_size=batch_size, workers=workers)
    else:
        raise Unmeasurable("it compares pictures with prompts, and this data has none")
    sign = 1 if metric.card.direction == "distance" else -1
    return sign * d.reshape(len(columns), len(table)).T
