"""Concept decomposition, "inspiration trees" (Vinker et al. 2023): a concept is split in two words, and those again.

Both words of a node are learnt together, in one place of the prompt: "a photo of a <1> <2>". Several seeds are tried
for some steps; the one whose words are coherent and distinct goes on. A child's pictures are painted from its word
alone, and those most like the others are kept. Defaults are those of the authors' code; 5e-4 for each of 2 photographs,
4 times accumulated, is 4e-3 for 8.
"""

import math
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import torch
from torch import Tensor

from benchmarks.metrics.base import Metric, Options
from benchmarks.metrics.registry import find_metrics
from benchmarks.personalization.methods.base import PAPER, Method, Personalized, Sampling, check_family
from benchmarks.personalization.methods.likeness import measure_similarities
from benchmarks.personalization.methods.plain import Plain
from benchmarks.personalization.methods.saved import read_config, write_config
from benchmarks.personalization.methods.textual_inversion import TEMPLATES
from benchmarks.personalization.methods.tokens import copy_with_words, load_words, save_words, settle
from benchmarks.personalization.methods.tree import Node, draw_tree
from benchmarks.personalization.methods.tuning import Denoiser, Example, Tuning, pick, tune
from benchmarks.personalization.subjects import Subject, fill
from dreamsim_metric.files.json_file import read_json, write_json
from dreamsim_metric.images.convert import to_image

_SEEDS = (4321, 95, 11, 87654)  # of the pictures that are compared, in the authors' code
_CHOICE = "choice.json"


@dataclass(frozen=True)
class Config(Tuning):
    """Settings of the decomposition, beside those of `Tuning`; `seed` is not used.

    Attributes:
        seeds: seeds that are tried for each node.
        trial: steps after which one seed is picked.
        depth: levels below the root.
        metrics: metrics that say how alike pictures are; the first picks, the scores of all are kept.
        samples: pictures of a word that are compared.
        kept: pictures of these that become a child's.
        sampling: steps and guidance of these pictures.
        initial: word that the new words begin as.
        templates: prompts of which one is drawn for each photograph of a step.
    """

    steps: int = 1000
    learning_rate: float = 4e-3
    batch_size: int = 8
    flip: float = 0.5
    seeds: tuple[int, ...] = (0, 1000, 1234, 111)
    trial: int = 200
    depth: int = 1
    metrics: tuple[str, ...] = ("clip-i-b32", "mini")
    samples: int = 40
    kept: int = 10
    sampling: Sampling = Sampling(25, 7.5)
    initial: str = "object"
    templates: tuple[str, ...] = TEMPLATES


class Decomposed(Personalized):
    """A pipeline with the words of a tree. The subject is the root's two words together.

    Attributes:
        nodes: nodes of the tree, parents first.
        tokens: all words of the tree.
    """

    def __init__(self, pipeline: Any, words: str, nodes: Sequence[Node], tokens: Sequence[str]) -> None:
        super().__init__(pipeline, words)
        self.nodes, self.tokens = list(nodes), list(tokens)

    def save(self, folder: Path) -> None:
        scores = {node.word: node.scores for node in self.nodes}
        write_config(folder, words=self.words, tokens=self.tokens, scores=scores)
        save_words(self.pipeline, self.tokens, 1, folder)
        for i, node in enumerate(self.nodes):
            (folder / f"node{i}").mkdir(exist_ok=True)
            for j, picture in enumerate(node.pictures):
                picture.save(folder / f"node{i}" / f"{j:03}.png")
        draw_tree(self.nodes).save(folder / "tree.png")


def measure_consistency(left: np.ndarray, right: np.ndarray, across: np.ndarray) -> float:
    """Compute the published score of two words: each coherent, and distinct from the other.

    (S_ll + S_rr) + (min(S_ll, S_rr) − S_lr), S a mean similarity, within a word over pairs of different pictures
    (Vinker et al. 2023, section 4.3 and `seed_selection.py`).

    Args:
        left, right: similarities among the pictures of a word, `(N, N)`.
        across: similarities of one word's pictures to the other's, `(N, M)`.

    Example:
        >>> left, right = np.array([[1, 0.9], [0.9, 1]]), np.array([[1, 0.8], [0.8, 1]])
        >>> round(measure_consistency(left, right, np.full((2, 2), 0.5)), 6)
        2.0
    """
    ll, rr = (float(part[np.triu_indices(len(part), 1)].mean()) for part in (left, right))
    return (ll + rr) + (min(ll, rr) - float(across.mean()))


def draw_late_steps(count: int, highest: int, random: torch.Generator) -> Tensor:
    """Draw steps of the noise schedule, noisy ones more often: p(t) ∝ 1 − cos(π t / T) / 2."""
    share = 1 - 0.5 * torch.cos(math.pi * torch.arange(highest, dtype=torch.float32, device="cpu") / highest)
    return torch.multinomial(share, count, replacement=True, generator=random)


def choose_most_alike(pictures: Sequence[PIL.Image.Image], metric: Metric, count: int) -> list[PIL.Image.Image]:
    """Choose the pictures that are most like the others on average."""
    mean = measure_similarities(metric, pictures, pictures).mean(1)
    return [pictures[i] for i in sorted(np.argsort(-mean, kind="stable")[:count])]


def fit(subject: Subject, pipeline: Any, config: Config, work: Path | None = None) -> Decomposed:
    """Fit a subject, see `Method`.

    Raises:
        ValueError: fewer than one level, or two pictures to compare.
        OSError: weights of a metric cannot be had.
    """
    if config.depth < 1 or config.samples < 2:
        raise ValueError(f"got depth {config.depth}, samples {config.samples}; expected 1 or more, 2 or more")
    check_family(pipeline)
    device = pipeline.unet.device
    metrics = {name: make(Options(device=device)) for name, make in find_metrics(config.metrics).items()}
    with tempfile.TemporaryDirectory() as temporary:
        return _Growing(pipeline, config, metrics, work or Path(temporary)).tree(subject)


