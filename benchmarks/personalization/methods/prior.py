"""Prior preservation: pictures of the class by the model itself, that it is not to forget (Ruiz et al. 2023, 3.2)."""

import re
from pathlib import Path
from typing import Any

import PIL.Image
from tqdm import tqdm

from benchmarks.personalization.methods.base import Sampling
from benchmarks.personalization.methods.plain import Plain
from dreamsim_metric.files.write import write_file
from dreamsim_metric.images.convert import to_image
from dreamsim_metric.images.encoding import encode


def paint_class_pictures(
    pipeline: Any, noun: str, count: int, sampling: Sampling, batch_size: int, work: Path | None
) -> list[PIL.Image.Image]:
    """Paint "a {noun}" with the seeds 0 … count − 1; those that were painted before are not painted again.

    Args:
        pipeline: pipeline that was not tuned.
        noun: noun of the class.
        count: number of pictures.
        sampling: steps and guidance to draw with.
        batch_size: pictures painted at once.
        work: folder of a training: they are kept beside it, for all subjects of the class; None: nowhere.

    Raises:
        OSError: the disk is full or not writable.
    """
    plain = Plain(pipeline, noun)
    found: list[PIL.Image.Image] = []
    folder = None if work is None else work.parent / ("class-" + re.sub(r"\W+", "-", noun))
    for start in tqdm(range(0, count, batch_size), desc=f"pictures of a {noun}", unit="batch", disable=None):
        seeds = range(start, min(start + batch_size, count))
        files = [folder / f"{seed:05}.png" for seed in seeds] if folder is not None else []
        if files and all(file.is_file() for file in files):
            found += map(to_image, files)
            continue
        made = plain.draw(f"a {noun}", seeds, sampling)
        for file, picture in zip(files, made, strict=False):
            file.parent.mkdir(parents=True, exist_ok=True)
            write_file(file, encode(picture))
        found += made
    return found
