"""Exported metrics, read without this package by the code on docs/export.md, give the metric's embeddings."""

import copy
import json
import re
import resource
import subprocess
import sys
import textwrap
from contextlib import contextmanager

import numpy as np
import onnx
import onnxruntime
import PIL.Image
import pytest
import torch
from safetensors import safe_open

from dreamsim_metric import PerceptualMetric, __version__, cli, load
from dreamsim_metric import export as module
from dreamsim_metric.card import Branch, Head, ModelCard
from dreamsim_metric.export import FORMATS, EmbeddingModule, export, measure_difference, trace
from dreamsim_metric.models import IMAGENET, OPENAI_CLIP
from dreamsim_metric.networks.backbone import create_network, read_only_for
from dreamsim_metric.networks.heads import create_head
from dreamsim_metric.training.lora import add_lora, collect_adapter_state
from dreamsim_metric.weights.folder import Tuned, digest, write_tuned
from tests.pictures import PHOTOGRAPHS, natural_and_noise
from tests.places import ROOT

PAGE = (ROOT / "docs" / "export.md").read_text(encoding="utf-8")
READ_PIXELS, *READERS = re.findall(r"```python\n(.*?)```", PAGE, re.S)
READ = dict(zip(FORMATS, READERS, strict=True))
EMBED = {
    "onnx": 'session.run(None, {"pixels": x})[0]',
    "torch-export": "embed(torch.from_numpy(x)).numpy()",
    "safetensors": "embed_by_timm(torch.from_numpy(x)).numpy()",
}
SIZES = (1, 3, 8)


def made(*branches, size, width, center=False, head=None):
    """A metric with random weights, none of which is neutral."""
    random = torch.manual_seed(0)
    networks = [read_only_for(branch, create_network(branch, size)) for branch in branches]
    state = {f"branches.{i}.network.{n}": t for i, net in enumerate(networks) for n, t in net.state_dict().items()}
    state |= {f"head.{name}": tensor for name, tensor in create_head(head, width).state_dict().items()}
    for name, tensor in state.items():
        if tensor.is_floating_point():
            state[name] = tensor + 0.1 * (torch.rand(tensor.shape, generator=random) - 0.5)
    card = ModelCard("made", "", branches, size, width, center, head=head, licence="CC0", citation="Nobody 2026")
    return PerceptualMetric(card, state)


def tuned(folder, base, head):
    """A folder with LoRA and a head on top of a saved base, and the metric with its adapters beside the weights."""
    base.save_pretrained(folder / "base")
    metric = copy.deepcopy(base)
    config = add_lora(metric, rank=4, alpha=8, dropout=0.1)
    metric.head = create_head(head, base.card.embedding_size)
    random = torch.Generator().manual_seed(1)
    for name, parameter in metric.named_parameters():
        if "lora_B" in name or name.startswith("head."):
            parameter.data = 0.05 * torch.randn(parameter.shape, generator=random)
    metric.requires_grad_(False)
    card = ModelCard(
        **vars(base.card) | {"head": head, "base": (str(folder / "base"),), "base_sha256": digest(base.state_dict())}
    )
    (folder / "tuned").mkdir()
    config_json = json.loads(json.dumps(config.to_dict(), default=sorted))
    heads = {name: tensor for name, tensor in metric.state_dict().items() if name.startswith("head.")}
    write_tuned(folder / "tuned", card, Tuned(collect_adapter_state(metric), config_json, heads))
    return metric


VIT = Branch("timm:test_vit", "cls", *IMAGENET, {"num_classes": 0})
CONVOLUTIONAL = Branch("timm:test_resnet", "pooled", *OPENAI_CLIP, {"num_classes": 0})


@pytest.fixture(scope="module")
def small():
    return made(VIT, size=160, width=64)


def branch(feature, network="timm:test_vit", **options):
    return Branch(network, feature, *OPENAI_CLIP, options)


def stages(*pairs):
    return Branch("timm:test_resnet", "stages", *IMAGENET, {"num_classes": 0}, pairs)


