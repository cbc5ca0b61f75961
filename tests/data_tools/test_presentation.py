"""Pairs that were not shown for as long as they should be: marked, left out, asked of others."""

import csv
import io
import itertools
import json
import math

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.testclient import TestClient

from data_tools.admin import read_admin_token
from data_tools.cli import main
from data_tools.collection import collect
from data_tools.filtering import drop_off_time, keep_counted, to_frame
from data_tools.presentation import PLANNED, measure_departure
from data_tools.server import create_app
from data_tools.stats import measure
from data_tools.study import STUDY, Study
from data_tools.votes import Votes, read_responses
from tests.browser import browser as browser
from tests.browser import needs_browser
from tests.raters import open_page as open_page
from tests.raters import take_part
from tests.studies import pairs, serving, study, triplets


def late(slot, by=1250.0):
    """Times where one slot, 0 the pause before the first picture, takes longer or shorter."""
    return [time + by * (change > slot) for change, time in enumerate(PLANNED)]


# Slots: pause, A, mask, B, mask, A, mask, B, mask. A pair's: from its first picture to the mask after its second.
OWN = {0: {1, 2, 3, 4, 5, 6}, 1: {3, 4, 5, 6, 7, 8}}


@pytest.mark.parametrize("slot", range(9))
@pytest.mark.parametrize("position", OWN)
def test_a_departure_is_that_of_what_the_pair_was_shown_in(position, slot):
    for by in (1250.0, -483.0, 16.7):
        assert measure_departure(late(slot, by), position) == pytest.approx(abs(by) if slot in OWN[position] else 0)


@given(st.lists(st.floats(1, 3000), min_size=9, max_size=9))
def test_the_departure_is_the_largest(lengths):
    times = [0.0, *itertools.accumulate(lengths)]
    for position, own in OWN.items():
        assert measure_departure(times, position) == pytest.approx(max(abs(lengths[i] - 500) for i in own))


UNKNOWN = {
    "none": ([], 1),
    "one": ([0.0], 1),
    "too few": (PLANNED[:9], 1),
    "too many": ((*PLANNED, 5000.0), 1),
    "backwards": (late(2, -600.0), 1),
    "shown twice": (PLANNED, 2),
}


@pytest.mark.parametrize(("times", "showings"), UNKNOWN.values(), ids=UNKNOWN)
def test_what_is_not_known_to_be_on_time_is_off(times, showings):
    assert measure_departure(times, 0, showings) == math.inf


def test_votes_within_the_tolerance_are_kept_and_those_that_nothing_timed():
    off = [0.0, 50.0, 50.1, math.inf, math.nan]
    votes = pd.DataFrame({"rater": "ann", "kind": "main", "correct": math.nan, "response_ms": 900.0, "off_ms": off})
    votes = votes.assign(waited_ms=math.nan, finished=1.0)
    assert [len(drop_off_time(votes, bound)) for bound in (0, 50, 100, math.inf)] == [2, 3, 4, 5]
    assert len(keep_counted(votes, Study("jnd", "", "", sentinel_every=0))) == 3
    assert len(keep_counted(votes, Study("jnd", "", "", sentinel_every=0, tolerance_ms=10))) == 2
    for bad in (-1, math.nan):
        with pytest.raises(ValueError, match="got tolerance_ms"):
            drop_off_time(votes, bad)


@pytest.fixture
def opened(tmp_path):
    made = []

    def opened(make=pairs, **options):
        options = {"practice": 0, "sentinel_every": 0, "trials": 4, "rounds": (1,), **options}
        study(tmp_path / "study", make(tmp_path / "pictures", 4), **options)
        made.append(Votes(tmp_path / "study", Study.read(tmp_path / "study")))
        return made[0]

    yield opened
    for votes in made:
        votes.close()


def answer(votes, rater, times, says="same", **rest):
    """To one screen."""
    asked = votes.ask(rater)
    first = [one.item for one in asked if one.screen == asked[0].screen]
    votes.answer(rater, asked[0].screen, {one.id: (one.answer or says, 900.0) for one in first}, times, "test", **rest)
    return [one.id for one in first]


def test_answers_off_time_are_kept_and_asked_of_others(opened, tmp_path):
    votes = opened()
    ann, bob = votes.register("test"), votes.register("test")
    off, half = answer(votes, ann, late(3)), answer(votes, ann, late(7, 60.0))
    assert votes.questions() == {"all": 4, "finished": 1, "open": 0}
    again = {*answer(votes, bob, PLANNED), *answer(votes, bob, PLANNED)}
    assert again == {*off, half[1]}
    assert votes.questions()["finished"] == 4
    found = read_responses(tmp_path / "study", votes.study)
    assert [round(row["off_ms"]) for row in found] == [1250, 1250, 0, 60, 0, 0, 0]
    votes.close()
    again = Votes(tmp_path / "study", votes.study)  # counted anew, to the same
    assert again.questions()["finished"] == 4
    again.close()


def test_a_sentinel_that_was_shown_off_time_rejects_nobody(opened):
    votes = opened(sentinel_every=4, min_sentinels=1.0)
    rater = votes.register("test")
    while asked := votes.ask(rater):
        first = [one.item for one in asked if one.screen == asked[0].screen]
        wrong = {"same": "different", "different": "same"}
        answers = {one.id: (wrong.get(one.answer, "same"), 900.0) for one in first}
        times = late(4) if first[0].kind == "sentinel" else PLANNED
        votes.answer(rater, asked[0].screen, answers, times, "test")
    assert votes.questions()["finished"] == 4


