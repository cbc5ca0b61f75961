"""What answers a question in the experiment and what does not: double clicks, held keys, presses on their way."""

import time

import pytest

from data_tools.votes import read_responses
from tests.browser import browser as browser
from tests.browser import needs_browser
from tests.raters import READY, click, take_part
from tests.raters import open_page as open_page
from tests.studies import pairs, serving, study, triplets

pytestmark = needs_browser
PLAIN = {"trials": 12, "practice": 0, "sentinel_every": 0}
TOUCH = {"viewport": {"width": 360, "height": 640}, "has_touch": True, "is_mobile": True}
SHORTEST = 0.5  # seconds, as docs/study.md says
# Frames and waits of half a second that come when the test lets them: a busy machine does not matter.
HOLD = """
    window.held = false;
    const frame = requestAnimationFrame;
    requestAnimationFrame = (act) => frame((now) => (held ? requestAnimationFrame(act) : act(now)));
    const timeout = setTimeout;
    setTimeout = (act, ms) => timeout(act, held && ms >= 500 ? 1e9 : ms);
"""


@pytest.fixture
def asked(tmp_path):
    return study(tmp_path / "study", triplets(tmp_path / "pictures"), **PLAIN)


def middle(page, selector=".choice button"):
    box = page.locator(selector).first.bounding_box()
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


PRESSES = {
    "mouse": lambda page, at: page.mouse.click(*at),
    "finger": lambda page, at: page.touchscreen.tap(*at),
    "key": lambda page, at: page.keyboard.press("ArrowLeft"),
}


@pytest.mark.slow  # seconds of waiting in a browser
@pytest.mark.parametrize("how", PRESSES)
def test_two_presses_answer_one_question_however_far_apart_the_halves_of_a_double_click_are(
    open_page, tmp_path, asked, how
):
    press = PRESSES[how]
    with serving(tmp_path / "study") as url:
        page = open_page(url, **(TOUCH if how == "finger" else {}))
        take_part(page)
        for gap in (0, 0.06, 0.12, 0.2, 0.3, 0.4):
            page.locator(READY).first.wait_for()
            at, before = middle(page), len(read_responses(tmp_path / "study", asked))
            begun = time.monotonic()
            press(page, at)
            time.sleep(gap)
            press(page, at)
            took = time.monotonic() - begun
            page.locator(READY).first.wait_for()
            rows = read_responses(tmp_path / "study", asked)
            assert len(rows) == before + 1 or took > SHORTEST  # a busy machine pressed later
    assert all(row["response_ms"] >= 1000 * SHORTEST for row in rows)
    assert page.failures == []


def test_a_press_that_is_too_soon_is_said_to_be_and_the_next_one_counts(open_page, tmp_path, asked):
    with serving(tmp_path / "study") as url:
        page = open_page(url, script=HOLD)
        ask(page)
        page.keyboard.press("ArrowLeft")
        page.get_by_text("too soon to count").wait_for()
        page.evaluate("held = false")
        page.locator(READY).first.wait_for()
        page.keyboard.press("ArrowRight")
        page.get_by_text("too soon to count").wait_for(state="hidden")
        page.locator(READY).first.wait_for()
    (row,) = read_responses(tmp_path / "study", asked)
    assert row["early"] == 1
    assert row["answer"] == ("left" if row["swapped"] else "right")


def ask(page):
    """Begin, and keep the first question from being answerable."""
    click(page, "I agree")
    button = page.get_by_role("button", name="Begin")
    button.click(trial=True)
    page.evaluate("held = true")
    button.click()
    page.locator(".choice").wait_for()


def let_go_on(page):
    page.evaluate("held = false")
    page.locator(READY).first.wait_for()


def hold_arrow(page):
    page.keyboard.down("ArrowLeft")
    let_go_on(page)
    for _ in range(3):  # down again is what a held key sends
        page.keyboard.down("ArrowLeft")