KINDS = {
    "mini": lambda: load("mini"),
    "two networks, centred": lambda: made(VIT, CONVOLUTIONAL, size=160, width=64 + 96, center=True),
    "class and patch tokens, centred": lambda: made(
        branch("cls_patch", num_classes=0), size=160, width=128, center=True
    ),
    "class and patch tokens, linear head": lambda: made(
        branch("cls_patch", num_classes=0), size=160, width=128, head=Head("linear")
    ),
    "CLIP": lambda: made(
        branch("embedding", "timm:vit_base_patch32_clip_quickgelu_224", num_classes=512),
        size=224, width=512, center=True,
    ),
    "registers": lambda: made(
        branch("patch_mean", "timm:vit_small_patch14_reg4_dinov2", num_classes=0), size=112, width=384
    ),
    "stages": lambda: made(stages(("mean", 1), ("std", 2), ("mean", -1)), size=96, width=64 + 96 + 96),
    "shifted windows": lambda: made(
        branch("pooled", "timm:swin_tiny_patch4_window7_224", num_classes=0), size=224, width=768
    ),
    "rotary positions": lambda: made(
        branch("patch_mean", "timm:eva02_tiny_patch14_224", num_classes=0), size=224, width=192
    ),
    "relative positions": lambda: made(
        branch("pooled", "timm:maxvit_tiny_tf_224", num_classes=0), size=224, width=512, center=True
    ),
    "open_clip's own": lambda: made(Branch("open_clip:RN50", "embedding", *OPENAI_CLIP), size=224, width=1024),
}  # fmt: skip


@pytest.mark.slow
def test_a_tuned_folder_gives_the_same_without_this_package(small, tmp_path):
    unmerged = tuned(tmp_path, small, Head("mlp", 32))
    check_in_other_pythons(load(tmp_path / "tuned"), tmp_path, expected=unmerged)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_other_kinds_give_the_same_without_this_package(kind, tmp_path):
    check_in_other_pythons(KINDS[kind](), tmp_path)


def check_in_other_pythons(metric, folder, expected=None):
    """Export in every format, run the page's code where this package cannot be imported, and compare."""
    by_timm = all(branch.network.startswith("timm:") for branch in metric.card.branches)
    formats = [to for to in FORMATS if by_timm or to != "safetensors"]
    for to in formats:
        export(metric, to, folder / f"metric{FORMATS[to].suffix}")
    onnx.checker.check_model(folder / "metric.onnx", full_check=True)
    assert {path.name for path in folder.glob("*metric.*")} == {f"metric{FORMATS[to].suffix}" for to in formats}
    pictures = natural_and_noise()
    for i, picture in enumerate(pictures):
        picture.save(folder / f"{i}.png")
    turned = PIL.Image.Exif()
    turned[0x0112] = 6
    PIL.Image.open(PHOTOGRAPHS[0]).save(folder / "a.jpg", exif=turned)
    PIL.Image.open(PHOTOGRAPHS[1]).save(folder / "b.jpg")
    with torch.inference_mode():
        embeddings = (expected or metric).embed(pictures).numpy()
        distance = (expected or metric)(folder / "a.jpg", folder / "b.jpg").item()
    # ONNX Runtime needs no PyTorch; an exported program needs no timm.
    found = run_page(folder, ["onnx"], absent=("torch", "timm"), size=metric.card.image_size)
    found |= run_page(folder, formats[1:], absent=("onnxruntime",), size=metric.card.image_size)
    np.testing.assert_array_equal(found["pixels"], metric.preprocess(pictures).numpy())
    for to in formats:
        assert found[f"{to} distance"] == pytest.approx(distance, abs=1e-5), to
        for n in SIZES:
            np.testing.assert_allclose(found[f"{to} {n}"], embeddings[:n], rtol=0, atol=1e-5, err_msg=f"{to} {n}")


