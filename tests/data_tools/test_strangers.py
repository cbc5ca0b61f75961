"""Strangers: who wrote the study's table, who sends to its server, who looks at what it sends."""

import csv
import hashlib
import io
import json
import os
import re

import pandas as pd
import pytest
from starlette.testclient import TestClient

from data_tools.admin import read_admin_token
from data_tools.cli import main
from data_tools.collection import write_data_set
from data_tools.filtering import tally
from data_tools.guard import HEADERS
from data_tools.names import Names
from data_tools.secret import STUDY_SECRET, read_secret
from data_tools.server import create_app
from data_tools.stats import measure
from data_tools.stimuli import StimulusError, open_stimulus
from data_tools.study import Study
from tests.studies import study, triplets


@pytest.fixture
def pictures(tmp_path):
    return triplets(tmp_path / "pictures")


@pytest.fixture
def folder(tmp_path, pictures):
    study(tmp_path / "study", pictures, trials=6, practice=1, sentinel_every=2)
    return tmp_path / "study"


@pytest.fixture
def client(folder):
    app = create_app(folder, ["study.example.org"])
    with TestClient(app, base_url="http://127.0.0.1") as client:
        yield client
    app.state.votes.close()


def begin(client, **sent):
    return client.post("/api/raters", json={"agreed": True, "build": "test", **sent})


def state_of(client, rater):
    return client.get(f"/api/raters/{rater}").json()


def send(client, rater, screen, **changes):
    answers = [{"item": item["item"], "answer": "left", "response_ms": 900.0} for item in screen["items"]]
    sent = {"screen": screen["screen"], "answers": answers, "presented": [0.0], "build": "test", **changes}
    return client.post(f"/api/raters/{rater}/answers", json=sent)


def screens(client, rater):
    """All that one rater is shown, answered as it comes."""
    state, found = state_of(client, rater), []
    while state["screens"]:
        found.append(state["screens"][0])
        state = send(client, rater, found[-1]).json()
    return found


# The table


def outside(pictures):
    (pictures.parent / "own.png").write_bytes((pictures / "pictures" / "0_ref.png").read_bytes())
    return "../own.png"


def absolute(pictures):
    return str(pictures / "pictures" / "0_ref.png")  # even to what is inside: it names the owner's folders


def link(pictures):
    outside(pictures)
    (pictures / "pictures" / "link.png").symlink_to(pictures.parent / "own.png")
    return "pictures/link.png"


def folder_link(pictures):
    (pictures.parent / "elsewhere").mkdir()
    (pictures.parent / "elsewhere" / "own.png").write_bytes((pictures / "pictures" / "0_ref.png").read_bytes())
    (pictures / "more").symlink_to(pictures.parent / "elsewhere")
    return "more/own.png"


def text(pictures):
    (pictures / "notes.png").write_text("not to be shown")
    return "notes.png"


def table(pictures):
    return "triplets.csv"


def pipe(pictures):
    os.mkfifo(pictures / "pipe.png")
    return "pipe.png"


def directory(pictures):
    return "pictures"


NO_STIMULI = [outside, absolute, link, folder_link, text, table, pipe, directory]


@pytest.mark.parametrize("name", NO_STIMULI, ids=lambda one: one.__name__)
def test_what_is_no_picture_inside_of_the_folder_is_neither_shown_nor_collected(tmp_path, pictures, name):
    path = name(pictures)
    file = pictures / "triplets.csv"
    file.write_text(file.read_text().replace("pictures/1_left.png", path))
    asked = study(tmp_path / "study", pictures, practice=0, sentinel_every=0)
    with pytest.raises(ValueError, match="the study's table names what it must not: .*" + re.escape(path)):
        create_app(tmp_path / "study")
    row = {"item": "1", "kind": "main", "answer": "left"}
    with pytest.raises(StimulusError, match=re.escape(path)):
        write_data_set(asked, tally(_votes(row), "2afc"), tmp_path / "out", {})
    assert not (tmp_path / "out").exists()


def _votes(row):
    return pd.DataFrame([row])


@pytest.mark.parametrize("path", ["", ".", "a\0b", "a\nb", "C:/own.png", "pictures/../../own.png"])
def test_odd_paths_are_refused(pictures, path):
    outside(pictures)
    with pytest.raises((StimulusError, IsADirectoryError)), open_stimulus(pictures, path):
        pass


def test_a_link_that_stays_inside_is_followed(pictures):
    (pictures / "again.png").symlink_to(pictures / "pictures" / "0_ref.png")
    with open_stimulus(pictures, "again.png") as (file, kind):
        assert (file.read(), kind) == ((pictures / "pictures" / "0_ref.png").read_bytes(), "image/png")