def hold_enter(page):
    page.locator(".choice button").first.focus()
    page.keyboard.down("Enter")
    let_go_on(page)
    for _ in range(3):
        page.keyboard.down("Enter")


def press_soon_and_let_go_late(page):
    page.mouse.move(*middle(page))
    page.mouse.down()
    let_go_on(page)
    page.mouse.up()


def press_with(modifier, key):
    def press(page):
        let_go_on(page)
        page.keyboard.press(f"{modifier}+{key}")

    return press


def come_back(page):
    let_go_on(page)
    page.evaluate("() => { dispatchEvent(new Event('focus')); document.querySelector('.choice button').click(); }")


NO_ANSWERS = {
    "an arrow held since before": hold_arrow,
    "a button's key held since before": hold_enter,
    "a press that began too soon": press_soon_and_let_go_late,
    "the browser's way back": press_with("Alt", "ArrowLeft"),
    "the system's way to the end of a line": press_with("Meta", "ArrowRight"),
    "the click that brings the window back": come_back,
}


@pytest.mark.slow  # seconds of waiting in a browser
@pytest.mark.parametrize("what", NO_ANSWERS.values(), ids=NO_ANSWERS)
def test_what_is_no_answer_answers_nothing(open_page, tmp_path, asked, what):
    with serving(tmp_path / "study") as url:
        page = open_page(url, script=HOLD)
        ask(page)
        what(page)
        time.sleep(0.3)
        assert page.locator(".choice").count() == 1
        assert read_responses(tmp_path / "study", asked) == []
        for key in ("ArrowLeft", "Enter"):
            page.keyboard.up(key)
        page.locator(READY).first.wait_for()
        page.keyboard.press("ArrowLeft")
        page.locator(READY).first.wait_for()
    assert len(read_responses(tmp_path / "study", asked)) == 1


@pytest.mark.slow  # seconds of waiting in a browser
def test_a_double_press_answers_one_of_the_questions_after_a_brief_presentation(open_page, tmp_path):
    asked = study(tmp_path / "study", pairs(tmp_path / "pictures"), trials=2, practice=0, sentinel_every=0)
    with serving(tmp_path / "study") as url:
        page = open_page(url, script=HOLD)
        take_part(page)
        page.keyboard.press("s")  # on its way while pictures are shown
        page.locator("p:has-text('first')").wait_for()
        page.locator(".text button:not([aria-disabled])").first.wait_for()
        page.keyboard.press("Control+s")
        page.locator("p:has-text('first')").wait_for()
        at = middle(page, "button:has-text('Different')")
        page.evaluate("held = true")
        page.mouse.click(*at)
        page.locator("p:has-text('second')").wait_for()
        page.mouse.click(*at)
        page.get_by_text("too soon to count").wait_for()
        page.evaluate("held = false")
        page.locator(".text button:not([aria-disabled])").first.wait_for()
        assert read_responses(tmp_path / "study", asked) == []
        page.keyboard.press("s")
        page.get_by_text("Your code:").wait_for()
    assert [row["answer"] for row in read_responses(tmp_path / "study", asked)] == ["different", "same"]


def test_a_double_click_skips_no_page(open_page, tmp_path):
    asked = study(tmp_path / "study", triplets(tmp_path / "pictures"), **{**PLAIN, "practice": 1})
    with serving(tmp_path / "study") as url:
        page = open_page(url, script=HOLD)
        page.get_by_role("button", name="I agree").click(trial=True)
        page.evaluate("held = true")
        click(page, "I agree")
        page.get_by_text(asked.shown["instructions"][:30]).wait_for()
        assert page.get_by_role("button", name="Begin").is_disabled()
        page.reload()
        click(page, "Go on")
        page.locator(READY).first.wait_for()
        page.evaluate("held = true")
        page.keyboard.press("ArrowLeft")
        page.get_by_text("Practice:").wait_for()
        assert page.get_by_role("button", name="Go on").is_disabled()
    assert len(read_responses(tmp_path / "study", asked)) == 1