def test_triplets_are_not_timed(opened, tmp_path):
    votes = opened(make=triplets)
    rater = votes.register("test")
    answer(votes, rater, [], says="left", showings=3, early=2)
    (row,) = read_responses(tmp_path / "study", votes.study)
    assert (row["off_ms"], row["showings"], row["early"]) == (None, 3, 2)
    assert votes.questions()["finished"] == 1


@pytest.fixture
def judged(opened, tmp_path):
    """Four pairs: two answered on time, two while the second picture of the first was shown for 1,750 ms."""
    votes = opened(trials=4)
    rater = votes.register("test")
    answer(votes, rater, PLANNED)
    answer(votes, rater, late(5))
    votes.close()
    return tmp_path / "study"


def test_what_is_off_time_is_left_out_and_said_to_be_unless_it_is_asked_for(judged, tmp_path, capsys):
    assert collect(judged, tmp_path / "data")["questions kept"] == 2
    about = json.loads((tmp_path / "data" / "export.json").read_text())
    assert (about["responses"], about["responses off time"], about["tolerance ms"]) == (4, 2, 50)
    assert main(["collect", str(judged), "--out", str(tmp_path / "wide"), "--tolerance-ms", "1500"]) == 0
    assert main(["collect", str(judged), "--out", str(tmp_path / "any"), "--tolerance-ms", "inf"]) == 0
    for name, tolerance in (("wide", 1500), ("any", None)):
        about = json.loads((tmp_path / name / "export.json").read_text())
        assert (about["questions kept"], about["responses off time"], about["tolerance ms"]) == (4, 0, tolerance)
        assert len(pd.read_csv(tmp_path / name / "jnd.csv")) == 4
    capsys.readouterr()
    assert main(["stats", str(judged)]) == 0
    assert (
        "2 answers do not count: pictures were shown more than 50 ms too long or too short" in capsys.readouterr().out
    )
    assert main(["stats", str(judged), "--json", "--tolerance-ms", "1250"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["votes"], found["off_time"], found["by_rater"][0]["off_time"]) == (4, 0, 0)
    assert main(["collect", str(judged), "--out", str(tmp_path / "none"), "--tolerance-ms", "-1"]) == 1
    assert "got tolerance_ms -1" in capsys.readouterr().err


def test_the_study_says_another_tolerance_at_any_time(judged):
    held = json.loads((judged / STUDY).read_text())
    (judged / STUDY).write_text(json.dumps({**held, "tolerance_ms": 1250}))
    assert measure(judged, resamples=10)["votes"] == 4
    votes = Votes(judged, Study.read(judged))
    assert votes.questions()["finished"] == 4
    votes.close()


def test_the_owner_sees_what_was_off_time(judged):
    app = create_app(judged)
    with TestClient(app, base_url="http://127.0.0.1") as client:
        key = {"key": read_admin_token(judged)}
        page = client.get("/admin", params=key).text
        rows = list(csv.DictReader(io.StringIO(client.get("/admin/votes.csv", params=key).text)))
        figures = client.get("/admin/statistics.json", params=key).json()
    app.state.votes.close()
    assert "2 votes of 1 raters count" in page
    assert "2 answers do not count: pictures were shown more than 50 ms too long or too short" in page
    assert [float(row["off_ms"]) for row in rows] == [0, 0, 1250, 1250]
    assert (figures["off_time"], figures["tolerance_ms"]) == (2, 50)


@needs_browser
@pytest.mark.parametrize(("stall", "off"), [(0, 0), (525, 42), (1733, 1250)])
def test_what_the_page_shows_is_what_is_measured(open_page, tmp_path, stall, off):
    """Frames of 60 Hz, whose times are made up so that a busy machine does not matter; that after a picture is late."""
    asked = study(tmp_path / "study", pairs(tmp_path / "pictures"), trials=2, practice=0, sentinel_every=0)
    frames = """
        let now = 0;
        let shown = 0;
        const frame = requestAnimationFrame;
        requestAnimationFrame = (act) => frame(() => act((now += 1000 / 60)));
        const draw = CanvasRenderingContext2D.prototype.drawImage;
        CanvasRenderingContext2D.prototype.drawImage = function (...given) {
          draw.apply(this, given);
          if (this.canvas.isConnected && shown++ === 6) now += STALL;
        };
    """
    with serving(tmp_path / "study") as url:
        page = open_page(url, script=frames.replace("STALL", str(stall)))
        take_part(page)
        for _ in range(2):
            page.locator(".text button:not([aria-disabled])").first.wait_for()
            question = page.locator(".text p").inner_text()
            page.keyboard.press("s")
            page.wait_for_function("old => document.querySelector('.text p')?.innerText !== old", arg=question)
        page.get_by_text("Your code:").wait_for()
        assert page.failures == []
    rows = read_responses(tmp_path / "study", asked)
    assert [row["off_ms"] for row in rows] == [pytest.approx(off, abs=1)] * 2
    assert [row["showings"] for row in rows] == [1, 1]
    assert len(keep_counted(to_frame(rows), asked)) == (2 if off < 50 else 0)
