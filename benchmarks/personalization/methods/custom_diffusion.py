"""Custom Diffusion (Kumari et al. 2023): only what turns the prompt into keys and values learns, and a new word.

Defaults are the paper's (section 4 and appendix): 250 steps of 8 photographs, 1e-5 a photograph, the word begun as a
rare one. Differs from it: the pictures of the class are the model's own, as in its ablation, not photographs retrieved
from LAION-400M, and photographs are not scaled at random.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import nn

from benchmarks.personalization.methods.base import (
    FAMILY,
    PAPER,
    Method,
    Personalized,
    Sampling,
    check_family,
    copy_parts,
)
from benchmarks.personalization.methods.prior import paint_class_pictures
from benchmarks.personalization.methods.saved import read_config, write_config
from benchmarks.personalization.methods.tokens import copy_with_words, load_words, save_words, settle
from benchmarks.personalization.methods.tuning import Denoiser, Example, Tuning, pick, tune
from benchmarks.personalization.subjects import Subject
from dreamsim_metric.files.write import write_file
from dreamsim_metric.weights.folder import read_tensors

WORD = "<new1>"
FILE = "keys_values.safetensors"


@dataclass(frozen=True)
class Config(Tuning):
    """Settings of Custom Diffusion, beside those of `Tuning`.

    Attributes:
        initial: rare word that the new one begins as.
        prior_weight: weight of the pictures of the class; 0: none are made.
        class_pictures: number of pictures of the class.
        class_sampling: steps and guidance of the pictures of the class.
    """

    steps: int = 250
    learning_rate: float = 8e-5
    batch_size: int = 8
    flip: float = 0.5
    initial: str = "ktn"
    prior_weight: float = 1.0
    class_pictures: int = 200
    class_sampling: Sampling = Sampling()


class Customized(Personalized):
    """A pipeline with keys and values of its own."""

    def save(self, folder: Path) -> None:
        write_config(folder, words=self.words)
        save_words(self.pipeline, [WORD], 1, folder)
        held = {name: value.detach().cpu().contiguous() for name, value in find_keys_values(self.pipeline).items()}
        write_file(folder / FILE, safetensors.torch.save(held))


def find_keys_values(pipeline: Any) -> dict[str, nn.Parameter]:
    """Collect the weights of the UNet that make keys and values of the prompt.

    Raises:
        ValueError: there are none of the names that diffusers gives them.
    """
    found = {
        name: value
        for name, value in pipeline.unet.named_parameters()
        if ".attn2.to_k." in name or ".attn2.to_v." in name
    }
    if not found:
        raise ValueError(f"the UNet of {type(pipeline).__name__} has no attn2.to_k and attn2.to_v; expected {FAMILY}")
    return found


def fit(subject: Subject, pipeline: Any, config: Config, work: Path | None = None) -> Customized:
    """Fit a subject, see `Method`. Pictures of the class are kept beside `work`, for all subjects of the class."""
    check_family(pipeline)
    prior: list[Any] = []
    if config.prior_weight:
        prior = paint_class_pictures(
            pipeline, subject.noun, config.class_pictures, config.class_sampling, config.batch_size, work
        )
    twin, learnt = copy_with_words(copy_parts(pipeline, "unet"), [WORD], config.initial)
    weights = find_keys_values(twin)
    for value in weights.values():
        value.data = value.data.float()  # small steps are lost in half precision
    denoiser = Denoiser(twin, told=True)
    photographs, others = denoiser.encode(subject.pictures), denoiser.encode(prior)
    words, count = f"{WORD} {subject.noun}", config.batch_size

    def batch(random: torch.Generator) -> list[Example]:
        mine = [
            Example(latents, f"photo of a {words}", 1 / count)
            for latents in pick(photographs, count, config.flip, random)
        ]
        theirs = pick(others, count, config.flip, random) if others else []
        return mine + [
            Example(latents, f"photo of a {subject.noun}", config.prior_weight / count) for latents in theirs
        ]

    tune(denoiser, {**weights, **learnt}, batch, config, work)
    for value in weights.values():
        value.data = value.data.to(pipeline.vae.dtype)
    settle(twin)
    return Customized(twin, words)


def load(folder: Path, pipeline: Any, words: str | None = None) -> Customized:
    """Load what `save` wrote, see `Method`."""
    held = read_config(folder, "words")
    twin = load_words(copy_parts(pipeline, "unet"), folder)
    missing, unexpected = twin.unet.load_state_dict(read_tensors(folder / FILE)[0], strict=False)
    if unexpected or set(missing) & set(find_keys_values(twin)):
        raise ValueError(f"{folder / FILE} is of another pipeline; fit the method to this one")
    return Customized(twin, held["words"])


METHOD = Method(
    {
        PAPER: Config(),
        "mini": Config(
            steps=150, learning_rate=5e-3, batch_size=2, class_pictures=24, class_sampling=Sampling(20), initial="ktn"
        ),
    },
    fit,
    load,
    citation="Kumari et al. Multi-Concept Customization of Text-to-Image Diffusion. CVPR 2023",
)