def test_a_picture_is_sent_as_what_it_is_whatever_its_name(tmp_path, pictures):
    (pictures / "pictures" / "1_left.png").rename(pictures / "pictures" / "1_left.html")
    file = pictures / "triplets.csv"
    file.write_text(file.read_text().replace("1_left.png", "1_left.html"))
    with open_stimulus(pictures, "pictures/1_left.html") as (_, kind):
        assert kind == "image/png"


def test_a_picture_that_vanishes_or_becomes_a_link_is_gone_with_one_line(client, pictures, caplog):
    state = state_of(client, begin(client).json()["rater"])
    url = state["screens"][0]["items"][0]["pictures"][0]
    for file in (pictures / "pictures").iterdir():
        file.unlink()
        file.symlink_to(pictures / "triplets.csv")
    response = client.get(url)
    assert (response.status_code, response.json()) == (410, {"detail": "this picture of the study is missing"})
    assert len(caplog.text.splitlines()) == 1
    assert "triplets" not in response.text


# What is sent to raters


def test_nothing_that_is_sent_tells_a_sentinel_from_a_question(client, folder):
    asked = Study.read(folder)
    found = screens(client, begin(client).json()["rater"])
    paths = [path for item in asked.items() for path in item.pictures]
    urls = [url for screen in found for item in screen["items"] for url in item["pictures"]]
    assert len(set(urls)) == len(urls)  # one picture twice on a screen, or in two questions, has two addresses
    known = [*paths, *(item.id for item in asked.items()), "practice", "sentinel"]
    names = {item["item"] for screen in found for item in screen["items"]} | {url.rpartition("/")[2] for url in urls}
    assert all(re.fullmatch("[0-9a-f]{32}", name) for name in names)
    digests = {hashlib.sha256(f"{salt}{one}".encode()).hexdigest() for one in known for salt in ("", f"{asked.id} ")}
    assert not any(digest.startswith(name[:16]) for digest in digests for name in names)
    headers = [{name.lower() for name in client.get(url).headers} for url in urls]
    assert all(one == headers[0] for one in headers)
    assert not headers[0] & {"last-modified", "etag"}


def test_two_studies_of_the_same_pictures_have_other_names(client, tmp_path, pictures):
    study(tmp_path / "other", pictures, trials=6, practice=1, sentinel_every=2)
    app = create_app(tmp_path / "other")
    with TestClient(app, base_url="http://127.0.0.1") as other:
        both = [screens(one, begin(one).json()["rater"]) for one in (client, other)]
    app.state.votes.close()
    found = [{item["item"] for screen in seen for item in screen["items"]} for seen in both]
    assert not found[0] & found[1]


def test_places_of_sentinels_are_drawn_with_the_secret(client, folder):
    votes = client.app.state.votes
    draw = votes._questions._draw
    assert draw("rater", 0) == draw("rater", 0) != draw("rater", 1)
    (folder / STUDY_SECRET).write_text("another secret")
    assert Names(read_secret(folder / STUDY_SECRET)).number("rater", 0) != draw("rater", 0)


@pytest.mark.parametrize("name", ["sentinel-0", "practice-0", "3"])
def test_ids_of_the_table_are_not_taken_and_not_said(client, name):
    rater = begin(client).json()["rater"]
    screen = state_of(client, rater)["screens"][0]
    for items in ([{"item": name}], [{"item": name}, screen["items"][0]]):
        refused = send(client, rater, {**screen, "items": items})
        assert refused.status_code == 422
        assert name not in refused.text
    right = send(client, rater, screen).json()["right"]
    assert list(right) == [screen["items"][0]["item"]]  # practice, by the name that the rater knows


# What is sent to the server


@pytest.mark.parametrize(
    "host", ["127.0.0.1:8000", "localhost", "[::1]:8000", "study.example.org", "STUDY.example.org:1"]
)
def test_the_hosts_that_it_was_told_are_answered(client, host):
    assert client.get("/api/study", headers={"Host": host}).status_code == 200
    assert begin(client).status_code == 201
    sent = {"json": {"agreed": True, "build": "test"}, "headers": {"Host": host, "Origin": f"https://{host}"}}
    assert client.post("/api/raters", **sent).status_code == 201


