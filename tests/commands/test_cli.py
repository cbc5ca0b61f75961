"""The command line: results on stdout in three forms, everything else on stderr, errors in one line."""

import csv
import io
import json
import os
import shutil
import subprocess
import sys
import termios
from importlib.metadata import entry_points

import pytest

from dreamsim_metric import ModelCard, cli, distance, distance_matrix, list_models
from dreamsim_metric.commands import models
from dreamsim_metric.models import MODELS
from dreamsim_metric.weights.download import find_model_dir
from dreamsim_metric.weights.folder import MINI, write_folder
from tests.pictures import EXAMPLES

CAT, COFFEE, VEST, VEST_2 = (str(EXAMPLES / name) for name in ("cat.jpg", "coffee.jpg", "vest_1.jpg", "vest_2.jpg"))
COMMAND = [sys.executable, "-m", "dreamsim_metric.cli"]


@pytest.fixture(autouse=True)
def environment(tmp_path, monkeypatch):
    monkeypatch.setenv("DREAMSIM_METRIC_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.delenv("DREAMSIM_METRIC_MODEL", raising=False)


@pytest.fixture
def run(capsys):
    """Calls the command, which must succeed in silence, and gives what it prints."""

    def call(*arguments):
        assert cli.main(arguments) == 0
        printed = capsys.readouterr()
        assert printed.err == ""
        return printed.out

    return call


@pytest.fixture
def fails(capsys):
    """Calls the command, which must fail in one line, and gives that line."""

    def call(*arguments):
        assert cli.main(arguments) == 1
        printed = capsys.readouterr()
        assert printed.out == ""
        assert printed.err.startswith("dreamsim-metric: ")
        assert printed.err.count("\n") == 1
        assert "Traceback" not in printed.err
        return printed.err.removeprefix("dreamsim-metric: ").rstrip()

    return call


@pytest.fixture
def photos(tmp_path):
    """A folder of three photographs, and of files that are none."""
    folder = tmp_path / "photos"
    (folder / "inside.jpg").mkdir(parents=True)
    for file in (VEST, VEST_2, CAT):
        shutil.copy(file, folder)
    (folder / "notes.txt").write_text("no picture")
    (folder / "paper.pdf").write_text("Pillow writes these, and cannot read them")
    (folder / "._cat.jpg").write_bytes(b"what macOS leaves on foreign disks")
    return folder


def records(run, *arguments):
    """What a command prints as JSON, after its CSV was found to hold the same."""
    rows = json.loads(run(*arguments, "--json"))
    cells = list(csv.DictReader(io.StringIO(run(*arguments, "--csv"))))
    listed = [rows] if isinstance(rows, dict) else rows
    assert [list(row) for row in cells] == [list(row) for row in listed]
    for row, cell in zip(listed, cells, strict=True):
        for name, value in row.items():
            text = "" if value is None else value if isinstance(value, str) else json.dumps(value)
            assert cell[name] == text
    return rows


def test_distance_prints_what_the_function_gives(run):
    rows = records(run, "distance", CAT, VEST, COFFEE)
    assert [(row["a"], row["b"]) for row in rows] == [(CAT, VEST), (CAT, COFFEE)]
    for row in rows:
        assert row["distance"] == pytest.approx(distance(CAT, row["b"]), abs=1e-6)
    header, *lines = run("distance", CAT, VEST, COFFEE).splitlines()
    assert header.split() == ["a", "b", "distance"]
    assert [line.split() for line in lines] == [[row["a"], row["b"], f"{row['distance']:.4f}"] for row in rows]


def test_matrix_prints_what_the_function_gives(run, photos):
    files = sorted(str(file) for file in photos.glob("[cv]*.jpg"))
    expected = distance_matrix(files)
    for given in ([str(photos)], files, [str(photos), files[0]]):
        rows = records(run, "matrix", *given)
        assert [row.pop("picture") for row in rows] == files
        assert [list(row) for row in rows] == [files] * 3
        for row, line in zip(rows, expected.tolist(), strict=True):
            assert list(row.values()) == pytest.approx(line, abs=1e-6)
    header, *lines = run("matrix", str(photos)).splitlines()
    assert header.split() == ["picture", "1", "2", "3"]
    assert lines[0].split() == ["1", files[0], *(f"{d:.4f}" for d in expected[0].tolist())]
    assert len({len(line) for line in [header, *lines]}) == 1


def test_rank_is_nearest_first(run, photos):
    rows = records(run, "rank", VEST, str(photos), "--top", "2")
    assert [(row["rank"], row["picture"]) for row in rows] == [
        (1, str(photos / "vest_1.jpg")),
        (2, str(photos / "vest_2.jpg")),
    ]
    assert rows[0]["distance"] == 0
    assert rows[1]["distance"] == pytest.approx(distance(VEST, VEST_2), abs=1e-6)
    assert len(json.loads(run("rank", VEST, str(photos), COFFEE, "--json"))) == 4
    assert run("rank", VEST, str(photos)).splitlines()[1].split() == ["1", str(photos / "vest_1.jpg"), "0.0000"]


@pytest.mark.parametrize("size", ["1", "2", "1000"])
def test_the_batch_size_does_not_matter(run, photos, size):
    rows = json.loads(run("rank", CAT, str(photos), "--json", "--batch-size", size))
    assert rows[1]["distance"] == pytest.approx(distance(CAT, VEST), abs=1e-6)


def test_models_lists_what_there_is_and_what_is_ready(run):
    write_folder(find_model_dir("clip_vitb32"), MODELS["clip_vitb32"], {})
    rows = records(run, "models")
    assert [row["model"] for row in rows] == list_models()
    assert [row["model"] for row in rows if row["ready"]] == ["mini", "clip_vitb32"]
    assert rows[1]["agreement"] == MODELS["ensemble"].agreement
    table = run("models").splitlines()
    assert table[0].split() == ["model", "embedding", "ready", "agreement", "description"]
    assert table[2].startswith("ensemble                  1792  no     96.2 % NIGHTS test 2AFC  ")


@pytest.mark.parametrize("name", [*list_models(), str(MINI)])
def test_info_is_the_card(run, name):
    card = ModelCard.from_json(json.dumps(records(run, "info", "--model", name)))
    assert card == (MODELS[name] if name in MODELS else ModelCard.from_json((MINI / "card.json").read_text()))
    text = run("info", "--model", name)
    assert f"embedding_size  {card.embedding_size}\n" in text
    assert all(branch.network in text for branch in card.branches)
    assert all(download.url in text for download in card.weights)
    assert all(f"{on}: {percent}" in text for on, percent in card.agreement.items())


def test_download_says_where_the_model_is(run, tmp_path):
    assert records(run, "download", "--model", "mini") == [{"model": "mini", "ready": True, "folder": str(MINI)}]
    assert run("download", "--model", str(MINI)).split() == ["model", str(MINI), "ready", "yes", "folder", str(MINI)]
    write_folder(find_model_dir("ensemble"), MODELS["ensemble"], {})
    assert json.loads(run("download", "--model", "ensemble", "--json"))[0]["folder"] == str(
        tmp_path / "cache" / "v1" / "ensemble"
    )


def test_the_model_comes_from_the_option_then_the_environment(run, fails, tmp_path, monkeypatch):
    shutil.copytree(MINI, tmp_path / "mine")
    monkeypatch.setenv("DREAMSIM_METRIC_MODEL", "no such model")
    assert "unknown model 'no such model'" in fails("distance", CAT, VEST)
    assert run("distance", CAT, VEST, "--model", "mini") == run(
        "distance", CAT, VEST, "--model", str(tmp_path / "mine")
    )
    monkeypatch.setenv("DREAMSIM_METRIC_MODEL", str(tmp_path / "mine"))
    assert run("distance", CAT, VEST) == run("distance", CAT, VEST, "--model", "mini")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["distance", CAT, "nowhere.jpg"], "no such picture: nowhere.jpg"),
        (["distance", "nowhere.jpg", CAT], "no such picture: nowhere.jpg"),
        (["distance", CAT, __file__], f"{__file__} is not a picture that Pillow can read"),
        (["matrix", os.path.dirname(__file__)], "holds no pictures (no file with a picture's ending)"),
        (["rank", CAT, os.path.dirname(__file__)], "holds no pictures (no file with a picture's ending)"),
        (["rank", CAT, VEST, "--top", "0"], "got --top 0; expected 1 or more"),
        (["rank", CAT, VEST, "--top", "-1"], "got --top -1; expected 1 or more"),
        (["rank", CAT, VEST, "--batch-size", "0"], "got --batch-size 0; expected 1 or more"),
        (["distance", CAT, VEST, "--model", "ensembel"], "unknown model 'ensembel': did you mean ensemble?"),
        (["distance", CAT, VEST, "--device", "gpu"], "gpu"),
        (["info", "--model", "dino_vitb14"], "unknown model 'dino_vitb14': did you mean dinov2_vitb14 or dino_vitb16"),
        (["info", "--model", "timm:no_such_network"], "no_such_network"),
        (["download", "--model", "clip"], "unknown model 'clip': did you mean clip_vitb32"),
        (["download", "--model", "ensemble"], "HF_HUB_OFFLINE is set"),
        (["download", "--model", "ensemble", "--weights", "typo.zip"], "no such file or folder: typo.zip"),
        (
            ["download", "--model", "mini", "--weights", __file__],
            "got --weights with mini, which brings its own; expected one of ensemble,",
        ),
    ],
)
def test_an_error_is_one_line(fails, arguments, said):
    assert said in fails(*arguments)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (PermissionError(13, "Permission denied", "/a/file"), "Permission denied: /a/file"),
        (OSError(28, "no room; make some"), "no room; make some"),
        (RuntimeError("two\n  lines"), "two lines"),
        (MemoryError(), "MemoryError"),
    ],
)
def test_any_error_says_something(fails, monkeypatch, error, said):
    def raises(*_):
        raise error

    monkeypatch.setattr(models, "find_card", raises)
    assert fails("info", "--model", "mini") == said


