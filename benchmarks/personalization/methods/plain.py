"""The pipeline as it is, told the class: what every method has to beat in subject fidelity."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.personalization.methods.base import PAPER, Method, Personalized
from benchmarks.personalization.methods.saved import read_config, write_config
from benchmarks.personalization.subjects import Subject


@dataclass(frozen=True)
class Config:
    """Settings: there are none."""


class Plain(Personalized):
    """A pipeline as it was given."""

    def save(self, folder: Path) -> None:
        write_config(folder, words=self.words)


def fit(subject: Subject, pipeline: Any, config: Config, work: Path | None = None) -> Plain:
    """Fit a subject, see `Method`: nothing is learnt."""
    return Plain(pipeline, subject.noun)


def load(folder: Path, pipeline: Any, words: str | None = None) -> Plain:
    """Load what `save` wrote, see `Method`."""
    return Plain(pipeline, read_config(folder, "words")["words"])


METHOD = Method({PAPER: Config()}, fit, load, citation="")
