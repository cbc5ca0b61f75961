"""Which pictures have to be compared for all scores of all methods, and where each number of them goes."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.metrics.base import Metric
from benchmarks.metrics.compare import compare_pairs, compare_prompts
from benchmarks.personalization.cutout import cut_out
from benchmarks.personalization.layout import PHOTOGRAPHS, Gallery, Painting
from benchmarks.personalization.matrices import Measured
from benchmarks.personalization.subjects import Prompt, Subject, fill
from dreamsim_metric.scale.cache import Cache


@dataclass(frozen=True)
class Cell:
    """One method's pictures of one subject, or the subject's own photographs, as a method.

    Attributes:
        method: name of the method, or `layout.PHOTOGRAPHS`.
        subject: subject that the pictures are of.
        pictures: painted pictures, by prompt and seed; none for photographs.
        of_class: pictures painted of the class alone.
        prompts: number of each picture's prompt in `asked`, `(G,)`.
        asked: prompts that there are pictures of, in order; none for photographs.
        references, among, real, of_class_to, masked: positions of the numbers of `Measured`'s matrices in the list of
            all numbers; the last of them, a NaN, where there is none.
        text: positions in the list of numbers of pictures and prompts, in the same way.
    """

    method: str
    subject: Subject
    pictures: tuple[Painting, ...]
    of_class: tuple[Painting, ...]
    prompts: np.ndarray
    asked: tuple[Prompt, ...]
    references: np.ndarray
    among: np.ndarray
    real: np.ndarray
    of_class_to: np.ndarray
    masked: np.ndarray
    text: np.ndarray


class Pairing:
    """All comparisons, each once.

    Args:
        galleries: galleries of all methods.
        scratch: folder for subjects cut out.

    Attributes:
        cells: cells of the methods and, where a subject has two photographs or more, of those.

    Raises:
        ValueError: a mask that does not fit its picture.
    """

    def __init__(self, galleries: Sequence[Gallery], scratch: Path) -> None:
        self._scratch = scratch
        self._files: dict[Path, int] = {}
        self._pairs: dict[tuple[int, int], int] = {}
        self._prompts: dict[str, int] = {}
        self._painted: dict[Path, int] = {}
        self._texts: dict[tuple[int, int], int] = {}
        self._cut: dict[Path, Path] = {}
        subjects = {gallery.subject.name: gallery.subject for gallery in galleries}
        self.cells = [self._photographs(subject) for subject in subjects.values() if len(subject.pictures) > 1]
        self.cells += [self._gallery(gallery) for gallery in galleries]

    @property
    def files(self) -> list[Path]:
        """All pictures that are compared."""
        return list(self._files)

    def measure(
        self, metric: Metric, cache: Cache, copy_below: float, batch_size: int, workers: int | None
    ) -> list[Measured]:
        """Measure each cell by a metric; metrics of text see no photographs, so that theirs have no `text`.

        Raises:
            Unmeasurable: the metric cannot take these pictures, and why.
        """
        if metric.text is None:
            pairs = np.array(list(self._pairs)).reshape(-1, 2)
            d = compare_pairs(metric, self.files, pairs, cache, batch_size=batch_size, workers=workers)
            numbers, texts = np.append(d, np.nan), None
        else:
            pairs = np.array(list(self._texts)).reshape(-1, 2)
            prompts, painted = list(self._prompts), list(self._painted)
            d = (
                compare_prompts(metric, prompts, painted, pairs, cache, batch_size=batch_size, workers=workers)
                if len(pairs)
                else np.zeros(0)
            )
            numbers, texts = None, np.append(d, np.nan)
        return [_measure(cell, metric, numbers, texts, copy_below) for cell in self.cells]

    def _photographs(self, subject: Subject) -> Cell:
        real = self._matrix(subject.pictures, subject.pictures)
        cut = self._cut_out(subject.pictures, subject.masks)
        return Cell(
            PHOTOGRAPHS,
            subject,
            (),
            (),
            prompts=np.zeros(len(real), dtype=int),
            asked=(),
            references=real,
            among=real,
            real=real,
            of_class_to=np.zeros((0, len(real)), dtype=int),
            masked=self._matrix(cut, cut),
            text=np.zeros(0, dtype=int),
        )

    def _gallery(self, gallery: Gallery) -> Cell:
        subject = gallery.subject
        paths = [picture.path for picture in gallery.pictures]
        asked = tuple(dict.fromkeys(picture.prompt for picture in gallery.pictures if picture.prompt is not None))
        prompts = np.array([asked.index(picture.prompt) for picture in gallery.pictures if picture.prompt], dtype=int)
        masks = [picture.mask for picture in gallery.pictures]
        painted, real = self._cut_out(paths, masks), self._cut_out(subject.pictures, subject.masks)
        return Cell(
            gallery.method,
            subject,
            gallery.pictures,
            gallery.of_class,
            prompts=prompts,
            asked=asked,
            references=self._matrix(paths, subject.pictures),
            among=self._among(paths, prompts),
            real=self._matrix(subject.pictures, subject.pictures),
            of_class_to=self._matrix([picture.path for picture in gallery.of_class], subject.pictures),
            masked=self._matrix(painted, real) if painted and real else np.zeros((0, 0), dtype=int),
            text=np.array([self._text(picture, subject.noun) for picture in gallery.pictures], dtype=int),
        )

    def _matrix(self, pictures: Sequence[Path], references: Sequence[Path]) -> np.ndarray:
        found = [[self._pair(reference, picture) for reference in references] for picture in pictures]
        return np.array(found, dtype=int).reshape(len(pictures), len(references))

    def _among(self, pictures: Sequence[Path], prompts: np.ndarray) -> np.ndarray:
        found = np.full((len(pictures), len(pictures)), -1)
        for i, j in np.argwhere(np.triu(prompts[:, None] == prompts, 1)):
            found[i, j] = self._pair(pictures[i], pictures[j])
        return found

    def _pair(self, reference: Path, picture: Path) -> int:
        if reference == picture:
            return -1
        pair = tuple(self._files.setdefault(path, len(self._files)) for path in (reference, picture))
        return self._pairs.setdefault((pair[0], pair[1]), len(self._pairs))

    def _text(self, picture: Painting, noun: str) -> int:
        assert picture.prompt is not None
        prompt = self._prompts.setdefault(fill(picture.prompt.text, noun), len(self._prompts))
        painted = self._painted.setdefault(picture.path, len(self._painted))
        return self._texts.setdefault((prompt, painted), len(self._texts))

    def _cut_out(self, pictures: Sequence[Path], masks: Sequence[Path | None]) -> list[Path]:
        """Cut out all of them, or none: a mean over those that happen to have masks would be of something else."""
        found = []
        for picture, mask in zip(pictures, masks, strict=True):
            if mask is None:
                return []
            if picture not in self._cut:
                self._cut[picture] = cut_out(picture, mask, self._scratch)
            found.append(self._cut[picture])
        return found


def _measure(
    cell: Cell, metric: Metric, numbers: np.ndarray | None, texts: np.ndarray | None, copy_below: float
) -> Measured:
    if numbers is None:
        assert texts is not None
        return Measured(metric.card.direction, cell.prompts, text=texts[cell.text])
    return Measured(
        metric.card.direction,
        cell.prompts,
        references=numbers[cell.references],
        among=numbers[cell.among],
        real=numbers[cell.real],
        of_class=numbers[cell.of_class_to],
        masked=numbers[cell.masked],
        copy_below=copy_below,
    )