@pytest.mark.parametrize("name", ["host", "origin"])
@pytest.mark.parametrize("host", ["evil.example.org", "localhost.evil.org", "127.0.0.1.evil.org", "", "[", "null"])
def test_other_hosts_and_pages_are_refused(client, name, host):
    given = f"http://{host}" if name == "origin" and host != "null" else host
    response = client.post("/api/raters", json={"agreed": True, "build": "test"}, headers={name: given})
    assert response.status_code == 403
    assert "--allow-host" in response.json()["detail"]


def test_every_answer_has_the_headers(client):
    for response in (
        client.get("/"),
        client.get("/nothing"),
        client.get("/admin"),
        client.post("/api/raters", content=b"{"),
        client.get("/", headers={"host": "evil.example.org"}),
    ):
        assert {name: response.headers[name] for name in HEADERS} == HEADERS
        assert "frame-ancestors 'none'" in response.headers["content-security-policy"]


@pytest.mark.parametrize("build", ["=1+1", "+1", "-1", "@x", "\t=1", "a b", "", "x" * 101, "a\n"])
def test_a_build_that_is_none_is_refused(client, build):
    assert begin(client, build=build).status_code == 422
    rater = begin(client).json()["rater"]
    assert send(client, rater, state_of(client, rater)["screens"][0], build=build).status_code == 422


def test_a_rater_cannot_mark_a_study_as_simulated(client, folder):
    assert begin(client, build="simulated").status_code == 403
    rater = begin(client).json()["rater"]
    screen = state_of(client, rater)["screens"][0]
    assert send(client, rater, screen, build="simulated").status_code == 403
    assert send(client, rater, screen).status_code == 200
    assert measure(folder, resamples=1)["simulated"] == 0


def test_cells_of_strangers_are_texts_in_a_spreadsheet(tmp_path, pictures):
    file = pictures / "triplets.csv"
    rows = list(csv.DictReader(io.StringIO(file.read_text())))
    for number, row in enumerate(rows):
        row |= {"id": f"={number}+1", "prompt": f"@{number}"}
    with open(file, "w", newline="", encoding="utf-8") as opened:
        writer = csv.DictWriter(opened, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    asked = study(tmp_path / "study", pictures, practice=0, sentinel_every=0, trials=2)
    app = create_app(tmp_path / "study")
    with TestClient(app, base_url="http://127.0.0.1") as client:
        screens(client, begin(client).json()["rater"])
        sent = client.get("/admin/votes.csv", params={"key": read_admin_token(tmp_path / "study")})
    app.state.votes.close()
    found = list(csv.DictReader(io.StringIO(sent.text)))
    assert len(found) == 2
    assert all(row["item"].startswith("'=") for row in found)
    row = {"item": "=1+1", "kind": "main", "answer": "left"}
    write_data_set(asked, tally(_votes(row), "2afc"), tmp_path / "out", {})
    (only,) = csv.DictReader(io.StringIO((tmp_path / "out" / "data.csv").read_text()))
    assert only["prompt"] == "'@1"


# Secrets


def test_secrets_are_their_owners_only(folder, client):
    for name in (STUDY_SECRET, "admin-token", "votes.sqlite"):
        assert (folder / name).stat().st_mode & 0o077 == 0
    (folder / "admin-token").chmod(0o644)  # as an editor leaves it
    read_admin_token(folder)
    assert (folder / "admin-token").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("held", [b"", b"short", bytes(range(128, 168)) + b"\xff", "schlüsselbund".encode()])
def test_a_secret_that_is_none_is_refused_by_name(tmp_path, held):
    (tmp_path / "admin-token").write_bytes(held)
    with pytest.raises(ValueError, match=r"admin-token has \d+ characters; expected 8 ASCII ones or more"):
        read_secret(tmp_path / "admin-token")


def test_tokens_of_raters_are_not_in_exports(client, folder, tmp_path, capsys):
    rater = begin(client).json()["rater"]
    screens(client, rater)
    key = {"key": read_admin_token(folder)}
    shown = [client.get(f"/admin{path}", params=key).text for path in ("", "/votes.csv", "/statistics.json")]
    assert main(["stats", str(folder), "--json"]) == 0
    assert main(["raters", str(folder), "--json"]) == 0
    shown.append(capsys.readouterr().out)
    assert not any(rater in text for text in shown)
    stored = b"".join(file.read_bytes() for file in folder.glob("votes*"))
    assert rater.encode() not in stored
    assert json.loads(shown[2])["by_rater"][0]["rater"] == rater[:32]


def test_who_knows_a_raters_id_is_not_let_in(client):
    rater = begin(client).json()["rater"]
    for guess in (rater[:32], rater[:-1], rater[:32] + "0" * 32, "ä" * 40):
        assert client.get(f"/api/raters/{guess}").status_code == 404
