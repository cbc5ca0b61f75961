"""Who chooses: metrics against their own distances, files of answers, people on the experiment's page."""

import io
import json
import subprocess
import sys

import httpx2
import numpy as np
import PIL.Image
import pytest

from benchmarks.personalization.methods import choosers
from benchmarks.personalization.methods.choosers import (
    Choice,
    choose_by_file,
    choose_by_metric,
    choose_by_person,
    make_chooser,
)
from data_tools.simulation import Observer, simulate
from data_tools.study import Study
from data_tools.votes import read_responses
from dreamsim_metric import load
from tests.pictures import PHOTOGRAPHS


def photographs(side=64):
    return [PIL.Image.open(path).convert("RGB").resize((side, side)) for path in PHOTOGRAPHS]


# Metrics


def test_a_metric_likes_what_is_nearest_to_all_references_on_average():
    pictures = photographs()
    references, shown = pictures[:2], [*pictures[2:], pictures[1].rotate(5)]
    choice = make_chooser("mini", references, None)(shown)
    metric = load("mini")
    means = (1 - metric.embed(shown).double() @ metric.embed(references).double().T).mean(1)
    assert choice.scores == pytest.approx(means.tolist(), abs=1e-5)
    assert (choice.liked, choice.disliked) == (int(means.argmin()), int(means.argmax()))
    assert choice.liked == len(shown) - 1


METRIC = '''
import torch
from benchmarks.metrics.base import Metric, MetricCard


class Red(Metric):
    """How alike the shares of red are, pixel by pixel: it needs equal sizes."""

    card = MetricCard("red", "DIRECTION", (0, 1), input="native", preprocessing="as it is")

    def compare(self, a, b):
        difference = (a[0][:, 0] - b[0][:, 0]).abs().mean((1, 2))
        return FORMULA


class Told(Red):
    text = staticmethod(lambda prompts: torch.zeros(len(prompts), 1))


METRICS = {"red": lambda options: Red()}
'''


def metric_file(folder, direction="distance", formula="difference", **changes):
    text = METRIC.replace("DIRECTION", direction).replace("FORMULA", formula)
    for old, new in changes.values():
        text = text.replace(old, new)
    (folder / "red.py").write_text(text)
    return str(folder / "red.py")


def reds(*values, side=8):
    return [PIL.Image.new("RGB", (side, side), (value, 0, 0)) for value in values]


@pytest.mark.parametrize(("direction", "formula"), [("distance", "difference"), ("similarity", "1 - difference")])
def test_the_card_says_which_end_is_liked_and_sizes_may_differ(tmp_path, direction, formula):
    choose = choose_by_metric(metric_file(tmp_path, direction, formula), [*reds(51), *reds(153, side=5)])
    choice = choose(reds(255, 102, 0, 204))
    assert (choice.liked, choice.disliked) == (1, 0)
    differences = np.array([0.6, 0.2, 0.4, 0.4])
    assert choice.scores == pytest.approx(differences if direction == "distance" else 1 - differences, abs=1e-6)


def test_of_equals_the_first_is_liked_and_the_last_disliked(tmp_path):
    choice = choose_by_metric(metric_file(tmp_path), reds(0))(reds(9, 9, 9))
    assert (choice.liked, choice.disliked) == (0, 2)


def test_metrics_that_cannot_choose_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"unknown metric 'minii': did you mean mini"):
        make_chooser("minii", reds(0), None)
    with pytest.raises(ValueError, match="got no references"):
        make_chooser("mini", [], None)
    for name, change, message in (
        ("told", ("Red()}", "Told()}"), "compares pictures with prompts"),
        ("two", ("METRICS = {", "METRICS = {'also': lambda options: Red(), "), "has 2 metrics; expected one"),
    ):
        (tmp_path / name).mkdir()
        with pytest.raises(ValueError, match=message):
            choose_by_metric(metric_file(tmp_path / name, change=change), reds(0))
    (tmp_path / "none").mkdir()
    with pytest.raises(ValueError, match="gave nan, nan for the pictures of a round"):
        choose_by_metric(metric_file(tmp_path / "none", formula="difference * float('nan')"), reds(0))(reds(1, 2))
    with pytest.raises(ValueError, match="got 1 pictures in a round; expected two or more"):
        make_chooser("mini", reds(0), None)(reds(1))


