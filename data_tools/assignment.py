"""Who is asked what next.

Each question gets votes until it has as many as its rounds ask for (`Study.target`), those with fewest first. What a
rater holds is leased to them and counts as a vote to come; it is free again when they leave or the lease runs out. The
counts behind this are temporary tables, made from the stored leases and responses at every start, so that they cannot
drift from them.
"""

import sqlite3
from collections.abc import Callable, Iterable
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


_LIVE = (
    "SELECT {} FROM leases l WHERE expires > ? "
    "AND NOT EXISTS (SELECT 1 FROM responses r WHERE r.rater = l.rater AND r.item = l.item)"
)


@dataclass(frozen=True)
class _Standing:
    """What a rater's answers say of the rater: how many count, not too many sentinels wrong, enough to count."""

    answers: int
    good: bool
    proven: bool


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
        live_raters = {rater for (rater,) in self._db.execute(_LIVE.format("rater"), (self._clock(),))}
        standings = self._standings()
        counted = {rater for rater, one in standings.items() if one.good and (one.proven or rater in live_raters)}
        found = {item.id: [0, 0] for item in self._main}
        answers = "SELECT rater, item, answer, off_ms, waited_ms FROM responses WHERE kind = 'main'"
        for rater, item, answer, off_ms, waited_ms in self._db.execute(answers):
            if item in found and rater in counted and self.is_valid(off_ms, waited_ms):
                found[item][0] += 1
                found[item][1] += answer == first
        live = self._db.execute(_LIVE.format("lease, item, rater, expires"), (self._clock(),)).fetchall()
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

    def counts(self, rater: str) -> bool:
        """Tell whether a rater's votes count: they were right on sentinels, and have met enough or are at it."""
        one = self._standing(rater)
        return one.good and (one.proven or self._is_live(rater))

    def is_good(self, rater: str) -> bool:
        """Tell whether a rater was not wrong on so many sentinels that their votes do not count."""
        return self._standing(rater).good

    def is_valid(self, off_ms: float | None, waited_ms: float | None) -> bool:
        """Tell whether an answer counts: its pictures were shown as planned, and it did not come sooner than can be."""
        off = off_ms is not None and off_ms > self.study.tolerance_ms
        return not off and (waited_ms is None or waited_ms >= self.study.soonest_ms)

    def _standing(self, rater: str) -> "_Standing":
        return self._standings("WHERE rater = ?", rater).get(rater, _Standing(0, True, False))

    def _standings(self, which: str = "", *values: str) -> dict[str, "_Standing"]:
        finished = dict(self._db.execute(f"SELECT rater, finished IS NOT NULL FROM raters {which}", values))
        valid = "(off_ms IS NULL OR off_ms <= ?) AND (waited_ms IS NULL OR waited_ms >= ?)"
        rows = self._db.execute(
            "SELECT rater, sum(kind = 'main' AND valid), sum(kind = 'sentinel'), "
            "avg(CASE WHEN kind = 'sentinel' AND valid THEN correct END) "
            f"FROM (SELECT rater, kind, correct, {valid} AS valid FROM responses {which}) GROUP BY rater",
            (self.study.tolerance_ms, self.study.soonest_ms, *values),
        )
        found = {}
        for rater, answers, met, share in rows:
            proven = self.study.proves(answers, met, bool(finished[rater]))
            found[rater] = _Standing(answers, share is None or share >= self.study.min_sentinels, proven)
        return found

    def _is_live(self, rater: str) -> bool:
        return self._db.execute("SELECT 1 FROM live WHERE rater = ? LIMIT 1", (rater,)).fetchone() is not None

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
        self._expire(now)
        counted = self.counts(rater)
        held = self.held(rater)
        while len({asked.screen for asked in held}) < AHEAD and (items := self._next(rater)):
            last = self._db.execute("SELECT max(screen) FROM leases WHERE rater = ?", (rater,)).fetchone()[0]
            screen = 0 if last is None else last + 1
            held += [self._lease(rater, screen, item, now, expires) for item in items]
        self._db.execute(
            "UPDATE leases SET expires = ? WHERE lease IN (SELECT lease FROM live WHERE rater = ?)", (expires, rater)
        )
        self._db.execute("UPDATE live SET expires = ? WHERE rater = ?", (expires, rater))
        ends = "UPDATE raters SET finished = ? WHERE rater = ? AND finished IS NULL"
        finished = not held and self._standing(rater).answers and self._db.execute(ends, (now, rater)).rowcount
        if finished or self.counts(rater) != counted:
            self.count()
        return held

    def take_back(self, rater: str, item: str) -> None:
        """End a rater's lease of a question."""
        mine = "SELECT lease, item FROM live WHERE rater = ? AND item = ?"
        self._release(self._db.execute(mine, (rater, item)).fetchall())

    def leave(self, rater: str) -> None:
        """End a rater's leases; who has not answered enough to count does not from now on, until they come back."""
        self._release(self._db.execute("SELECT lease, item FROM live WHERE rater = ?", (rater,)).fetchall())
        self._drop([rater])

    def _expire(self, now: float) -> None:
        expired = self._db.execute("SELECT lease, item, rater FROM live WHERE expires <= ?", (now,)).fetchall()
        self._release([(lease, item) for lease, item, _ in expired])
        self._drop({rater for *_, rater in expired})

    def _drop(self, raters: Iterable[str]) -> None:
        """Count anew where somebody's votes counted only for as long as they were at it."""
        if any(self._standing(rater).answers and not self.counts(rater) for rater in raters):
            self.count()

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
        hidden = [item for item in self._known["sentinel"] if item.id not in had]
        start = self._draw(rater, -1) % max(1, len(hidden) // together) * together
        obvious = hidden[start : start + together]
        # Who gets fewer questions than a block has is not let go without a sentinel.
        last = obvious if count["main"] and not count["sentinel"] else []
        if count["main"] >= self.study.trials:
            return last
        if hidden:
            screens = self.study.block
            block, place = divmod((count["main"] + count["sentinel"]) // together, screens + 1)
            behind = count["sentinel"] // together < count["main"] // together // screens  # after answers out of turn
            if behind or place == self._draw(rater, block) % screens:
                return obvious
        if not count["main"] or not self._has_answered(rater):
            self._make_room(rater, together)
        rows = self._db.execute(
            "SELECT item FROM counts INDEXED BY free WHERE target > votes + leased "
            "AND item NOT IN (SELECT item FROM responses WHERE rater = ?1) "
            "AND item NOT IN (SELECT item FROM live WHERE rater = ?1) ORDER BY votes, place LIMIT ?2",
            (rater, min(together, self.study.trials - count["main"])),
        )
        return [self.items[item] for (item,) in rows] or last

    def _has_answered(self, rater: str) -> bool:
        answers = "SELECT 1 FROM responses WHERE rater = ? AND kind = 'main' LIMIT 1"
        return self._db.execute(answers, (rater,)).fetchone() is not None

    def _make_room(self, rater: str, wanted: int) -> None:
        """Take back leases of raters who answered nothing, where those hold half of the votes of the first round.

        First go screens that nobody looks at yet, then those that are held the longest; an answer to one of these
        counts all the same. So whoever only asks keeps nobody from questions.
        """
        whole = len(self._main) * self.study.rounds[0]
        most = max(AHEAD * self.study.on_screen, whole // 2)
        if most >= whole:
            return
        idle = self._db.execute(
            "SELECT lease, live.item, live.rater, screen FROM live JOIN leases USING (lease) JOIN counts "
            "ON counts.item = live.item WHERE NOT EXISTS "
            "(SELECT 1 FROM responses r WHERE r.rater = live.rater AND r.kind = 'main') ORDER BY lease"
        ).fetchall()
        looked_at: dict[str, int] = {}
        for _, _, holder, screen in idle:
            looked_at.setdefault(holder, screen)
        others = [one for one in idle if one[2] != rater]
        others.sort(key=lambda one: one[3] == looked_at[one[2]])
        self._release([(lease, item) for lease, item, *_ in others[: max(0, len(idle) + wanted - most)]])

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
