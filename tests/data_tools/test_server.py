"""The experiment's server: what it takes, what it refuses, what its owner sees."""

import csv
import io
import json

import pytest
from starlette.testclient import TestClient

from data_tools import server
from data_tools.admin import read_admin_token
from data_tools.guard import LARGEST
from data_tools.secret import ADMIN_TOKEN
from data_tools.server import create_app
from data_tools.study import STUDY, Study
from data_tools.votes import read_responses
from tests.studies import study, triplets


@pytest.fixture
def folder(tmp_path):
    study(tmp_path / "study", triplets(tmp_path / "pictures"), trials=4, practice=1, sentinel_every=2)
    return tmp_path / "study"


@pytest.fixture
def client(folder):
    app = create_app(folder)
    with TestClient(app, base_url="http://127.0.0.1") as client:
        yield client
    app.state.votes.close()


@pytest.fixture
def rater(client):
    return client.post("/api/raters", json={"agreed": True, "build": "test"}).json()["rater"]


def body(asked, **changes):
    """What the page sends."""
    answers = [{"item": item["item"], "answer": "left", "response_ms": 5.5} for item in asked["items"]]
    return {"screen": asked["screen"], "answers": answers, "presented": [0.0], "build": "test", **changes}


def test_a_session_from_consent_to_code(client, rater, folder):
    state = client.get(f"/api/raters/{rater}").json()
    assert (state["done"], state["total"], state["code"]) == (0, 7, None)
    while state["screens"]:
        sent = client.post(f"/api/raters/{rater}/answers", json=body(state["screens"][0]))
        assert sent.status_code == 200
        state = sent.json()
    assert len(state["code"]) == 8
    assert len(read_responses(folder, Study.read(folder))) == state["done"] == 7


def test_a_rater_cannot_see_which_are_sentinels(client, rater):
    """Neither by name nor by what comes with it."""
    shapes = set()
    state = client.get(f"/api/raters/{rater}").json()
    while state["screens"]:
        screen = state["screens"][0]
        assert "sentinel" not in json.dumps(screen)
        shapes.add((tuple(screen), tuple(screen["items"][0]), screen["practice"]))
        state = client.post(f"/api/raters/{rater}/answers", json=body(screen)).json()
    assert len(shapes) == 2  # practice and the others


def test_pictures_are_served_and_nothing_else_is(client, rater, folder):
    pictures = client.get(f"/api/raters/{rater}").json()["screens"][0]["items"][0]["pictures"]
    assert all(client.get(url).headers["content-type"] == "image/png" for url in pictures)
    for path in (
        "/pictures/../study.json",
        "/pictures/..%2f..%2fstudy%2fvotes.sqlite",
        "/pictures/%2fetc%2fpasswd",
        "/pictures/0_ref.png",
        "/../study/admin-token",
        "/..%2fserver.py",
        "/%2e%2e/%2e%2e/server.py",
        "/votes.sqlite",
    ):
        assert client.get(path).status_code == 404, path


BAD = {
    "no JSON": {"content": b"{"},
    "no object": {"json": [1]},
    "unknown field": {"json": {"agreed": True, "build": "x", "more": 1}},
    "text for a truth": {"json": {"agreed": "yes", "build": "x"}},
    "no consent": {"json": {"agreed": False, "build": "x"}},
    "a long build": {"json": {"agreed": True, "build": "x" * 101}},
}


@pytest.mark.parametrize("sent", BAD.values(), ids=BAD)
def test_malformed_consent_is_refused(client, sent):
    response = client.post("/api/raters", **sent)
    assert response.status_code == (400 if sent == BAD["no JSON"] else 422)
    assert "detail" in response.json()


