"""What a metric says of a method's pictures of one subject, and the means that scores are made of."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import numpy as np


def _none() -> np.ndarray:
    return np.zeros(0)


@dataclass(frozen=True)
class Measured:
    """What a metric says of one method's pictures of one subject.

    Attributes:
        direction: of the metric.
        prompts: `(G,)` for each of G pictures the number of its prompt, in order; within one, pictures go by seed.
        references: `(G, R)` to each of R photographs of the subject; NaN where a photograph would be its own.
        among: `(G, G)`; NaN but between two different pictures of one prompt.
        real: `(R, R)` between photographs; NaN on the diagonal.
        of_class: `(C, R)` of pictures of the class alone to the photographs.
        text: `(G,)` to the prompt with the noun of the class in it; empty for metrics of pictures.
        masked: `(G, R)` of subjects cut out; empty without masks of all pictures and photographs.
        copy_below: nearer than this a picture counts as copied; NaN where nobody knows.
    """

    direction: Literal["distance", "similarity"]
    prompts: np.ndarray
    references: np.ndarray = field(default_factory=_none)
    among: np.ndarray = field(default_factory=_none)
    real: np.ndarray = field(default_factory=_none)
    of_class: np.ndarray = field(default_factory=_none)
    text: np.ndarray = field(default_factory=_none)
    masked: np.ndarray = field(default_factory=_none)
    copy_below: float = float("nan")


def all_references(measured: Measured) -> np.ndarray:
    """Mean over the references, `(G,)`: its mean over pictures is that over all pairs."""
    return _rows(np.nanmean, measured.references)


def nearest_reference(measured: Measured) -> np.ndarray:
    """To the most alike of the references, `(G,)`."""
    return _rows(_nearest(measured), measured.references)


def one_to_one(measured: Measured) -> np.ndarray:
    """First picture of each prompt with the first reference, times 100: `(P,)`."""
    return 100 * measured.references[firsts(measured), 0]


def subject_mean(measured: Measured) -> np.ndarray:
    """`all_references`, a mean a prompt: `(P,)`."""
    return per_prompt(all_references(measured), measured.prompts)


def subject_nearest(measured: Measured) -> np.ndarray:
    """`nearest_reference`, a mean a prompt: `(P,)`."""
    return per_prompt(nearest_reference(measured), measured.prompts)


def masked_mean(measured: Measured) -> np.ndarray:
    """`subject_mean` of subjects cut out; none without masks."""
    if not measured.masked.size:
        return _none()
    return per_prompt(_rows(np.nanmean, measured.masked), measured.prompts)


def masked_nearest(measured: Measured) -> np.ndarray:
    """`subject_nearest` of subjects cut out; none without masks."""
    if not measured.masked.size:
        return _none()
    return per_prompt(_rows(_nearest(measured), measured.masked), measured.prompts)


def text(measured: Measured) -> np.ndarray:
    """Of picture and prompt, `(G,)`."""
    return measured.text


def clip_score(measured: Measured) -> np.ndarray:
    """2.5 max(cos, 0) of picture and prompt (Hessel et al. 2021), `(G,)`."""
    return 2.5 * np.maximum(measured.text, 0)


def text_by_prompt(measured: Measured) -> np.ndarray:
    """Of picture and prompt, a mean a prompt: `(P,)`."""
    return per_prompt(measured.text, measured.prompts)


def pairs_of_prompts(measured: Measured) -> np.ndarray:
    """All pairs of pictures of one prompt."""
    return measured.among[~np.isnan(measured.among)]


def diversity(measured: Measured) -> np.ndarray:
    """Mean over the pairs of pictures of each prompt, `(P,)`; NaN for a prompt with one picture."""
    some = (measured.prompts == prompt for prompt in np.unique(measured.prompts))
    pairs = [measured.among[np.ix_(of, of)] for of in some]
    return np.array([np.nanmean(block) if not np.isnan(block).all() else np.nan for block in pairs])


def diversity_share(measured: Measured) -> np.ndarray:
    """`diversity`, as a share of that of the photographs; NaN where those are one, or all the same."""
    real = measured.real[~np.isnan(measured.real)]
    return diversity(measured) / (real.mean() if real.size and real.mean() > 0 else np.nan)


def prior_similarity(measured: Measured) -> np.ndarray:
    """How alike pictures of the class alone are to the photographs, `(C,)`; of distances, 1 − d."""
    means = _rows(np.nanmean, measured.of_class)
    return means if measured.direction == "similarity" else 1 - means


def copies(measured: Measured) -> np.ndarray:
    """Share of each prompt's pictures whose nearest reference is nearer than `copy_below`: `(P,)`; none without it."""
    if np.isnan(measured.copy_below):
        return _none()
    nearest = nearest_reference(measured)
    copied = nearest < measured.copy_below if measured.direction == "distance" else nearest > measured.copy_below
    return per_prompt(copied.astype(float), measured.prompts)


def per_prompt(values: np.ndarray, prompts: np.ndarray) -> np.ndarray:
    """Means over the pictures of each prompt: `(G,)` and `(G,)` → `(P,)`, in the order of the prompts' numbers."""
    _, labels = np.unique(prompts, return_inverse=True)
    return np.bincount(labels, values) / np.bincount(labels)


def _rows(statistic: Callable[..., np.ndarray], matrix: np.ndarray) -> np.ndarray:
    return statistic(matrix, axis=1) if matrix.size else _none()


def _nearest(measured: Measured) -> Callable[..., np.ndarray]:
    return np.nanmin if measured.direction == "distance" else np.nanmax


def firsts(measured: Measured) -> np.ndarray:
    """Positions of each prompt's first picture, `(P,)`."""
    return np.unique(measured.prompts, return_index=True)[1]
