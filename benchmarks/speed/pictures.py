"""Pictures to time with: colours that change slowly, edges and texture, so that a JPEG decodes like a photograph."""

from functools import cache
from pathlib import Path

import numpy as np
import PIL.Image
import torch
from torch import Tensor
from torchvision.transforms.functional import to_tensor

from dreamsim_metric.images.encoding import encode


def draw_picture(seed: int, width: int = 1024, height: int = 768) -> PIL.Image.Image:
    """Draw a seeded picture."""
    random = np.random.default_rng(seed)
    size = (width, height)
    coarse = PIL.Image.fromarray(random.integers(0, 256, (6, 8, 3), dtype=np.uint8)).resize(
        size, PIL.Image.Resampling.BICUBIC
    )
    edges = PIL.Image.fromarray(random.integers(0, 2, (12, 16), dtype=np.uint8) * 60).resize(
        size, PIL.Image.Resampling.NEAREST
    )
    texture = random.normal(0, 9, (height, width, 1))
    levels = np.asarray(coarse) * 0.7 + np.asarray(edges)[..., None] + texture
    return PIL.Image.fromarray(levels.clip(0, 255).astype(np.uint8))


@cache
def draw_batch(count: int, first: int = 0, size: int = 224) -> Tensor:
    """Draw a batch, `(N, 3, size, size)` float32 in [0, 1], on the CPU."""
    return torch.stack([to_tensor(draw_picture(first + i, size, size)) for i in range(count)])


def write_jpegs(folder: Path, count: int) -> list[str]:
    """Write so many files of 1024 × 768: a few pictures, each file told from the others by a comment in it."""
    encoded = [encode(draw_picture(seed), "JPEG", quality=90) for seed in range(min(count, 32))]
    files = [folder / f"{i:05}.jpg" for i in range(count)]
    for i, file in enumerate(files):
        comment = b"\xff\xfe\x00\x06" + i.to_bytes(4)  # a segment after the start of the image
        file.write_bytes(encoded[i % 32][:2] + comment + encoded[i % 32][2:])
    return [str(file) for file in files]
