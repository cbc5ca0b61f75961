"""Who may take part, how many of them, and what those hold who only ask."""

import json

import pytest
from starlette.testclient import TestClient

from data_tools.cli import main
from data_tools.server import create_app
from data_tools.study import Study
from data_tools.votes import BusyError, Votes, read_raters
from tests.studies import study, triplets


@pytest.fixture
def serve(tmp_path):
    apps = []

    def serve(**options):
        study(tmp_path / "study", triplets(tmp_path / "pictures"), practice=0, sentinel_every=0, **options)
        apps.append(create_app(tmp_path / "study"))
        return TestClient(apps[-1], base_url="http://127.0.0.1")

    yield serve
    for app in apps:
        app.state.votes.close()


@pytest.fixture
def votes(tmp_path):
    asked = study(tmp_path / "study", triplets(tmp_path / "pictures"), practice=0, sentinel_every=0, rounds=(1,))
    held = Votes(tmp_path / "study", asked, lambda: 1000.0)
    yield held
    held.close()


def begin(client, participant=None):
    return client.post("/api/raters", json={"agreed": True, "build": "test", "participant": participant})


def invitations(folder, count, capsys):
    assert main(["invite", str(folder), str(count), "--url", "https://example.org/ours/", "--json"]) == 0
    links = [row["link"] for row in json.loads(capsys.readouterr().out)]
    assert all(link.startswith("https://example.org/ours/?invitation=inv.") for link in links)
    return [link.partition("=")[2] for link in links]


def test_an_invitation_is_for_one_person_and_nobody_else_comes_in(serve, tmp_path, capsys):
    client = serve(require="invitation")
    one, other = invitations(tmp_path / "study", 2, capsys)
    assert begin(client).status_code == begin(client, "5f3a1c").status_code == 403
    changed = f"{one[:-1]}{'0' if one[-1] != '0' else '1'}"
    for forged in (one[:-1], changed, "inv.", "inv.1.2", one.replace("inv.", "inv.x")):
        assert begin(client, forged).status_code == 403, forged
    first = begin(client, one).json()["rater"]
    assert begin(client, one).json()["rater"] == first != begin(client, other).json()["rater"]
    assert client.get("/api/study").json()["participant"][-1] == "invitation"
    assert len(read_raters(tmp_path / "study", Study.read(tmp_path / "study"))) == 2


def test_an_invitation_of_another_study_is_none(serve, tmp_path, capsys):
    client = serve(require="invitation")
    study(tmp_path / "other", tmp_path / "pictures")
    (other,) = invitations(tmp_path / "other", 1, capsys)
    assert begin(client, other).status_code == 403


def test_a_study_may_require_the_id_of_a_service(serve):
    client = serve(require="id")
    assert begin(client).status_code == 403
    assert "the link of the service that sent you" in begin(client).json()["detail"]
    assert begin(client, "5f3a1c").status_code == 201


def test_so_many_people_begin_in_a_minute_and_those_with_an_invitation_besides(serve, tmp_path, capsys):
    client = serve(new_raters=3)
    (invited,) = invitations(tmp_path / "study", 1, capsys)
    assert [begin(client).status_code for _ in range(5)] == [201, 201, 201, 429, 429]
    assert begin(client).headers["retry-after"]
    assert begin(client, invited).status_code == 201


def test_the_minute_passes(votes):
    now = [1000.0]
    votes._clock = lambda: now[0]
    votes.register("test", most=1)
    with pytest.raises(BusyError, match="1 people began within a minute"):
        votes.register("test", most=1)
    now[0] += 61
    votes.register("test", most=1)


def test_who_only_asks_holds_half_of_the_questions_at_most_and_keeps_nobody_out(votes):
    for _ in range(25):
        assert votes.ask(votes.register("test"))
    assert votes.questions()["open"] <= 6
    working = votes.register("test")
    done = 0
    while asked := votes.ask(working):
        votes.answer(working, asked[0].screen, {asked[0].item.id: ("left", 900.0)}, [0.0], "test")
        votes.ask(votes.register("test"))
        done += 1
    assert done >= 6
    assert votes.finish(working)


def test_a_question_that_was_taken_back_takes_its_answer_all_the_same(votes):
    slow = votes.register("test")
    asked = votes.ask(slow)[0]
    for _ in range(4):
        votes.ask(votes.register("test"))
    votes.answer(slow, asked.screen, {asked.item.id: ("left", 900.0)}, [0.0], "test")
    assert votes.questions()["finished"] == 1


def test_nobody_gets_a_code_for_nothing(serve):
    client = serve(rounds=(1,), lease_minutes=20)
    busy = begin(client).json()["rater"]
    state = client.get(f"/api/raters/{busy}").json()
    while state["screens"]:
        screen = state["screens"][0]
        answers = [{"item": item["item"], "answer": "left", "response_ms": 900.0} for item in screen["items"]]
        sent = {"screen": screen["screen"], "answers": answers, "presented": [0.0], "build": "test"}
        state = client.post(f"/api/raters/{busy}/answers", json=sent).json()
    assert state["code"]
    late = begin(client).json()["rater"]
    assert client.get(f"/api/raters/{late}").json() == {"screens": [], "done": 0, "total": 12, "code": None}
