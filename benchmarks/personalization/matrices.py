"""What a metric says of a method's pictures of one subject, and the means that scores are made of."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import numpy as np


def _give_none() -> np.ndarray:
    return np.zeros(0)


@dataclass(frozen=True)
class Measured:
    """Numbers of a metric for one method's pictures of one subject.

    Attributes:
        direction: direction of the metric.
        prompts: number of the prompt of each of G pictures, `(G,)`, in order; within one, pictures go by seed.
        references: numbers to each of R photographs of the subject, `(G, R)`; NaN where a photograph would be its own.
        among: numbers between pictures, `(G, G)`; NaN but between two different pictures of one prompt.
        real: numbers between photographs, `(R, R)`; NaN on the diagonal.
        of_class: numbers from pictures of the class alone to the photographs, `(C, R)`.
        text: numbers to the prompt with the noun of the class in it, `(G,)`; empty for metrics of pictures.
        masked: numbers of subjects cut out, `(G, R)`; empty without masks of all pictures and photographs.
        copy_below: number from which on a nearer picture counts as copied; NaN where nobody knows.
    """

    direction: Literal["distance", "similarity"]
    prompts: np.ndarray
    references: np.ndarray = field(default_factory=_give_none)
    among: np.ndarray = field(default_factory=_give_none)
    real: np.ndarray = field(default_factory=_give_none)
    of_class: np.ndarray = field(default_factory=_give_none)
    text: np.ndarray = field(default_factory=_give_none)
    masked: np.ndarray = field(default_factory=_give_none)
    copy_below: float = float("nan")


def average_references(measured: Measured) -> np.ndarray:
    """Average over the references, `(G,)`: the mean over pictures is then that over all pairs.

    Example:
        >>> matrix = np.array([[0.5, 0.25], [0.5, 1.0], [0.75, 0.5]])
        >>> some = Measured("distance", np.array([0, 0, 1]), references=matrix)
        >>> average_references(some)
        array([0.375, 0.75 , 0.625])
    """
    return _select_rows(np.nanmean, measured.references)


def take_nearest_reference(measured: Measured) -> np.ndarray:
    """Take the number to the most alike of the references, `(G,)`.

    Example:
        >>> matrix = np.array([[0.5, 0.25], [0.5, 1.0], [0.75, 0.5]])
        >>> some = Measured("distance", np.array([0, 0, 1]), references=matrix)
        >>> take_nearest_reference(some)
        array([0.25, 0.5 , 0.5 ])
    """
    return _select_rows(_take_nearest(measured), measured.references)


def take_one_to_one(measured: Measured) -> np.ndarray:
    """Take the first picture of each prompt with the first reference, times 100: `(P,)`."""
    return 100 * measured.references[find_firsts(measured), 0]


def average_subject(measured: Measured) -> np.ndarray:
    """Average `average_references` over each prompt: `(P,)`."""
    return average_by_prompt(average_references(measured), measured.prompts)


def average_nearest(measured: Measured) -> np.ndarray:
    """Average `take_nearest_reference` over each prompt: `(P,)`."""
    return average_by_prompt(take_nearest_reference(measured), measured.prompts)


def average_masked(measured: Measured) -> np.ndarray:
    """Compute `average_subject` of subjects cut out; empty without masks."""
    if not measured.masked.size:
        return _give_none()
    return average_by_prompt(_select_rows(np.nanmean, measured.masked), measured.prompts)


def average_masked_nearest(measured: Measured) -> np.ndarray:
    """Compute `average_nearest` of subjects cut out; empty without masks."""
    if not measured.masked.size:
        return _give_none()
    return average_by_prompt(_select_rows(_take_nearest(measured), measured.masked), measured.prompts)


def take_text(measured: Measured) -> np.ndarray:
    """Take the numbers of picture and prompt, `(G,)`."""
    return measured.text


def clip_score(measured: Measured) -> np.ndarray:
    """Compute 2.5 max(cos, 0) of picture and prompt (Hessel et al. 2021), `(G,)`."""
    return 2.5 * np.maximum(measured.text, 0)


def average_text_by_prompt(measured: Measured) -> np.ndarray:
    """Average the numbers of picture and prompt over each prompt: `(P,)`."""
    return average_by_prompt(measured.text, measured.prompts)


def list_prompt_pairs(measured: Measured) -> np.ndarray:
    """List the numbers of all pairs of pictures of one prompt."""
    return measured.among[~np.isnan(measured.among)]


def measure_diversity(measured: Measured) -> np.ndarray:
    """Average over the pairs of pictures of each prompt, `(P,)`; NaN for a prompt with one picture."""
    some = (measured.prompts == prompt for prompt in np.unique(measured.prompts))
    pairs = [measured.among[np.ix_(of, of)] for of in some]
    return np.array([np.nanmean(block) if not np.isnan(block).all() else np.nan for block in pairs])


def compare_diversity(measured: Measured) -> np.ndarray:
    """Divide `measure_diversity` by that of the photographs; NaN where those are one, or all the same."""
    real = measured.real[~np.isnan(measured.real)]
    return measure_diversity(measured) / (real.mean() if real.size and real.mean() > 0 else np.nan)


def measure_prior_similarity(measured: Measured) -> np.ndarray:
    """Compute how alike pictures of the class alone are to the photographs, `(C,)`; of distances, 1 − d."""
    means = _select_rows(np.nanmean, measured.of_class)
    return means if measured.direction == "similarity" else 1 - means


def count_copies(measured: Measured) -> np.ndarray:
    """Count the share of each prompt's pictures that are nearer to a reference than `copy_below`: `(P,)`, or empty."""
    if np.isnan(measured.copy_below):
        return _give_none()
    nearest = take_nearest_reference(measured)
    copied = nearest < measured.copy_below if measured.direction == "distance" else nearest > measured.copy_below
    return average_by_prompt(copied.astype(float), measured.prompts)


def average_by_prompt(values: np.ndarray, prompts: np.ndarray) -> np.ndarray:
    """Average over the pictures of each prompt: `(G,)` and `(G,)` → `(P,)`, in the order of the prompts' numbers.

    Example:
        >>> average_by_prompt(np.array([1.0, 3.0, 5.0]), np.array([0, 0, 1]))
        array([2., 5.])
    """
    _, labels = np.unique(prompts, return_inverse=True)
    return np.bincount(labels, values) / np.bincount(labels)


def _select_rows(statistic: Callable[..., np.ndarray], matrix: np.ndarray) -> np.ndarray:
    return statistic(matrix, axis=1) if matrix.size else _give_none()


def _take_nearest(measured: Measured) -> Callable[..., np.ndarray]:
    return np.nanmin if measured.direction == "distance" else np.nanmax


def find_firsts(measured: Measured) -> np.ndarray:
    """Find the positions of each prompt's first picture, `(P,)`."""
    return np.unique(measured.prompts, return_index=True)[1]
