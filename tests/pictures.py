"""Test pictures: the example photographs at odd sizes, and noise."""

import numpy as np
import PIL.Image

from tests.places import ROOT

EXAMPLES = ROOT / "examples"
PHOTOGRAPHS = sorted(EXAMPLES.glob("*.jpg"))


def natural_and_noise() -> list[PIL.Image.Image]:
    """Eight pictures of eight sizes: photographs whole, cropped, smaller than 224 and noise."""
    random = np.random.default_rng(0)
    photographs = [PIL.Image.open(path).convert("RGB") for path in PHOTOGRAPHS]
    photographs[1] = photographs[1].crop((3, 5, 180, 250))
    photographs[2] = photographs[2].resize((131, 97))
    photographs[3] = photographs[3].resize((224, 224))
    noise = [random.integers(0, 256, shape, dtype=np.uint8) for shape in ((301, 517, 3), (224, 224, 3))]
    return [*photographs, *map(PIL.Image.fromarray, noise)]
