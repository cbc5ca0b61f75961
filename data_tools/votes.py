"""The votes: a SQLite file in which responses are only ever added.

A response is on the disk before its sender hears of it, and a rater has one to a question: what comes twice is stored
once.
"""

import json
import secrets
import sqlite3
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from data_tools.assignment import Asked, Assignment
from data_tools.ledger import VOTES, Ledger, open_to_read, read_rows
from data_tools.names import Names
from data_tools.presentation import measure_departure
from data_tools.secret import STUDY_SECRET, read_secret
from data_tools.simulation import BUILD
from data_tools.study import ANSWERS, Item, Study

_FORMAT = 3
_SCHEMA = (
    "CREATE TABLE study (id TEXT NOT NULL, format INTEGER NOT NULL)",
    """CREATE TABLE raters (
        rater TEXT PRIMARY KEY, code TEXT NOT NULL, participant TEXT UNIQUE, build TEXT NOT NULL, began REAL NOT NULL,
        finished REAL
    ) STRICT""",
    """CREATE TABLE leases (
        lease INTEGER PRIMARY KEY, rater TEXT NOT NULL REFERENCES raters, screen INTEGER NOT NULL, item TEXT NOT NULL,
        swapped INTEGER NOT NULL, given REAL NOT NULL, expires REAL NOT NULL
    ) STRICT""",
    "CREATE INDEX raters_by_time ON raters (began)",
    "CREATE INDEX leases_of_rater ON leases (rater, screen)",
    "CREATE INDEX leases_of_item ON leases (item)",
    """CREATE TABLE responses (
        response INTEGER PRIMARY KEY, rater TEXT NOT NULL REFERENCES raters, item TEXT NOT NULL, kind TEXT NOT NULL,
        screen INTEGER NOT NULL, position INTEGER NOT NULL, swapped INTEGER NOT NULL, answer TEXT NOT NULL,
        correct INTEGER, response_ms REAL NOT NULL, early INTEGER NOT NULL, presented TEXT NOT NULL,
        showings INTEGER NOT NULL, off_ms REAL, waited_ms REAL, build TEXT NOT NULL,
        received REAL NOT NULL, UNIQUE (rater, item)
    ) STRICT""",
    "CREATE INDEX standing ON responses (rater, kind, correct, off_ms, waited_ms, received, screen)",
    """CREATE TRIGGER responses_stay BEFORE UPDATE ON responses
    BEGIN SELECT RAISE(ABORT, 'responses are never changed'); END""",
    """CREATE TRIGGER responses_remain BEFORE DELETE ON responses
    BEGIN SELECT RAISE(ABORT, 'responses are never removed'); END""",
)


class RefusedError(ValueError):
    """An error: what was sent cannot be taken."""


class BusyError(RuntimeError):
    """An error: as many raters began as may in a minute."""


class UnknownRaterError(LookupError):
    """An error: no such token was given out."""


