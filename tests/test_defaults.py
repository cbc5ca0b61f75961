"""Numbers do not depend on what PyTorch is told for the whole process, and what it is told stays as it was."""

import ast
import os
from contextlib import contextmanager, nullcontext

import pytest
import torch

from dreamsim_metric import distance, distance_matrix, embed, load
from dreamsim_metric.evaluation.judging import judge
from dreamsim_metric.functional import _load
from dreamsim_metric.images import resizing
from dreamsim_metric.judgements.readers import read_triplets
from dreamsim_metric.networks import inference, onednn
from dreamsim_metric.networks.defaults import set_usual_defaults
from dreamsim_metric.scale.scoring import embed_files, find_duplicates, rank, score_pairs
from dreamsim_metric.torchmetrics import PerceptualDistance
from dreamsim_metric.training.config import Config
from dreamsim_metric.training.loop import train
from tests.judged import write_network, write_triplets
from tests.pictures import PHOTOGRAPHS
from tests.places import ROOT

A, B = torch.rand(2, 2, 3, 100, 90, generator=torch.Generator().manual_seed(0))
NAMES = [str(path) for path in PHOTOGRAPHS]


# Every tensor that is made from Python's numbers


MAKERS = {
    *("arange", "bartlett_window", "bernoulli", "blackman_window", "empty", "empty_strided", "eye", "full"),
    *("hamming_window", "hann_window", "kaiser_window", "linspace", "logspace", "normal", "ones", "rand", "randint"),
    *("randn", "randperm", "range", "scalar_tensor", "tensor", "tril_indices", "triu_indices", "zeros"),
}
PYTHON = [
    path.relative_to(ROOT).as_posix()
    for package in ("dreamsim_metric", "data_tools", "benchmarks")
    for path in sorted((ROOT / package).rglob("*.py"))
]


def makers_without_a_place(tree):
    """Calls such as `torch.zeros(3)` that leave dtype or device to the process."""
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Attribute(value=ast.Name(id="torch"), attr=name)) if name in MAKERS:
                given = {keyword.arg for keyword in node.keywords}
                if None not in given and not {"dtype", "device"} <= given:
                    yield f"line {node.lineno}: torch.{name}"
            case ast.Call(func=ast.Attribute(value=ast.Name(id="torch"), attr="Tensor" | "FloatTensor")):
                yield f"line {node.lineno}: torch.Tensor"
            case ast.ImportFrom(module="torch", names=names):
                yield from (f"line {node.lineno}: {some.name} by itself" for some in names if some.name in MAKERS)


@pytest.mark.parametrize(
    "copy", ["torch.zeros(3)", "torch.tensor(1, dtype=d)", "torch.rand(2, device=d)", "torch.Tensor(2)"]
)
def test_a_tensor_without_a_dtype_or_a_device_would_be_found(copy):
    assert list(makers_without_a_place(ast.parse(copy)))
    assert not list(makers_without_a_place(ast.parse("torch.ones(2, dtype=d, device=e); torch.eye(2, **given)")))


def test_every_tensor_of_pythons_numbers_has_a_dtype_and_a_device():
    trees = {file: ast.parse((ROOT / file).read_text(encoding="utf-8")) for file in PYTHON}
    assert {file: found for file, tree in trees.items() if (found := list(makers_without_a_place(tree)))} == {}


# What the process is told


@contextmanager
def default_dtype(dtype):
    torch.set_default_dtype(dtype)
    try:
        yield
        assert torch.get_default_dtype() == dtype
    finally:
        torch.set_default_dtype(torch.float32)


@contextmanager
def default_device(device):
    """For the whole process; "meta" stands in for a second device, since its tensors are of no use."""
    torch.set_default_device(device)
    try:
        yield
        assert torch.get_default_device() == torch.device(device)
    finally:
        torch.set_default_device(None)


@contextmanager
def deterministic():
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(False)


@contextmanager
def products(precision):
    torch.set_float32_matmul_precision(precision)
    try:
        yield
        assert torch.get_float32_matmul_precision() == precision
    finally:
        torch.set_float32_matmul_precision("highest")


STATES = {
    "float64": lambda: default_dtype(torch.float64),
    "bfloat16": lambda: default_dtype(torch.bfloat16),
    "float16": lambda: default_dtype(torch.float16),
    "another device": lambda: default_device("meta"),
    "inference mode": torch.inference_mode,
    "no gradients": torch.no_grad,
    "deterministic algorithms": deterministic,
    "products of any precision": lambda: products("medium"),
}


FIRST = {**STATES, "autocast": lambda: torch.autocast("cpu", torch.bfloat16)}  # which may move what is computed inside


@pytest.fixture
def fresh():
    """As in a process that has done nothing yet."""
    for cache in (resizing._keep_weights, _load, inference.changes_are_counted):
        cache.cache_clear()
    for cache in (onednn.check_products_by_onednn, onednn.attention_is_faster_in_steps):
        cache.cache_clear()


