"""`distance`, `distance_matrix`, `embed`: one call each, and the model behind them loaded once."""

import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import PIL.Image
import pytest
import torch

from dreamsim_metric import distance, distance_matrix, embed, functional, list_models, load
from tests.pictures import PHOTOGRAPHS


@pytest.fixture(scope="module")
def metric():
    return load("mini")


def _forms(path):
    image = PIL.Image.open(path)
    array = np.array(image)
    tensor = torch.from_numpy(array).permute(2, 0, 1)
    return {
        "str": str(path),
        "Path": path,
        "PIL": image,
        "HWC array": array,
        "CHW array": np.moveaxis(array, -1, 0),
        "CHW uint8 tensor": tensor,
        "CHW float tensor": tensor / 255,
        "CHW float array": np.moveaxis(array, -1, 0) / 255,
    }


def test_every_form_of_one_picture_gives_one_distance(metric):
    a, b = _forms(PHOTOGRAPHS[1]), _forms(PHOTOGRAPHS[2])
    expected = distance(PHOTOGRAPHS[1], PHOTOGRAPHS[2], model=metric)
    assert isinstance(expected, float)
    assert {form: distance(a[form], b[form], model=metric) for form in a} == dict.fromkeys(a, expected)
    assert {form: distance(a[form], PHOTOGRAPHS[1], model=metric) for form in a} == dict.fromkeys(a, 0.0)


@pytest.mark.parametrize("batch_size", [1, 2, 5, 32])
def test_lists_pair_up_or_broadcast_whatever_the_batch_size(metric, batch_size):
    singly = [distance(PHOTOGRAPHS[0], path, model=metric) for path in PHOTOGRAPHS]
    options = {"model": metric, "batch_size": batch_size}
    for d in (
        distance(PHOTOGRAPHS[0], PHOTOGRAPHS, **options),
        distance(PHOTOGRAPHS, PHOTOGRAPHS[:1], **options),
        distance([PHOTOGRAPHS[0]] * 6, PHOTOGRAPHS, **options),
    ):
        assert d.dtype == torch.float32
        assert d.tolist() == pytest.approx(singly, abs=1e-6)
    assert distance(PHOTOGRAPHS[:1], PHOTOGRAPHS[:1], **options).tolist() == [0.0]


def test_the_matrix_holds_the_distances(metric):
    square = distance_matrix(PHOTOGRAPHS, model=metric, batch_size=4)
    assert square.shape == (6, 6)
    assert torch.equal(square, square.T)
    assert square.diagonal().tolist() == [0.0] * 6
    rows = torch.stack([distance(path, PHOTOGRAPHS, model=metric) for path in PHOTOGRAPHS])
    torch.testing.assert_close(square, rows, atol=1e-6, rtol=0)
    oblong = distance_matrix(PHOTOGRAPHS[:2], list(reversed(PHOTOGRAPHS)), model=metric)
    torch.testing.assert_close(oblong, square[:2].flip(1), atol=1e-6, rtol=0)
    assert oblong[0, 5] == oblong[1, 4] == 0


def test_a_picture_of_a_matrix_is_embedded_once(metric, monkeypatch):
    seen = []
    branch = metric.branches[0]
    handle = branch.register_forward_pre_hook(lambda _module, inputs: seen.append(len(inputs[0])))
    distance_matrix(PHOTOGRAPHS, model=metric, batch_size=4)
    handle.remove()
    assert seen == [4, 2]


def test_embeddings_are_unit_vectors_whose_cosine_is_the_distance(metric):
    u = embed(PHOTOGRAPHS, model=metric)
    assert u.shape == (6, metric.card.embedding_size)
    torch.testing.assert_close(u.norm(dim=1), torch.ones(6))
    assert 1 - (u[0] @ u[1]).item() == pytest.approx(distance(*PHOTOGRAPHS[:2], model=metric), abs=1e-6)
    assert embed(PHOTOGRAPHS[0], model=metric).shape == (1, 2560)


