"""What people are asked: a study is a folder with `study.json`, made from the pictures of `generate`, and the votes."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from itertools import accumulate
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np

from data_tools.participants import NAMES
from data_tools.presentation import PLANNED
from data_tools.tables import PAIRS, TRIPLETS
from dreamsim_metric.bounds import check_least
from dreamsim_metric.files.digest import digest_file
from dreamsim_metric.files.json_file import write_json
from dreamsim_metric.files.table import Sheet
from dreamsim_metric.judgements.columns import PAIR_PATHS, TRIPLET_PATHS

STUDY = "study.json"
MOST = 100_000  # of what a study counts: more is a slip, and would keep the server from starting
Task = Literal["2afc", "jnd"]
Kind = Literal["practice", "sentinel", "main"]
Require = Literal["nothing", "id", "invitation"]
REQUIRE: tuple[Require, ...] = ("nothing", "id", "invitation")
ANSWERS: dict[str, tuple[str, str]] = {"2afc": ("left", "right"), "jnd": ("same", "different")}
TEXTS = {
    "title": "Which pictures look alike?",
    "consent": (
        "You will look at pictures and say how they look to you. Your answers and how long they took are stored under "
        "a random number; your name and address are not. If a service sent you here, a code made from your id there is "
        "stored too, so that you can be paid. You may stop at any time, and come back. If you agree, go on."
    ),
    "thanks": "Thank you! Your code:",
}
INSTRUCTIONS = {
    "2afc": (
        "You see a picture above and two below. Choose the one below that looks more like the one above: click it, or "
        "press the left or the right arrow key. There is no time limit; go with your first impression."
    ),
    "jnd": (
        "Four pictures appear one after the other, each for half a second. Then you are asked twice: did the first and "
        "the third look the same? And the second and the fourth? Press S for same, D for different, or click."
    ),
}


@dataclass(frozen=True)
class Item:
    """A question: a triplet (reference, left, right) or a pair.

    Attributes:
        id: id in the table of pictures; `practice-N` and `sentinel-N` for questions with a known answer.
        kind: kind of question: practice comes first, with feedback; sentinels are hidden among the others.
        pictures: paths relative to the pictures' folder.
        category: category in the prompt.
        prompt: prompt that the pictures were made from.
        answer: known answer to practice and sentinels; None for the others.
    """

    id: str
    kind: Kind
    pictures: tuple[str, ...]
    category: str = ""
    prompt: str = ""
    answer: str | None = None


@dataclass(frozen=True)
class Study:
    """The questions that are asked, and of whom how many.

    Attributes:
        task: kind of question: `2afc` (which looks more like the reference?) or `jnd` (two pairs, shown briefly: the
            same?).
        pictures: folder that `generate` made.
        table: digest (sha256) of its table; a study's pictures do not change.
        rounds: votes that each round adds. After the first, a question gets more only while all agree.
        trials: questions that a rater is asked, beside practice and sentinels.
        practice: screens with feedback that come first.
        sentinel_every: questions among which one obvious one is hidden; 0 for none.
        min_sentinels: share of the sentinels to be right on; the votes of raters below do not count, and are asked of
            others.
        min_answers: answers from which on a rater counts who has met the sentinels that were due; who was asked all
            that there was counts with fewer.
        min_wait_ms: milliseconds by the server's clock, beside those that pairs are shown for, sooner than which nobody
            can have answered a question that they were given; such answers do not count, and are asked of others.
        new_raters: raters who may begin in a minute, all together, beside those with an invitation.
        require: what a rater has to have: `id` of a recruiting service, `invitation` of the owner, or `nothing`.
        lease_minutes: minutes after which a question that somebody has open is given to another.
        tolerance_ms: milliseconds by which a pair's pictures and masks may be shown longer or shorter than 500; answers
            to others do not count, and are asked of others.
        participant: names in the address under which a recruiting service gives a rater's id.
        seed: seed of all that is random.
        texts: the texts `title`, `consent`, `instructions`, `thanks`: yours to write.
    """

    task: Task
    pictures: str
    table: str
    rounds: tuple[int, ...] = (3,)
    trials: int = 50
    practice: int = 2
    sentinel_every: int = 10
    min_sentinels: float = 0.75
    min_answers: int = 10
    min_wait_ms: float = 500
    new_raters: int = 60
    require: Require = "nothing"
    lease_minutes: float = 20
    tolerance_ms: float = 50
    participant: tuple[str, ...] = NAMES
    seed: int = 0
    texts: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._check_kinds()
        if self.task not in ANSWERS:
            raise ValueError(f"got task {self.task!r}; expected one of {', '.join(ANSWERS)}")
        least = {"trials": 1, "practice": 0, "sentinel_every": 0, "min_sentinels": 0, "lease_minutes": 0.01}
        least |= {"new_raters": 0, "tolerance_ms": 0, "min_answers": 0, "min_wait_ms": 0}
        for name, lowest in least.items():
            check_least(name, getattr(self, name), lowest)
        if self.min_sentinels > 1:
            raise ValueError(f"got min_sentinels {self.min_sentinels}; expected a share, 0 to 1")
        if not self.rounds or min(self.rounds) < 1:
            raise ValueError(f"got rounds {list(self.rounds)}; expected the votes of each, 1 or more")
        if self.require not in REQUIRE:
            raise ValueError(f"got require {self.require!r}; expected one of {', '.join(REQUIRE)}")
        unknown = set(self.texts) - {*TEXTS, "instructions"}
        if unknown:
            raise ValueError(f"got texts {', '.join(sorted(unknown))}; expected {', '.join([*TEXTS, 'instructions'])}")

    def _check_kinds(self) -> None:
        """Be sure that values are of the kinds that they must be: the file is edited by hand."""
        whole = ("trials", "practice", "sentinel_every", "min_answers", "new_raters", "seed")
        for name, value in (*((one, getattr(self, one)) for one in whole), *(("rounds", one) for one in self.rounds)):
            if type(value) is not int or (name != "seed" and value > MOST):
                raise ValueError(f"got {name} {value!r}; expected a whole number, {MOST} at most")
        for name in ("min_sentinels", "min_wait_ms", "lease_minutes", "tolerance_ms"):
            if type(getattr(self, name)) not in (int, float):
                raise ValueError(f"got {name} {getattr(self, name)!r}; expected a number")
        texts = self.texts.items() if isinstance(self.texts, dict) else [("texts", None)]
        for name, text in (("pictures", self.pictures), *texts, *(("participant", one) for one in self.participant)):
            if not isinstance(text, str):
                raise ValueError(f"got {text!r} for {name}; expected text")

    @property
    def id(self) -> str:
        """Digest of all that the questions depend on, which votes belong to; the rest may change meanwhile."""
        asked = (self.task, self.table, self.trials, self.practice, self.sentinel_every, self.seed)
        return hashlib.sha256(json.dumps(asked).encode()).hexdigest()

    @property
    def on_screen(self) -> int:
        """Questions asked together: one triplet, two pairs."""
        return 1 if self.task == "2afc" else 2

    @property
    def sentinels(self) -> int:
        """Questions with a known answer that are hidden among a rater's others."""
        return max(1, self.trials // self.sentinel_every) * self.on_screen if self.sentinel_every else 0

    @property
    def block(self) -> int:
        """Screens among which one of sentinels is hidden."""
        return -(-min(self.sentinel_every, self.trials) // self.on_screen)

    @property
    def soonest_ms(self) -> float:
        """Milliseconds from being given a question, sooner than which an answer cannot be; 0 for any."""
        return self.min_wait_ms and self.min_wait_ms + (PLANNED[-1] if self.task == "jnd" else 0)

    def proves(self, answers: int, met: int, finished: bool) -> bool:
        """Tell whether a rater answered enough, sentinels among it, to count.

        Args:
            answers: questions that they answered and that count.
            met: sentinels that they answered, right or wrong.
            finished: whether there was nothing left to ask them.

        Example:
            >>> study = Study("2afc", "pictures", "digest", trials=50, sentinel_every=10, min_answers=10)
            >>> study.proves(9, 1, False), study.proves(10, 1, False), study.proves(20, 1, False)
            (False, True, False)
        """
        due = answers // self.on_screen // self.block * self.on_screen if self.sentinel_every else 0
        return met >= min(max(1, due), self.sentinels) and (finished or answers >= self.min_answers)

    @property
    def shown(self) -> dict[str, str]:
        """All texts."""
        return {**TEXTS, "instructions": INSTRUCTIONS[self.task], **self.texts}

    def target(self, votes: int, first: int) -> int:
        """Compute how many votes a question is to have, given those that it has.

        Args:
            votes: votes that the question has and that count.
            first: votes among them for the first answer.

        Example:
            >>> study = Study("2afc", "pictures", "digest", rounds=(3, 2))
            >>> study.target(0, 0), study.target(3, 3), study.target(3, 1)  # 3 to 0: two more; 1 to 2: enough
            (3, 5, 3)
        """
        for end in accumulate(self.rounds):
            if votes < end:
                return end
            if 0 < first < votes:
                break
        return votes

    def write(self, folder: Path) -> None:
        """Begin the study's folder.

        Raises:
            FileExistsError: there is one.
        """
        if (folder / STUDY).exists():
            raise FileExistsError(f"{folder / STUDY} exists already: serve it, or choose another folder")
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / STUDY, {**asdict(self), "texts": self.shown})

    @classmethod
    def of(cls, pictures: Path) -> Self:
        """Make a study of what `generate` made, with the usual settings; `dataclasses.replace` gives it others.

        Raises:
            FileNotFoundError: no table there.
        """
        tables: tuple[tuple[str, Task], ...] = ((TRIPLETS, "2afc"), (PAIRS, "jnd"))
        for name, task in tables:
            if (pictures / name).is_file():
                digest = digest_file(pictures / name)
                return cls(task, str(pictures.resolve()), digest)
        raise FileNotFoundError(f"{pictures} has no {TRIPLETS} or {PAIRS}; expected what dreamsim-data generate made")

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read the study of a folder.

        Raises:
            FileNotFoundError: no study there, or its pictures are gone.
            ValueError: damaged, or the pictures changed.
        """
        file = folder / STUDY
        if not file.is_file():
            raise FileNotFoundError(f"{folder} has no {STUDY}; dreamsim-data study makes one")
        try:
            held = json.loads(file.read_text(encoding="utf-8"))
            unknown = set(held) - {known.name for known in fields(cls)}
            if unknown:
                raise ValueError(f"it has unknown entries: {', '.join(sorted(unknown))}")
            lists = {name: _to_tuple(name, held[name]) for name in ("rounds", "participant") if name in held}
            found = cls(**{**held, **lists})
        except (ValueError, TypeError, KeyError) as error:
            raise ValueError(f"{file} cannot be used: {error}") from error
        if cls.of(Path(found.pictures)).table != found.table:
            raise ValueError(f"the table in {found.pictures} is not the one that {file} was made for; make a new study")
        return found

    def items(self) -> list[Item]:
        """List practice, sentinels and, in a random order, all questions.

        Raises:
            ValueError: fewer than two questions, columns are missing, or ids are repeated.
        """
        name = TRIPLETS if self.task == "2afc" else PAIRS
        columns = TRIPLET_PATHS if self.task == "2afc" else PAIR_PATHS
        sheet = Sheet(Path(self.pictures) / name)
        sheet.require(("id", *columns, "prompt", "category"))
        rows = [record.cells for record in sheet.records]
        if len({row["id"] for row in rows}) < max(len(rows), 2):
            raise ValueError(f"{sheet.path} has {len(rows)} rows; expected two or more, each with an id of its own")
        random = np.random.default_rng(self.seed)
        main = [
            Item(row["id"], "main", tuple(row[column] for column in columns), row["category"], row["prompt"])
            for row in (rows[i] for i in random.permutation(len(rows)))
        ]
        practice = self._obvious("practice", self.practice * self.on_screen, main, random)
        return [*practice, *self._obvious("sentinel", self.sentinels, main, random), *main]

    def _obvious(self, kind: Kind, count: int, main: Sequence[Item], random: np.random.Generator) -> list[Item]:
        """Make questions with one right answer: a picture against itself and against one of another category."""
        found = []
        for i in range(count):
            one = main[int(random.integers(len(main)))]
            others = [item for item in main if item.category != one.category] or [
                item for item in main if item.pictures[0] != one.pictures[0]
            ]
            if not others:
                raise ValueError(
                    "all pairs are of one picture: nothing is obvious; set practice and sentinel_every to 0"
                )
            other = others[int(random.integers(len(others)))].pictures[0]
            this, answer = one.pictures[0], ANSWERS[self.task][i % 2]
            pictures: tuple[str, ...] = (this, this if answer == "same" else other)
            if self.task == "2afc":
                pictures = (this, this, other) if answer == "left" else (this, other, this)
            found.append(Item(f"{kind}-{i}", kind, pictures, one.category, one.prompt, answer))
        return found


def _to_tuple(name: str, value: object) -> tuple[Any, ...]:
    if not isinstance(value, list):
        raise ValueError(f"got {name} {value!r}; expected a list")
    return tuple(value)
