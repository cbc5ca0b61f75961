"""CPU time of a picture's embedding, model against model: the "time" column of the README.

    OMP_NUM_THREADS=1 python -m benchmarks.speed

Released models run on random weights, which take as long as the released ones. Rounds are interleaved and the ratio is
taken round by round, since absolute times are noisy on shared machines.
"""

import argparse
import statistics
import time
from collections.abc import Sequence

import torch
from torch import Tensor
from tqdm import tqdm

from dreamsim_metric import PerceptualMetric, list_models, load
from dreamsim_metric.backbones import create_network, read_only_for
from dreamsim_metric.models import MODELS, ModelCard

REFERENCE = "ensemble"


def random_metric(card: ModelCard) -> PerceptualMetric:
    """A released model as large as life, with the weights its networks are initialised with."""
    networks = (read_only_for(branch, create_network(branch, card.image_size)) for branch in card.branches)
    states = enumerate(network.state_dict() for network in networks)
    return PerceptualMetric(card, {f"branches.{i}.network.{k}": v for i, state in states for k, v in state.items()})


def seconds_a_picture(metric: PerceptualMetric, pixels: Tensor) -> float:
    """CPU seconds, all threads together."""
    start = time.process_time()
    metric.embed(pixels, check=False)
    return (time.process_time() - start) / len(pixels)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=list_models(), choices=list_models())
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args(argv)

    torch.manual_seed(0)
    pixels = torch.rand(given.batch_size, 3, 224, 224)
    metrics = {name: random_metric(MODELS[name]) if name in MODELS else load(name) for name in given.models}
    for metric in metrics.values():
        metric.embed(pixels[:1], check=False)
    times: dict[str, list[float]] = {name: [] for name in metrics}
    for _ in tqdm(range(given.rounds), unit="round", disable=None):
        for name, metric in metrics.items():
            times[name].append(seconds_a_picture(metric, pixels))

    reference = times[REFERENCE if REFERENCE in times else given.models[0]]
    print(f"{'model':20}  CPU s/picture  ratio   ({torch.get_num_threads()} threads, batch {given.batch_size})")
    for name, seconds in times.items():
        ratio = statistics.median(own / other for own, other in zip(seconds, reference, strict=True))
        print(f"{name:20}  {statistics.median(seconds):13.4f}  {ratio:5.3f}")


if __name__ == "__main__":
    main()
