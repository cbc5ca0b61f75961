"""One language: an option means the same in all commands of the three programs, and names are looked at first."""

import json
import re
import subprocess
import sys

import pytest

from benchmarks import cli as bench
from data_tools import cli as data
from dreamsim_metric import cli as metric
from dreamsim_metric.training.config import list_presets
from tests.pictures import EXAMPLES
from tests.places import ROOT

PROGRAMS = {program.name: program for program in (metric.build_program(), data.build_program(), bench.build_program())}
PARSERS = {
    f"{program.name} {name}": parser
    for program in PROGRAMS.values()
    for name, parser in program.parser.commands.items()
}
for parser in PARSERS.values():
    parser.complete()
ACTIONS = [
    pytest.param(action, id=f"{command} {'/'.join(action.option_strings) or action.dest}")
    for command, parser in PARSERS.items()
    for action in parser._actions
]
OPTIONS = sorted({flag for parser in PARSERS.values() for action in parser._actions for flag in action.option_strings})
FRAGMENT = re.compile(r"(of|from|for|to|in|at|as|by|on|that|with|and|until|default|which)\b")
OWN_FORM = {"--weights", "--data", "--columns"}  # each says whose it is; those of a sheet are counted
SAME_WORDS = (
    *("--device", "--precision", "--compile", "--workers", "--seed", "--cache", "--draws", "--revision", "--variant"),
    *("--steps", "--guidance", "--json", "--csv", "--debug", "--version"),
)


def of_option(flag):
    return [action for parser in PARSERS.values() for action in parser._actions if flag in action.option_strings]


@pytest.mark.parametrize("action", ACTIONS)
def test_help_is_a_phrase_that_stands_alone(action):
    assert action.help
    assert not FRAGMENT.match(action.help)
    assert not action.help.endswith(".")
    first = action.help.split()[0]
    assert first[0].islower() or any(letter.isupper() for letter in first[1:]), "a small letter, but for LoRA and JSON"
    default = re.search(r"\(default: (.*)\)$", action.help)
    assert "default:" not in action.help or default
    assert not default or not re.search(r"[\[(\"]|\B'|'\B|None|True|False|Path|inf\b", default[1])


@pytest.mark.parametrize("command", PARSERS)
def test_every_command_has_what_all_have_and_a_whole_help(command):
    flags = {flag for action in PARSERS[command]._actions for flag in action.option_strings}
    assert {"--help", "--version", "--debug"} <= flags
    assert {"--json", "--csv"} <= flags or command == "dreamsim-data serve"
    text = PARSERS[command].format_help()
    assert all(flag in text for flag in flags)


@pytest.mark.parametrize("flag", OPTIONS)
def test_an_option_is_written_the_same_way_everywhere(flag):
    numbers = (int, float)
    forms = {(action.metavar, action.type in numbers, action.nargs == 0) for action in of_option(flag)}
    assert len(forms) == 1 or flag in OWN_FORM


EMBEDDING = ("--model", "--weights", "--device", "--batch-size", "--precision", "--compile", "--workers", "--cache")


@pytest.mark.parametrize("command", ["score", "embed", "rank", "duplicates", "evaluate", "calibrate"])
def test_what_embeds_many_pictures_has_the_same_options_in_the_same_order(command):
    flags = [flag for action in PARSERS[f"dreamsim-metric {command}"]._actions for flag in action.option_strings]
    assert [flag for flag in flags if flag in EMBEDDING] == list(EMBEDDING)
    assert "--no-cache" in flags
    for flag in ("--weights", "--precision", "--device", "--workers", "--model"):
        assert flag in {flag for action in PARSERS["dreamsim-metric train"]._actions for flag in action.option_strings}


@pytest.mark.parametrize("flag", SAME_WORDS)
def test_an_option_is_explained_by_the_same_words(flag):
    assert len({re.split(r" ?[:;(]", action.help)[0] for action in of_option(flag)}) == 1


def test_a_word_is_a_command_of_one_program():
    names = [name for program in PROGRAMS.values() for name in program.parser.commands]
    assert len(names) == len(set(names))


def test_the_defaults_of_a_preset_are_in_its_help(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "1000")
    for name, (_, config) in {"": ("", None), **list_presets(None, None)}.items():
        with pytest.raises(SystemExit, match="0"):
            metric.main(["train", *filter(None, [name]), "--help"])
        text = " ".join(capsys.readouterr().out.split())
        assert "--json" in text
        for option, value in (("passes over the training triplets", "epochs"), ("learning rate of Adam", "lr")):
            shown = getattr(config, value) if config else {"epochs": 8, "lr": 3e-4}[value]
            assert f"{option} (default: {shown:g})" in text
        assert f"features side by side (default: {' '.join(config.model) if config else 'mini'})" in text


