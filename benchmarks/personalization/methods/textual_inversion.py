"""Textual Inversion (Gal et al. 2023): a new word is learnt for the subject, and nothing else.

Defaults are those of the authors' configuration for Stable Diffusion 1, 5e-3 for each photograph of a batch of 2, and
of their README: 5,000 steps. `sd15` is the recipe of DreamBench++ (Peng et al. 2025).
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks.personalization.methods.base import PAPER, Method, Personalized, copy_parts, find_text_parts
from benchmarks.personalization.methods.saved import has_config, read_config, write_config
from benchmarks.personalization.methods.tokens import copy_with_words, load_words, save_words, settle
from benchmarks.personalization.methods.tuning import Denoiser, Example, Tuning, pick, tune
from benchmarks.personalization.subjects import Subject, fill
from data_tools.trained.words import add_words, read_words

WORD = "<subject>"
TEMPLATES = (
    *("a photo of a {}", "a picture of a {}", "an image of a {}", "a close-up of a {}", "a bright photo of a {}"),
    *("a dark photo of a {}", "a cropped photo of a {}", "a good photo of a {}", "a photo of one {}", "a view of a {}"),
)


@dataclass(frozen=True)
class Config(Tuning):
    """Settings of Textual Inversion, beside those of `Tuning`.

    Attributes:
        vectors: tokens that the word is made of.
        initial: word that it begins as; empty: the noun of the class.
        templates: prompts of which one is drawn for each photograph of a step.
    """

    steps: int = 5000
    learning_rate: float = 1e-2
    batch_size: int = 2
    flip: float = 0.5
    vectors: int = 1
    initial: str = ""
    templates: tuple[str, ...] = TEMPLATES


class Inverted(Personalized):
    """A pipeline with a word for the subject.

    Attributes:
        vectors: tokens that the word is made of.
    """

    def __init__(self, pipeline: Any, words: str, vectors: int) -> None:
        super().__init__(pipeline, words)
        self.vectors = vectors

    def save(self, folder: Path) -> None:
        write_config(folder, words=self.words, vectors=self.vectors)
        save_words(self.pipeline, [self.words], self.vectors, folder)


def fit(subject: Subject, pipeline: Any, config: Config, work: Path | None = None) -> Inverted:
    """Fit a subject, see `Method`."""
    twin, learnt = copy_with_words(pipeline, [WORD], config.initial or subject.noun, config.vectors)
    denoiser = Denoiser(twin, told=True)
    encoded = denoiser.encode(subject.pictures)

    def batch(random: torch.Generator) -> list[Example]:
        chosen = torch.randint(
            0, len(config.templates), (config.batch_size,), generator=random, dtype=torch.int64, device="cpu"
        ).tolist()
        pictures = pick(encoded, config.batch_size, config.flip, random)
        return [
            Example(latents, fill(config.templates[i], WORD), 1 / config.batch_size)
            for latents, i in zip(pictures, chosen, strict=True)
        ]

    tune(denoiser, learnt, batch, config, work)
    settle(twin)
    return Inverted(twin, WORD, config.vectors)


def load(folder: Path, pipeline: Any, words: str | None = None) -> Inverted:
    """Load what `save` or another trainer wrote, see `Method`; the words for the subject are the learnt ones."""
    if has_config(folder):
        held = read_config(folder, "words", "vectors")
        return Inverted(load_words(pipeline, folder), held["words"], held["vectors"])
    learnt = read_words(folder)
    twin = copy_parts(pipeline, *(name for pair in find_text_parts(pipeline) for name in pair))
    add_words(twin, learnt, folder)
    return Inverted(twin, " ".join(learnt), len(next(iter(learnt.values()))[0]))


METHOD = Method(
    {
        PAPER: Config(),
        "sd15": Config(steps=3000, learning_rate=5e-4),
        "sdxl": Config(steps=3000, learning_rate=5e-4),
        "mini": Config(steps=150, learning_rate=5e-2, vectors=4),
    },
    fit,
    load,
    citation="Gal et al. An Image is Worth One Word. ICLR 2023",
)
