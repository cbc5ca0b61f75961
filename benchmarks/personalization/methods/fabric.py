"""FABRIC (von Rütte et al. 2023): nothing is trained; the network looks at liked and disliked pictures while it paints.

The photographs of a subject are the liked pictures. Or, as in the paper's experiments, pictures are painted in rounds:
of each round somebody (`choosers`) says which is most like the photographs and which least, and the next round looks at
all that were liked and disliked so far; the photographs themselves are only compared with.

Differs from the paper: the noise on the references depends on the step and the configuration's seed, so that a picture
depends on its own seed alone and not on what is painted beside it.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import torch
from torch import Tensor

from benchmarks.metrics.base import Options
from benchmarks.personalization.methods.base import PAPER, Method, Personalized, Sampling, check_family
from benchmarks.personalization.methods.choosers import Chooser, make_chooser
from benchmarks.personalization.methods.fabric_attention import SELF, References, look_at
from benchmarks.personalization.methods.saved import FILE, read_config, write_config
from benchmarks.personalization.methods.tuning import Denoiser
from benchmarks.personalization.subjects import Prompt, Subject, fill
from dreamsim_metric.bounds import check_least
from dreamsim_metric.files.write import write_file
from dreamsim_metric.images.convert import to_image
from dreamsim_metric.images.encoding import encode

_LISTS = ("liked", "disliked", "references")
_SAMPLING = Sampling()
_FAR = 1_000_003  # seeds of the rounds are far from those of the pictures that are asked for


@dataclass(frozen=True)
class Config:
    """Settings: how much the pictures count, and when. Defaults are the authors' for single rounds, and diffusers'.

    Attributes:
        start, end: shares of the steps between which references have the larger weight.
        min_weight, max_weight: weights of a reference's tokens beside a picture's own, which have 1; 0: it is not
            looked at.
        neg_scale: weight of disliked pictures, as a share of that of liked ones.
        pos_bottleneck, neg_bottleneck: weight in the middle of the network, as a share of that in its outermost blocks;
            in between it changes evenly.
        rounds: rounds of feedback before a prompt's pictures are painted; 0: the photographs are the liked pictures.
        per_round: pictures of each round.
        dropout: share of the prompt's words that each picture of a round goes without.
        chooser: name of who says which are liked and disliked, see `make_chooser`.
        seed: seed of the noise on references, and of the rounds.
    """

    start: float = 0.33
    end: float = 0.66
    min_weight: float = 0.05
    max_weight: float = 0.8
    neg_scale: float = 0.5
    pos_bottleneck: float = 1.0
    neg_bottleneck: float = 1.0
    rounds: int = 0
    per_round: int = 4
    dropout: float = 0.0
    chooser: str = "mini"
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.start <= self.end <= 1:
            raise ValueError(f"got start {self.start} and end {self.end}; expected shares of the steps, in this order")
        for name in ("min_weight", "max_weight", "neg_scale", "pos_bottleneck", "neg_bottleneck", "rounds"):
            check_least(name, getattr(self, name), 0)
        if not 0 <= self.dropout <= 1:
            raise ValueError(f"got dropout {self.dropout}; expected a share, 0 to 1")
        if self.per_round < 2:
            raise ValueError(f"got per_round {self.per_round}; expected 2 or more: one is liked and one disliked")

    def weights(self, step: int, steps: int, depth: float) -> tuple[float, float]:
        """Compute the weights of liked and disliked pictures.

        Args:
            step: number of the step, counted from 0.
            steps: number of steps in all.
            depth: depth in the network: 0 in the outermost blocks, 1 in the middle.

        Example:
            >>> Config().weights(10, 20, depth=0), Config().weights(0, 20, depth=0)  # the middle third, before
            ((0.8, 0.4), (0.05, 0.025))
        """
        strong = round(steps * self.start) <= step <= round(steps * self.end)
        weight = self.max_weight if strong else self.min_weight
        liked, disliked = (1 + (scale - 1) * depth for scale in (self.pos_bottleneck, self.neg_bottleneck))
        return weight * liked, weight * self.neg_scale * disliked


@dataclass(frozen=True)
class Round:
    """A round of feedback.

    Attributes:
        texts: prompt that each picture was told.
        pictures: pictures that were painted.
        liked, disliked: numbers of the pictures that are liked and disliked, counted from 0.
        scores: score of each picture, from the chooser.
    """

    texts: list[str]
    pictures: list[PIL.Image.Image]
    liked: int
    disliked: int
    scores: tuple[float, ...]


class Fabric(Personalized):
    """A pipeline that looks at pictures.

    Attributes:
        config: settings of the method.
        liked: pictures to be like.
        disliked: pictures to be unlike.
        references: pictures that those of rounds are compared with.
        work: folder for the pictures of rounds and what people are asked; None: there is none.
    """

    def __init__(
        self,
        pipeline: Any,
        words: str,
        config: Config = Config(),
        liked: Sequence[PIL.Image.Image] = (),
        disliked: Sequence[PIL.Image.Image] = (),
        references: Sequence[PIL.Image.Image] = (),
        work: Path | None = None,
    ) -> None:
        """Make it ready; nothing is computed yet.

        Raises:
            ValueError: a pipeline of another family, or without self-attention.
        """
        super().__init__(pipeline, words)
        check_family(pipeline)
        if not any(name.endswith(SELF) for name in pipeline.unet.attn_processors):
            raise ValueError(f"the UNet of {type(pipeline).__name__} has no self-attention; FABRIC works through it")
        self.config, self.liked, self.disliked = config, tuple(liked), tuple(disliked)
        self.references, self.work = tuple(references), work
        self._taught: dict[tuple[str, Sampling], Fabric] = {}

    def generate(self, prompt: str, n: int = 1, seed: int = 0, sampling: Sampling = _SAMPLING) -> list[PIL.Image.Image]:
        """Paint the subject, see `Personalized`; a prompt's rounds come before its first pictures.

        Raises:
            FileNotFoundError, ValueError, RuntimeError: Same as in `make_chooser` and its choosers.
        """
        if not self.config.rounds:
            return super().generate(prompt, n, seed, sampling)
        asked = (fill(prompt, self.words), sampling)
        if asked not in self._taught:
            chooser = make_chooser(self.config.chooser, self.references, self.work, prompt=asked[0], options=self._at)
            found = paint_rounds(self, prompt, chooser, self.config, _FAR * (1 + self.config.seed), sampling)
            self._taught[asked] = self.with_feedback(found)
            if self.work is not None:
                _write_rounds(found, self.work / f"rounds-{Prompt(prompt).slug}")
        return self._taught[asked].generate(prompt, n, seed, sampling)

    def with_feedback(self, found: Sequence[Round]) -> "Fabric":
        """Make the same, with what was liked and disliked in rounds added, and no more rounds to come."""
        return Fabric(
            self.pipeline,
            self.words,
            replace(self.config, rounds=0),
            [*self.liked, *(one.pictures[one.liked] for one in found)],
            [*self.disliked, *(one.pictures[one.disliked] for one in found)],
        )

    def sample(self, texts: list[str], seeds: range, sampling: Sampling, **more: Any) -> list[PIL.Image.Image]:
        count = len(self.liked) + len(self.disliked)
        if not count:
            return super().sample(texts, seeds, sampling, **more)
        told = Denoiser(self.pipeline).conditions([""] * count)
        references = References(self._latents, len(self.liked), told, self.config.seed)
        with look_at(self.pipeline, references, self.config.weights):
            return super().sample(texts, seeds, sampling, **more)

    def save(self, folder: Path) -> None:
        lists = {name: getattr(self, name) for name in _LISTS}
        for name, pictures in lists.items():
            for i, picture in enumerate(pictures):
                _write(picture, folder / name / f"{i:03}.png")
        counts = {name: len(pictures) for name, pictures in lists.items()}
        write_config(folder, words=self.words, config=asdict(self.config), **counts)

    @property
    def _at(self) -> Options:
        return Options(device=self.pipeline.unet.device)

    @cached_property
    def _latents(self) -> Tensor:
        """Latents of liked and then disliked pictures, sampled, `(P + N, C, h, w)` on the CPU."""
        vae, rows = self.pipeline.vae.config, []
        for i, (encoded, _) in enumerate(Denoiser(self.pipeline).encode([*self.liked, *self.disliked])):
            mean, spread = encoded.chunk(2)
            random = torch.Generator().manual_seed(_FAR * self.config.seed + i)
            sampled = mean + (spread.clamp(-30, 20) / 2).exp() * torch.randn(
                mean.shape, generator=random, dtype=torch.float32, device="cpu"
            )
            rows.append((sampled - (vae.shift_factor or 0)) * vae.scaling_factor)
        return torch.stack(rows)


def paint_rounds(
    fabric: Fabric, prompt: str, chooser: Chooser, config: Config, seed: int = 0, sampling: Sampling = _SAMPLING
) -> list[Round]:
    """Paint and be told what is liked, again and again.

    The first round looks at the pictures that there are, of which there are mostly none: it is the pipeline's own. Each
    round adds a liked and a disliked picture, and none is ever taken away.

    Args:
        fabric: pipeline to begin with; it stays as it is.
        prompt: prompt with `{}` where the subject goes.
        chooser: chooser that is asked after each round.
        config: number of rounds, pictures of each, and the dropout.
        seed: seed of the first picture; each has the next one.
        sampling: steps and guidance to draw with.

    Raises:
        ValueError: the prompt has no `{}`, or the choice is not of the pictures.
    """
    words = fill(prompt, fabric.words).split()
    random = np.random.default_rng(seed)
    found: list[Round] = []
    for first in range(seed, seed + config.rounds * config.per_round, config.per_round):
        now, seeds = fabric.with_feedback(found), range(first, first + config.per_round)
        texts = [" ".join(word for word in words if random.random() >= config.dropout) for _ in seeds]
        if len(set(texts)) == 1:
            pictures = now.draw(texts[0], seeds, sampling)
        else:
            pairs = zip(texts, seeds, strict=True)
            pictures = [now.draw(text, range(one, one + 1), sampling)[0] for text, one in pairs]
        choice = chooser(pictures)
        if not {choice.liked, choice.disliked} <= set(range(len(pictures))) or choice.liked == choice.disliked:
            raise ValueError(
                f"the chooser likes picture {choice.liked} and dislikes {choice.disliked}; expected two different ones "
                f"of 0 to {len(pictures) - 1}"
            )
        found.append(Round(texts, pictures, choice.liked, choice.disliked, choice.scores))
    return found


def _write_rounds(found: Sequence[Round], folder: Path) -> None:
    """Write all pictures, named by round, number and what was said of them."""
    for i, one in enumerate(found):
        said = {one.liked: "-liked", one.disliked: "-disliked"}
        for j, picture in enumerate(one.pictures):
            _write(picture, folder / f"{i}-{j}{said.get(j, '')}.png")


def _write(picture: PIL.Image.Image, file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    write_file(file, encode(picture))


def fit(subject: Subject, pipeline: Any, config: Config, work: Path | None = None) -> Fabric:
    """Fit a subject, see `Method`.

    Raises:
        FileNotFoundError, ValueError: Same as in `make_chooser`, where there are rounds.
    """
    photographs = list(map(to_image, subject.pictures))
    if not config.rounds:
        return Fabric(pipeline, subject.noun, config, liked=photographs)
    found = Fabric(pipeline, subject.noun, config, references=photographs, work=work)
    make_chooser(config.chooser, photographs, work, options=found._at)  # what is wrong with it shows before hours pass
    return found


def load(folder: Path, pipeline: Any, words: str | None = None) -> Fabric:
    """Load what `save` wrote, see `Method`."""
    held = read_config(folder)
    try:
        lists = {name: [to_image(folder / name / f"{i:03}.png") for i in range(held[name])] for name in _LISTS}
        return Fabric(pipeline, held["words"], Config(**held["config"]), **lists, work=folder)
    except (KeyError, TypeError) as error:
        raise ValueError(f"{folder / FILE} cannot be used ({error}); fit the method again") from error


METHOD = Method(
    {PAPER: Config(), "mini": Config(min_weight=0.0)},  # which looks at references in a third of the steps only
    fit,
    load,
    citation="von Rütte et al. FABRIC: Personalizing Diffusion Models with Iterative Feedback. arXiv 2307.10159, 2023",
)