def numbers(found):
    return torch.tensor(list(found), dtype=torch.float64, device="cpu")


def ranked(metric):
    found = embed_files(NAMES, metric)
    return numbers(row["distance"] for row in rank(found, found, 2))


def accumulated(metric, reduction):
    of = PerceptualDistance(metric, reduction=reduction)
    of.update(A, B)
    of.update(A, B)
    return of.compute()


USES = {
    "pixels": lambda metric: metric(A, B),
    "files": lambda metric: metric(NAMES[0], NAMES),
    "distance": lambda metric: distance(NAMES[0], NAMES, model=metric),
    "distance of two": lambda metric: torch.tensor(
        distance(*NAMES[:2], model=metric), dtype=torch.float64, device="cpu"
    ),
    "matrix": lambda metric: distance_matrix(NAMES, model=metric),
    "matrix of floats": lambda metric: distance_matrix(A, NAMES[:2], model=metric),
    "embed": lambda metric: embed(NAMES, model=metric),
    "difference map": lambda metric: metric.difference_map(*NAMES[:2]),
    "embed_files": lambda metric: embed_files(NAMES, metric).units,
    "score_pairs": lambda metric: score_pairs(NAMES[:3], NAMES[3:], metric)[0],
    "rank": ranked,
    "duplicates": lambda metric: numbers(row["distance"] for row in find_duplicates(embed_files(NAMES, metric), 2.0)),
    "torchmetrics, mean": lambda metric: accumulated(metric, "mean"),
    "torchmetrics, all": lambda metric: accumulated(metric, "none"),
}


@pytest.fixture(scope="module")
def expected(metric):
    return {name: use(metric) for name, use in USES.items()}


@pytest.mark.usefixtures("fresh")
@pytest.mark.parametrize("state", STATES.values(), ids=STATES)
def test_numbers_are_the_same_bits_whatever_the_process_is_told(state, metric, expected):
    with state():
        mini = load("mini", device="cpu")
        found = {name: use(mini) for name, use in USES.items()}
    # Of all pairs distances are computed in float64 where products may be rounded.
    largest = 1e-6 if state is STATES["products of any precision"] else 0
    assert [name for name, x in expected.items() if not torch.allclose(found[name], x, rtol=0, atol=largest)] == []
    x = A.clone().requires_grad_()  # and it is fit for gradients afterwards
    mini(x, B).sum().backward()
    y = A.clone().requires_grad_()
    metric(y, B).sum().backward()
    assert torch.equal(x.grad, y.grad)


@pytest.mark.usefixtures("fresh")
@pytest.mark.parametrize("kind", ["vit", "cnn"])
@pytest.mark.parametrize("state", FIRST.values(), ids=FIRST)
def test_a_model_that_is_loaded_and_first_used_so_is_the_same_afterwards(state, kind, tmp_path):
    folder = write_network(tmp_path, kind)
    usual = load(folder)
    before = usual(A, B)
    with state():
        model = load(folder)
        model(A, B)
    assert torch.equal(model(A, B), before)
    assert all(torch.equal(x, y) for x, y in zip(model.buffers(), usual.buffers(), strict=True))
    assert not any(tensor.is_inference() for tensor in (*model.parameters(), *model.buffers()))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_lightnings_order_of_moving_leaves_constants_exact(dtype, metric):
    with default_dtype(dtype):
        moved = load("mini").to(dtype)
        found = moved(A, B)
    assert torch.equal(moved.branches[0].mean, metric.branches[0].mean)
    assert found.dtype == torch.float32
    plain = load("mini").to(dtype)
    assert torch.equal(found, plain(A, B))


def test_a_metric_that_is_moved_in_inference_mode_learns_no_less(metric):
    moved = load("mini")
    with torch.inference_mode():
        moved.to(torch.float64).to(torch.float32)
    x = A.clone().requires_grad_()
    moved(x, B).sum().backward()
    assert x.grad.abs().sum() > 0


def test_the_gradient_is_the_same_in_a_state(metric):
    found = []
    for state in (nullcontext, lambda: default_dtype(torch.bfloat16), lambda: default_device("meta"), deterministic):
        x = A.clone().requires_grad_()
        with state():
            metric(x, B).sum().backward()
        found.append(x.grad)
    assert all(torch.equal(found[0], other) for other in found[1:])


