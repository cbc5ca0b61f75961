"""Reloads, the back button, tabs, slow and lost connections, hidden pages: nothing is answered twice, none is lost."""

import json
import time

import pytest

from data_tools.votes import read_responses
from tests.browser import browser as browser
from tests.browser import needs_browser
from tests.raters import READY, click, step, take_part
from tests.raters import open_page as open_page
from tests.studies import pairs, serving, study, triplets

pytestmark = needs_browser
PLAIN = {"trials": 6, "practice": 0, "sentinel_every": 0}


@pytest.fixture
def asked(tmp_path):
    return study(tmp_path / "study", triplets(tmp_path / "pictures"), **PLAIN)


def finish(page):
    while step(page, "ArrowRight"):
        pass


def test_presses_while_pictures_load_answer_nothing(open_page, tmp_path, asked):
    with serving(tmp_path / "study") as url:
        page = open_page(url)
        held = []
        page.route("**/pictures/*", lambda route: route.continue_() if held is None else held.append(route))
        take_part(page)
        page.get_by_text("The pictures are being loaded").wait_for()
        for _ in range(3):
            page.keyboard.press("ArrowLeft")
            page.mouse.click(500, 400)
        assert page.locator(".choice").count() == 0
        waiting, held = held, None
        for route in waiting:
            route.continue_()
        page.locator(READY).first.wait_for()
        assert page.locator(".notice").is_hidden()
        assert read_responses(tmp_path / "study", asked) == []
        assert all(page.locator(".choice img").evaluate_all("all => all.map(picture => picture.naturalWidth > 0)"))
        finish(page)
    assert len(read_responses(tmp_path / "study", asked)) == 6


@pytest.mark.slow  # seconds of waiting in a browser
def test_pictures_that_are_needed_later_are_not_waited_for(open_page, tmp_path, asked):
    with serving(tmp_path / "study") as url:
        page = open_page(url)
        seen = []

        def first_three(route):
            seen.append(route.request.url)
            if len(set(seen)) <= 3:
                route.continue_()

        page.route("**/pictures/*", first_three)
        take_part(page)
        page.locator(READY).first.wait_for()
        page.unroute_all(behavior="ignoreErrors")


@pytest.mark.slow  # seconds of waiting in a browser
def test_a_picture_that_does_not_come_is_asked_for_again(open_page, tmp_path, asked):
    with serving(tmp_path / "study") as url:
        page = open_page(url)
        failed = []

        def fail_at_first(route):
            if len(failed) < 10:  # nine pictures of three screens
                failed.append(route.request.url)
                route.abort()
            else:
                route.continue_()

        page.route("**/pictures/*", fail_at_first)
        take_part(page)
        page.get_by_text("A picture does not come").wait_for()
        page.locator(READY).first.wait_for()
        finish(page)
    assert len(read_responses(tmp_path / "study", asked)) == 6


@pytest.mark.slow  # seconds of waiting in a browser
def test_the_back_button_and_a_reload_go_on_where_it_was(open_page, tmp_path, asked):
    with serving(tmp_path / "study") as url:
        page = open_page(url)
        take_part(page)
        step(page, "ArrowLeft")
        page.locator(READY).first.wait_for()
        before = page.locator(".choice img").evaluate_all("all => all.map(picture => picture.src)")
        page.goto("about:blank")
        page.go_back()
        page.locator(f"{READY}, button:has-text('Go on')").first.wait_for()
        if page.locator("button:has-text('Go on')").count():  # or the page is as it was
            click(page, "Go on")
        page.locator(READY).first.wait_for()
        assert page.locator(".choice img").evaluate_all("all => all.map(picture => picture.src)") == before
        page.reload()
        click(page, "Go on")
        page.locator(READY).first.wait_for()
        assert page.locator(".choice img").evaluate_all("all => all.map(picture => picture.src)") == before
        finish(page)
    rows = read_responses(tmp_path / "study", asked)
    assert len({row["item"] for row in rows}) == len(rows) == 6
    assert len({row["rater"] for row in rows}) == 1


def test_two_tabs_that_agree_are_one_rater(open_page, tmp_path, asked):
    with serving(tmp_path / "study") as url:
        page = open_page(url)
        other = open_page(url, page.context)
        for tab in (page, other):
            click(tab, "I agree")
        for tab in (page, other):
            click(tab, "Begin")
            tab.locator(READY).first.wait_for()
        step(page, "ArrowLeft")
        finish(other)
        finish(page)
    rows = read_responses(tmp_path / "study", asked)
    assert len({row["rater"] for row in rows}) == 1
    assert len({row["item"] for row in rows}) == len(rows) == 6


