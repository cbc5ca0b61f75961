"""Who is asked what, and that no answer is lost or stored twice."""

import random
import signal
import sqlite3
import threading
from collections import Counter

import httpx2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from data_tools.assignment import AHEAD
from data_tools.ledger import VOTES
from data_tools.names import Names
from data_tools.secret import STUDY_SECRET, read_secret
from data_tools.serving import find_free_port, start
from data_tools.study import ANSWERS, Study
from data_tools.votes import RefusedError, UnknownRaterError, Votes, read_responses
from tests.studies import pairs, study, triplets


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def opened(tmp_path):
    """Votes of a study made for the test."""
    made = []

    def opened(make=triplets, count=12, clock=None, **options):
        options = {"practice": 0, "sentinel_every": 0, **options}
        if not (tmp_path / "pictures").exists():
            make(tmp_path / "pictures", count)
            study(tmp_path / "study", tmp_path / "pictures", **options)
        while made:
            made.pop().close()
        made.append(Votes(tmp_path / "study", Study.read(tmp_path / "study"), clock or Clock()))
        return made[0]

    yield opened
    while made:
        made.pop().close()


def answer(votes, rater, asked, choose=lambda item: item.answer):
    """To the first screen of those asked."""
    first = [one for one in asked if one.screen == asked[0].screen]
    answers = {one.item.id: (choose(one.item) or ANSWERS[votes.study.task][0], 900.0) for one in first}
    return votes.answer(rater, first[0].screen, answers, [0.0], "test")


def finish(votes, rater, choose=lambda item: item.answer):
    while asked := votes.ask(rater):
        answer(votes, rater, asked, choose)


def rows(votes, folder):
    return read_responses(folder / "study", votes.study)


def test_each_question_gets_its_votes_and_a_rater_sees_none_twice(opened, tmp_path):
    votes = opened(rounds=(3,), trials=50)
    for _ in range(5):
        finish(votes, votes.register("test"))
    found = rows(votes, tmp_path)
    assert set(Counter(row["item"] for row in found).values()) == {3}
    assert len({(row["rater"], row["item"]) for row in found}) == len(found) == 36
    assert votes.questions() == {"all": 12, "finished": 12, "open": 0}


def test_questions_with_fewest_votes_come_first(opened):
    votes = opened(rounds=(2,), trials=4)
    seen = []
    for _ in range(3):
        rater = votes.register("test")
        while asked := votes.ask(rater):
            seen.append(asked[0].item.id)
            answer(votes, rater, asked)
    assert len(set(seen)) == len(seen) == 12


def test_practice_comes_first_then_a_sentinel_in_each_block(opened, tmp_path):
    votes = opened(practice=2, trials=12, sentinel_every=4)
    places = set()
    for _ in range(6):
        rater = votes.register("test")
        finish(votes, rater)
        kinds = [row["kind"] for row in rows(votes, tmp_path) if row["rater"] == rater]
        if kinds.count("main") < 12:
            continue  # the questions had run out
        assert kinds[:2] == ["practice"] * 2
        blocks = [kinds[2:][i : i + 5] for i in (0, 5, 10)]
        assert [block.count("sentinel") for block in blocks] == [1, 1, 1]
        places.update(block.index("sentinel") for block in blocks)
    assert len(places) > 1  # a rater cannot count on it


def test_sides_are_exchanged_for_half_of_the_votes(opened, tmp_path):
    votes = opened(rounds=(4,))
    for _ in range(4):
        finish(votes, votes.register("test"))
    swaps = {}
    for row in rows(votes, tmp_path):
        swaps.setdefault(row["item"], []).append(row["swapped"])
    assert {sum(found) for found in swaps.values()} == {2}
    assert {found[0] for found in swaps.values()} == {0, 1}


def test_only_what_is_unanimous_goes_to_the_next_round(opened, tmp_path):
    votes = opened(rounds=(2, 1, 2))
    disputed = set(list(votes.items)[:4])
    for number in range(8):
        finish(votes, votes.register("test"), lambda item, n=number: ANSWERS["2afc"][item.id in disputed and n % 2])
    counts = Counter(row["item"] for row in rows(votes, tmp_path))
    assert {counts[item] for item in disputed} == {2}
    assert {counts[item] for item in votes.items if item not in disputed} == {5}


@given(
    rounds=st.lists(st.integers(1, 4), min_size=1, max_size=4),
    answers=st.lists(st.booleans(), max_size=16),
)
def test_after_the_first_round_votes_are_asked_for_only_while_all_agree(rounds, answers):
    asked = Study("2afc", "", "", rounds=tuple(rounds))
    got = 0
    while asked.target(got, sum(answers[:got])) > got and got < len(answers):
        got += 1
    if asked.target(got, sum(answers[:got])) == got:
        assert got == sum(rounds) or 0 < sum(answers[:got]) < got
        assert got == rounds[0] or len(set(answers[: got - 1])) == 1