@pytest.mark.usefixtures("fresh_accelerate")
@pytest.mark.parametrize("state", ["bfloat16", "another device", "inference mode"])
@pytest.mark.parametrize("settings", [{"rank": 4}, {"rank": 0, "head": "mlp", "hidden": 8}], ids=["LoRA", "MLP"])
def test_training_and_evaluation_are_the_same(state, settings, tmp_path):
    data, model = write_triplets(tmp_path / "judged"), str(write_network(tmp_path, "vit"))
    figures = []
    for name, told in (("usual", nullcontext), ("told", STATES[state])):
        config = Config(
            data=data, out=tmp_path / name, model=(model,), shared_pictures=True, epochs=1, batch_size=16,
            val_fraction=0.2, device="cpu", **settings,
        )  # fmt: skip
        with told():
            tuned = load(train(config))
            figures.append((tuned(A, B), judge(tuned, read_triplets(data), None).left))
    assert torch.equal(figures[0][0], figures[1][0])
    assert (figures[0][1] == figures[1][1]).all()


def test_after_an_error_all_is_as_it_was():
    for state in ("bfloat16", "another device"):
        with STATES[state](), pytest.raises(ValueError, match="unknown model"):
            load("minni")
    with default_dtype(torch.float16):
        with pytest.raises(KeyError), set_usual_defaults(), set_usual_defaults():
            raise KeyError
        assert torch.get_default_dtype() == torch.float16


# TF32


SETTINGS = {
    "nothing": "",
    "all ieee": "backends.fp32_precision = 'ieee'",
    "all tf32": "backends.fp32_precision = 'tf32'",
    "products tf32": "backends.cuda.matmul.fp32_precision = 'tf32'",
    "products ieee": "backends.cuda.matmul.fp32_precision = 'ieee'",
    "convolutions tf32": "backends.cudnn.conv.fp32_precision = 'tf32'",
    "convolutions ieee": "backends.cudnn.conv.fp32_precision = 'ieee'",
    "recurrent ieee": "backends.cudnn.rnn.fp32_precision = 'ieee'",
    "CUDA ieee": "backends.cudnn.fp32_precision = 'ieee'",
    "CUDA tf32": "backends.cudnn.fp32_precision = 'tf32'",
    "both ieee": "backends.cuda.matmul.fp32_precision = backends.cudnn.conv.fp32_precision = 'ieee'",
    "both tf32": "backends.cuda.matmul.fp32_precision = backends.cudnn.conv.fp32_precision = 'tf32'",
    "CPU bf16": "backends.mkldnn.matmul.fp32_precision = 'bf16'",
    "older: high": "set_float32_matmul_precision('high')",
    "older: medium": "set_float32_matmul_precision('medium')",
    "older: allowed": "backends.cuda.matmul.allow_tf32 = backends.cudnn.allow_tf32 = True",
    "older: not allowed": "backends.cuda.matmul.allow_tf32 = backends.cudnn.allow_tf32 = False",
    "older and newer": "set_float32_matmul_precision('high'); backends.fp32_precision = 'tf32'",
}


def precisions():
    """All that can be read; that some cannot is PyTorch's word for a mixture of older and newer settings."""
    backends = torch.backends
    parts = (backends, backends.cudnn, backends.cuda.matmul, backends.cudnn.conv, backends.cudnn.rnn, backends.mkldnn)
    found = [part.fp32_precision for part in (*parts, backends.mkldnn.matmul, backends.mkldnn.conv)]
    for read in (
        torch.get_float32_matmul_precision,
        lambda: backends.cuda.matmul.allow_tf32,
        lambda: backends.cudnn.allow_tf32,
    ):
        try:
            found.append(read())
        except RuntimeError:
            found.append("cannot be read")
    return found


def in_another_process(work):
    """Whether it ends well where nothing it sets is kept."""
    process = os.fork()
    if process == 0:
        try:
            work()
        except BaseException as error:
            os.write(2, repr(error).encode())
            os._exit(1)
        os._exit(0)
    return os.waitpid(process, 0)[1] == 0


@pytest.mark.filterwarnings("ignore:.*fork.*")
@pytest.mark.skipif(not hasattr(torch.backends, "fp32_precision"), reason="this PyTorch has the older settings only")
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs processes of its own")
@pytest.mark.parametrize("fails", [False, True], ids=["", "with an error"])
@pytest.mark.parametrize("setting", SETTINGS.values(), ids=SETTINGS)
def test_full_precision_is_there_and_settings_stay(setting, fails):
    def work():
        exec(setting.replace("backends.", "torch.backends.").replace("set_float", "torch.set_float"))
        before = precisions()
        for allowed in (False, True):
            try:
                with inference._set_tf32(allowed):
                    for part in (torch.backends.cuda.matmul, torch.backends.cudnn.conv):
                        assert (part.fp32_precision == "tf32") is allowed
                    if fails:
                        raise KeyError
            except KeyError:
                assert fails
            assert precisions() == before
        torch.backends.fp32_precision = "bf16"  # is still taken over where it was not set by itself
        mine = precisions()
        with inference._set_tf32(False):
            pass
        assert precisions() == mine

    assert in_another_process(work)