def load(folder: Path, pipeline: Any, words: str | None = None) -> Decomposed:
    """Load what `save` wrote, see `Method`."""
    held = read_config(folder, "words", "tokens", "scores")
    nodes = [
        Node(word, list(map(to_image, sorted((folder / f"node{i}").glob("*.png")))), scores)
        for i, (word, scores) in enumerate(held["scores"].items())
    ]
    return Decomposed(load_words(pipeline, folder), held["words"], nodes, held["tokens"])


class _Growing:
    def __init__(self, pipeline: Any, config: Config, metrics: dict[str, Metric], work: Path) -> None:
        self.pipeline, self.config, self.metrics, self.work = pipeline, config, metrics, work
        self.learnt: dict[str, list[Tensor]] = {}  # of each text encoder

    def tree(self, subject: Subject) -> Decomposed:
        """Grow the tree level by level; node n has the children 2 n + 1 and 2 n + 2."""
        inner = 2**self.config.depth - 1
        photographs = list(map(to_image, subject.pictures))
        nodes = {0: Node(subject.noun, photographs, {})}
        for n in range(inner):
            pair = [name_word(2 * n + 1), name_word(2 * n + 2)]
            twin, learnt, scores = self.split(nodes[n].pictures, pair, self.work / f"node{n}")
            nodes[n] = replace(nodes[n], scores=scores)
            for encoder, rows in learnt.items():
                self.learnt.setdefault(encoder, []).append(rows.detach().clone())
            for i, name in enumerate(pair, 2 * n + 1):
                kept = choose_most_alike(self.paint(twin, name), next(iter(self.metrics.values())), self.config.kept)
                nodes[i] = Node(name, kept, {})
        tokens = [name_word(i) for i in range(1, 2 * inner + 1)]
        twin, learnt = copy_with_words(self.pipeline, tokens, self.config.initial)
        for encoder, parameter in learnt.items():
            parameter.data.copy_(torch.cat(self.learnt[encoder]))
        settle(twin)
        return Decomposed(twin, f"{name_word(1)} {name_word(2)}", [nodes[i] for i in sorted(nodes)], tokens)

    def split(
        self, pictures: Sequence[PIL.Image.Image], pair: list[str], work: Path
    ) -> tuple[Any, dict[str, Any], dict[str, Any]]:
        """Learn the two words of a node, by the best seed; the scores of all are kept."""
        file, config = work / _CHOICE, self.config
        if file.is_file():
            scores = read_json(file, "remove it to choose again")
        else:
            scores = {}
            for seed in config.seeds if len(config.seeds) > 1 else ():
                twin, _ = self.learn(pictures, pair, seed, config.trial, work)
                scores[str(seed)] = self.judge(twin, pair)
            work.mkdir(parents=True, exist_ok=True)
            write_json(file, scores)
        first = next(iter(self.metrics))
        best = max(config.seeds, key=lambda seed: scores[str(seed)][first]) if scores else config.seeds[0]
        twin, learnt = self.learn(pictures, pair, best, config.steps, work)
        return twin, learnt, {"seed": best, "tried": scores, "final": self.judge(twin, pair)}

    def learn(
        self, pictures: Sequence[PIL.Image.Image], pair: list[str], seed: int, steps: int, work: Path
    ) -> tuple[Any, dict[str, Any]]:
        """Train to this step, from where the training in the folder is."""
        config = replace(self.config, seed=seed, steps=steps)
        twin, learnt = copy_with_words(self.pipeline, pair, config.initial)
        denoiser = Denoiser(twin, told=True)
        encoded = denoiser.encode(pictures)

        def batch(random: torch.Generator) -> list[Example]:
            chosen = torch.randint(
                0, len(config.templates), (config.batch_size,), generator=random, dtype=torch.int64, device="cpu"
            ).tolist()
            shown = pick(encoded, config.batch_size, config.flip, random)
            return [
                Example(latents, fill(config.templates[i], " ".join(pair)), 1 / config.batch_size)
                for latents, i in zip(shown, chosen, strict=True)
            ]

        tune(denoiser, learnt, batch, config, work / f"seed{seed}", draw_late_steps)
        return twin, learnt

    def judge(self, pipeline: Any, pair: list[str]) -> dict[str, float]:
        """Score two words by each metric."""
        left, right = (self.paint(pipeline, name) for name in pair)
        return {
            name: measure_consistency(
                *(measure_similarities(metric, a, b) for a, b in ((left, left), (right, right), (left, right)))
            )
            for name, metric in self.metrics.items()
        }

    def paint(self, pipeline: Any, text: str) -> list[PIL.Image.Image]:
        """Paint pictures of a word alone, no template around it."""
        plain, each = Plain(pipeline, ""), -(-self.config.samples // len(_SEEDS))
        made = [
            picture for seed in _SEEDS for picture in plain.draw(text, range(seed, seed + each), self.config.sampling)
        ]
        return made[: self.config.samples]


def name_word(node: int) -> str:
    """Name the word that stands for a node."""
    return f"<{node}>"


METHOD = Method(
    {
        PAPER: Config(),
        "mini": Config(
            steps=150,
            trial=50,
            learning_rate=5e-2,
            batch_size=4,
            seeds=(0, 1000),
            samples=8,
            kept=4,
            sampling=Sampling(15),
            metrics=("mini",),
        ),
    },
    fit,
    load,
    citation="Vinker et al. Concept Decomposition for Visual Exploration and Inspiration. ACM TOG 2023",
)