def test_debug_shows_the_traceback():
    with pytest.raises(FileNotFoundError, match=r"nowhere\.jpg"):
        cli.main(["distance", CAT, "nowhere.jpg", "--debug"])


def test_an_interrupt_is_no_error(capsys, monkeypatch):
    def raises(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(models, "find_card", raises)
    assert cli.main(["info", "--model", "mini"]) == 130
    assert capsys.readouterr().err == "dreamsim-metric: interrupted\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "COMMAND"),
        (["compare"], "unknown command compare; expected distance, matrix,"),
        (["distance", CAT], "required: B"),
        (["rank", CAT, VEST, "--top", "many"], "--top: invalid int value: 'many'"),
        (["models", "--json", "--csv"], "not allowed with"),
    ],
)
def test_a_wrong_call_exits_with_2(capsys, arguments, said):
    with pytest.raises(SystemExit, match="2"):
        cli.main(arguments)
    assert said in capsys.readouterr().err


def test_the_installed_command_is_this_one():
    (script,) = entry_points(group="console_scripts", name="dreamsim-metric")
    assert script.load() is cli.main


def test_the_process_prints_results_on_stdout_and_nothing_else(photos):
    done = subprocess.run([*COMMAND, "rank", CAT, str(photos), "--json"], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(json.loads(done.stdout)) == 3


def test_progress_goes_to_a_terminal_on_stderr(photos):
    terminal, other = os.openpty()
    termios.tcsetwinsize(other, (24, 80))
    arguments = [*COMMAND, "rank", CAT, str(photos), "--csv"]
    done = subprocess.run(arguments, stdout=subprocess.PIPE, stderr=other, text=True, timeout=120)
    os.close(other)
    shown = b""
    try:
        while more := os.read(terminal, 4096):
            shown += more
    except OSError:  # how a terminal without a writer ends on Linux
        pass
    os.close(terminal)
    assert b"4/4" in shown
    assert done.stdout.startswith("rank,picture,distance\n1,")


def test_a_reader_that_has_enough_is_no_error():
    reads, writes = os.pipe()
    os.close(reads)
    done = subprocess.run([*COMMAND, "models"], stdout=writes, stderr=subprocess.PIPE, text=True, timeout=60)
    os.close(writes)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("arguments", [["models"], ["info"], ["info", "--model", "ensemble"], ["--help"]])
def test_looking_around_loads_no_torch(arguments):
    code = (
        "import sys\nfrom dreamsim_metric import cli\n"
        "try: cli.main(sys.argv[1:])\nexcept SystemExit: pass\n"
        "sys.exit(' '.join({'torch', 'timm', 'numpy', 'PIL'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (1, "\n")