BLOCKED = """
import contextlib, importlib.abc, importlib, io, json, sys

class Blocker(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {heavy!r}:
            raise ImportError(f"{{name}} was imported")

sys.meta_path.insert(0, Blocker())
PROGRAMS = {{"metric": "dreamsim_metric.cli", "data": "data_tools.cli", "bench": "benchmarks.cli"}}
found = []
for program, *arguments in json.load(sys.stdin):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            status = importlib.import_module(PROGRAMS[program]).main(arguments)
        except SystemExit as end:
            status = end.code
    found.append([status, out.getvalue(), err.getvalue()])
json.dump(found, sys.stdout)
"""
HEAVY = (
    *(
        "torch",
        "torchvision",
        "timm",
        "open_clip",
        "diffusers",
        "transformers",
        "accelerate",
        "peft",
        "pandas",
        "scipy",
    ),
    *("matplotlib", "pyarrow", "jinja2", "fastapi", "uvicorn", "huggingface_hub"),
)


def run_without_heavy(commands, folder):
    done = subprocess.run(
        [sys.executable, "-c", BLOCKED.format(heavy=HEAVY)],
        input=json.dumps(commands),
        capture_output=True,
        text=True,
        cwd=folder,
        timeout=120,
        env={"PYTHONPATH": str(ROOT), "PATH": "", "HOME": str(folder), "DREAMSIM_METRIC_CACHE": str(folder / "cache")},
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


CAT, COFFEE = (str(EXAMPLES / name) for name in ("cat.jpg", "coffee.jpg"))
PICTURE, MODEL, DATA, FOLDER = (
    "no such picture: gone",
    "unknown model 'mnii': did you mean mini",
    "gone",
    "no such folder",
)
JUDGED, MINI = (str(ROOT / name) for name in ("examples/judged", "dreamsim_metric/assets/mini"))
WEIGHTS = "no such file or folder: gone"
NAMED = {  # a call of each command that names a model, but for the model
    "distance": [CAT, COFFEE],
    "matrix": [CAT, COFFEE],
    "difference": [CAT, COFFEE, "--out", "x.png"],
    "score": ["pairs.csv"],
    "embed": [CAT, "--out", "x"],
    "rank": [CAT, COFFEE],
    "duplicates": [CAT, COFFEE, "--below", "1"],
    "evaluate": ["--data", "judged"],
    "calibrate": ["--data", "judged", "--out", "x"],
    "info": [],
    "download": [],
    "export": ["--to", "onnx", "--out", "x.onnx"],
}
SCORED = ["--metrics", "psnr", "--out", "x"]
FORM = "expected timm:NAME or timm:NAME#FEATURE"
SUBJECTS = str(EXAMPLES)  # whose names are looked at after those of options
SLIPS = {
    **{f"metric {name} --model mnii {' '.join(rest)}": MODEL for name, rest in NAMED.items()},
    **{f"metric {name} --model ensemble --weights gone {' '.join(rest)}": WEIGHTS for name, rest in NAMED.items()},
    f"metric distance gone.jpg {CAT}": PICTURE,
    f"metric distance {CAT} gone.jpg": PICTURE,
    f"metric distance {CAT} {COFFEE} --model judged": "judged has no card.json",
    f"metric distance {CAT} {COFFEE} --weights {CAT}": "got --weights with mini, which brings its own",
    "metric matrix gone": PICTURE,
    "metric matrix empty": "empty holds no pictures",
    f"metric difference {CAT} gone.jpg --out x.png": PICTURE,
    "metric score gone.csv": "no such table: gone.csv",
    "metric score missing.csv": "no such picture: ./gone.jpg",
    "metric score empty gone": "no such folder: gone",
    "metric embed gone.jpg --out x --on-error raise": PICTURE,
    "metric embed empty --out x": "empty holds no pictures",
    f"metric rank gone.jpg {CAT}": PICTURE,
    f"metric rank {CAT} gone.jpg": PICTURE,
    "metric duplicates gone --below 1 --on-error raise": PICTURE,
    "metric evaluate --data gone": "no such data set: gone",
    "metric calibrate --data gone --out x": "no such data set: gone",
    "metric train mini --data gone --out x": "no such data set: gone",
    "metric train mini --data judged --out x --model mnii": MODEL,
    "metric train mini --data judged --out x": "judged is of no known format; looked for data.csv",
    f"metric train mini --data {JUDGED} --out missing.csv": "missing.csv exists and is no run",
    f"metric train mini --data {JUDGED} --out x --weights gone": WEIGHTS,
    f"metric train mini --data {JUDGED} --out x --model timm:vit dino --weights {CAT}": "got 1 --weights; expected",
    f"metric train mini --data {JUDGED} --out x --model open_clip:ViT-B-32": "expected open_clip:ARCH/TAG",
    "metric evaluate --data judged": "judged is of no known format; looked for data.csv",
    f"metric evaluate --data {JUDGED} --split vla": "got split 'vla'; expected one of those in judged: all",
    f"metric evaluate --data {JUDGED} --model {MINI} --record --precision bfloat16": "got --record with --precision",
    f"metric calibrate --data {JUDGED} --split test --out empty": "empty exists already; remove it or choose another",
    **{f"metric {name} --model timm: {' '.join(rest)}": FORM for name, rest in NAMED.items()},
    f"metric distance {CAT} {COFFEE} --model timm:vit#clss": "got feature 'clss' in 'timm:vit#clss'; expected",
    f"metric distance {CAT} {COFFEE} --model open_clip:ViT-B-32": "expected open_clip:ARCH/TAG or",
    f"metric distance {CAT} {COFFEE} --model hf:mine": "expected hf:OWNER/REPO or hf:OWNER/REPO@REVISION",
    f"metric distance {CAT} {COFFEE} --model {MINI} --weights {CAT}": "which brings its own",
    f"metric distance {CAT} {COFFEE} --model ensemble --weights {CAT} --weights {CAT}": "got 2 --weights; expected one",
    f"metric distance {CAT} {COFFEE} --batch-size 0": "got --batch-size 0; expected 1 or more",
    f"metric embed {CAT} --out x --workers 0": "got --workers 0; expected 1 or more",
    f"metric embed {CAT} --out x --shard-size 0": "got --shard-size 0; expected 1 or more",
    f"metric duplicates {CAT} {COFFEE} --below -1": "got below=-1.0; expected a distance above 0",
    "data generate --categories cifra10 --triplets 1 --out x": "did you mean cifar10",
    "data generate --categories cifar10 --triplets 1 --out x --model ./gone": "no such folder: ./gone",
    "data generate --categories cifar10 --triplets 1 --out x --model empty": "empty has no model_index.json",
    "data generate --categories cifar10 --triplets 1 --out judged/..": "is not empty and no generation of ours",
    "data generate --categories cifar10 --triplets 1 --out x --batch-size 0": "got --batch-size 0; expected 1 or more",
    "data validate empty": "empty has no table that is known; expected data.csv or jnd.csv",
    "data sheet gone": FOLDER,
    "data categories cifra10": "did you mean cifar10",
    "data study gone --out x": FOLDER,
    **{
        f"data {name} gone": "gone has no study.json"
        for name in ("serve", "simulate", "raters", "stats", "collect --out x")
    },
    "data invite gone 1": "gone has no study.json",
    "data backup gone x": "gone has no study.json",
    "data validate gone": FOLDER,
    "bench human --data gone --out x": "no such data set: gone",
    "bench human --data nigths=judged --out x": "did you mean nights",
    "bench human --data judged --metrics psmr --out x": "did you mean psnr",
    "bench human --data judged --metrics gone.py --out x": "no such file: gone.py",
    "bench human --data judged --metrics mini --weights mini=gone --out x": "no such file of weights: gone",
    "bench human --data judged --metrics mini --weights psnr=gone --out x": "expected METRIC=FILE of one of mini",
    "bench sensitivity --pictures gone --out x": "no such folder of pictures: gone",
    "bench sensitivity --pictures empty --metrics psmr --out x": "did you mean psnr",
    "bench personalize gone --metrics psnr --out x": "no such folder of subjects: gone",
    "bench personalize gone --methods plian --out x": "did you mean plain",
    "bench personalize gone --model ./gone --out x": "no such folder: ./gone",
    "bench measure gone --subjects gone --out x": "no such folder of pictures: gone",
    "bench measure empty --subjects gone --out x": "no such folder of subjects: gone",
    "bench measure empty --subjects gone --metrics psmr --out x": "did you mean psnr",
    "bench human --data empty --out x": "empty looks like none of nights",
    f"bench human --data {JUDGED} --split vla --out x": "got splits vla; expected some of those in",
    "bench human --data judged --metrics timm:a/b --out x": FORM,
    "bench human --data judged --metrics tmim:vit --out x": "unknown metric 'tmim:vit'",
    "bench human --data judged --draws 0 --out x": "got --draws 0; expected 1 or more",
    "bench sensitivity --pictures empty --out x": "empty holds no pictures",
    "bench personalize gone --preset mnii --out x": "unknown preset 'mnii'; expected one of mini",
    "bench personalize gone --set dreambooth.stpes=1 --out x": "dreambooth has no 'stpes': did you mean",
    "bench personalize gone --set draembooth.steps=1 --out x": "got --set draembooth.steps=1; expected METHOD.F",
    "bench personalize gone --copy-below psnr=1 --metrics mini --out x": "got --copy-below psnr=…; expected METRIC",
    "bench personalize gone --seeds 0 --out x": "got --seeds 0; expected 1 or more",
    "bench personalize gone --steps 0 --out x": "got --steps 0; expected 1 or more",
    "bench personalize subjects --out .": "is not empty and no generation of ours",
    "bench measure empty --subjects subjects --out x": "no pictures in empty as METHOD/SUBJECT/PROMPT/SEED.png",
    "bench measure painted --subjects subjects --out x": "no such prompt of cat: a-cta (did you mean a-cat",
    "bench report empty": "no results in empty",
    "bench speed --precisions flaot32 --out x": "got precision 'flaot32'; expected float32",
    "bench speed --batches 8 0 --out x": "got --batches 0; expected 1 or more",
    "bench speed --rounds 0 --out x": "got --rounds 0; expected 1 or more",
    "bench report gone": FOLDER,
    "bench data nigths": "did you mean nights",
    "bench data nights gone": FOLDER,
    "bench speed --groups satrtup --out x": "expected some of startup",
    "bench speed --model mnii --out x": "expected a released type",
}
NAMELESS = {"metric models", "bench metrics"}
LISTS = (
    ["metric", "models"],
    ["bench", "metrics"],
    ["bench", "data"],
    ["bench", "data", "nights"],
    ["data", "categories"],
)


@pytest.fixture(scope="module")
def slips(tmp_path_factory):
    folder = tmp_path_factory.mktemp("slips")
    for name in ("empty", "judged", "subjects/cat", "painted/plain/cat/a-cta"):
        (folder / name).mkdir(parents=True)
    (folder / "subjects" / "cat" / "0.jpg").write_bytes(EXAMPLES.joinpath("cat.jpg").read_bytes())
    (folder / "subjects" / "subjects.csv").write_text("subject,class\ncat,cat\n")
    (folder / "subjects" / "prompts.csv").write_text("prompt,kind\na {} cat,plain\n")
    (folder / "painted" / "plain" / "cat" / "a-cta" / "0.png").write_bytes(b"")
    (folder / "pairs.csv").write_text(f"a,b\n{CAT},{COFFEE}\n")
    (folder / "missing.csv").write_text(f"a,b\n{CAT},gone.jpg\n")
    before = sorted(folder.rglob("*"))
    found = run_without_heavy([text.split() for text in SLIPS], folder)
    assert sorted(folder.rglob("*")) == before
    return dict(zip(SLIPS, found, strict=True))


@pytest.mark.parametrize("command", SLIPS)
def test_a_slip_in_a_name_is_answered_before_anything_heavy_is_imported(slips, command):
    status, out, err = slips[command]
    assert SLIPS[command] in err
    assert (status, out, err.count("\n")) == (1, "", 1)


def test_slips_are_tried_with_every_command_that_takes_names():
    tried = {" ".join(command.split()[:2]) for command in SLIPS}
    programs = {"metric": metric, "data": data, "bench": bench}
    commands = {
        f"{name} {command}" for name, cli in programs.items() for command in cli.build_program().parser.commands
    }
    assert commands - tried == NAMELESS


def test_lists_need_nothing_heavy(tmp_path):
    for call, (status, out, err) in zip(LISTS, run_without_heavy(LISTS, tmp_path), strict=True):
        assert (status, err) == (0, ""), call
        assert out


def test_help_needs_nothing_heavy(tmp_path):
    programs = {"metric": "dreamsim-metric", "data": "dreamsim-data", "bench": "dreamsim-bench"}
    calls = [[name, "--help"] for name in programs]
    calls += [[name, command, "--help"] for name, of in programs.items() for command in PROGRAMS[of].parser.commands]
    for call, (status, out, err) in zip(calls, run_without_heavy(calls, tmp_path), strict=True):
        assert (status, err) == (0, ""), call
        assert out.startswith(f"usage: {programs[call[0]]}")
