"""People whom a recruiting service sends: known again by the id in the address, which is kept nowhere."""

import csv
import hashlib
import hmac
import io
import json

import pytest
from starlette.testclient import TestClient

from data_tools.admin import read_admin_token
from data_tools.cli import main
from data_tools.participants import NAMES, SECRET, hash_participant
from data_tools.server import create_app
from data_tools.study import STUDY, Study
from data_tools.votes import read_raters, read_responses
from tests.browser import browser as browser
from tests.browser import needs_browser
from tests.raters import READY, click, step, take_part
from tests.raters import open_page as open_page
from tests.studies import serving, study, triplets

ANN, BOB = "5f3a1c9be2d04a7c8e6b1d2f", "A1B2C3D4E5F6"


@pytest.fixture
def folder(tmp_path):
    study(tmp_path / "study", triplets(tmp_path / "pictures"), trials=2, practice=0, sentinel_every=0)
    return tmp_path / "study"


@pytest.fixture
def client(folder):
    app = create_app(folder)
    with TestClient(app, base_url="http://127.0.0.1") as client:
        yield client
    app.state.votes.close()


def agree(client, participant):
    sent = client.post("/api/raters", json={"agreed": True, "build": "test", "participant": participant})
    return sent.json()["rater"]


def answer_all(client, rater):
    state = client.get(f"/api/raters/{rater}").json()
    while state["screens"]:
        screen = state["screens"][0]
        answers = [{"item": item["item"], "answer": "left", "response_ms": 900.0} for item in screen["items"]]
        sent = {"screen": screen["screen"], "answers": answers, "presented": [0.0], "build": "test"}
        state = client.post(f"/api/raters/{rater}/answers", json=sent).json()
    return state["code"]


def test_a_token_is_the_keyed_hash_of_the_id(tmp_path):
    token = hash_participant(tmp_path, ANN)
    key = (tmp_path / SECRET).read_text().strip().encode()
    assert token == hmac.new(key, ANN.encode(), hashlib.sha256).hexdigest()[:32]
    assert hash_participant(tmp_path, ANN) == token != hash_participant(tmp_path, BOB)
    assert (tmp_path / SECRET).stat().st_mode & 0o077 == 0
    (tmp_path / "other").mkdir()
    assert hash_participant(tmp_path / "other", ANN) != token


NO_IDS = ["{{%PROLIFIC_PID%}}", "${workerId}", "%SURVEY_CODE%", "", "two words", "ä", "x" * 101, "x\n"]


@pytest.mark.parametrize("given", NO_IDS)
def test_what_the_service_did_not_fill_in_is_refused(tmp_path, given):
    with pytest.raises(ValueError, match=r"got the participant's id .* does the recruiting service fill it in\?"):
        hash_participant(tmp_path, given)


def test_the_same_person_is_one_rater_with_one_set_of_questions_and_one_code(client, folder):
    assert client.post("/api/participants", json={"participant": ANN}).json() == {"rater": None}
    ann, bob = agree(client, ANN), agree(client, BOB)
    assert ann != bob
    assert agree(client, ANN) == ann
    assert client.post("/api/participants", json={"participant": ANN}).json() == {"rater": ann}
    code = answer_all(client, ann)
    assert answer_all(client, agree(client, ANN)) == code
    assert len(read_responses(folder, Study.read(folder))) == 2
    assert agree(client, None) not in (ann, bob)
    assert len({agree(client, None) for _ in range(3)}) == 3  # who comes without an id is somebody new


@pytest.mark.parametrize("path", ["/api/raters", "/api/participants"])
def test_no_id_is_refused_by_the_server_too(client, path):
    for given in ("{{%PROLIFIC_PID%}}", "x" * 2000):
        sent = {"participant": given, **({"agreed": True, "build": "test"} if path == "/api/raters" else {})}
        assert client.post(path, json=sent).status_code == 422


