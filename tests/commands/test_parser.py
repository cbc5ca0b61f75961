"""What is misspelt is answered with the nearest name and its command's usage; fields of a dataclass become options."""

import json
import math
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal

import pandas as pd
import pytest

from benchmarks import cli as bench
from data_tools import cli as data
from dreamsim_metric import cli
from dreamsim_metric.commands.fields import add_fields, read_attributes
from dreamsim_metric.commands.output import Output, format_record, format_table, list_rows, show
from dreamsim_metric.commands.parser import Parser
from dreamsim_metric.commands.training import _make_config
from dreamsim_metric.training.config import Config

WRONG = {
    "an option": (cli, "distance a b --modle x", "distance", "unknown option --modle; did you mean --model?"),
    "with its value": (cli, "distance a b --modle=x", "distance", "unknown option --modle; did you mean --model?"),
    "one that is needed": (cli, "embed a --ouut x", "embed", "unknown option --ouut; did you mean --out?"),
    "one cut short": (cli, "rank a b --batch 3", "rank", "unknown option --batch; did you mean --batch-size?"),
    "nothing near": (cli, "models --colour", "models", "unknown option --colour"),
    "a letter": (cli, "models -q", "models", "unknown option -q"),
    "before the command": (bench, "--debug metrics", "", "unknown option --debug before the command"),
    "a command": (bench, "senstivity --out x", "", "unknown command senstivity; did you mean sensitivity?"),
    "no such command": (data, "xyz", "", "unknown command xyz; expected generate, sheet, "),
    "a choice": (cli, "export --to onxx --out x", "export", "argument --to: got onxx; did you mean onnx?"),
    "no such choice": (
        cli,
        "export --to x --out x",
        "export",
        "argument --to: got x; expected onnx, torch-export, safe",
    ),
    "a preset": (cli, "train mlpp --data a --out b", "train", "argument PRESET: got mlpp; did you mean mlp?"),
    "of a preset": (cli, "train mlp --data a --out b --lor 1", "train", "unknown option --lor; did you mean --lr?"),
    "one too many": (cli, "info mini", "info", "got one argument too many, mini"),
    "a number": (data, "sheet a --side big", "sheet", "argument --side: invalid int value: 'big'"),
    "missing": (bench, "human --out x", "human", "the following arguments are required: --data"),
}


@pytest.mark.parametrize(("program", "call", "command", "said"), WRONG.values(), ids=WRONG)
def test_a_wrong_call_is_answered_with_the_nearest_and_the_usage_of_its_command(capsys, program, call, command, said):
    with pytest.raises(SystemExit, match="2"):
        program.main(call.split())
    printed = capsys.readouterr()
    name = f"{program.build_program().name} {command}".rstrip()
    assert printed.out == ""
    assert printed.err.startswith(f"usage: {name} [-h]")
    assert printed.err.splitlines()[-1].startswith(f"{name}: error: {said}")


def test_what_follows_a_bare_double_dash_is_no_option(capsys):
    assert cli.main(["matrix", "--", "--modle"]) == 1
    assert capsys.readouterr().err == "dreamsim-metric: no such picture: --modle\n"


def test_rows_of_a_table_keep_all_digits_and_say_what_is_missing():
    frame = pd.DataFrame({"p": [1e-13, math.nan, 0.1 + 0.2], "n": [1, 2, 3], "metric": ["a", None, "c"], "best": True})
    rows = list_rows(frame)
    assert rows[0] == {"p": 1e-13, "n": 1, "metric": "a", "best": True}
    assert rows[1] == {"p": None, "n": 2, "metric": None, "best": True}
    assert json.loads(json.dumps(rows))[2]["p"] == 0.1 + 0.2


def test_each_command_has_the_version(capsys):
    for program, command in ((cli, "models"), (data, "categories"), (bench, "metrics")):
        for call in (["--version"], [command, "--version"]):
            with pytest.raises(SystemExit, match="0"):
                program.main(call)
        first, second = capsys.readouterr().out.splitlines()
        assert first == second
        assert first.startswith(f"{program.build_program().name} ")


@dataclass
class Settings:
    """Some settings.

    Attributes:
        out: folder of it all,
            100 % of it.
        sides: two numbers.
        names: some names (default: all).
        kind: one of two kinds.
        size: height in pixels.
        fast: less care.
    """

    out: Path
    sides: tuple[float, float] = (0.5, 1.0)
    names: tuple[str, ...] = ()
    kind: Literal["a", "b"] = "a"
    size: int | None = None
    fast: bool = False


def test_fields_become_options():
    parser = Parser()
    add_fields(parser, Settings)
    given = "--out x --sides 1 2e-3 --names c d --kind b --size 3 --fast"
    found = {"out": Path("x"), "sides": [1, 0.002], "names": ["c", "d"], "kind": "b", "size": 3, "fast": True}
    assert vars(parser.parse_args(given.split())) == found
    assert vars(parser.parse_args(["--out", "x"])) == {"out": Path("x")}  # no trace of those that are not given
    text = " ".join(parser.format_help().split())
    for said in (
        *("folder of it all, 100 % of it --sides", "two numbers (default: 0.5 1) --names", "some names (default: all)"),
        *("one of two kinds (default: a)", "height in pixels --fast", "less care"),
    ):
        assert said in text
    with pytest.raises(SystemExit, match="2"):
        parser.parse_args(["--out", "x", "--sides", "1"])


def test_every_field_of_a_training_run_has_its_line():
    assert list(read_attributes(Config)) == [field.name for field in fields(Config)]


def test_a_run_is_its_preset_but_for_what_is_given():
    given = "train mlp --data d --out o --betas 0.9 0.99 --log-with tensorboard --model a b --precision bfloat16 --csv"
    config = _make_config(cli.build_program().parser.parse_args(given.split()))
    assert (config.data, config.out, config.model) == (Path("d"), Path("o"), ("a", "b"))
    assert (config.betas, config.log_with, config.precision) == ((0.9, 0.99), ("tensorboard",), "bfloat16")
    assert (config.rank, config.hidden, config.batch_size, config.epochs) == (0, 512, 512, 20)  # of the preset
    assert config.resume is False


ROWS = [{"name": "a", "value": 0.25, "sure": True, "more": {"x": 1}}, {"name": "b", "value": math.nan, "sure": False}]


def shown(capsys, output, form):
    show(output, form)
    return capsys.readouterr().out


@pytest.mark.parametrize("lines", [format_table, format_record])
def test_no_rows_are_an_empty_list_for_programs_and_nothing_for_people(capsys, lines):
    assert json.loads(shown(capsys, Output([], lines), "json")) == []
    assert shown(capsys, Output([], lines), "text") == shown(capsys, Output([], lines), "csv") == ""
    assert shown(capsys, None, "json") == ""


def test_what_is_no_number_is_null():
    rows = [{"a": math.inf, "b": (1, math.nan)}]
    printed = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("builtins.print", printed.append)
        show(Output(rows), "json")
    assert json.loads(printed[0], parse_constant=pytest.fail) == [{"a": None, "b": [1, None]}]


def test_one_thing_is_an_object_and_a_failure_comes_after_the_rows(capsys):
    assert json.loads(shown(capsys, Output(ROWS[:1], single=True), "json")) == ROWS[0]
    with pytest.raises(RuntimeError, match="two failed"):
        show(Output(ROWS[:1], failure="two failed"), "csv")
    assert capsys.readouterr().out == 'name,value,sure,more\na,0.25,true,"{""x"": 1}"\n'