class Votes:
    """The votes of one study, safe to use from several threads of one process."""

    def __init__(self, folder: Path, study: Study, clock: Callable[[], float] = time.time) -> None:
        """Open the file, or begin it.

        Args:
            folder: folder of the study.
            study: study that the votes are for.
            clock: function that tells the time in seconds, for leases.

        Raises:
            ValueError: the file has another study's votes, or is no such file.
            OSError: it is in use by another process, or cannot be written.
        """
        self.study, self._clock = study, clock
        names = Names(read_secret(folder / STUDY_SECRET))
        self._ledger = Ledger(folder, self._begin)
        self._db, self._lock = self._ledger.db, self._ledger.lock
        self._writing, self._sync = self._ledger.writing, self._ledger.sync
        try:
            _check_study(self._db, study, self._ledger.file)
            self._questions = Assignment(self._db, study, names, clock)
            self.items = self._questions.items
            with self._writing():
                self._questions.begin()
            self._sync()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the file, which then holds everything, and let others open it."""
        self._ledger.close()

    def _begin(self, db: sqlite3.Connection) -> None:
        for statement in _SCHEMA:
            db.execute(statement)
        db.execute("INSERT INTO study VALUES (?, ?)", (self.study.id, _FORMAT))

    def register(self, build: str, participant: str | None = None, most: int | None = None) -> str:
        """Register a new rater, who agreed to take part.

        Args:
            build: build of the page that they look at.
            participant: token of whom a recruiting service sent (`participants.hash_participant`).
            most: raters who may begin in a minute; None for any number.

        Returns:
            Their id, random; of a participant who is registered already, the one that they have.

        Raises:
            BusyError: as many began within the last minute.
        """
        rater, code = secrets.token_hex(16), secrets.token_hex(4).upper()
        with self._writing():
            known = self.find(participant)
            if known:
                return known
            since = "SELECT count(*) FROM raters WHERE began > ?"
            if most is not None and self._db.execute(since, (self._clock() - 60,)).fetchone()[0] >= most:
                raise BusyError(f"{most} people began within a minute; try again in a while")
            row = (rater, code, participant, build, self._clock())
            self._db.execute("INSERT INTO raters VALUES (?, ?, ?, ?, ?, NULL)", row)
        self._sync()
        return rater

    def find(self, participant: str | None) -> str | None:
        """Return the rater that a participant is, if they are one."""
        with self._lock:
            found = self._db.execute("SELECT rater FROM raters WHERE participant = ?", (participant,)).fetchone()
        return str(found[0]) if found else None

    def code(self, rater: str) -> str:
        """Return the code that a rater is given at the end.

        Raises:
            UnknownRaterError: no such token.
        """
        found = self._db.execute("SELECT code FROM raters WHERE rater = ?", (rater,)).fetchone()
        if not found:
            raise UnknownRaterError("no such rater")
        return str(found[0])

    def finish(self, rater: str) -> str | None:
        """Return the code of a rater who has nothing left to answer; nothing for who answered no question.

        Raises:
            UnknownRaterError: no such token.
        """
        code, answers = self.code(rater), "SELECT 1 FROM responses WHERE rater = ? AND kind = 'main' LIMIT 1"
        return code if self._db.execute(answers, (rater,)).fetchone() else None

    def progress(self, rater: str) -> tuple[int, int]:
        """Count the screens that a rater has answered, and all that there are.

        Raises:
            UnknownRaterError: no such token.
        """
        self.code(rater)
        done = self._db.execute("SELECT count(DISTINCT screen) FROM responses WHERE rater = ?", (rater,)).fetchone()[0]
        return done, self._questions.total()

    def ask(self, rater: str) -> list[Asked]:
        """Choose what a rater answers next: the questions that they hold, and more until there are some screens ahead.

        Asked again before anything is answered, it gives the same. Nothing is left when the list is empty.

        Raises:
            UnknownRaterError: no such token.
        """
        with self._writing():
            self.code(rater)
            return self._questions.give(rater)

    def leave(self, rater: str) -> None:
        """Give back what a rater holds.

        Raises:
            UnknownRaterError: no such token.
        """
        with self._writing():
            self.code(rater)
            self._questions.leave(rater)

    def questions(self) -> dict[str, int]:
        """Count the questions: `all`, those `finished`, and those `open` with somebody."""
        with self._lock:
            return self._questions.questions()

    def answer(
        self,
        rater: str,
        screen: int,
        answers: Mapping[str, tuple[str, float]],
        presented: Sequence[float],
        build: str,
        *,
        showings: int = 1,
        early: int = 0,
    ) -> dict[str, bool]:
        """Take the answers of one screen, whole or not at all; what was taken before is not taken again.

        An answer whose lease ran out meanwhile is taken too: a person gave it.

        Args:
            rater: token of the rater.
            screen: number of the screen.
            answers: answer to each question, `left` or `right` (`same` or `different`) in the table's order of the
                sides, and its response time in milliseconds.
            presented: milliseconds from the screen's beginning to the moment when each picture came.
            build: build of the page that was answered on.
            showings: how often the pictures were shown, where they are shown briefly.
            early: presses that came too soon to be answers.

        Returns:
            Whether the answer was right, by practice question.

        Raises:
            UnknownRaterError: no such token.
            RefusedError: the rater does not have this screen, or the answers are not those that it asks for.
        """
        with self._writing():
            self.code(rater)
            rows = self._db.execute(
                "SELECT item, swapped, given FROM leases WHERE rater = ? AND screen = ? ORDER BY lease", (rater, screen)
            ).fetchall()
            if not rows:
                raise RefusedError(f"screen {screen} was not given to this rater")
            asked = {item: (position, swapped) for position, (item, swapped, _) in enumerate(rows)}
            if not answers or not set(answers) <= set(asked):
                raise RefusedError(f"got answers to other questions than those of screen {screen}, or to none")
            rest = {"screen": screen, "presented": json.dumps(list(presented)), "build": build}
            rest |= {"showings": showings, "early": early}
            rest["waited_ms"] = None if build == BUILD else self._measure_wait(rater, screen, rows[0][2])
            right = {}
            for name, (answer, response_ms) in answers.items():
                position, swapped = asked[name]
                timed = self.study.task == "jnd"  # triplets stay for as long as they are looked at
                off_ms = measure_departure(presented, position, showings) if timed else None
                row = {**rest, "position": position, "swapped": swapped, "response_ms": response_ms, "off_ms": off_ms}
                correct = self._store(rater, self.items[name], answer, row)
                if self.items[name].kind == "practice":
                    right[name] = bool(correct)
        self._sync()
        return right

    def _measure_wait(self, rater: str, screen: int, given: float) -> float | None:
        """Milliseconds since a screen can have been looked at: given, and the one before it answered.

        None where the clock was set back meanwhile.
        """
        before = "SELECT max(received) FROM responses WHERE rater = ? AND screen != ?"
        answered = self._db.execute(before, (rater, screen)).fetchone()[0]
        waited = 1000 * (self._clock() - max(given, answered or 0))
        return waited if waited >= 0 else None

    def _store(self, rater: str, item: Item, answer: str, rest: Mapping[str, Any]) -> bool | None:
        """Store one answer; return whether it is right, where that is known."""
        known = ANSWERS[self.study.task]
        if answer not in known:
            raise RefusedError(f"got the answer {answer!r}; expected {' or '.join(known)}")
        correct = None if item.answer is None else answer == item.answer
        counted = self._questions.counts(rater)
        row = {"rater": rater, "item": item.id, "kind": item.kind, "answer": answer, "correct": correct, **rest}
        row["received"] = self._clock()
        new = self._db.execute(
            f"INSERT INTO responses ({', '.join(row)}) VALUES (:{', :'.join(row)}) "
            "ON CONFLICT (rater, item) DO NOTHING",
            row,
        ).rowcount
        self._questions.take_back(rater, item.id)
        if self._questions.is_good(rater) != counted:  # who answers is asked more, and so counts until they leave
            self._questions.count()  # none of the rater's votes counts now, or all of them
        elif new and item.kind == "main" and counted and self._questions.is_valid(row["off_ms"], row["waited_ms"]):
            self._questions.add(item.id, answer)
        return correct


def read_responses(folder: Path, study: Study) -> list[dict[str, Any]]:
    """Read all responses of a study, in the order in which they came; while it is served, too.

    Raises:
        FileNotFoundError: nobody was asked yet.
        ValueError: the file is of another study, or of something else.
    """
    return _read(
        folder,
        study,
        "SELECT responses.*, code, coalesce(participant, '') AS participant, "
        "finished IS NOT NULL AS finished FROM responses JOIN raters USING (rater) ORDER BY response",
    )


def read_raters(folder: Path, study: Study) -> list[dict[str, Any]]:
    """Read all raters of a study, in the order in which they agreed: token, code, participant and screens answered.

    Raises:
        FileNotFoundError, ValueError: Same as in `read_responses`.
    """
    return _read(
        folder,
        study,
        "SELECT rater, code, coalesce(participant, '') AS participant, count(DISTINCT screen) AS screens "
        "FROM raters LEFT JOIN responses USING (rater) GROUP BY rater ORDER BY began",
    )


def _read(folder: Path, study: Study, query: str) -> list[dict[str, Any]]:
    with open_to_read(folder) as db:
        _check_study(db, study, folder / VOTES)
        return read_rows(db, query)


def _check_study(db: sqlite3.Connection, study: Study, file: Path) -> None:
    if db.execute("SELECT id, format FROM study").fetchone() != (study.id, _FORMAT):
        raise ValueError(
            f"{file} has the votes of another study, or of another version of this package; move it away, or serve "
            "the study that it is of"
        )