BAD_ANSWERS = {
    "negative time": ("answers", [{"item": "x", "answer": "left", "response_ms": -1}], 422),
    "text for a time": ("answers", [{"item": "x", "answer": "left", "response_ms": "1"}], 422),
    "unknown question": ("answers", [{"item": "x", "answer": "left", "response_ms": 1.0}], 422),
    "none": ("answers", [], 422),
    "too many": ("answers", [{"item": "x", "answer": "left", "response_ms": 1.0}] * 3, 422),
    "twice": ("answers", [{"item": "x", "answer": "left", "response_ms": 1.0}] * 2, 422),
    "another screen": ("screen", 99, 422),
    "a fraction of a screen": ("screen", 0.5, 422),
    "shown less than once": ("showings", 0, 422),
    "fewer than no early presses": ("early", -1, 422),
    "a fraction of a press": ("early", 0.5, 422),
    "many times": ("presented", [0.0] * 33, 422),
    "oversized": ("build", "x" * LARGEST, 413),
}


@pytest.mark.parametrize(("field", "value", "status"), BAD_ANSWERS.values(), ids=BAD_ANSWERS)
def test_malformed_answers_are_refused_and_nothing_is_stored(client, rater, folder, field, value, status):
    screen = client.get(f"/api/raters/{rater}").json()["screens"][0]
    response = client.post(f"/api/raters/{rater}/answers", json=body(screen, **{field: value}))
    assert response.status_code == status
    assert read_responses(folder, Study.read(folder)) == []


NO_JSON = ["NaN", "-Infinity", "1e999", r'"\ud800"', '"\udc80"', "[" * 20_000 + "]" * 20_000, "9" * 5000]


@pytest.mark.parametrize("value", NO_JSON, ids=range(len(NO_JSON)))
@pytest.mark.parametrize("field", ["5.5", "0.0", '"test"', '"left"'])
def test_numbers_and_letters_that_are_none_are_refused_in_a_line(client, rater, field, value, caplog):
    screen = client.get(f"/api/raters/{rater}").json()["screens"][0]
    text = json.dumps(body(screen)).replace(field, value).encode("utf-8", "surrogateescape")
    response = client.post(f"/api/raters/{rater}/answers", content=text)
    assert response.status_code == 400
    assert response.json()["detail"].startswith("the request is no JSON; expected finite numbers")
    assert caplog.text == ""


def test_an_oversized_request_of_no_stated_length_is_refused(client):
    chunks = (b"x" * 4096 for _ in range(100))
    assert client.post("/api/raters", content=chunks).status_code == 413


def test_unknown_raters_are_refused(client):
    screen = {"screen": 0, "items": [{"item": "x"}]}
    assert client.get("/api/raters/nobody").status_code == 404
    assert client.post("/api/raters/nobody/answers", json=body(screen)).status_code == 404
    assert client.post("/api/raters/nobody/leave").status_code == 404


@pytest.mark.parametrize("path", ["/admin", "/admin/votes.csv", "/admin/statistics.json"])
def test_the_owners_pages_need_the_token(client, folder, path):
    assert client.get(path).status_code == 401
    assert client.get(path, params={"key": "wrong"}).status_code == 401
    assert client.get(path, headers={"Authorization": "Bearer "}).status_code == 401
    token = read_admin_token(folder)
    assert client.get(path, params={"key": token}).status_code == 200
    assert client.get(path, headers={"Authorization": f"Bearer {token}"}).status_code == 200
    assert (folder / ADMIN_TOKEN).stat().st_mode & 0o077 == 0


def test_the_owner_sees_progress_raters_and_votes(client, rater, folder):
    state = client.get(f"/api/raters/{rater}").json()
    while state["screens"]:
        state = client.post(f"/api/raters/{rater}/answers", json=body(state["screens"][0])).json()
    key = {"key": read_admin_token(folder)}
    page = client.get("/admin", params=key).text
    assert "4 votes of 1 raters count" in page or "0 votes of 0 raters count" in page  # all left: may fail sentinels
    assert rater[:8] in page
    assert rater not in page
    rows = list(csv.DictReader(io.StringIO(client.get("/admin/votes.csv", params=key).text)))
    assert [row["answer"] for row in rows] == ["left"] * 7
    found = client.get("/admin/statistics.json", params=key).json()
    assert found["progress"]["all"] == 12
    assert found["by_rater"][0]["votes"] == 4


