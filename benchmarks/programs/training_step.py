"""A step of LoRA training, against the same step as the released training code takes it.

    python -m benchmarks.programs.training_step --model ensemble --triplets 16

Random weights, which take as long as the released ones. "released": each branch embeds the references, the left and
the right pictures in turn, whole blocks, float32. "ours": each picture of the step once and all together, the last
block for the class token only, float32 or --precision bfloat16. Steps are interleaved, and the ratio is taken step by
step, since absolute times are noisy on shared machines. On a GPU the largest memory allocated is printed too.
"""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

from benchmarks.speed.contenders import make_random_metric
from dreamsim_metric import PerceptualMetric
from dreamsim_metric.commands.options import add_option, choose_device
from dreamsim_metric.commands.parser import Parser
from dreamsim_metric.models import MODELS
from dreamsim_metric.training.lora import add_lora
from dreamsim_metric.training.losses import hinge
from dreamsim_metric.training.model import TripletModel


def make_with_lora(name: str, device: str) -> PerceptualMetric:
    """Make a released model with adapters that train, on random weights."""
    torch.manual_seed(0)
    metric = make_random_metric(replace(MODELS[name], center=False))
    add_lora(metric, rank=16, alpha=32.0, dropout=0.0)
    return metric.to(device)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the program."""
    parser = Parser(description=__doc__)
    add_option(parser, "--model", default="ensemble", choices=list(MODELS), help="released model that takes the step")
    parser.add_argument("--triplets", type=int, default=16, metavar="N", help="triplets in a step")
    parser.add_argument(
        "--shared", action="store_true", help="take triplets of a third as many pictures, not all distinct"
    )
    add_option(parser, "--precision", choices=("float32", "bfloat16"))
    add_option(parser, "--device")
    parser.add_argument("--steps", type=int, default=3, metavar="N", help="steps of each that are timed")
    given = parser.parse_args(argv)
    given.device = choose_device(given)

    pictures = given.triplets if given.shared else 3 * given.triplets
    pixels = torch.randint(0, 256, (pictures, 3, 224, 224), dtype=torch.uint8, device=given.device)
    index = torch.arange(3 * given.triplets, dtype=torch.int64, device=given.device).view(-1, 3) % pictures
    share, votes = torch.ones(2, given.triplets, dtype=torch.float32, device=given.device)
    released, ours = (
        make_with_lora(given.model, given.device),
        TripletModel(make_with_lora(given.model, given.device), False),
    )
    branches: Any = released.branches
    for branch in branches:
        last = branch.network.blocks[-1]
        last.forward = getattr(last, "whole", last.forward)

    def loss_of(left: Tensor, right: Tensor) -> Tensor:
        return hinge(left, right, share, votes)[0].mean()

    def released_step() -> None:
        reference, left, right = (released.pool(released.features(pixels[index[:, i]].float() / 255)) for i in range(3))
        d = [1 - F.cosine_similarity(reference, side) for side in (left, right)]
        loss_of(d[0], d[1]).backward()

    def our_step() -> None:
        with torch.autocast(torch.device(given.device).type, torch.bfloat16, enabled=given.precision == "bfloat16"):
            left, right = ours(pixels, index)
        loss_of(left, right).backward()

    steps: dict[str, Callable[[], None]] = {"released": released_step, "ours": our_step}
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    memory = dict.fromkeys(steps, 0)
    for step in tqdm(range(-1, given.steps), unit="round", disable=None):  # the first is to warm up
        for name, run in steps.items():
            if given.device != "cpu":
                torch.cuda.reset_peak_memory_stats()
                torch.cuda.synchronize()
            start = time.perf_counter()
            run()
            if given.device != "cpu":
                torch.cuda.synchronize()
                memory[name] = torch.cuda.max_memory_allocated()
            if step >= 0:
                seconds[name].append(time.perf_counter() - start)

    print(f"{given.model}, {given.triplets} triplets of {pictures} pictures, {given.device}, {given.precision}")
    for name, taken in seconds.items():
        ratio = statistics.median(other / own for own, other in zip(taken, seconds["released"], strict=True))
        peak = f"  {memory[name] / 1e9:6.2f} GB" if memory[name] else ""
        print(f"{name:9} {1 / statistics.median(taken):8.3f} steps/s  {ratio:5.2f}×{peak}")


if __name__ == "__main__":
    main()
