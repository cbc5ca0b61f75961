"""Who is asked what next.

Each question gets votes until it has as many as its rounds ask for (`Study.target`), those with fewest first. What a
rater holds is leased to them and counts as a vote to come; it is free again when they leave or the lease runs out. The
counts behind this are temporary tables, made from the stored leases and responses at every start, so that they cannot
drift from them.
"""

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass

from data_tools.names import Names
from data_tools.study import ANSWERS, Item, Study

AHEAD = 3  # screens that a rater holds at once, so that pictures load before they are needed
_TABLES = (
    """CREATE TEMP TABLE counts (
        item TEXT PRIMARY KEY, place INTEGER NOT NULL, votes INTEGER NOT NULL, first INTEGER NOT NULL,
        leased INTEGER NOT NULL, target INTEGER NOT NULL
    )""",
    "CREATE INDEX temp.free ON counts (votes, place) WHERE target > votes + leased",
    """CREATE TEMP TABLE live (
        lease INTEGER PRIMARY KEY, item TEXT NOT NULL, rater TEXT NOT NULL, expires REAL NOT NULL
    )""",
    "CREATE INDEX temp.live_until ON live (expires)",
    "CREATE INDEX temp.live_rater ON live (rater)",
)


@dataclass(frozen=True)
class Asked:
    """A question as a rater gets it.

    Attributes:
        screen: number of the rater's screen, counted from 0; questions of one screen are shown together.
        item: the question itself.
        swapped: whether the question's two sides, or the order of its two pictures, are exchanged.
    """

    screen: int
    item: Item
    swapped: bool