def test_a_full_disk_takes_nothing_and_the_answer_can_be_sent_again(client, rater, folder):
    database = client.app.state.votes._db
    state = client.get(f"/api/raters/{rater}").json()
    pages = database.execute("PRAGMA page_count").fetchone()[0]
    database.execute(f"PRAGMA max_page_count = {pages}")
    statuses = []
    while state["screens"]:
        sent = body(state["screens"][0], presented=[0.123456789] * 32, build="x" * 100)
        response = client.post(f"/api/raters/{rater}/answers", json=sent)
        statuses.append(response.status_code)
        if response.status_code == 507:
            assert "send it again" in response.json()["detail"]
            database.execute("PRAGMA max_page_count = 100000")
        else:
            state = response.json()
    assert 507 in statuses
    assert len(read_responses(folder, Study.read(folder))) == 7


def test_no_address_is_stored(client, rater, folder):
    client.get(f"/api/raters/{rater}")
    held = b"".join(file.read_bytes() for file in folder.iterdir() if file.is_file())
    assert b"127.0.0.1" not in held
    assert b"testclient" not in held


def test_nothing_is_cached_but_pictures_and_nothing_comes_from_elsewhere(client, rater):
    state = client.get(f"/api/raters/{rater}")
    assert state.headers["cache-control"] == "no-store"
    assert "default-src 'self'" in state.headers["content-security-policy"]
    picture = client.get(state.json()["screens"][0]["items"][0]["pictures"][0])
    assert "immutable" in picture.headers["cache-control"]
    script = client.get("/experiment.js").text
    assert "unpkg.com" not in script
    assert "MIT License" in client.get("/LICENSES.txt").text


def test_without_a_built_page_one_line_says_how_to_build_it(folder, monkeypatch, tmp_path):
    monkeypatch.setattr(server, "PAGE", tmp_path / "nothing")
    with pytest.raises(FileNotFoundError, match="`make web` builds it"):
        create_app(folder)


def test_missing_pictures_are_named(folder, tmp_path):
    (tmp_path / "pictures" / "pictures" / "3_left.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"1 pictures of the study are missing: .*3_left\.png"):
        create_app(folder)


BAD_STUDIES = {
    "damaged": ("{", "cannot be used"),
    "unknown entry": ({"more": 1}, "unknown entries: more"),
    "unknown text": ({"texts": {"welcome": "x"}}, "got texts welcome"),
    "no rounds": ({"rounds": []}, "got rounds"),
    "no trials": ({"trials": 0}, "got trials 0; expected 1 or more"),
    "a share above one": ({"min_sentinels": 2}, "got min_sentinels 2"),
    "a fraction of practice": ({"practice": 1.5}, "got practice 1.5; expected a whole number"),
    "text for a number": ({"trials": "10"}, "got trials '10'; expected a whole number"),
    "a billion": ({"trials": 10**9}, "got trials 1000000000; expected a whole number, 100000 at most"),
    "a round of a fraction": ({"rounds": [1.5]}, "got rounds 1.5; expected a whole number"),
    "a truth for a number": ({"min_answers": True}, "got min_answers True; expected a whole number"),
    "no number": ({"min_sentinels": float("nan")}, "got min_sentinels nan"),
    "a list of texts": ({"texts": []}, "expected text"),
    "a number for a text": ({"texts": {"title": 5}}, "got 5 for title; expected text"),
    "a number for a folder": ({"pictures": 5}, "got 5 for pictures; expected text"),
    "no such requirement": ({"require": "money"}, "got require 'money'"),
    "no such task": ({"task": "3afc"}, "got task '3afc'"),
    "other pictures": ({"table": "0" * 64}, "make a new study"),
}


@pytest.mark.parametrize(("change", "message"), BAD_STUDIES.values(), ids=BAD_STUDIES)
def test_a_study_that_cannot_be_is_refused(folder, change, message):
    held = json.loads((folder / STUDY).read_text())
    (folder / STUDY).write_text(change if isinstance(change, str) else json.dumps({**held, **change}))
    with pytest.raises(ValueError, match=message):
        create_app(folder)


def test_a_study_is_not_overwritten(folder, tmp_path):
    with pytest.raises(FileExistsError, match="exists already"):
        study(folder, tmp_path / "pictures")
    with pytest.raises(FileNotFoundError, match=r"no study\.json"):
        Study.read(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"triplets\.csv"):
        Study.of(tmp_path)
