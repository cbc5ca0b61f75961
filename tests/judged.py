"""Small judged data and small networks with random weights, for tests of training and evaluation."""

import csv
from pathlib import Path

import numpy as np
import PIL.Image
import torch

from dreamsim_metric.card import Branch, ModelCard
from dreamsim_metric.metric import PerceptualMetric
from dreamsim_metric.networks.backbone import Backbone

HALF = (0.5, 0.5, 0.5)
NETWORKS = {
    "vit": (Branch("timm:test_vit", "cls", HALF, HALF, {"num_classes": 0}), 48, 64),
    "patch": (Branch("timm:test_vit", "cls_patch", HALF, HALF, {"num_classes": 0}), 48, 128),
    "cnn": (Branch("timm:test_efficientnet", "pooled", HALF, HALF, {"num_classes": 0}), 48, 256),
}


def write_network(folder: Path, kind: str, seed: int = 0) -> Path:
    """A model folder that training can begin from."""
    branch, size, width = NETWORKS[kind]
    torch.manual_seed(seed)
    network = Backbone(branch, size).network
    state = {f"branches.0.network.{name}": tensor for name, tensor in network.state_dict().items()}
    card = ModelCard(f"{kind}{seed}", "for tests", (branch,), size, width, center=False)
    PerceptualMetric(card, state).save_pretrained(folder / card.name)
    return folder / card.name


def write_triplets(folder: Path, triplets: int = 60, pictures: int = 24, splits: tuple[str, ...] = ("train",)) -> Path:
    """Coloured noise, where people see the brightness and nothing else: pictures of near brightness look alike."""
    random = np.random.default_rng(0)
    folder.mkdir(parents=True)
    brightness = random.uniform(0, 1, pictures)
    for i in range(pictures):
        noise = random.normal(60 + 130 * brightness[i], 40, (40, 40, 3))
        PIL.Image.fromarray(noise.clip(0, 255).astype(np.uint8)).save(folder / f"{i}.png")
    with open(folder / "data.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "ref_path", "left_path", "right_path", "left_votes", "right_votes", "split"])
        seen = set()
        while len(seen) < triplets:
            reference, left, right = random.permutation(pictures)[:3]
            if (reference, *sorted((left, right))) in seen:
                continue
            gap = abs(brightness[reference] - brightness[left]) - abs(brightness[reference] - brightness[right])
            votes = random.binomial(5, 1 / (1 + np.exp(-20 * gap)))
            split = splits[len(seen) % len(splits)]
            writer.writerow([len(seen), *(f"{i}.png" for i in (reference, left, right)), 5 - votes, votes, split])
            seen.add((reference, *sorted((left, right))))
    return folder


def write_pairs(folder: Path, pairs: int = 60, pictures: int = 24, split: str = "val") -> Path:
    """Pairs of the pictures of `write_triplets`, the same or not."""
    random = np.random.default_rng(1)
    with open(folder / "jnd.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "a_path", "b_path", "same", "votes", "split"])
        for i in range(pairs):
            a, b = random.permutation(pictures)[:2]
            means = [np.asarray(PIL.Image.open(folder / f"{j}.png")).mean() for j in (a, b)]
            same = random.binomial(4, 1 / (1 + np.exp((abs(means[0] - means[1]) - 30) / 8)))
            writer.writerow([i, f"{a}.png", f"{b}.png", same / 4, 4, split])
    return folder