def test_gradients_flow_through_batches(metric):
    a = torch.rand(2, 3, 90, 70, requires_grad=True)
    distance(a, PHOTOGRAPHS[0], model=metric, batch_size=1).sum().backward()
    assert a.grad.isfinite().all()
    assert (a.grad.flatten(1).abs().sum(1) > 0).all()


def test_the_model_is_loaded_once_by_many_threads(monkeypatch):
    loads = []
    monkeypatch.setattr(functional, "load", lambda name, device: loads.append(name) or load(name, device=device))
    functional._load.cache_clear()
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda _: distance(*PHOTOGRAPHS[:2], device="cpu"), range(8)))
    functional._load.cache_clear()
    assert len(set(results)) == 1
    assert loads == ["mini"]


def test_gradients_flow_after_a_first_call_in_inference_mode():
    functional._load.cache_clear()
    a = torch.rand(1, 3, 91, 73, requires_grad=True)
    with torch.inference_mode():
        distance(a, PHOTOGRAPHS[0], device="cpu")
    distance(a, PHOTOGRAPHS[0], device="cpu").sum().backward()
    assert a.grad.abs().sum() > 0


def test_the_default_model_comes_from_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("DREAMSIM_METRIC_MODEL", str(tmp_path / "none"))
    with pytest.raises(ValueError, match=r"unknown model '.*none'"):
        distance(*PHOTOGRAPHS[:2])
    load("mini").save_pretrained(tmp_path / "mine")
    monkeypatch.setenv("DREAMSIM_METRIC_MODEL", str(tmp_path / "mine"))
    assert distance(*PHOTOGRAPHS[:2], device="cpu") == pytest.approx(0.8612, abs=1e-3)


BAD = {
    "unequal lists": (lambda: distance(PHOTOGRAPHS[:2], PHOTOGRAPHS[:3]), "got 2 and 3 pictures"),
    "empty list": (lambda: distance([], PHOTOGRAPHS), "got no pictures"),
    "empty matrix": (lambda: distance_matrix([]), "got no pictures"),
    "batch size": (lambda: embed(PHOTOGRAPHS, batch_size=0), "got batch_size 0; expected 1 or more"),
    "misspelt model": (lambda: distance(*PHOTOGRAPHS[:2], model="ensembel"), "did you mean ensemble"),
    "mixed devices": (
        lambda: distance(torch.rand(3, 8, 8), torch.rand(3, 8, 8, device="meta")),
        "got tensors on cpu and meta; expected one device",
    ),
    "metric elsewhere": (
        lambda: distance(*PHOTOGRAPHS[:2], model=load("mini"), device="meta"),
        "got device='meta' and a metric on cpu",
    ),
    "source of mini": (lambda: load("mini", source="x"), "source is for DreamSim releases"),
}


@pytest.mark.parametrize(("call", "message"), BAD.values(), ids=BAD)
def test_bad_calls_say_what_is_wrong(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_the_named_models_are_listed():
    assert list_models()[:2] == ["mini", "ensemble"]
    assert len(list_models()) == 9


def test_scoring_with_mini_imports_nothing_that_it_does_not_need(fresh_python):
    libraries = "open_clip pandas peft scipy timm torch._dynamo torchmetrics torchvision transformers"
    loaded = fresh_python(
        "import sys; from dreamsim_metric import distance;"
        f"distance({str(PHOTOGRAPHS[0])!r}, {str(PHOTOGRAPHS[1])!r});"
        f"print(sorted({set(libraries.split())!r} & set(sys.modules)))"
    )
    assert loaded == "[]"


def test_importing_the_package_loads_no_torch(fresh_python):
    code = "import sys; import dreamsim_metric;print(sorted({'torch', 'timm', 'PIL', 'numpy'} & set(sys.modules)))"
    assert fresh_python(code) == "[]"
    assert sorted(sys.modules["dreamsim_metric"].__all__) == dir(sys.modules["dreamsim_metric"])
