"""The page, in a real browser: whole sessions by clicking and typing, reloads, two tabs, a server that is away."""

import itertools
import json

from data_tools.names import Names
from data_tools.secret import STUDY_SECRET, read_secret
from data_tools.votes import read_responses
from tests.browser import browser as browser
from tests.browser import needs_browser
from tests.raters import READY, click, step, take_part
from tests.raters import open_page as open_page
from tests.studies import pairs, serving, study, triplets

pytestmark = needs_browser
FEW = {"trials": 4, "practice": 1, "sentinel_every": 2}


def test_a_whole_session_by_keys_and_clicks(open_page, tmp_path):
    asked = study(tmp_path / "study", triplets(tmp_path / "pictures"), **FEW)
    with serving(tmp_path / "study") as url:
        page = open_page(url)
        assert asked.shown["consent"] in page.locator(".text").inner_text()
        take_part(page)
        keys = iter(["ArrowLeft", "ArrowRight", None] * 9)
        while step(page, next(keys)):
            pass
        code = page.locator(".code").inner_text()
        assert page.failures == []
    rows = read_responses(tmp_path / "study", asked)
    assert [row["kind"] for row in rows].count("main") == 4
    assert [row["kind"] for row in rows].count("sentinel") == 2
    assert rows[0]["kind"] == "practice"
    assert len(code) == 8
    assert all(0 < row["response_ms"] < 60_000 for row in rows)
    assert len({row["build"] for row in rows}) == 1


def test_what_is_clicked_is_what_is_stored_whichever_side_it_is_on(open_page, tmp_path):
    asked = study(tmp_path / "study", triplets(tmp_path / "pictures"), trials=12, practice=0, sentinel_every=0)
    with serving(tmp_path / "study") as url:
        page = open_page(url)
        take_part(page)
        chosen = []
        for _ in range(12):
            page.locator(".choice").wait_for()
            chosen.append([image.get_attribute("src") for image in page.locator(".choice img").all()])
            step(page, "ArrowRight")
    names = Names(read_secret(tmp_path / "study" / STUDY_SECRET))
    items = {item.id: item for item in asked.items()}
    rows = read_responses(tmp_path / "study", asked)
    for row, (reference, _, right) in zip(rows, chosen, strict=True):
        item = items[row["item"]]
        assert f"pictures/{names.picture(item.id, 0)}" == reference
        assert f"pictures/{names.picture(item.id, 1 if row['answer'] == 'left' else 2)}" == right
    assert {row["swapped"] for row in rows} == {0, 1}


def test_an_answer_counts_where_a_frame_began_before_its_screen(open_page, tmp_path):
    asked = study(tmp_path / "study", triplets(tmp_path / "pictures"), **FEW)
    early = "const frame = requestAnimationFrame; requestAnimationFrame = f => frame(now => f(now - 1000))"
    with serving(tmp_path / "study") as url:
        page = open_page(url, script=early)
        take_part(page)
        assert step(page, "ArrowLeft")
        page.get_by_text("Practice:").wait_for()
        assert page.failures == []
    (row,) = read_responses(tmp_path / "study", asked)
    assert json.loads(row["presented"]) == [0]


def test_a_reload_a_second_tab_and_a_double_press_neither_lose_nor_repeat(open_page, tmp_path):
    asked = study(tmp_path / "study", triplets(tmp_path / "pictures"), **FEW)
    with serving(tmp_path / "study") as url:
        page = open_page(url)
        take_part(page)
        step(page, "ArrowLeft")
        step(page, None)
        step(page, "ArrowLeft")
        page.reload()
        click(page, "Go on")
        page.locator(".choice").wait_for()
        other = open_page(url, page.context)
        click(other, "Go on")
        page.locator(READY).first.wait_for()
        page.keyboard.press("ArrowLeft")
        page.keyboard.press("ArrowLeft")
        for tab in (other, page):
            while step(tab, "ArrowRight"):
                pass
        assert page.locator(".code").inner_text() == other.locator(".code").inner_text()
    rows = read_responses(tmp_path / "study", asked)
    assert len({row["rater"] for row in rows}) == 1
    assert len({row["item"] for row in rows}) == len(rows) == 1 + 4 + 2


def test_an_answer_given_while_the_server_is_away_arrives_later(open_page, tmp_path):
    asked = study(tmp_path / "study", triplets(tmp_path / "pictures"), **FEW)
    with serving(tmp_path / "study") as url:
        page = open_page(url)
        take_part(page)
        page.locator(READY).first.wait_for()
        page.context.set_offline(True)
        page.keyboard.press("ArrowLeft")
        page.get_by_text("Your answer is kept").wait_for()
        assert read_responses(tmp_path / "study", asked) == []
        page.context.set_offline(False)
        page.get_by_text("Practice:").wait_for()
        assert len(read_responses(tmp_path / "study", asked)) == 1


def test_a_break_gives_back_what_is_open(open_page, tmp_path):
    study(tmp_path / "study", triplets(tmp_path / "pictures"), trials=4, practice=0, sentinel_every=0)
    with serving(tmp_path / "study") as url:
        page = open_page(url)
        take_part(page)
        page.locator(".choice").wait_for()
        click(page, "Take a break")
        page.get_by_text("Come back to this page").wait_for()
        click(page, "Go on")
        page.get_by_text("Welcome back").wait_for()
        click(page, "Go on")
        page.locator(".choice").wait_for()
        assert page.failures == []


def test_it_fits_a_phone(open_page, tmp_path):
    study(tmp_path / "study", triplets(tmp_path / "pictures"), trials=2, practice=0, sentinel_every=0)
    with serving(tmp_path / "study") as url:
        page = open_page(url, viewport={"width": 360, "height": 640}, has_touch=True, is_mobile=True)
        take_part(page)
        page.locator(".choice").wait_for()
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
        boxes = [button.bounding_box() for button in page.locator(".choice button").all()]
        assert all(box["y"] + box["height"] <= 640 for box in boxes)
        page.locator(READY).last.tap()
        page.get_by_text("Your code:").or_(page.locator(".choice")).first.wait_for()


def test_a_whole_session_of_pairs_and_its_timing(open_page, tmp_path):
    asked = study(tmp_path / "study", pairs(tmp_path / "pictures"), trials=2, practice=1, sentinel_every=0)
    with serving(tmp_path / "study") as url:
        page = open_page(url)
        take_part(page)
        keys = iter("sd" * 9)
        while True:
            page.locator("p:has-text('did they look the same'), .code, button:has-text('Go on')").first.wait_for()
            if page.locator(".code").count():
                break
            if page.locator("button:has-text('Go on')").count():
                click(page, "Go on")
                continue
            page.locator(".text button:not([aria-disabled])").first.wait_for()
            question = page.locator(".text p").inner_text()
            page.keyboard.press(next(keys))
            page.wait_for_function("old => document.querySelector('.text p')?.innerText !== old", arg=question)
        assert page.failures == []
    rows = read_responses(tmp_path / "study", asked)
    assert [row["kind"] for row in rows] == ["practice"] * 2 + ["main"] * 2
    assert [row["answer"] for row in rows] == ["same", "different"] * 2
    for row in rows:
        presented = json.loads(row["presented"])
        slots = [after - before for before, after in itertools.pairwise(presented)]
        assert len(slots) == 9  # a pause, four pictures, four masks
        assert 480 < sorted(slots)[4] < 560  # a busy machine drops some frames; what was shown is what is stored