class Assignment:
    """The questions of a study, over a database with its `leases` and `responses`. Callers hold the transaction."""

    def __init__(self, db: sqlite3.Connection, study: Study, names: Names, clock: Callable[[], float]) -> None:
        """Prepare the questions; nothing is read yet (`begin` does that).

        Args:
            db: connection to the database of the votes.
            study: study whose questions are asked.
            names: what draws the places of sentinels, so that raters cannot.
            clock: function that tells the time in seconds.
        """
        self.study, self._db, self._clock, self._draw = study, db, clock, names.number
        items = study.items()
        self.items = {item.id: item for item in items}
        self._known = {kind: [item for item in items if item.kind == kind] for kind in ("practice", "sentinel")}
        self._main = [item for item in items if item.kind == "main"]

    def begin(self) -> None:
        """Make the temporary tables and count."""
        for statement in _TABLES:
            self._db.execute(statement)
        self.count()

    def count(self) -> None:
        """Count votes and live leases from what is stored."""
        first = ANSWERS[self.study.task][0]
        rejected = {rater for (rater,) in self._db.execute("SELECT rater FROM raters") if self.rejected(rater)}
        found = {item.id: [0, 0] for item in self._main}
        answers = "SELECT rater, item, answer, off_ms FROM responses WHERE kind = 'main'"
        for rater, item, answer, off_ms in self._db.execute(answers):
            if item in found and rater not in rejected and self.on_time(off_ms):
                found[item][0] += 1
                found[item][1] += answer == first
        live = self._db.execute(
            "SELECT lease, item, rater, expires FROM leases l WHERE expires > ? "
            "AND NOT EXISTS (SELECT 1 FROM responses r WHERE r.rater = l.rater AND r.item = l.item)",
            (self._clock(),),
        ).fetchall()
        self._db.execute("DELETE FROM counts")
        self._db.execute("DELETE FROM live")
        self._db.executemany("INSERT INTO live VALUES (?, ?, ?, ?)", live)
        leased: dict[str, int] = {}
        for _, item, *_ in live:
            leased[item] = leased.get(item, 0) + 1
        rows = [
            (item, place, votes, yes, leased.get(item, 0), self.study.target(votes, yes))
            for place, (item, (votes, yes)) in enumerate(found.items())
        ]
        self._db.executemany("INSERT INTO counts VALUES (?, ?, ?, ?, ?, ?)", rows)

    def add(self, item: str, answer: str) -> None:
        """Count one more vote."""
        votes, first = self._db.execute("SELECT votes, first FROM counts WHERE item = ?", (item,)).fetchone()
        votes, first = votes + 1, first + (answer == ANSWERS[self.study.task][0])
        self._db.execute(
            "UPDATE counts SET votes = ?, first = ?, target = ? WHERE item = ?",
            (votes, first, self.study.target(votes, first), item),
        )

    def rejected(self, rater: str) -> bool:
        """Tell whether a rater was wrong on so many sentinels that their votes do not count."""
        mean = (
            "SELECT avg(correct) FROM responses WHERE kind = 'sentinel' AND rater = ? "
            "AND (off_ms IS NULL OR off_ms <= ?)"
        )
        share = self._db.execute(mean, (rater, self.study.tolerance_ms)).fetchone()[0]
        return share is not None and share < self.study.min_sentinels

    def on_time(self, off_ms: float | None) -> bool:
        """Tell whether an answer counts whose pictures were shown so many milliseconds too long or too short."""
        return off_ms is None or off_ms <= self.study.tolerance_ms

    def total(self) -> int:
        """Count the screens that a rater is asked, if questions do not run out."""
        known, on_screen = sum(map(len, self._known.values())), self.study.on_screen
        return known // on_screen + -(-min(self.study.trials, len(self._main)) // on_screen)

    def questions(self) -> dict[str, int]:
        """Count the questions: `all`, those `finished`, and those `open` with somebody."""
        row = self._db.execute("SELECT count(*), sum(target <= votes), sum(leased > 0) FROM counts").fetchone()
        return dict(zip(("all", "finished", "open"), map(int, row), strict=True))

    # Leases

    def held(self, rater: str) -> list[Asked]:
        """Return the questions that a rater has open."""
        rows = self._db.execute(
            "SELECT screen, item, swapped FROM leases WHERE lease IN (SELECT lease FROM live WHERE rater = ?) "
            "ORDER BY lease",
            (rater,),
        )
        return [Asked(screen, self.items[item], bool(swapped)) for screen, item, swapped in rows]

    def give(self, rater: str) -> list[Asked]:
        """Lease a rater questions up to `AHEAD` screens; renew those that they have open, and return all of them."""
        now = self._clock()
        expires = now + 60 * self.study.lease_minutes
        self._release(self._db.execute("SELECT lease, item FROM live WHERE expires <= ?", (now,)).fetchall())
        held = self.held(rater)
        while len({asked.screen for asked in held}) < AHEAD and (items := self._next(rater)):
            last = self._db.execute("SELECT max(screen) FROM leases WHERE rater = ?", (rater,)).fetchone()[0]
            screen = 0 if last is None else last + 1
            held += [self._lease(rater, screen, item, now, expires) for item in items]
        self._db.execute(
            "UPDATE leases SET expires = ? WHERE lease IN (SELECT lease FROM live WHERE rater = ?)", (expires, rater)
        )
        self._db.execute("UPDATE live SET expires = ? WHERE rater = ?", (expires, rater))
        return held

    def take_back(self, rater: str, item: str | None = None) -> None:
        """End a rater's leases, of one question or all."""
        mine = "SELECT lease, item FROM live WHERE rater = ?1 AND (?2 IS NULL OR item = ?2)"
        self._release(self._db.execute(mine, (rater, item)).fetchall())

    def _next(self, rater: str) -> list[Item]:
        """Choose the questions of one more screen: practice first, then a sentinel somewhere in each block."""
        together = self.study.on_screen
        rows = self._db.execute(
            "SELECT item FROM responses WHERE rater = ?1 UNION SELECT item FROM live WHERE rater = ?1", (rater,)
        )
        had = {item for (item,) in rows}
        left = [item for item in self._known["practice"] if item.id not in had]
        if left:
            return left[:together]
        count = {kind: sum(self.items[item].kind == kind for item in had) for kind in ("sentinel", "main")}
        if count["main"] >= self.study.trials:
            return []
        hidden = [item for item in self._known["sentinel"] if item.id not in had]
        if hidden:
            screens = -(-min(self.study.sentinel_every, self.study.trials) // together)
            block, place = divmod((count["main"] + count["sentinel"]) // together, screens + 1)
            if place == self._draw(rater, block) % screens:
                start = self._draw(rater, -1) % (len(hidden) // together) * together
                return hidden[start : start + together]
        rows = self._db.execute(
            "SELECT item FROM counts INDEXED BY free WHERE target > votes + leased "
            "AND item NOT IN (SELECT item FROM responses WHERE rater = ?1) "
            "AND item NOT IN (SELECT item FROM live WHERE rater = ?1) ORDER BY votes, place LIMIT ?2",
            (rater, min(together, self.study.trials - count["main"])),
        )
        return [self.items[item] for (item,) in rows]

    def _lease(self, rater: str, screen: int, item: Item, now: float, expires: float) -> Asked:
        given = self._db.execute("SELECT count(*) FROM leases WHERE item = ?", (item.id,)).fetchone()[0]
        swapped = (self._draw(item.id, self.study.seed) + given) % 2  # in turn, from a side that chance gives
        lease = self._db.execute(
            "INSERT INTO leases (rater, screen, item, swapped, given, expires) VALUES (?, ?, ?, ?, ?, ?)",
            (rater, screen, item.id, swapped, now, expires),
        ).lastrowid
        self._db.execute("INSERT INTO live VALUES (?, ?, ?, ?)", (lease, item.id, rater, expires))
        self._db.execute("UPDATE counts SET leased = leased + 1 WHERE item = ?", (item.id,))
        return Asked(screen, item, bool(swapped))

    def _release(self, leases: list[tuple[int, str]]) -> None:
        for lease, item in leases:
            self._db.execute("UPDATE leases SET expires = min(expires, ?) WHERE lease = ?", (self._clock(), lease))
            self._db.execute("DELETE FROM live WHERE lease = ?", (lease,))
            self._db.execute("UPDATE counts SET leased = leased - 1 WHERE item = ?", (item,))