def run_page(folder, formats, absent, size):
    lines = [f"import sys\nsys.modules.update(dict.fromkeys({('dreamsim_metric', *absent)}))", READ_PIXELS]
    lines += [f"found = {{'pixels': np.stack([read_pixels(f'{{i}}.png', {size}) for i in range(8)])}}"]
    for i, to in enumerate(formats):  # in a function of its own: what a block needs, but for the pixels, is in it
        block = f"{READ[to]}found['{to} distance'] = 1 - float(u @ v)\nassert card['image_size'] == {size}\n"
        block += f"for n in {SIZES}:\n    x = found['pixels'][:n]\n    found[f'{to} {{n}}'] = {EMBED[to]}\n"
        lines += [f"def run_{i}():\n{textwrap.indent(block, '    ')}\nrun_{i}()"]
        lines += ["assert sys.modules.get('timm') is None"] if to != "safetensors" else []
    lines += ["np.savez('found.npz', **found)"]
    (folder / "page.py").write_text("\n".join(lines))
    ran = subprocess.run([sys.executable, "-W", "error", "page.py"], cwd=folder, capture_output=True, text=True)
    assert (ran.returncode, ran.stderr) == (0, "")
    return dict(np.load(folder / "found.npz"))


def test_a_program_gives_the_same_for_any_number_of_pictures_in_plain_operators(tmp_path):
    """Those of ATen, whatever quicker ones the metric itself takes on this machine."""
    metric = made(VIT, CONVOLUTIONAL, size=160, width=64 + 96, center=True)
    export(metric, "torch-export", tmp_path / "metric.pt2")
    program = torch.export.load(tmp_path / "metric.pt2")
    for n in SIZES:
        pixels = torch.rand(n, 3, 160, 160)
        expected = metric.embed(pixels)
        np.testing.assert_allclose(program.module()(pixels).numpy(), expected.numpy(), rtol=0, atol=1e-5)
    graphs = [part for part in program.graph_module.modules() if isinstance(part, torch.fx.GraphModule)]
    targets = {node.target for graph in graphs for node in graph.graph.nodes if node.op == "call_function"}
    assert len(targets) > 10
    other = {str(target) for target in targets if getattr(target, "namespace", "") != "aten"}
    assert other <= {"<built-in function getitem>", "wrap_with_autocast"}


def test_the_card_is_in_every_file(small, tmp_path):
    export(small, "safetensors", tmp_path / "metric.safetensors")
    with safe_open(tmp_path / "metric.safetensors", "pt") as file:
        card = json.loads(file.metadata()["card.json"])
        assert set(file.keys()) == set(small.state_dict())
    known = {name: card[name] for name in ("name", "image_size", "embedding_size", "licence", "citation")}
    assert known == {
        "name": "made", "image_size": 160, "embedding_size": 64, "licence": "CC0", "citation": "Nobody 2026",
    }  # fmt: skip
    assert card["dreamsim_metric"] == __version__
    assert "(N, 3, 160, 160)" in card["input"]
    assert "(N, 64)" in card["output"]


