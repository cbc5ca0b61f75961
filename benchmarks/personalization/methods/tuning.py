"""Training on a few photographs: what the methods that learn have in common.

The loss is a latent diffusion model's (Rombach et al. 2022, equation 2): the squared error of the noise, or the
velocity, that the network predicts. What is random in a step depends on the seed and the step alone, so that a training
that was killed ends as if it had not been.
"""

import copy
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from diffusers import DDPMScheduler
from torch import Tensor, nn
from torchvision.transforms import functional as TF
from torchvision.transforms.functional import InterpolationMode
from tqdm import tqdm

from benchmarks.personalization.methods.base import check_family
from data_tools.pipelines import freeze
from dreamsim_metric.files.write import create_file
from dreamsim_metric.images.convert import to_pixels

STATE = "state.pt"


@dataclass(frozen=True)
class Tuning:
    """Settings of every training.

    Attributes:
        steps: steps of the optimiser.
        learning_rate: learning rate, constant.
        batch_size: photographs a step.
        weight_decay: weight decay of AdamW.
        flip: share of the photographs that are mirrored.
        seed: seed of all that is random.
        save_every: steps after which the state is written.
    """

    steps: int = 400
    learning_rate: float = 5e-6
    batch_size: int = 1
    weight_decay: float = 1e-2
    flip: float = 0.0
    seed: int = 0
    save_every: int = 100


@dataclass(frozen=True)
class Example:
    """A part of a step: which picture, what it is told to be, and how much its error counts."""

    latents: Tensor
    prompt: str
    weight: float


class Denoiser:
    """The network of a pipeline and all that stands between it and pictures and prompts.

    Args:
        pipeline: pipeline of Stable Diffusion's family whose parts are trained. None of them gets gradients any more,
            until `tune` says so.
        told: whether the text encoders are trained too; otherwise each prompt is encoded once.

    Raises:
        ValueError: a pipeline of another family.
    """

    def __init__(self, pipeline: Any, told: bool = False) -> None:
        check_family(pipeline)
        freeze(pipeline)
        self.pipeline = pipeline
        self.device, self.dtype = pipeline.unet.device, pipeline.vae.dtype
        self.schedule = DDPMScheduler.from_config(pipeline.scheduler.config)
        self._known: dict[str, tuple[Tensor, ...]] | None = None if told else {}

    @property
    def size(self) -> int:
        """Side in pixels of the pictures that the network was made for."""
        return int(self.pipeline.unet.config.sample_size * self.pipeline.vae_scale_factor)

    @torch.no_grad()
    def encode(self, pictures: Iterable[Any]) -> list[tuple[Tensor, Tensor]]:
        """Encode each picture and its mirror image: mean and log variance of its latents, `(2 C, h, w)`, on the CPU.

        Pictures are scaled until the shorter side fits, and the middle is taken.

        Raises:
            ValueError: one cannot be decoded.
        """
        vae, found = self.pipeline.vae, []
        if self.dtype != torch.float32:
            vae = copy.deepcopy(vae).float()  # XL's overflows in float16
        for picture in pictures:
            pixels = TF.resize(to_pixels(picture, None)[0], [self.size], InterpolationMode.BICUBIC, antialias=True)
            pixels = TF.center_crop(pixels, [self.size, self.size]).clamp(0, 1) * 2 - 1
            both = torch.stack([pixels, pixels.flip(-1)]).to(self.device)
            found.append(tuple(vae.encode(both).latent_dist.parameters.cpu()))
        return found

    def conditions(self, prompts: Sequence[str]) -> dict[str, Any]:
        """Make the keyword arguments by which the network is told prompts."""
        rows = [self._told(prompt) for prompt in prompts]
        embeddings, *pooled = (torch.cat(part) for part in zip(*rows, strict=True))
        told: dict[str, Any] = {"encoder_hidden_states": embeddings}
        if pooled:  # XL also wants to know original size, corner of the crop and size (Podell et al. 2023, section 2.2)
            size = (self.size, self.size)
            ids = torch.tensor([*size, *(0, 0), *size], dtype=embeddings.dtype, device=self.device)
            told["added_cond_kwargs"] = {"text_embeds": pooled[0], "time_ids": ids.expand(len(prompts), -1)}
        return told

    def _told(self, prompt: str) -> tuple[Tensor, ...]:
        if self._known is not None and prompt in self._known:
            return self._known[prompt]
        arguments = {"device": self.device, "num_images_per_prompt": 1, "do_classifier_free_guidance": False}
        with torch.set_grad_enabled(self._known is None):
            made = self.pipeline.encode_prompt([prompt], **arguments)
        found = (made[0], made[2]) if len(made) == 4 else (made[0],)
        if self._known is not None:
            self._known[prompt] = found
        return found

    def errors(self, latents: Tensor, prompts: Sequence[str], times: Tensor, noise: Tensor) -> Tensor:
        """Compute the squared error of each picture, `(N,)`, mean over its latents.

        Args:
            latents: latents `(N, C, h, w)`, scaled as the network takes them.
            prompts: prompt of each picture.
            times: steps of the noise schedule, `(N,)`.
            noise: noise of the latents' shape.
        """
        noisy = self.schedule.add_noise(latents, noise, times)
        target = noise
        if self.schedule.config.prediction_type == "v_prediction":
            target = self.schedule.get_velocity(latents, noise, times)
        with torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32):
            predicted = self.pipeline.unet(noisy.to(self.dtype), times, **self.conditions(prompts)).sample
        return F.mse_loss(predicted.float(), target, reduction="none").mean((1, 2, 3))


