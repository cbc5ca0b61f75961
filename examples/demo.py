"""A table of distances between real photographs: mild edits and a second view first, other things last.

Runs without network, on the weights in the package: `make demo`.
"""

import io
from pathlib import Path

import numpy as np
import PIL.Image
import PIL.ImageEnhance
import PIL.ImageFilter

from dreamsim_metric import distance, load
from dreamsim_metric.images.encoding import encode

HERE = Path(__file__).parent


def edits(picture: PIL.Image.Image) -> dict[str, PIL.Image.Image]:
    """Edit the picture as people do, mild to strong."""
    width, height = picture.size
    noise = np.random.default_rng(0).normal(0, 12, (height, width, 3))
    noisy = np.clip(np.asarray(picture) + noise, 0, 255).astype(np.uint8)
    return {
        "JPEG, quality 30": PIL.Image.open(io.BytesIO(encode(picture, "JPEG", quality=30))),
        "half the size": picture.resize((width // 2, height // 2)),
        "brighter by 20 %": PIL.ImageEnhance.Brightness(picture).enhance(1.2),
        "5 % cropped away": picture.crop((width // 40, height // 40, width - width // 40, height - height // 40)),
        "rotated by 5°": picture.rotate(5, PIL.Image.Resampling.BICUBIC, fillcolor="white"),
        "noise": PIL.Image.fromarray(noisy),
        "blurred": picture.filter(PIL.ImageFilter.GaussianBlur(2)),
        "greyscale": picture.convert("L"),
    }


def show(title: str, rows: dict[str, float]) -> None:
    print(f"\n{title}")
    for name, d in sorted(rows.items(), key=lambda row: row[1]):
        print(f"  {name:24} {d:.3f}  {'█' * round(40 * d)}")


def main() -> None:
    card = load().card
    print(f"model: {card.name} ({card.description})")
    cat = PIL.Image.open(HERE / "cat.jpg")
    show("cat.jpg and edits of it", {name: float(distance(cat, edited)) for name, edited in edits(cat).items()})
    others = {
        "vest_2": "the same vest again",
        "cat": "a cat",
        "coffee": "a cup",
        "astronaut": "a person",
        "rocket": "a rocket",
    }
    vest = HERE / "vest_1.jpg"
    show("vest_1.jpg and", {what: float(distance(vest, HERE / f"{name}.jpg")) for name, what in others.items()})


if __name__ == "__main__":
    main()
