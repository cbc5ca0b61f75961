"""How a metric's numbers for pictures become one score of a method: as published, and as we find more telling.

- DreamBench: Ruiz et al. DreamBooth. CVPR 2023, section 4.1 and the table on prior preservation.
- DreamBench++: Peng et al. ICLR 2025, and its released scripts.
- CustomConcept101: Kumari et al. Multi-Concept Customization of Text-to-Image Diffusion. CVPR 2023, and the data's
  `evaluate.py`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from benchmarks.personalization import matrices
from benchmarks.personalization.matrices import Measured, find_firsts

DREAMBENCH, DREAMBENCH_PLUS, CUSTOM, OURS = "DreamBench", "DreamBench++", "CustomConcept101", "ours"
MEAN, NEAREST, TEXT, COPYING = "subject, mean", "subject, nearest", "prompt", "copying"

_LPIPS = ("lpips-alex", "lpips-vgg", "lpips-squeeze")


@dataclass(frozen=True)
class Score:
    """A line of the table of protocols.

    Attributes:
        protocol: name of the protocol that it belongs to.
        name: name of the score.
        definition: definition in words, printed with every figure.
        values: function that gives what is averaged in a subject, `(K,)`; NaN or none where the subject cannot have it.
        better: `nearer` and `farther` by the metric's own numbers, whatever their direction; or plainly `higher`,
            `lower`.
        metrics: names of the only metrics it is defined for; none for all.
        kind: kind of the metrics: of two `pictures`, only `distance`s of two pictures, or of a picture and a `text`.
        pooled: whether all K of all subjects have equal weight, not all subjects.
        photographs: whether real photographs can have it, each compared with the others.
        by_prompt: whether the K are one for each prompt, in order.
        counts: function that counts the pictures it looks at.
    """

    protocol: str
    name: str
    definition: str
    values: Callable[[Measured], np.ndarray]
    better: Literal["nearer", "farther", "higher", "lower"]
    metrics: tuple[str, ...] = ()
    kind: Literal["pictures", "distance", "text"] = "pictures"
    pooled: bool = False
    photographs: bool = True
    by_prompt: bool = False
    counts: Callable[[Measured], int] = lambda measured: len(measured.prompts)

    def takes(self, metric: str, direction: str, text: bool) -> bool:
        """Tell whether it is defined for a metric."""
        if (self.metrics and metric not in self.metrics) or text != (self.kind == "text"):
            return False
        return self.kind != "distance" or direction == "distance"

    def higher(self, direction: str) -> bool:
        """Tell whether a larger figure is better, by a metric of some direction."""
        if self.better in ("higher", "lower"):
            return self.better == "higher"
        return (self.better == "nearer") == (direction == "similarity")


def _count_class_pictures(measured: Measured) -> int:
    return len(measured.of_class)


def _count_first_pictures(measured: Measured) -> int:
    return len(find_firsts(measured))


def _make_ours(
    name: str,
    definition: str,
    values: Callable[[Measured], np.ndarray],
    better: Literal["nearer", "farther", "higher", "lower"],
    kind: Literal["pictures", "distance", "text"] = "pictures",
    photographs: bool = True,
) -> Score:
    said = f"{definition}, then means over prompts and over subjects"
    return Score(OURS, name, said, values, better, (), kind, photographs=photographs, by_prompt=True)


_PAIRS = "cosine of {}: mean over all pairs of a picture and a photograph of a subject, then over subjects"
_ONE = "100 × {}: first picture of each prompt with the first photograph, plain mean over all of them"
_ASKED = "the prompt with the noun of the class in place of {}"
_CLASS_PAIRS = "mean over all pairs of a picture of the class alone and a photograph of a subject, then over subjects"
_CUT = "subjects cut out by masks and laid on mid-grey, only where all pictures and photographs of a subject have masks"

SCORES = (
    Score(DREAMBENCH, "DINO", _PAIRS.format("DINO ViT-S/16"), matrices.average_references, "nearer", ("dino-vits16",)),
    Score(DREAMBENCH, "CLIP-I", _PAIRS.format("CLIP ViT-B/32"), matrices.average_references, "nearer", ("clip-i-b32",)),
    Score(
        DREAMBENCH,
        "CLIP-T",
        f"cosine of CLIP ViT-B/32 of a picture and {_ASKED}: mean over pictures of a subject, then over subjects",
        matrices.take_text,
        "higher",
        ("clip-t-b32",),
        "text",
    ),
    Score(
        DREAMBENCH,
        "PRES",
        f"cosine of DINO ViT-S/16: {_CLASS_PAIRS}",
        matrices.measure_prior_similarity,
        "lower",
        ("dino-vits16",),
        photographs=False,
        counts=_count_class_pictures,
    ),
    Score(
        DREAMBENCH,
        "DIV",
        "LPIPS: mean over all pairs of pictures of one subject and prompt, then over subjects",
        matrices.list_prompt_pairs,
        "higher",
        _LPIPS,
    ),
    *(
        Score(
            DREAMBENCH_PLUS,
            name,
            _ONE.format(f"cosine of {network}"),
            matrices.take_one_to_one,
            "nearer",
            (metric,),
            pooled=True,
            photographs=False,
            counts=_count_first_pictures,
        )
        for name, network, metric in (
            ("DINO", "DINO ViT-S/8", "dino-vits8"),
            ("DINOv2", "DINOv2 ViT-S/14", "dinov2-vits14"),
            ("CLIP-I", "CLIP ViT-B/32", "clip-i-b32"),
        )
    ),
    Score(
        DREAMBENCH_PLUS,
        "CLIP-T",
        f"100 × cosine of CLIP ViT-B/32 of the first picture of each prompt and {_ASKED}, plain mean over all of them",
        lambda measured: 100 * measured.text[find_firsts(measured)],
        "higher",
        ("clip-t-b32",),
        "text",
        pooled=True,
        counts=_count_first_pictures,
    ),
    Score(
        CUSTOM,
        "text alignment",
        f"CLIPScore, 2.5 max(cos, 0) of CLIP ViT-B/32 of a picture and {_ASKED}: mean over pictures of a subject, then "
        "over subjects",
        matrices.clip_score,
        "higher",
        ("clip-t-b32",),
        "text",
    ),
    Score(
        CUSTOM,
        "image alignment",
        _PAIRS.format("CLIP ViT-B/32"),
        matrices.average_references,
        "nearer",
        ("clip-i-b32",),
    ),
    Score(
        CUSTOM,
        "image alignment, DINO",
        _PAIRS.format("DINO ViT-S/16"),
        matrices.average_references,
        "nearer",
        ("dino-vits16",),
    ),
    _make_ours(
        MEAN, "mean over a subject's photographs, mean over pictures of a prompt", matrices.average_subject, "nearer"
    ),
    _make_ours(
        NEAREST,
        "the most alike of a subject's photographs, mean over pictures of a prompt",
        matrices.average_nearest,
        "nearer",
    ),
    _make_ours(f"{MEAN}, masked", f"as {MEAN!r}, of {_CUT}", matrices.average_masked, "nearer"),
    _make_ours(f"{NEAREST}, masked", f"as {NEAREST!r}, of {_CUT}", matrices.average_masked_nearest, "nearer"),
    _make_ours(
        TEXT,
        f"picture and {_ASKED}: mean over pictures of a prompt",
        matrices.average_text_by_prompt,
        "nearer",
        kind="text",
    ),
    _make_ours(
        "diversity", "mean over pairs of pictures of one subject and prompt", matrices.measure_diversity, "farther"
    ),
    _make_ours(
        "diversity, share of real",
        "'diversity' over the mean of all pairs of the subject's photographs",
        matrices.compare_diversity,
        "higher",
        kind="distance",
        photographs=False,
    ),
    _make_ours(
        COPYING,
        "share of pictures whose most alike photograph is more alike than a threshold, in a prompt",
        matrices.count_copies,
        "lower",
    ),
    Score(
        OURS,
        "prior similarity",
        f"the metric, or 1 − it if it is a distance: {_CLASS_PAIRS}",
        matrices.measure_prior_similarity,
        "lower",
        photographs=False,
        counts=_count_class_pictures,
    ),
)
