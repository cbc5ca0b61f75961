"""What a small text-to-image model can do, in figures: does it paint what it is told, how varied, is it copied?

    dreamsim-data generate --model mini-diffusion --categories mini-diffusion --triplets 300 --out SAMPLES
    python -m examples.mini_diffusion.measure SAMPLES DATA lite0.safetensors OUT [EACH]

DATA is what `pictures` wrote; EACH, how many train pictures of a category to take at most, default all. Prints, and
writes to OUT as JSON:

- `accuracy`: share of the samples whose nearest class centroid is that of their category, among EfficientNet-Lite0's
  pooled features of the train pictures, which mini-diffusion has never seen; beside it, that of real test pictures.
- `diversity`: mean distance by mini between samples of one prompt, and between real test pictures of one category.
- `copying`: distance by mini to the nearest train picture of the same category, or its mirror image, of the samples and
  of real test pictures. A model that copies is nearer than other photographs of the same things are.

OUT's name with `.png` shows the samples that are nearest to a train picture, each beside it.
"""

import json
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import PIL.ImageOps
import torch
from torch import Tensor

from data_tools.manifest import read_rows
from dreamsim_metric import load
from dreamsim_metric.files.json_file import write_json
from dreamsim_metric.metric import PerceptualMetric

Files = dict[str, list[Path]]
SHOWN = 12  # pairs of a sample and the train picture nearest to it


def by_category(folder: Path) -> Files:
    """List the pictures of a generation, or of an image folder with a category in each line."""
    found: Files = defaultdict(list)
    if (folder / "metadata.jsonl").is_file():
        for line in (folder / "metadata.jsonl").read_text().splitlines():
            row = json.loads(line)
            found[row["category"]].append(folder / row["file_name"])
    else:
        for row in read_rows(folder):
            if not row["dropped"]:
                found[row["category"]].append(folder / row["path"])
    return found


def embeddings(metric: PerceptualMetric, files: Files, mirrored: bool = False) -> dict[str, Tensor]:
    """Embed each category's pictures as unit vectors, and then their mirror images where asked."""
    found = {}
    for category, paths in files.items():
        pictures = [PIL.Image.open(path).convert("RGB") for path in paths]
        if mirrored:
            pictures += [PIL.ImageOps.mirror(picture) for picture in pictures]
        found[category] = torch.cat([metric.embed(pictures[i : i + 8]) for i in range(0, len(pictures), 8)])
    return found


def accuracy(embedded: dict[str, Tensor], centroids: dict[str, Tensor]) -> dict[str, float]:
    """Compute the share of each category's pictures that are nearest to its own centroid; the mean under `mean`."""
    names, points = list(centroids), torch.stack(list(centroids.values()))
    right = {
        name: (pictures @ points.T).argmax(1).eq(names.index(name)).float().mean().item()
        for name, pictures in embedded.items()
    }
    return {"mean": float(np.mean(list(right.values()))), **right}


def diversity(embedded: dict[str, Tensor]) -> float:
    """Compute the mean distance between two pictures of one category, mean over categories."""
    means = []
    for pictures in embedded.values():
        count = len(pictures)
        means.append((1 - pictures @ pictures.T).sum().item() / (count * (count - 1)))
    return float(np.mean(means))


def nearest(embedded: dict[str, Tensor], train: dict[str, Tensor]) -> dict[str, tuple[Tensor, Tensor]]:
    """Find the train picture of its category that is nearest to each picture, and its distance."""
    return {
        name: (1 - pictures @ train[name].T).min(1)[:2]  # (values, indices)
        for name, pictures in embedded.items()
    }


def main(samples: Path, data: Path, classifier: Path, out: Path, each: int = 10**9) -> dict[str, Any]:
    """Measure, print, write."""
    made, real, train = by_category(samples), by_category(data / "test"), by_category(data / "train")
    real = {name: files for name, files in real.items() if name in made}
    train = {name: train[name][:: -(-len(train[name]) // each)] for name in made}
    lite0 = load("timm:tf_efficientnet_lite0#pooled", source=classifier)
    centroids = {
        name: torch.nn.functional.normalize(pictures.mean(0), dim=0)
        for name, pictures in embeddings(lite0, train).items()
    }
    right = {kind: accuracy(embeddings(lite0, files), centroids) for kind, files in (("samples", made), ("real", real))}
    mini = load("mini")
    of_made, of_real, of_train = embeddings(mini, made), embeddings(mini, real), embeddings(mini, train, mirrored=True)
    near = {"samples": nearest(of_made, of_train), "real": nearest(of_real, of_train)}
    pooled = {kind: torch.cat([distances for distances, _ in found.values()]) for kind, found in near.items()}
    low = pooled["real"].quantile(0.01)
    found = {
        "pictures": {
            kind: sum(map(len, files.values())) for kind, files in (("samples", made), ("real", real), ("train", train))
        },
        "accuracy": right,
        "chance": 1 / len(made),
        "diversity": {"samples": diversity(of_made), "real": diversity(of_real)},
        "copying": {
            "median to the nearest train picture": {
                kind: distances.median().item() for kind, distances in pooled.items()
            },
            "least": {kind: distances.min().item() for kind, distances in pooled.items()},
            "share of samples nearer than 99 % of real pictures are": (pooled["samples"] < low).float().mean().item(),
        },
    }
    write_json(out, found)
    pairs = [
        (distance.item(), made[name][i], train[name][int(index) % len(train[name])])
        for name, (distances, indices) in near["samples"].items()
        for i, (distance, index) in enumerate(zip(distances, indices, strict=True))
    ]
    page = PIL.Image.new("RGB", (2 * 128 * 4 + 3 * 16, 128 * -(-SHOWN // 4)), "white")
    for i, (_, *both) in enumerate(sorted(pairs)[:SHOWN]):
        for j, path in enumerate(both):
            big = PIL.Image.open(path).convert("RGB").resize((128, 128), PIL.Image.Resampling.NEAREST)
            page.paste(big, ((i % 4) * 272 + j * 128, (i // 4) * 128))
    page.save(out.with_suffix(".png"))
    return found


if __name__ == "__main__":
    samples, data, classifier, out = map(Path, sys.argv[1:5])
    print(json.dumps(main(samples, data, classifier, out, *map(int, sys.argv[5:])), indent=2))