def test_leases_run_out_and_the_late_answer_still_counts(opened, tmp_path):
    clock = Clock()
    votes = opened(count=2, rounds=(1,), lease_minutes=10, clock=clock)
    slow, quick = votes.register("test"), votes.register("test")
    held = votes.ask(slow)
    assert votes.ask(quick) == []
    clock.now += 9 * 60
    assert votes.ask(slow) == held  # which prolongs them
    clock.now += 9 * 60
    assert votes.ask(quick) == []
    clock.now += 2 * 60
    assert {one.item.id for one in votes.ask(quick)} == {one.item.id for one in held}
    finish(votes, quick)
    answer(votes, slow, held)
    assert Counter(row["item"] for row in rows(votes, tmp_path))[held[0].item.id] == 2


def test_who_leaves_gives_back_what_they_hold(opened):
    votes = opened(count=AHEAD, rounds=(1,))
    leaving, staying = votes.register("test"), votes.register("test")
    held = votes.ask(leaving)
    assert votes.ask(staying) == []
    votes.leave(leaving)
    assert len(votes.ask(staying)) == len(held) == AHEAD


def test_an_answer_sent_twice_is_stored_once_as_it_was_first(opened, tmp_path):
    votes = opened()
    rater = votes.register("test")
    asked = votes.ask(rater)
    for choice in ("left", "right", "left"):
        answer(votes, rater, asked, lambda item, choice=choice: choice)
    assert [row["answer"] for row in rows(votes, tmp_path)] == ["left"]


def test_votes_of_raters_who_fail_sentinels_are_asked_of_others(opened, tmp_path):
    votes = opened(rounds=(1,), trials=12, sentinel_every=12, min_sentinels=1.0)
    wrong = votes.register("test")
    finish(votes, wrong, lambda item: "left" if item.answer != "left" else "right")
    assert votes.questions()["finished"] == 0
    finish(votes, votes.register("test"))
    assert votes.questions()["finished"] == 12
    assert len(rows(votes, tmp_path)) == 2 * 13  # nothing is removed


def test_two_pairs_share_a_screen(opened, tmp_path):
    votes = opened(make=pairs, count=5, rounds=(1,), practice=1, sentinel_every=4, trials=5)
    rater = votes.register("test")
    asked = votes.ask(rater)
    assert [one.screen for one in asked] == [0, 0, 1, 1, 2, 2]
    assert {one.item.answer for one in asked[:2]} == {"same", "different"}
    assert answer(votes, rater, asked) == {"practice-0": True, "practice-1": True}
    finish(votes, rater)
    found = rows(votes, tmp_path)
    assert Counter(row["kind"] for row in found) == {"practice": 2, "sentinel": 2, "main": 5}
    assert {row["position"] for row in found} == {0, 1}


REFUSED = {
    "another screen": (7, {"0": ("left", 1.0)}, "screen 7 was not given"),
    "another question": (0, {"nothing": ("left", 1.0)}, "got answers to other questions"),
    "no answer": (0, {}, "got answers to other questions"),
    "no such answer": (0, None, "got the answer 'both'"),
}


@pytest.mark.parametrize(("screen", "answers", "message"), REFUSED.values(), ids=REFUSED)
def test_what_was_not_asked_is_refused_and_nothing_stored(opened, tmp_path, screen, answers, message):
    votes = opened()
    rater = votes.register("test")
    asked = votes.ask(rater)
    if answers is None:
        answers = {asked[0].item.id: ("both", 1.0)}
    with pytest.raises(RefusedError, match=message):
        votes.answer(rater, screen, answers, [], "test")
    assert rows(votes, tmp_path) == []
    with pytest.raises(UnknownRaterError):
        votes.ask("nobody")


def test_responses_cannot_be_changed_or_removed(opened, tmp_path):
    votes = opened()
    finish(votes, votes.register("test"))
    votes.close()
    with sqlite3.connect(tmp_path / "study" / VOTES) as db:
        for statement in ("UPDATE responses SET answer = 'right'", "DELETE FROM responses"):
            with pytest.raises(sqlite3.IntegrityError, match="responses are never"):
                db.execute(statement)
    db.close()
    opened()