@pytest.mark.slow
def test_weights_too_large_for_one_file_lie_beside_it(small, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_ONE_FILE", 100_000)
    export(small, "onnx", tmp_path / "metric.onnx")
    assert {path.name for path in tmp_path.iterdir()} == {"metric.onnx", "metric.onnx.data"}
    assert (tmp_path / "metric.onnx").stat().st_size < 500_000 < (tmp_path / "metric.onnx.data").stat().st_size
    elsewhere = tmp_path.rename(tmp_path.with_name("elsewhere"))
    pixels = torch.rand(2, 3, 160, 160)
    (found,) = onnxruntime.InferenceSession(elsewhere / "metric.onnx").run(None, {"pixels": pixels.numpy()})
    np.testing.assert_allclose(found, small.embed(pixels).numpy(), rtol=0, atol=1e-5)


def test_a_graph_that_computes_something_else_is_refused(small):
    exact = EmbeddingModule(small)
    assert measure_difference(small, exact) < 1e-6
    for wrong in (lambda x: exact(x) + 2e-5, lambda x: exact(x) * torch.nan):
        with pytest.raises(ArithmeticError, match="the exported 'made' gives embeddings off by"):
            measure_difference(small, wrong)


class Deciding(torch.nn.Module):
    def forward(self, x):
        return x if x.sum() > 0 else -x


def test_a_network_that_cannot_be_traced_says_so(small):
    deciding = copy.deepcopy(small)
    deciding.head = Deciding()
    with pytest.raises(ValueError, match=r"^'made' cannot be traced by torch\.export \([^\n]+\); safetensors needs no"):
        trace(deciding)


BAD = {
    "unknown format": ("tflite", "metric.tflite", ValueError, "got format 'tflite'; expected onnx, torch-export, safe"),
    "wrong ending": ("torch-export", "metric.pt", ValueError, "got 'metric.pt' for torch-export; .* ends in .pt2"),
    "no ending": ("onnx", "metric", ValueError, "got 'metric' for onnx; expected a name that ends in .onnx"),
    "there already": ("onnx", "old.onnx", FileExistsError, "old.onnx exists already; remove it or choose another"),
    "weights there already": ("onnx", "new.onnx", FileExistsError, r"new.onnx.data exists already"),
}


@pytest.mark.parametrize(("to", "name", "kind", "message"), BAD.values(), ids=BAD)
def test_what_cannot_be_written_is_refused_before_any_work(small, tmp_path, to, name, kind, message):
    for there in ("old.onnx", "new.onnx.data"):
        (tmp_path / there).write_text("mine")
    with pytest.raises(kind, match=message):
        export(small, to, tmp_path / name)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"old.onnx": "mine", "new.onnx.data": "mine"}


def test_adapters_must_be_merged_first(small, tmp_path):
    metric = copy.deepcopy(small)
    add_lora(metric, rank=2, alpha=4, dropout=0)
    with pytest.raises(ValueError, match="these weights are not those of 'made'"):
        export(metric, "safetensors", tmp_path / "metric.safetensors")


@contextmanager
def files_of_at_most(size):
    """A disk that is full: the system refuses to make any file larger."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("to", [pytest.param("onnx", marks=pytest.mark.slow), "torch-export", "safetensors"])
def test_a_full_disk_leaves_nothing_behind(small, tmp_path, to):
    out = tmp_path / f"metric{FORMATS[to].suffix}"
    with (
        files_of_at_most(200_000),
        pytest.raises(OSError, match=rf"cannot write {out.name} in {tmp_path} .*; make room"),
    ):
        export(small, to, out)
    assert list(tmp_path.iterdir()) == []


def test_the_command_says_what_it_wrote_and_what_is_wrong(small, tmp_path, capsys, monkeypatch):
    small.save_pretrained(tmp_path / "model")
    out = tmp_path / "new" / "metric.safetensors"
    command = ["export", "--model", str(tmp_path / "model"), "--to", "safetensors", "--out", str(out)]
    assert cli.main([*command, "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row == {"model": "made", "format": "safetensors", "written": str(out), "MB": out.stat().st_size / 1e6,
                   "largest difference": 0}  # fmt: skip
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    wrong = {
        tuple(command): "exists already; remove it or choose another name",
        (*command[:4], "onnx", "--out", "m.onnx"): "this needs more packages: pip install 'dreamsim_metric[export]'",
        ("export", "--model", "nimi", *command[3:]): "unknown model 'nimi': did you mean mini",
    }
    for arguments, message in wrong.items():
        assert cli.main(list(arguments)) == 1
        printed = capsys.readouterr()
        assert message in printed.err
        assert printed.err.count("\n") == 1


def test_weights_that_are_views_are_written_whole(small, tmp_path):
    metric = copy.deepcopy(small)
    for parameter in metric.parameters():
        if parameter.ndim == 2:  # as CLIP's projection is of a release
            parameter.data = parameter.data.t().contiguous().t()
    assert export(metric, "torch-export", tmp_path / "m.pt2") <= 1e-6


@pytest.mark.slow
def test_the_ensemble_of_a_release_gives_the_same_without_this_package(tmp_path):
    from benchmarks.speed.releases import write_release

    metric = load("ensemble", source=write_release(tmp_path / "release", "ensemble"))
    check_in_other_pythons(metric, tmp_path)