@pytest.mark.slow  # seconds of waiting in a browser
def test_answers_of_two_tabs_that_the_server_does_not_have_yet_are_kept_apart(open_page, tmp_path, asked):
    with serving(tmp_path / "study") as url:
        page = open_page(url)
        take_part(page)
        page.locator(READY).first.wait_for()
        other = open_page(url, page.context)
        click(other, "Go on")
        step(other, "ArrowRight")
        other.locator(READY).first.wait_for()  # the second question; the first tab has the first
        page.context.set_offline(True)
        for tab in (other, page):
            tab.keyboard.press("ArrowLeft")
            tab.get_by_text("Your answer is kept").wait_for()
        other.close()
        page.context.set_offline(False)
        page.reload()
        click(page, "Go on")
        page.locator(READY).first.wait_for()
        rows = read_responses(tmp_path / "study", asked)
        assert len({row["item"] for row in rows}) == len(rows) == 2
        finish(page)
        assert page.evaluate("Object.keys(localStorage).filter(key => key.startsWith('unsent'))") == []
    assert len(read_responses(tmp_path / "study", asked)) == 6


@pytest.mark.slow  # seconds of waiting in a browser
def test_a_reload_while_an_answer_is_on_its_way_keeps_the_answer(open_page, tmp_path, asked):
    with serving(tmp_path / "study") as url:
        page = open_page(url)
        take_part(page)
        page.locator(READY).first.wait_for()
        page.route("**/answers", lambda route: None)  # neither arrives nor fails
        page.keyboard.press("ArrowLeft")
        page.locator(".choice").wait_for(state="detached")
        page.unroute_all(behavior="ignoreErrors")
        page.reload()
        click(page, "Go on")
        page.locator(READY).first.wait_for()
        assert len(read_responses(tmp_path / "study", asked)) == 1


def test_an_answer_whose_receipt_was_lost_is_stored_once(open_page, tmp_path, asked):
    with serving(tmp_path / "study") as url:
        page = open_page(url)
        take_part(page)
        page.locator(READY).first.wait_for()
        lost = []

        def lose(route):
            lost.append(route.fetch())
            route.abort()

        page.route("**/answers", lose, times=1)
        page.keyboard.press("ArrowLeft")
        page.get_by_text("Your answer is kept").wait_for()
        page.locator(READY).first.wait_for()
        assert lost[0].ok
        assert len(read_responses(tmp_path / "study", asked)) == 1


@pytest.mark.slow  # seconds of waiting in a browser
def test_a_break_is_seen_at_once_where_the_connection_is_lost(open_page, tmp_path, asked):
    with serving(tmp_path / "study") as url:
        page = open_page(url)
        take_part(page)
        page.locator(READY).first.wait_for()
        page.context.set_offline(True)
        click(page, "Take a break")
        page.get_by_text("Come back to this page").wait_for()
        page.context.set_offline(False)
        click(page, "Go on")
        click(page, "Go on")
        page.locator(READY).first.wait_for()
    assert read_responses(tmp_path / "study", asked) == []


@pytest.mark.slow  # seconds of waiting in a browser
def test_what_fails_within_a_question_is_said(open_page, tmp_path, asked):
    with serving(tmp_path / "study") as url:
        page = open_page(url)
        take_part(page)
        page.locator(READY).first.wait_for()
        page.route("**/answers", lambda route: route.fulfill(status=404, json={"detail": "no such rater"}))
        page.keyboard.press("ArrowLeft")
        page.get_by_text("This does not work: no such rater").wait_for()


HIDE = """
    Object.defineProperty(document, 'hidden', { get: () => window.away === true });
    window.hide = (away) => { window.away = away; document.dispatchEvent(new Event('visibilitychange')); };
    window.drawn = [];
    const draw = CanvasRenderingContext2D.prototype.drawImage;
    CanvasRenderingContext2D.prototype.drawImage = function (...given) {
      draw.apply(this, given);
      if (this.canvas.isConnected) drawn.push(performance.now());
    };
"""


@pytest.mark.slow  # seconds of waiting in a browser
@pytest.mark.parametrize("leave", ["hide", "reload", "break"])
def test_pairs_that_were_seen_before_are_marked_and_do_not_count(open_page, tmp_path, leave):
    asked = study(tmp_path / "study", pairs(tmp_path / "pictures", 2), trials=2, practice=0, sentinel_every=0)
    with serving(tmp_path / "study") as url:
        page = open_page(url, script=HIDE)
        take_part(page)
        page.wait_for_function("() => drawn.length > 4")
        if leave == "hide":
            page.evaluate("hide(true)")
            time.sleep(0.2)
            page.evaluate("drawn.length = 0; hide(false)")
        elif leave == "reload":
            page.reload()
            click(page, "Go on")
        else:
            click(page, "Take a break")
            click(page, "Go on")
            click(page, "Go on")
        for _ in range(2):
            page.locator(".text button:not([aria-disabled])").first.wait_for()
            question = page.locator(".text p").inner_text()
            page.keyboard.press("s")
            page.wait_for_function("old => document.querySelector('.text p')?.innerText !== old", arg=question)
        page.get_by_text("Your code:").wait_for()
        if leave == "hide":  # one presentation, not two at once
            assert page.evaluate("drawn.length") <= 11
        assert page.evaluate("Object.keys(localStorage).filter(key => key.startsWith('shown'))") == []
    rows = read_responses(tmp_path / "study", asked)
    assert [row["showings"] for row in rows] == [2, 2]
    assert [row["off_ms"] for row in rows] == [float("inf")] * 2
    assert len(json.loads(rows[0]["presented"])) == 10
