"""The captioned pictures that mini-diffusion is trained on: twenty ImageNet classes and ten kinds of clothes, 64 × 64.

    python -m examples.mini_diffusion.pictures SOURCES OUT

SOURCES holds clones of the repositories that the Makefile names. OUT gets `train/` and `test/`, each in the layout that
Hugging Face calls an image folder: pictures and `metadata.jsonl`, a line each, with `file_name`, `text` (a list:
several captions that fit) and `category`. `train` takes Tiny-ImageNet's train pictures and the clothes' train and
validation ones, `test` the others.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps
from tqdm import tqdm

from dreamsim_metric.files.write import write_file

SIZE = 64
IMAGENET = {  # Tiny-ImageNet's class: its ImageNet name, then other words for it
    "n01443537": ("goldfish", "fish"),
    "n02279972": ("monarch", "monarch butterfly", "butterfly"),
    "n02165456": ("ladybug",),
    "n02056570": ("king penguin", "penguin"),
    "n07749582": ("lemon",),
    "n07747607": ("orange",),
    "n07720875": ("bell pepper",),
    "n07873807": ("pizza",),
    "n07920052": ("espresso", "cup of coffee", "cup"),
    "n04146614": ("school bus", "bus"),
    "n04285008": ("sports car", "car"),
    "n04398044": ("teapot",),
    "n01910747": ("jellyfish",),
    "n02099601": ("golden retriever", "dog"),
    "n02123045": ("tabby", "tabby cat", "cat"),
    "n04399382": ("teddy", "teddy bear", "stuffed animal", "toy"),
    "n02769748": ("backpack",),
    "n09193705": ("alp", "mountain"),
    "n09428293": ("seashore", "beach"),
    "n02814860": ("beacon", "lighthouse"),
}
CLOTHES = {  # the folder: our name, then other words for it
    "dress": ("dress",),
    "hat": ("hat",),
    "longsleeve": ("long-sleeved top",),
    "outwear": ("jacket", "coat"),
    "pants": ("pants", "trousers"),
    "shirt": ("shirt",),
    "shoes": ("shoes", "sneakers"),
    "shorts": ("shorts",),
    "skirt": ("skirt",),
    "t-shirt": ("t-shirt",),
}
TEMPLATES = ("an image of a {}", "a photo of a {}", "a picture of a {}", "a {}", "{}")
HUES = ((12, "red"), (28, "orange"), (46, "yellow"), (115, "green"), (180, "blue"), (212, "purple"), (243, "pink"))
# the largest hue, 0 to 255, that still has the name; beyond the last it is red again

Picture = tuple[Image.Image, tuple[str, ...]]


def upright(file: Path) -> Image.Image:
    """Read a picture as people see it: rotated as its EXIF data say, in colour."""
    with Image.open(file) as picture:
        return ImageOps.exif_transpose(picture).convert("RGB")


def imagenet(root: Path, split: str) -> Iterator[Picture]:
    """List Tiny-ImageNet's pictures of our classes, and their names."""
    if split == "train":
        for number, names in IMAGENET.items():
            for file in sorted((root / "train" / number / "images").iterdir()):
                yield upright(file), names
    else:
        for line in (root / "val" / "val_annotations.txt").read_text().splitlines():
            file_name, number = line.split("\t")[:2]
            if number in IMAGENET:
                yield upright(root / "val" / "images" / file_name), IMAGENET[number]


def clothes(root: Path, split: str) -> Iterator[Picture]:
    """List the clothes' pictures and names."""
    for part in ("train", "validation") if split == "train" else ("test",):
        for kind, names in CLOTHES.items():
            for file in sorted((root / part / kind).iterdir()):
                yield upright(file), names


def colour(picture: Image.Image) -> str:
    """Name the colour of the middle of a picture, where one colour has more than half of it; else nothing."""
    width, height = picture.size
    middle = picture.crop((width // 4, height // 4, width - width // 4, height - height // 4))
    hue, saturation, value = np.moveaxis(np.asarray(middle.convert("HSV")).reshape(-1, 3).astype(int), 1, 0)
    names = np.array([name for _, name in HUES] + ["red"])[np.searchsorted([limit for limit, _ in HUES], hue)]
    names = np.where((hue < 28) & (value < 150) & (names != "pink"), "brown", names)
    names = np.where(saturation < 45, np.select([value > 175, value > 75], ["white", "gray"], "black"), names)
    names = np.where(value < 50, "black", names)
    found, counts = np.unique(names, return_counts=True)
    return str(found[counts.argmax()]) if 2 * counts.max() > names.size else ""


def captions(names: tuple[str, ...], shade: str) -> list[str]:
    """Write every template with every name, with the colour as well as without where there is one."""
    things = [*names, *(f"{shade} {name}" for name in names if shade)]
    return [template.format(thing) for template in TEMPLATES for thing in things]


def main(sources: Path, out: Path) -> None:
    """Write both splits; `metadata.jsonl` comes last, so that it never names what is not there."""
    for split in ("train", "test"):
        (out / split).mkdir(parents=True, exist_ok=True)
        lines: list[dict[str, object]] = []
        both = (imagenet(sources / "tiny-imagenet" / "tiny-imagenet-200", split), clothes(sources / "clothing", split))
        for picture, names in tqdm((item for part in both for item in part), desc=split, unit="picture"):
            small = ImageOps.fit(picture, (SIZE, SIZE), Image.Resampling.BICUBIC)
            name = f"{len(lines):05}.png"
            small.save(out / split / name)
            lines.append({"file_name": name, "text": captions(names, colour(small)), "category": names[0]})
        write_file(out / split / "metadata.jsonl", "".join(json.dumps(line) + "\n" for line in lines).encode())


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
