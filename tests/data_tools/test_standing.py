"""Whose answers count: who has met the sentinels that were due, answered enough, and no sooner than can be."""

import pytest

from data_tools.assignment import AHEAD
from data_tools.cli import main
from data_tools.filtering import keep_counted, to_frame
from data_tools.stats import measure
from data_tools.study import ANSWERS, Study
from data_tools.votes import Votes, read_responses
from tests.studies import pairs, study, triplets


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def opened(tmp_path, clock):
    made = []

    def opened(make=triplets, count=24, **options):
        defaults = {
            "practice": 0,
            "rounds": (1,),
            "trials": 24,
            "sentinel_every": 4,
            "min_answers": 4,
            "min_wait_ms": 500,
        }
        study(tmp_path / "study", make(tmp_path / "pictures", count), **{**defaults, **options})
        made.append(Votes(tmp_path / "study", Study.read(tmp_path / "study"), clock))
        return made[-1]

    yield opened
    for votes in made:
        votes.close()


def answer(votes, clock, rater, asked, seconds=2.0):
    """One screen."""
    clock.now += seconds
    answers = {one.item.id: (one.item.answer or ANSWERS[votes.study.task][0], 900.0) for one in asked}
    presented = [500.0 * i for i in range(10)] if votes.study.task == "jnd" else [0.0]
    votes.answer(rater, asked[0].screen, answers, presented, "test")


def by_screen(asked):
    found = {}
    for one in asked:
        found.setdefault(one.screen, []).append(one)
    return list(found.values())


def go_on(votes, clock, rater, screens, seconds=2.0):
    for _ in range(screens):
        answer(votes, clock, rater, by_screen(votes.ask(rater))[0], seconds)
    votes.ask(rater)


def votes_that_count(votes, tmp_path):
    frame = keep_counted(to_frame(read_responses(tmp_path / "study", votes.study)), votes.study)
    return int((frame.kind == "main").sum())


def counted(votes):
    return votes._db.execute("SELECT sum(votes) FROM counts").fetchone()[0]


@pytest.mark.parametrize("make", [triplets, pairs])
def test_who_skips_the_sentinels_does_not_count(opened, clock, tmp_path, make):
    votes = opened(make)
    rater = votes.register("test")
    for _ in range(30):  # a program that answers all but one kind of screen
        others = [one for one in by_screen(votes.ask(rater)) if one[0].item.kind == "main"]
        if not others:
            break
        answer(votes, clock, rater, others[0], 6.0)
    votes.leave(rater)
    assert votes_that_count(votes, tmp_path) == counted(votes) == 0
    assert measure(tmp_path / "study", resamples=1)["unproven"] == 1


@pytest.mark.parametrize("make", [triplets, pairs])
def test_who_answers_as_asked_counts_at_every_step_from_the_stated_number_on(opened, clock, tmp_path, make):
    votes = opened(make)
    rater = votes.register("test")
    while asked := votes.ask(rater):
        answer(votes, clock, rater, by_screen(asked)[0], 6.0)
        rows = read_responses(tmp_path / "study", votes.study)
        main_answers = sum(row["kind"] == "main" for row in rows)
        met = any(row["kind"] == "sentinel" for row in rows)
        assert votes_that_count(votes, tmp_path) == (main_answers if main_answers >= 4 and met else 0)
        assert counted(votes) == main_answers  # who is at it is counted on


def test_who_leaves_before_the_stated_number_is_replaced_and_counts_once_they_are_back(opened, clock):
    votes = opened()
    rater = votes.register("test")
    go_on(votes, clock, rater, 3)
    before = counted(votes)
    assert before > 0
    votes.leave(rater)
    assert counted(votes) == 0
    votes.ask(rater)
    assert counted(votes) == before
    clock.now += 60 * 60
    votes.ask(votes.register("test"))  # leases ran out
    assert counted(votes) == 0
    go_on(votes, clock, rater, 3)
    votes.leave(rater)
    assert counted(votes) >= 4


def test_who_was_asked_all_that_there_was_counts_with_fewer_and_met_a_sentinel(opened, clock, tmp_path):
    votes = opened(count=2, min_answers=10)
    rater = votes.register("test")
    while asked := votes.ask(rater):
        answer(votes, clock, rater, by_screen(asked)[0])
    kinds = [row["kind"] for row in read_responses(tmp_path / "study", votes.study)]
    assert sorted(kinds) == ["main", "main", "sentinel"]
    assert votes_that_count(votes, tmp_path) == counted(votes) == 2


@pytest.mark.parametrize(("make", "soonest"), [(triplets, 0.5), (pairs, 5.0)])
def test_answers_that_come_sooner_than_can_be_do_not_count_and_are_asked_of_others(
    opened, clock, tmp_path, capsys, make, soonest
):
    votes = opened(make, sentinel_every=0, min_answers=0)
    rater = votes.register("test")
    held = by_screen(votes.ask(rater))
    assert len(held) == AHEAD
    clock.now += 60
    answer(votes, clock, rater, held[0], 0)
    answer(votes, clock, rater, held[1], soonest - 0.1)  # it was there long before, and the one before it was not done
    answer(votes, clock, rater, held[2], soonest + 0.1)
    votes.ask(rater)
    rows = read_responses(tmp_path / "study", votes.study)
    soon = sum(row["waited_ms"] < 1000 * soonest for row in rows)
    assert soon == len(held[1])
    votes.leave(rater)
    assert counted(votes) == len(rows) - soon
    found = measure(tmp_path / "study", resamples=1)
    assert (found["too_soon"], found["unproven"]) == (soon, 0)
    clock.now += 1
    assert main(["stats", str(tmp_path / "study")]) == 0
    assert f"{soon} answers do not count: they came within {1000 * soonest:g} ms" in capsys.readouterr().out


def test_a_program_that_answers_all_at_once_decides_nothing(opened, clock):
    votes = opened()
    for _ in range(12):
        rater = votes.register("test")
        while asked := votes.ask(rater):
            answer(votes, clock, rater, by_screen(asked)[0], 0.01)
        votes.leave(rater)
    assert counted(votes) == 0


def test_a_clock_that_is_set_back_leaves_nothing_out(opened, clock):
    votes = opened(sentinel_every=0, min_answers=0)
    rater = votes.register("test")
    held = by_screen(votes.ask(rater))
    clock.now -= 3600
    answer(votes, clock, rater, held[0])
    assert counted(votes) == 1
