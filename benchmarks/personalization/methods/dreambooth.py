"""DreamBooth (Ruiz et al. 2023): the network learns that a rare word before the noun means the subject.

All weights of the UNet learn, or a LoRA beside its attention (Hu et al. 2022; diffusers' recipe); if wanted those of
the text encoders too. Prior preservation (section 3.2): half of each step are pictures of the class by the model
itself, so that it does not forget what others of the class look like.

`sd15` is the recipe of diffusers' README, `sdxl` that of DreamBench++ (Peng et al. 2025). Differs from the paper:
pictures of the class are drawn with the pipeline's own scheduler.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from benchmarks.personalization.methods.base import (
    PAPER,
    Method,
    Personalized,
    Sampling,
    check_family,
    copy_parts,
    find_text_parts,
)
from benchmarks.personalization.methods.prior import paint_class_pictures
from benchmarks.personalization.methods.saved import has_config, read_config, write_config
from benchmarks.personalization.methods.tuning import Denoiser, Example, Tuning, pick, tune
from benchmarks.personalization.subjects import Subject, fill
from data_tools.trained.lora import add_lora, is_lora
from data_tools.trained.network import replace_parts
from data_tools.trained.text_encoder import name_for_all, save_text_encoder

_TEXT = "text_encoder"
_LORA = {
    "unet": ["to_k", "to_q", "to_v", "to_out.0"],
    "text_encoder": ["q_proj", "k_proj", "v_proj", "out_proj"],
    "text_encoder_2": ["q_proj", "k_proj", "v_proj", "out_proj"],
}


@dataclass(frozen=True)
class Config(Tuning):
    """Settings of DreamBooth, beside those of `Tuning`.

    Attributes:
        identifier: rare word before the noun.
        prompt: prompt of the photographs, with `{}` for identifier and noun.
        prior_weight: weight of the pictures of the class, λ in the paper; 0: none are made.
        class_pictures: number of pictures of the class.
        class_sampling: steps and guidance of the pictures of the class.
        train_text: whether the text encoders learn too.
        rank: rank of a LoRA; 0: all weights learn.
    """

    steps: int = 1000
    learning_rate: float = 5e-6
    identifier: str = "sks"
    prompt: str = "a {}"
    prior_weight: float = 1.0
    class_pictures: int = 1000
    class_sampling: Sampling = Sampling()
    train_text: bool = False
    rank: int = 0


class DreamBooth(Personalized):
    """A pipeline that knows the subject by a rare word.

    Attributes:
        trained: names of the parts that were trained.
        lora: whether a LoRA was trained.
    """

    def __init__(self, pipeline: Any, words: str, trained: Sequence[str], lora: bool) -> None:
        super().__init__(pipeline, words)
        self.trained, self.lora = list(trained), lora

    def save(self, folder: Path) -> None:
        write_config(folder, words=self.words, trained=self.trained, lora=self.lora)
        if not self.lora:
            for part in self.trained:
                module = getattr(self.pipeline, part)
                if part.startswith(_TEXT):
                    save_text_encoder(module, folder / part)
                else:
                    module.save_pretrained(folder / part)
            return
        from diffusers.utils import convert_state_dict_to_diffusers
        from peft import get_peft_model_state_dict

        layers = {}
        for part in self.trained:
            own = get_peft_model_state_dict(getattr(self.pipeline, part))
            held = convert_state_dict_to_diffusers(own)
            if any("lora_A" in name for name in held):  # it has names for attention only, and reads no mixture
                held = own
            layers[f"{part}_lora_layers"] = name_for_all(held) if part.startswith(_TEXT) else held
        self.pipeline.save_lora_weights(folder, **layers)


def fit(subject: Subject, pipeline: Any, config: Config, work: Path | None = None) -> DreamBooth:
    """Fit a subject, see `Method`. Pictures of the class are kept beside `work`, for all subjects of the class."""
    check_family(pipeline)
    words = f"{config.identifier} {subject.noun}"
    prior: list[Any] = []
    if config.prior_weight:
        prior = paint_class_pictures(
            pipeline, subject.noun, config.class_pictures, config.class_sampling, max(4, config.batch_size), work
        )
    trained = ["unet", *(encoder for _, encoder in find_text_parts(pipeline) if config.train_text)]
    twin = copy_parts(pipeline, *trained)
    parameters: dict[str, nn.Parameter] = {}
    for part in trained:
        module = getattr(twin, part)
        if config.rank:
            _add_lora(module, config, _LORA[part])
        learning = {name: value for name, value in module.named_parameters() if not config.rank or "lora_" in name}
        for value in learning.values():
            value.data = value.data.float()  # small steps are lost in half precision
        parameters |= {f"{part}.{name}": value for name, value in learning.items()}
    denoiser = Denoiser(twin, told=config.train_text)
    photographs, others = denoiser.encode(subject.pictures), denoiser.encode(prior)

    def batch(random: torch.Generator) -> list[Example]:
        count = config.batch_size
        told = {fill(config.prompt, words): (photographs, 1.0)}
        if others:
            told[f"a {subject.noun}"] = (others, config.prior_weight)
        return [
            Example(latents, prompt, weight / count)
            for prompt, (encoded, weight) in told.items()
            for latents in pick(encoded, count, config.flip, random)
        ]

    tune(denoiser, parameters, batch, config, work)
    for value in parameters.values():
        value.data = value.data.to(pipeline.vae.dtype)
    return DreamBooth(twin, words, trained, bool(config.rank))


def load(folder: Path, pipeline: Any, words: str | None = None) -> DreamBooth:
    """Load what `save` or another trainer wrote, see `Method`.

    Whole networks (a folder of a pipeline or of its UNet alone, or a one-file checkpoint) or a LoRA, of diffusers,
    peft or kohya; words that are told nowhere are "sks".
    """
    held = read_config(folder, "words", "trained", "lora") if has_config(folder) else {}
    words = words or held.get("words", Config.identifier)
    twin = copy.copy(pipeline)
    if held.get("lora", is_lora(folder)):
        twin = copy_parts(pipeline, "unet", *(encoder for _, encoder in find_text_parts(pipeline)))
        return DreamBooth(twin, words, add_lora(twin, folder), True)
    return DreamBooth(twin, words, replace_parts(twin, folder), False)


def _add_lora(module: nn.Module, config: Config, targets: list[str]) -> None:
    from peft import LoraConfig

    # Alpha like the rank: files of diffusers' format do not hold it.
    lora = LoraConfig(r=config.rank, lora_alpha=config.rank, init_lora_weights="gaussian", target_modules=targets)
    torch.manual_seed(config.seed)
    module.add_adapter(lora)  # type: ignore[operator]  # of diffusers' PeftAdapterMixin


# mini-diffusion spells the identifier in letters, which its text encoder has to learn to tell from nothing.
_MINI: dict[str, Any] = {"train_text": True, "class_pictures": 24, "class_sampling": Sampling(20)}
_FULL = {
    PAPER: Config(),
    "sd15": Config(steps=800, class_pictures=200),
    "sd21": Config(steps=800, class_pictures=200),
    "sdxl": Config(steps=800, class_pictures=200, learning_rate=1e-6),
    "mini": Config(**_MINI, steps=250, learning_rate=5e-4, batch_size=4),
}
_LORAS = {
    PAPER: Config(learning_rate=1e-4, rank=4),
    "sd15": Config(steps=500, class_pictures=200, learning_rate=1e-4, rank=4),
    "sd21": Config(steps=500, class_pictures=200, learning_rate=1e-4, rank=4),
    "sdxl": Config(steps=500, class_pictures=200, learning_rate=5e-5, rank=4),
    "mini": Config(**_MINI, steps=200, learning_rate=5e-3, batch_size=2, rank=16),
}
_CITATION = "Ruiz et al. DreamBooth. CVPR 2023"
METHOD = Method(_FULL, fit, load, _CITATION)
LORA = Method(_LORAS, fit, load, f"{_CITATION}; Hu et al. LoRA. ICLR 2022")
WITHOUT_PRIOR = Method({name: replace(config, prior_weight=0) for name, config in _FULL.items()}, fit, load, _CITATION)