def test_a_file_of_another_study_or_of_no_study_is_refused(opened, tmp_path):
    votes = opened()
    votes.close()
    other = triplets(tmp_path / "others", count=13)
    asked = Study.of(other)
    with pytest.raises(ValueError, match="another study"):
        Votes(tmp_path / "study", asked)
    with pytest.raises(ValueError, match="another study"):
        read_responses(tmp_path / "study", asked)
    (tmp_path / "study" / VOTES).write_bytes(b"no database at all, but long enough to be read as one" * 40)
    with pytest.raises(ValueError, match="no file of votes"):
        Votes(tmp_path / "study", asked)
    assert (tmp_path / "study" / VOTES).read_bytes().startswith(b"no database")


def test_a_study_that_is_served_cannot_be_served_again(opened, tmp_path):
    votes = opened()
    with pytest.raises(OSError, match="served already"):
        Votes(tmp_path / "study", votes.study)


def test_fifty_raters_at_once_lose_nothing_and_exceed_nothing(opened, tmp_path):
    votes = opened(count=40, rounds=(3,), trials=10)
    taken = []

    def rate(seed):
        chance = random.Random(seed)
        rater = votes.register("test")
        while asked := votes.ask(rater):
            choice = chance.choice(["left", "right"])
            answer(votes, rater, asked, lambda item, choice=choice: choice)
            taken.append((rater, asked[0].item.id, choice))

    threads = [threading.Thread(target=rate, args=(seed,)) for seed in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = rows(votes, tmp_path)
    assert sorted(taken) == sorted((row["rater"], row["item"], row["answer"]) for row in found)
    assert set(Counter(row["item"] for row in found).values()) == {3}


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    moves=st.lists(
        st.tuples(st.integers(0, 4), st.sampled_from(["ask", "answer", "leave", "wait", "restart"])), max_size=60
    )
)
def test_whatever_raters_do_counts_stay_true(tmp_path_factory, moves):
    folder = tmp_path_factory.mktemp("moves")
    asked = study(folder / "study", triplets(folder / "pictures", 6), practice=0, sentinel_every=3, rounds=(1, 1))
    clock = Clock()
    votes = Votes(folder / "study", asked, clock)
    raters = [votes.register("test") for _ in range(5)]
    excess = 0
    for who, move in moves:
        rater = raters[who]
        if move == "ask":
            votes.ask(rater)
        elif move == "answer" and (held := votes.ask(rater)):
            answer(votes, rater, held, lambda item: item.answer or "left")
            votes.ask(rater)  # as the server does
        elif move == "leave":
            votes.leave(rater)
        elif move == "wait":
            clock.now += 11 * 60
        elif move == "restart":
            votes.close()
            votes = Votes(folder / "study", asked, clock)
    counts = Counter(row["item"] for row in read_responses(folder / "study", asked) if row["kind"] == "main")
    votes._questions._expire(clock())
    stored = votes._db.execute("SELECT * FROM counts ORDER BY item").fetchall()
    votes._questions.count()
    assert stored == votes._db.execute("SELECT * FROM counts ORDER BY item").fetchall()
    assert max(counts.values(), default=0) <= 2 + excess
    votes.close()


def test_a_server_that_is_killed_has_every_answer_that_it_acknowledged(tmp_path):
    asked = study(tmp_path / "study", triplets(tmp_path / "pictures"), practice=0, sentinel_every=0, rounds=(5,))
    port = find_free_port()
    process = start(tmp_path / "study", port)
    acknowledged, base = set(), f"http://127.0.0.1:{port}/api/raters"

    def sent(rater, state):
        screen = state["screens"][0]
        answers = [{"item": screen["items"][0]["item"], "answer": "left", "response_ms": 1.0}]
        return {"screen": screen["screen"], "answers": answers, "presented": [], "build": "test"}

    rater = httpx2.post(base, json={"agreed": True, "build": "test"}).json()["rater"]
    state = httpx2.get(f"{base}/{rater}").json()
    for _ in range(5):
        body = sent(rater, state)
        state = httpx2.post(f"{base}/{rater}/answers", json=body).json()
        acknowledged.add(body["answers"][0]["item"])
    process.send_signal(signal.SIGKILL)
    process.wait()
    process = start(tmp_path / "study", port)
    try:
        state = httpx2.post(f"{base}/{rater}/answers", json=body).json()  # again, as the page does
        assert state["done"] == 5
        while state["screens"]:
            body = sent(rater, state)
            state = httpx2.post(f"{base}/{rater}/answers", json=body).json()
    finally:
        process.terminate()
        process.wait(timeout=20)
    names = Names(read_secret(tmp_path / "study" / STUDY_SECRET))
    found = [names.item(row["item"]) for row in read_responses(tmp_path / "study", asked)]
    assert acknowledged <= set(found)
    assert len(found) == len(set(found)) == 12