# Files

ANSWERS = [{"round": 1, "liked": 0, "disliked": 2}, {"round": 0, "liked": 3, "disliked": 1}]


def answers(folder, rows, kind):
    file = folder / f"answers.{kind}"
    if kind == "csv":
        lines = [list(rows[0]), *([str(value) for value in row.values()] for row in rows)]
        file.write_text("".join(",".join(line) + "\n" for line in lines))
    else:
        file.write_text("".join(json.dumps(row) + "\n\n" for row in rows))
    return file


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_each_call_is_the_next_round_of_a_file(tmp_path, kind):
    choose = make_chooser(f"file:{answers(tmp_path, ANSWERS, kind)}", [], None)
    assert choose(reds(0, 1, 2, 3)) == Choice(3, 1)
    assert choose(reds(0, 1, 2, 3)) == Choice(0, 2)
    with pytest.raises(ValueError, match=r"has no answer for round 2; add one \(it has those of 0, 1\)"):
        choose(reds(0, 1, 2, 3))


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_answers_of_other_prompts_are_passed_over(tmp_path, kind):
    rows = [{**ANSWERS[1], "prompt": "a cat"}, {"round": 0, "liked": 0, "disliked": 1, "prompt": "a dog"}]
    file = answers(tmp_path, rows, kind)
    assert choose_by_file(file, "a dog")(reds(0, 1)) == Choice(0, 1)
    assert choose_by_file(file, "a cat")(reds(0, 1, 2, 3)) == Choice(3, 1)


BAD_ROWS = {
    "no number": ({"liked": "first"}, "got liked first; expected a whole number, counted from 0"),
    "negative": ({"disliked": -1}, "got disliked -1; expected a whole number"),
    "a fraction": ({"liked": 0.5}, "got liked 0.5"),
    "nothing": ({"round": ""}, "got round ; expected a whole number"),
    "the same": ({"liked": 2}, "picture 2 is liked and disliked"),
    "twice": ({"round": 0}, "round 0 has an answer already"),
}


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
@pytest.mark.parametrize(("change", "message"), BAD_ROWS.values(), ids=BAD_ROWS)
def test_a_row_that_is_no_answer_is_named(tmp_path, change, message, kind):
    rows = [ANSWERS[1], {**ANSWERS[0], **change}]
    with pytest.raises(ValueError, match=rf"{kind}.*3: {message}"):  # the third line of either
        choose_by_file(answers(tmp_path, rows, kind))


def test_a_number_beyond_the_round_is_refused(tmp_path):
    choose = choose_by_file(answers(tmp_path, ANSWERS, "jsonl"))
    with pytest.raises(ValueError, match=r"has liked 3 in round 0, of 3 pictures; expected 0 to 2"):
        choose(reds(0, 1, 2))


BAD_FILES = {
    "no JSON": ("a.jsonl", "{", r"line 1 is no JSON"),
    "no object": ("a.jsonl", "[0, 1, 2]", r'line 1: got \[0, 1, 2\]; expected \{"round"'),
    "no column": ("a.csv", "round,liked\n0,1\n", "has no column disliked"),
    "a short row": ("a.csv", "round,liked,disliked\n0,1\n", "row 2: it has 2 cells"),
}


@pytest.mark.parametrize(("name", "text", "message"), BAD_FILES.values(), ids=BAD_FILES)
def test_a_file_that_holds_no_answers_is_refused(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=message):
        choose_by_file(tmp_path / name)


@pytest.mark.parametrize("name", ["none.csv", "none.jsonl"])
def test_a_file_that_is_not_there_is_named(tmp_path, name):
    with pytest.raises(FileNotFoundError, match=name):
        choose_by_file(tmp_path / name)


# People