def test_the_id_is_stored_nowhere_and_its_owner_can_be_paid(client, folder, capsys):
    codes = {one: answer_all(client, agree(client, one)) for one in (ANN, BOB)}
    key = {"key": read_admin_token(folder)}
    page = client.get("/admin", params=key).text
    rows = list(csv.DictReader(io.StringIO(client.get("/admin/votes.csv", params=key).text)))
    for one, code in codes.items():
        token = hash_participant(folder, one)
        assert {row["participant"] for row in rows if row["code"] == code} == {token}
        assert code in page
        assert token in page
        assert one not in page
    held = b"".join(file.read_bytes() for file in folder.iterdir() if file.is_file())
    assert ANN.encode() not in held
    assert BOB.encode() not in held
    assert main(["raters", str(folder), BOB, "stranger", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [(row["id"], row["code"], row["screens"]) for row in found] == [(BOB, codes[BOB], 2), ("stranger", "", 0)]
    assert main(["raters", str(folder)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[1] for line in lines] == list(codes.values())


def test_who_came_without_an_id_has_none_and_a_code(client, folder):
    code = answer_all(client, agree(client, None))
    idle = agree(client, None)
    first, second = read_raters(folder, Study.read(folder))
    assert (first["participant"], first["code"], first["screens"]) == ("", code, 2)
    assert (second["rater"], second["screens"]) == (idle[:32], 0)
    assert {row["participant"] for row in read_responses(folder, Study.read(folder))} == {""}


def test_names_in_the_address_are_the_owners_to_choose(tmp_path, capsys):
    made = triplets(tmp_path / "pictures")
    assert main(["study", str(made), "--out", str(tmp_path / "study"), "--participant", "pid", "who"]) == 0
    assert Study.read(tmp_path / "study").participant == ("pid", "who")
    assert study(tmp_path / "other", made).participant == NAMES
    held = json.loads((tmp_path / "study" / STUDY).read_text())
    (tmp_path / "study" / STUDY).write_text(json.dumps({**held, "participant": "pid"}))
    with pytest.raises(ValueError, match="got participant 'pid'; expected a list"):
        Study.read(tmp_path / "study")


@needs_browser
@pytest.mark.parametrize("name", NAMES)
def test_the_page_takes_the_id_from_the_address(open_page, folder, name):
    with serving(folder) as url:
        page = open_page(f"{url}/?STUDY_ID=1&{name}={ANN}&SESSION_ID=2")
        take_part(page)
        page.locator(READY).first.wait_for()
        step(page, "ArrowLeft")
        page.locator(READY).first.wait_for()
        again = open_page(f"{url}/?{name}={ANN}")  # in another browser
        again.get_by_text("Welcome back").wait_for()
        click(again, "Go on")
        while step(again, "ArrowLeft"):
            pass
        code = again.locator(".code").inner_text()
        last = open_page(f"{url}/?{name}={ANN}")
        click(last, "Go on")
        assert last.locator(".code").inner_text() == code
        assert ANN not in page.evaluate("JSON.stringify(localStorage)")
    rows = read_responses(folder, Study.read(folder))
    assert {(row["participant"], row["code"]) for row in rows} == {(hash_participant(folder, ANN), code)}
    assert len(rows) == 2


@needs_browser
def test_two_people_at_one_browser_are_two_and_a_broken_link_says_so(open_page, folder):
    with serving(folder) as url:
        page = open_page(f"{url}/?PROLIFIC_PID={ANN}")
        take_part(page)
        step(page, "ArrowLeft")
        page.goto(f"{url}/?PROLIFIC_PID={BOB}")
        take_part(page)
        while step(page, "ArrowRight"):
            pass
        page.goto(f"{url}/?PROLIFIC_PID=%7B%7B%25PROLIFIC_PID%25%7D%7D")
        page.get_by_text("does the recruiting service fill it in?").wait_for()
    rows = read_responses(folder, Study.read(folder))
    tokens = [row["participant"] for row in rows]
    assert [tokens.count(hash_participant(folder, one)) for one in (ANN, BOB)] == [1, 2]
