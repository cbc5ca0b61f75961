"""IP-Adapter (Ye et al. 2023): an image encoder and more keys and values, trained once for all subjects.

Its weights have to be had: `h94/IP-Adapter` of the hub, or a folder of the same layout.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import PIL.Image

from benchmarks.personalization.methods.base import PAPER, Method, Personalized, Sampling, check_family, copy_parts
from benchmarks.personalization.methods.saved import FILE, read_config, write_config
from benchmarks.personalization.subjects import Subject
from dreamsim_metric.images.convert import to_image
from dreamsim_metric.messages import say_error


@dataclass(frozen=True)
class Config:
    """Settings: which weights, and how much they count.

    Attributes:
        weights: repository of the hub, or a folder.
        subfolder: folder in it with the file and `image_encoder/`.
        file: name of the file of weights.
        scale: weight of the pictures' part beside the prompt's.
    """

    weights: str = "h94/IP-Adapter"
    subfolder: str = "models"
    file: str = "ip-adapter_sd15.safetensors"
    scale: float = 0.6


class Adapted(Personalized):
    """A pipeline that looks at photographs of the subject.

    Attributes:
        photographs: all photographs of the subject.
        config: settings with the weights.
    """

    def __init__(self, pipeline: Any, words: str, photographs: Sequence[PIL.Image.Image], config: Config) -> None:
        super().__init__(pipeline, words)
        self.photographs, self.config = list(photographs), config

    def sample(self, texts: list[str], seeds: range, sampling: Sampling, **more: Any) -> list[PIL.Image.Image]:
        return super().sample(texts, seeds, sampling, ip_adapter_image=[self.photographs], **more)

    def save(self, folder: Path) -> None:
        write_config(folder, words=self.words, config=self.config.__dict__)
        for i, photograph in enumerate(self.photographs):
            photograph.save(folder / f"{i:03}.png")


def fit(subject: Subject, pipeline: Any, config: Config, work: Path | None = None) -> Adapted:
    """Fit a subject, see `Method`.

    Raises:
        OSError: the weights cannot be had.
    """
    return _adapt(pipeline, subject.noun, list(map(to_image, subject.pictures)), config)


def load(folder: Path, pipeline: Any, words: str | None = None) -> Adapted:
    """Load what `save` wrote, see `Method`."""
    held = read_config(folder, "words", "config")
    try:
        config = Config(**held["config"])
    except TypeError as error:  # of another version
        raise ValueError(f"{folder / FILE} cannot be used ({error}); fit the method again") from error
    photographs = list(map(to_image, sorted(folder.glob("*.png"))))
    return _adapt(pipeline, held["words"], photographs, config)


def _adapt(pipeline: Any, noun: str, photographs: list[PIL.Image.Image], config: Config) -> Adapted:
    check_family(pipeline)
    twin = copy_parts(pipeline, "unet")
    try:
        twin.load_ip_adapter(config.weights, subfolder=config.subfolder, weight_name=config.file)
    except Exception as error:  # the hub's client and diffusers have many kinds
        raise OSError(
            f"cannot load {config.file} of {config.weights}/{config.subfolder} ({say_error(error)[:200]}); "
            "expected a repository of the hub and a network, or a folder of its layout"
        ) from error
    twin.set_ip_adapter_scale(config.scale)
    return Adapted(twin, noun, photographs, config)


METHOD = Method(
    {PAPER: Config(), "sdxl": Config(subfolder="sdxl_models", file="ip-adapter_sdxl.safetensors")},
    fit,
    load,
    citation="Ye et al. IP-Adapter. arXiv 2308.06721, 2023",
)