def page(address, limit=None):
    """A person who prefers what is nearest in red: reads the page's questions, and gives answers up to a limit."""
    given = 0
    with httpx2.Client(base_url=address, timeout=30) as client:
        rater = client.post("/api/raters", json={"agreed": True, "build": "test"}).json()["rater"]
        state = client.get(f"/api/raters/{rater}").json()
        while state["screens"] and given != limit:
            screen = state["screens"][0]
            (item,) = screen["items"]
            red = [_red(client.get(url).content) for url in item["pictures"]]
            first = abs(red[1] - red[0]) <= abs(red[2] - red[0])
            answer = {"item": item["item"], "answer": "left" if first != item["swapped"] else "right"}
            sent = {"screen": screen["screen"], "answers": [{**answer, "response_ms": 900.0}]}
            sent |= {"presented": [0.0], "build": "test"}
            state = client.post(f"/api/raters/{rater}/answers", json=sent).raise_for_status().json()
            given += 1
        client.post(f"/api/raters/{rater}/leave")


def _red(data):
    return PIL.Image.open(io.BytesIO(data)).getpixel((0, 0))[0]


def test_a_person_is_asked_about_all_pairs_and_may_go_on_after_a_stop(tmp_path, monkeypatch):
    references, pictures = reds(100, 120, 140), reds(0, 110, 255)

    def stop(address):
        page(address, limit=4)
        raise KeyboardInterrupt

    folder, asked = tmp_path / "asked", []
    with pytest.raises(KeyboardInterrupt):
        choose_by_person(references, folder, tell=stop, every=0.1)(pictures)
    choice = choose_by_person(
        references, folder, tell=lambda address: page(address) or asked.append(address), every=0.1
    )(pictures)
    # 0 and 255 are 100 and 155, 120 and 135, 140 and 115 from the references.
    assert choice == Choice(1, 2, (2.0, 6.0, 1.0))
    assert len(asked) == 1
    (place,) = folder.iterdir()
    study = Study.read(place)
    assert len(read_responses(place, study)) == 9  # 3 references × 3 pairs, none twice
    monkeypatch.setattr(choosers, "start", None)  # nobody needs to be asked again
    assert make_chooser("person", references, tmp_path)(pictures) == choice


def test_simulated_people_agree_with_the_metric_that_they_see_with(tmp_path):
    shown = photographs()
    references, pictures = shown[:1], [shown[1], shown[0].rotate(8), shown[3]]

    def one_more(address):
        (place,) = tmp_path.iterdir()
        simulate(address, place, 1, Observer(noise=1e-6, lapse=0), at_once=1)
        if len(read_responses(place, Study.read(place))) == 3:
            raise KeyboardInterrupt

    ask = choose_by_person(references, tmp_path, votes=2, tell=one_more, every=0.1)
    with pytest.raises(KeyboardInterrupt):
        ask(pictures)
    choice = ask(pictures)  # one vote to each question is not enough
    expected = choose_by_metric("mini", references)(pictures)
    assert (choice.liked, choice.disliked) == (expected.liked, expected.disliked)
    assert sorted(choice.scores) == [0, 2, 4]


def test_the_address_is_told_and_a_server_that_ends_is_an_error(tmp_path, monkeypatch, capsys):
    def ended(folder, port, **options):
        process = subprocess.Popen([sys.executable, "-c", "raise SystemExit(3)"])
        process.wait()
        return process

    monkeypatch.setattr(choosers, "start", ended)
    with pytest.raises(RuntimeError, match=r"the server of .*round-\w+ ended with 3; start again to go on"):
        make_chooser("person", reds(0), tmp_path)(reds(1, 2, 3))
    assert "http://127.0.0.1:" in capsys.readouterr().err


def test_questions_that_cannot_be_asked_are_refused(tmp_path):
    with pytest.raises(ValueError, match="got the chooser 'person' and no folder"):
        make_chooser("person", reds(0), None)
    with pytest.raises(ValueError, match="got no references"):
        make_chooser("person", [], tmp_path)
    with pytest.raises(ValueError, match="got one reference and two pictures"):
        make_chooser("person", reds(0), tmp_path)(reds(1, 2))
    with pytest.raises(ValueError, match="got 1 pictures in a round"):
        make_chooser("person", reds(0), tmp_path)(reds(1))
