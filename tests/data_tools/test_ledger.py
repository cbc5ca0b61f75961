"""The file of the votes: whole after every end, copied while it is written, and watched."""

import os
import shutil
import signal
import sqlite3
import subprocess
from contextlib import closing

import httpx2
import pytest

from data_tools.cli import main
from data_tools.ledger import VOTES, Ledger, copy_votes
from data_tools.serving import find_free_port, start
from data_tools.study import Study
from data_tools.votes import Votes, read_responses
from tests.studies import study, triplets


@pytest.fixture
def folder(tmp_path):
    study(tmp_path / "study", triplets(tmp_path / "pictures"), practice=0, sentinel_every=0)
    return tmp_path / "study"


@pytest.fixture
def votes(folder):
    held = Votes(folder, Study.read(folder))
    yield held
    held.close()


def answer(votes, count=1):
    rater = votes.register("test")
    for _ in range(count):
        asked = votes.ask(rater)[0]
        votes.answer(rater, asked.screen, {asked.item.id: ("left", 900.0)}, [0.0], "test")
    return rater


def responses(file):
    with closing(sqlite3.connect(file)) as db:
        return db.execute("SELECT count(*) FROM responses").fetchone()[0]


def copied(file, tmp_path):
    """What the one file holds, without those beside it."""
    return responses(shutil.copy(file, tmp_path / "alone.sqlite"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_after_an_end_from_outside_the_one_file_holds_everything(folder, tmp_path, number):
    port = find_free_port()
    process = start(folder, port, stdout=subprocess.DEVNULL)
    base = f"http://127.0.0.1:{port}/api/raters"
    rater = httpx2.post(base, json={"agreed": True, "build": "test"}).json()["rater"]
    screen = httpx2.get(f"{base}/{rater}").json()["screens"][0]
    answers = [{"item": screen["items"][0]["item"], "answer": "left", "response_ms": 900.0}]
    body = {"screen": screen["screen"], "answers": answers, "presented": [0.0], "build": "test"}
    assert httpx2.post(f"{base}/{rater}/answers", json=body).status_code == 200
    process.send_signal(number)
    assert process.wait(timeout=20) == (130 if number == signal.SIGINT else 143)
    assert copied(folder / VOTES, tmp_path) == 1
    assert {file.name for file in folder.glob("votes*")} == {VOTES, f"{VOTES}.lock"}


def test_after_a_close_the_one_file_holds_everything_though_it_is_read(votes, folder, tmp_path):
    answer(votes, 3)
    with closing(sqlite3.connect(f"{(folder / VOTES).as_uri()}?mode=ro", uri=True)) as reader:
        assert reader.execute("SELECT count(*) FROM responses").fetchone()[0] == 3
        votes.close()
        assert copied(folder / VOTES, tmp_path) == 3
    votes.close()
    assert (folder / VOTES).stat().st_mode & 0o077 == 0


def test_a_backup_is_made_while_answers_come_and_takes_the_votes_place(votes, folder, tmp_path, capsys):
    answer(votes, 3)
    out = tmp_path / "backup.sqlite"
    for count in (3, 5):  # the second replaces the first
        assert main(["backup", str(folder), str(out), "--json"]) == 0
        assert f'"responses": {count}' in capsys.readouterr().out
        answer(votes, 2)
    assert responses(out) == 5
    assert out.stat().st_mode & 0o077 == 0
    votes.close()
    shutil.copy(out, folder / VOTES)
    again = Votes(folder, Study.read(folder))
    answer(again)
    again.close()
    assert len(read_responses(folder, again.study)) == 6


def test_a_backup_never_replaces_the_votes(votes, folder, capsys):
    answer(votes)
    for name in (VOTES, f"{VOTES}-wal"):
        with pytest.raises(ValueError, match="the study's own; name another file"):
            copy_votes(folder, folder / name)
    assert main(["backup", str(folder), str(folder / "gone" / "x")]) != 0
    assert capsys.readouterr().err.count("\n") == 1
    answer(votes)


def empty(file):
    file.write_bytes(b"")


def header(file):
    """What a copy in the middle has: a database, and no table."""
    file.unlink()
    with closing(sqlite3.connect(file)) as db:
        db.execute("PRAGMA journal_mode = WAL")


def lone_log(file):
    file.rename(f"{file}-wal")


def folder_instead(file):
    file.unlink()
    file.mkdir()


NO_VOTES = {
    empty: "is empty, where votes must be",
    header: "no such table",
    lone_log: r"has votes, and the votes\.sqlite that they belong to is gone",
    folder_instead: "is no file",
}


@pytest.mark.parametrize(("spoil", "message"), NO_VOTES.items(), ids=lambda one: getattr(one, "__name__", ""))
def test_a_study_with_votes_does_not_begin_anew_by_itself(votes, folder, spoil, message):
    votes.close()
    spoil(folder / VOTES)
    for _ in range(2):  # the lock is free again
        with pytest.raises(ValueError, match=f"{message}.*put a backup in its place"):
            Votes(folder, votes.study)


@pytest.mark.parametrize("which", ["file", "folder"])
def test_what_cannot_be_written_is_refused_at_the_start(votes, folder, which):
    votes.close()
    path = folder if which == "folder" else folder / VOTES
    mode = path.stat().st_mode
    path.chmod(mode & ~0o222)
    try:
        with pytest.raises(PermissionError, match="cannot be written, and votes are kept there"):
            Votes(folder, votes.study)
    finally:
        path.chmod(mode)
    Votes(folder, votes.study).close()


def remove(file):
    file.unlink()


def remove_log(file):
    os.unlink(f"{file}-wal")


def replace(file):
    shutil.copy(file, f"{file}.new")
    os.replace(f"{file}.new", file)


def overwrite(file):
    file.write_bytes(file.read_bytes())


def cut_log(file):
    os.truncate(f"{file}-wal", 100)


@pytest.mark.parametrize("spoil", [remove, remove_log, replace, overwrite, cut_log])
def test_a_file_that_others_change_while_it_is_served_takes_no_answer(votes, folder, caplog, spoil):
    rater = answer(votes, 2)
    asked = votes.ask(rater)[0]
    spoil(folder / VOTES)
    for _ in range(2):
        with pytest.raises(OSError, match="while it was served: no answer is taken"):
            votes.answer(rater, asked.screen, {asked.item.id: ("left", 900.0)}, [0.0], "test")
    votes.close()
    assert len(caplog.records) == 1
    if spoil is not cut_log:  # which is damage, not only a loss of names
        (kept,) = folder.glob("votes-rescued-*.sqlite")
        assert kept.name in caplog.text
        assert responses(kept) == 2


def test_reading_and_moving_the_log_into_the_file_are_no_changes_by_others(folder, monkeypatch, tmp_path):
    monkeypatch.setattr("data_tools.ledger.CHECKPOINT", 2)
    votes = Votes(folder, Study.read(folder))
    for number in range(5):
        answer(votes)
        copy_votes(folder, tmp_path / "backup.sqlite")
        assert len(read_responses(folder, votes.study)) == number + 1
    votes.close()


def test_a_kill_while_a_file_is_begun_leaves_none(tmp_path):
    def fail(db):
        db.execute("CREATE TABLE study (id TEXT)")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Ledger(tmp_path, fail)
    assert not (tmp_path / VOTES).exists()