def draw_steps(count: int, highest: int, random: torch.Generator) -> Tensor:
    """Draw steps of the noise schedule, all as likely: `(count,)`."""
    return torch.randint(0, highest, (count,), generator=random, dtype=torch.int64, device="cpu")


def pick(encoded: Sequence[tuple[Tensor, Tensor]], count: int, flip: float, random: torch.Generator) -> list[Tensor]:
    """Pick some of the pictures that `encode` gave, each mirrored or not: none twice until all have been taken."""
    rounds = -(-count // len(encoded))
    shuffled = [torch.randperm(len(encoded), generator=random, dtype=torch.int64, device="cpu") for _ in range(rounds)]
    order = torch.cat(shuffled)[:count]
    mirrored = torch.rand(count, generator=random, dtype=torch.float32, device="cpu") < flip
    return [encoded[row][int(turned)] for row, turned in zip(order.tolist(), mirrored.tolist(), strict=True)]


def tune(
    denoiser: Denoiser,
    parameters: Mapping[str, nn.Parameter],
    batch: Callable[[torch.Generator], list[Example]],
    config: Tuning,
    work: Path | None = None,
    times: Callable[[int, int, torch.Generator], Tensor] = draw_steps,
) -> list[float]:
    """Train to the last step, from the state in `work` if there is one.

    Args:
        denoiser: denoiser whose network sees the batches.
        parameters: parameters that learn, float32, by names of the caller's; all others are frozen.
        batch: function that gives the examples of a step, from what is random in it.
        config: settings: steps, learning rate and so on.
        work: folder of the state; None keeps none.
        times: function that draws steps of the noise schedule: count, how many there are, what is random → `(count,)`.

    Returns:
        The loss of each step.

    Raises:
        FloatingPointError: the loss is not finite.
        torch.OutOfMemoryError: not even half of a batch fits.
        ValueError: the state is of something else.
        OSError: the disk is full; the last state is intact.
    """
    names, values = list(parameters), list(parameters.values())
    optimizer = torch.optim.AdamW(values, config.learning_rate, weight_decay=config.weight_decay)
    scaler = torch.amp.GradScaler(denoiser.device.type, enabled=denoiser.dtype == torch.float16)
    losses = _resume(work, names, values, optimizer, denoiser.device)
    parts = 1  # of a batch
    bar = tqdm(range(len(losses), config.steps), initial=len(losses), total=config.steps, unit="step", disable=None)
    with _train_only(denoiser.pipeline, values):
        for step in bar:
            random = torch.Generator().manual_seed(1_000_003 * config.seed + step)
            examples = batch(random)
            drawn = _Drawn.of(denoiser, examples, times, random)
            while True:
                try:
                    loss = sum(_run_backward(denoiser, some, scaler) for some in drawn.split(parts))
                    break
                except torch.OutOfMemoryError as error:
                    optimizer.zero_grad()
                    if parts > 1 or len(examples) == 1:
                        raise torch.OutOfMemoryError(
                            f"{-(-len(examples) // parts)} pictures at once do not fit into memory: lower batch_size, "
                            f"use --precision bfloat16, or train fewer parameters ({error})"
                        ) from error
                    parts = 2
                    torch.cuda.empty_cache()
            if not math.isfinite(loss):
                raise FloatingPointError(f"the loss of step {step} is {loss}; lower learning_rate")
            scaler.unscale_(optimizer)
            nn.utils.clip_grad_norm_(values, 1.0)
            scaler.step(optimizer)
            scaler.update()
            optimizer.zero_grad()
            losses.append(loss)
            bar.set_postfix(loss=f"{loss:.3f}", refresh=False)
            if work is not None and ((step + 1) % config.save_every == 0 or step + 1 == config.steps):
                _save(work, names, values, optimizer, losses)
    return losses


@dataclass(frozen=True)
class _Drawn:
    """A batch and all that is random about it, so that it can be split without becoming another."""

    latents: Tensor
    prompts: list[str]
    weights: Tensor
    times: Tensor
    noise: Tensor

    @classmethod
    def of(cls, denoiser: Denoiser, examples: list[Example], times: Callable[..., Tensor], random: Any) -> "_Drawn":
        mean, spread = torch.stack([example.latents for example in examples]).chunk(2, dim=1)
        sampled = mean + (spread.clamp(-30, 20) / 2).exp() * torch.randn(
            mean.shape, generator=random, dtype=torch.float32, device="cpu"
        )
        vae = denoiser.pipeline.vae.config
        return cls(
            ((sampled - (vae.shift_factor or 0)) * vae.scaling_factor).to(denoiser.device),
            [example.prompt for example in examples],
            torch.tensor([example.weight for example in examples], dtype=torch.float32, device=denoiser.device),
            times(len(examples), denoiser.schedule.config.num_train_timesteps, random).to(denoiser.device),
            torch.randn(mean.shape, generator=random, dtype=torch.float32, device="cpu").to(denoiser.device),
        )

    def split(self, parts: int) -> Iterator["_Drawn"]:
        size = -(-len(self.prompts) // parts)
        for start in range(0, len(self.prompts), size):
            some = slice(start, start + size)
            yield _Drawn(self.latents[some], self.prompts[some], self.weights[some], self.times[some], self.noise[some])


def _run_backward(denoiser: Denoiser, some: _Drawn, scaler: torch.amp.GradScaler) -> float:
    errors = denoiser.errors(some.latents, some.prompts, some.times, some.noise)
    loss = (some.weights * errors).sum()
    scaler.scale(loss).backward()
    return float(loss.detach())


@contextmanager
def _train_only(pipeline: Any, values: Sequence[nn.Parameter]) -> Iterator[None]:
    """Give only these parameters gradients; afterwards none have any."""
    modules = [part for part in pipeline.components.values() if isinstance(part, nn.Module)]
    before = [module.training for module in modules]
    for module in modules:
        module.eval()  # no dropout: these networks have none, or were published without
    for value in values:
        value.requires_grad_(True)
    try:
        yield
    finally:
        for value in values:
            value.requires_grad_(False)
        for module, training in zip(modules, before, strict=True):
            module.train(training)


def _save(work: Path, names: list[str], values: list[nn.Parameter], optimizer: Any, losses: list[float]) -> None:
    work.mkdir(parents=True, exist_ok=True)
    held = {
        "values": {name: value.detach() for name, value in zip(names, values, strict=True)},
        "optimizer": optimizer.state_dict(),
        "losses": losses,
    }
    with create_file(work / STATE) as file:
        torch.save(held, file)  # not through memory: of a whole network it is ten gigabytes


def _resume(
    work: Path | None, names: list[str], values: list[nn.Parameter], optimizer: Any, device: torch.device
) -> list[float]:
    if work is None or not (work / STATE).is_file():
        return []
    held = torch.load(work / STATE, map_location=device, weights_only=True)
    if list(held["values"]) != names:
        raise ValueError(f"{work / STATE} is of another training; remove it")
    with torch.no_grad():
        for name, value in zip(names, values, strict=True):
            value.copy_(held["values"][name])
    optimizer.load_state_dict(held["optimizer"])
    return list(held["losses"])
