"""What a method is: it is fitted to a subject and then paints it, whatever the prompt."""

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import PIL.Image
import torch

from benchmarks.personalization.subjects import Subject, fill
from data_tools.painting import list_arguments, paint

PAPER = "paper"  # the preset of a configuration's own defaults: for Stable Diffusion 1.x
FAMILY = "Stable Diffusion's family (1.x, 2.x, XL): a UNet on latents, told by CLIP's text encoders"


@dataclass(frozen=True)
class Sampling:
    """Settings that pictures are drawn with.

    Attributes:
        steps: steps of the pipeline's scheduler.
        guidance: scale of the classifier-free guidance.
    """

    steps: int = 50
    guidance: float = 7.5


class Personalized(ABC):
    """A pipeline that knows a subject.

    Attributes:
        pipeline: pipeline of diffusers; what the method changed is its own, the rest is shared with the one that was
            given.
        words: words that stand for the subject in prompts.
    """

    def __init__(self, pipeline: Any, words: str) -> None:
        self.pipeline = pipeline
        self.words = words

    def generate(
        self, prompt: str, n: int = 1, seed: int = 0, sampling: Sampling = Sampling()
    ) -> list[PIL.Image.Image]:
        """Paint the subject.

        Args:
            prompt: prompt with `{}` where the subject goes.
            n: number of pictures, of the seeds `seed` … `seed + n − 1`.
            seed: seed of the first picture.
            sampling: steps and guidance to draw with.

        Raises:
            ValueError: the prompt has no `{}`.
            torch.OutOfMemoryError: not even half of the pictures fit at once.
        """
        return self.draw(fill(prompt, self.words), range(seed, seed + n), sampling)

    def draw(self, text: str, seeds: range, sampling: Sampling) -> list[PIL.Image.Image]:
        """Paint what a text says, the subject or anything else; halves of the seeds if they do not fit at once."""
        try:
            return self._draw(text, seeds, sampling)
        except torch.OutOfMemoryError:
            half = len(seeds) // 2
            if not half:
                raise
        torch.cuda.empty_cache()
        try:
            return self._draw(text, seeds[:half], sampling) + self._draw(text, seeds[half:], sampling)
        except torch.OutOfMemoryError as error:
            raise torch.OutOfMemoryError(
                f"{half} pictures at once do not fit: ask for fewer, or use --precision float16 ({error})"
            ) from error

    def _draw(self, text: str, seeds: range, sampling: Sampling) -> list[PIL.Image.Image]:
        return self.sample([text] * len(seeds), seeds, sampling)

    def sample(self, texts: list[str], seeds: range, sampling: Sampling, **more: Any) -> list[PIL.Image.Image]:
        """Call the pipeline; `more` is for it."""
        if "guidance_scale" in list_arguments(self.pipeline):
            more["guidance_scale"] = sampling.guidance
        drawn = paint(
            self.pipeline,
            texts,
            [torch.Generator("cpu").manual_seed(seed) for seed in seeds],  # the same noise on every device
            num_inference_steps=sampling.steps,
            **more,
        )
        return list(drawn.images)

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Write what `load` of the method takes, in diffusers' own format where it has one."""


@dataclass(frozen=True)
class Method:
    """A line of the registry: a method with its configurations.

    Attributes:
        presets: configurations by name, frozen dataclasses: `paper`, and others that differ from it, such as `mini`.
        fit: function of a subject, a pipeline, a configuration and a folder to keep the state of a training in (None:
            nowhere) that gives what paints the subject. The pipeline is left as it was.
        load: function of a folder that `Personalized.save` wrote, the pipeline, and words for the subject or None, that
            gives the same again. DreamBooth and Textual Inversion take folders and files of other trainers too, which
            do not say the words.
        citation: citation of the paper.
    """

    presets: Mapping[str, Any]
    fit: Callable[[Subject, Any, Any, Path | None], Personalized]
    load: Callable[[Path, Any, str | None], Personalized]
    citation: str

    def config(self, preset: str) -> Any:
        """Return the configuration of a preset; the paper's where the method has no such.

        Example:
            >>> from benchmarks.personalization.methods.registry import METHODS
            >>> METHODS["textual-inversion"].config("mini").vectors
            4
        """
        return self.presets.get(preset, self.presets[PAPER])


def check_family(pipeline: Any) -> None:
    """Raise ValueError for a pipeline that the methods cannot be taught on."""
    missing = [part for part in ("unet", "vae", "text_encoder", "tokenizer") if getattr(pipeline, part, None) is None]
    if missing or not hasattr(pipeline, "encode_prompt"):
        raise ValueError(f"{type(pipeline).__name__} has no {', '.join(missing) or 'prompts'}; expected {FAMILY}")
    if pipeline.unet.config.in_channels != pipeline.vae.config.latent_channels:
        raise ValueError(
            f"the UNet of {type(pipeline).__name__} takes {pipeline.unet.config.in_channels} channels, latents have "
            f"{pipeline.vae.config.latent_channels} (made for inpainting?); expected {FAMILY}"
        )


def copy_parts(pipeline: Any, *parts: str) -> Any:
    """Copy a pipeline that shares all but these parts, of which it gets copies."""
    twin = copy.copy(pipeline)
    for part in parts:
        setattr(twin, part, copy.deepcopy(getattr(pipeline, part)))
    return twin


def find_text_parts(pipeline: Any) -> list[tuple[str, str]]:
    """Name its tokenizers and text encoders: one pair, or XL's two."""
    pairs = [("tokenizer", "text_encoder"), ("tokenizer_2", "text_encoder_2")]
    return [pair for pair in pairs if getattr(pipeline, pair[1], None) is not None]
