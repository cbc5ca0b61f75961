"""The metric itself, on mini: what the distance promises, and how the module behaves among others."""

import copy
import pickle

import numpy as np
import pytest
import torch
import torchvision
from hypothesis import given, settings
from hypothesis import strategies as st

from dreamsim_metric import PerceptualMetric, load
from dreamsim_metric.distances import compare_all, pair_distances
from dreamsim_metric.images.convert import to_pixels
from examples.mini.base import timm_names
from tests.pictures import PHOTOGRAPHS, natural_and_noise


@pytest.fixture(scope="module")
def metric():
    return load("mini")


@pytest.fixture(scope="module")
def pixels():
    return to_pixels(natural_and_noise(), (224, 224))


def test_mini_is_torchvisions_mobilenet_with_two_statistics_and_a_head(metric, pixels):
    network = torchvision.models.mobilenet_v2()
    ours = {
        name: tensor.clone() for name, tensor in metric.state_dict().items() if not name.endswith(("mean_", "std_"))
    }
    theirs = network.state_dict()
    for name in theirs:
        module, _, part = name.rpartition(".")
        if not module.startswith("classifier"):
            theirs[name] = ours[f"branches.0.network.{timm_names()[module]}.{part}"]
    network.load_state_dict(theirs)
    network.double().eval()
    normalize = torchvision.transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    with torch.no_grad():
        maps = network.features(normalize(pixels.double())).flatten(2).numpy()
    parts = maps.mean(axis=2), np.sqrt(maps.var(axis=2) + 1e-5)
    features = np.concatenate([part / np.linalg.norm(part, axis=1, keepdims=True) for part in parts], axis=1)
    w1, b1, w2, b2 = (
        ours[f"head.{name}"].double().numpy() for name in ("fc1.weight", "fc1.bias", "fc2.weight", "fc2.bias")
    )
    tuned = features + np.maximum(features @ w1.T + b1, 0) @ w2.T + b2
    unit = tuned / np.linalg.norm(tuned, axis=1, keepdims=True)
    np.testing.assert_allclose(metric.embed(pixels).numpy(), unit, atol=1e-6)
    reference = 1 - unit @ unit.T
    np.testing.assert_allclose(compare_all(*[metric.embed(pixels)] * 2).numpy(), reference, atol=5e-6)


def test_golden_distances_of_mini(metric):
    """Change these together with an entry under "Scores" in CHANGELOG.md, never by themselves."""
    names = ["astronaut", "cat", "coffee", "rocket", "vest_1", "vest_2"]
    assert [path.stem for path in PHOTOGRAPHS] == names
    d = metric(PHOTOGRAPHS[4], PHOTOGRAPHS)
    assert d.tolist() == pytest.approx([1.00072, 1.01764, 1.15, 1.01576, 0, 0.11353], abs=2e-5)


def test_a_picture_has_no_distance_to_itself_and_distances_are_symmetric(metric, pixels):
    assert metric(pixels, pixels).tolist() == [0.0] * 8
    assert metric(pixels, pixels.clone()).tolist() == [0.0] * 8
    assert metric(pixels[:1], pixels)[0] == 0
    forth, back = metric(pixels, pixels.roll(1, 0)), metric(pixels.roll(1, 0), pixels)
    torch.testing.assert_close(forth, back, atol=1e-6, rtol=0)
    assert forth.min() > 0


def test_distances_do_not_depend_on_batch_size_or_order(metric, pixels):
    whole = metric(pixels, pixels.roll(1, 0))
    singly = torch.cat([metric(a[None], b[None]) for a, b in zip(pixels, pixels.roll(1, 0), strict=True)])
    torch.testing.assert_close(whole, singly, atol=1e-6, rtol=0)
    order = torch.randperm(8, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(metric(pixels[order], pixels.roll(1, 0)[order]), whole[order], atol=1e-6, rtol=0)


def test_one_against_many_and_reductions(metric, pixels):
    d = metric(pixels[:1], pixels)
    torch.testing.assert_close(d, metric(pixels[:1].expand(8, -1, -1, -1), pixels), atol=1e-6, rtol=0)
    torch.testing.assert_close(metric(pixels, pixels[:1]), d, atol=1e-6, rtol=0)
    assert metric(pixels[0], pixels[1]).shape == (1,)
    torch.testing.assert_close(metric(pixels[:1], pixels, reduction="mean"), d.mean(), atol=1e-6, rtol=0)
    torch.testing.assert_close(metric(pixels[:1], pixels, reduction="sum"), d.sum(), atol=1e-6, rtol=0)


@pytest.mark.parametrize(("noise", "is_nothing"), [(3e-8, True), (1e-6, False)])
def test_rounding_of_equal_pictures_is_nothing_and_small_differences_are_not(noise, is_nothing):
    u = torch.nn.functional.normalize(torch.ones(1, 1024))
    v = u + noise * torch.tensor([1.0, -1.0]).repeat(512)
    for d in (pair_distances(u, v), compare_all(u, v)):
        assert (d.item() == 0) is is_nothing


def test_a_broken_embedding_gives_nan_and_not_a_match():
    u, v = torch.full((2, 4), torch.nan), torch.full((2, 4), 0.5)
    assert pair_distances(u, v).isnan().all()
    assert compare_all(u, v).isnan().all()


def test_autocast_keeps_the_last_step_in_float32(metric, pixels):
    with torch.autocast("cpu", torch.bfloat16):
        d = metric(pixels[:2], pixels[2:4])
    assert d.dtype == torch.float32
    torch.testing.assert_close(d, metric(pixels[:2], pixels[2:4]), atol=2e-2, rtol=0)


unit_vectors = st.integers(0, 2**31).map(
    lambda seed: torch.nn.functional.normalize(torch.randn(5, 64, generator=torch.Generator().manual_seed(seed)))
)


@settings(deadline=None)
@given(unit_vectors, unit_vectors, st.floats(0, 1))
def test_distances_are_one_minus_cosine(u, v, nearness):
    v = torch.nn.functional.normalize(nearness * u + (1 - nearness) * v)
    cosine = (u.double() @ v.double().T) / u.double().norm(dim=1)[:, None] / v.double().norm(dim=1)
    torch.testing.assert_close(compare_all(u, v).double(), 1 - cosine, atol=1e-6, rtol=0)
    torch.testing.assert_close(pair_distances(u, v).double(), (1 - cosine).diagonal(), atol=1e-6, rtol=0)
    assert (compare_all(u, v) >= 0).all()
    torch.testing.assert_close(compare_all(u, v), compare_all(v, u).T, atol=1e-6, rtol=0)
    assert torch.equal(compare_all(u, u), compare_all(u, u).T)
    assert torch.equal(compare_all(u, u).diagonal(), torch.zeros(5))


@pytest.mark.parametrize("precision", ["highest", "high", "medium"])
def test_matrices_are_right_within_1e_6_by_blocks_and_for_near_and_equal_pictures(precision, monkeypatch):
    monkeypatch.setattr("dreamsim_metric.distances._ROWS", 16)
    generator = torch.Generator().manual_seed(0)
    u = torch.randn(50, 512, generator=generator)
    u[20:30] = u[0] + 1e-3 * torch.randn(10, 512, generator=generator)
    u[30:40] = u[1]
    u = torch.nn.functional.normalize(u)
    reference = (u.double()[:, None] - u.double()).square().sum(-1) / 2
    torch.set_float32_matmul_precision(precision)
    try:
        for d in (compare_all(u, u), compare_all(u, u.clone())):
            torch.testing.assert_close(d.double(), reference, atol=1e-6, rtol=0)
            near = (reference > 1e-12) & (reference < 1e-4)
            assert near.sum() >= 90
            torch.testing.assert_close(d.double()[near], reference[near], atol=0, rtol=1e-5)
            assert (d[reference == 0] == 0).all()
            assert (d >= 0).all()
        assert torch.equal(compare_all(u, u), compare_all(u, u).T)
    finally:
        torch.set_float32_matmul_precision("highest")


def test_the_gradient_of_a_matrix_is_that_of_its_distances():
    u = torch.nn.functional.normalize(torch.randn(6, 32, generator=torch.Generator().manual_seed(0)))
    u[3] = torch.nn.functional.normalize(u[2] + 1e-3, dim=0)  # near: by another way
    u = torch.nn.functional.normalize(u.double()).requires_grad_()
    weights = torch.rand(6, 6, dtype=torch.float64)

    def along_the_sphere(d):
        (gradient,) = torch.autograd.grad((d * weights).sum(), u)
        return gradient - (gradient * u).sum(1, keepdim=True) * u

    expected = along_the_sphere((u[:, None] - u).square().sum(-1) / 2)
    torch.testing.assert_close(along_the_sphere(compare_all(u, u)), expected)


def test_gradients_reach_the_pixels_and_never_the_weights(metric, pixels):
    a = pixels[:2].clone().requires_grad_()
    metric(a, pixels[2:4]).sum().backward()
    assert a.grad is not None
    assert a.grad.abs().sum() > 0
    assert all(parameter.grad is None and not parameter.requires_grad for parameter in metric.parameters())


def test_the_gradient_is_the_slope(metric, pixels):
    metric = copy.deepcopy(metric).double()
    a, b = pixels[0:1].clone(), pixels[1:2]
    a = a.clamp(0.01, 0.99).requires_grad_()
    (slope,) = torch.autograd.grad(metric(a, b).sum(), a)
    direction = slope / slope.norm() * 1e-3
    step = (metric(a + direction, b, check=False) - metric(a - direction, b, check=False)).item() / 2
    assert (slope * direction).sum().item() == pytest.approx(step, rel=0.02)


FLAT = {"black": 0.0, "grey": 0.5, "white": 1.0}


@pytest.mark.parametrize("level", FLAT.values(), ids=FLAT)
@pytest.mark.parametrize("size", [224, 100])
def test_gradients_are_finite_for_identical_and_flat_pictures(metric, level, size):
    flat = torch.full((1, 3, size, size), level, requires_grad=True)
    metric(flat, flat.detach()).sum().backward()
    assert flat.grad.isfinite().all()
    flat.grad = None
    metric(flat, PHOTOGRAPHS[0]).sum().backward()
    assert flat.grad.isfinite().all()


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float16, 5e-3), (torch.bfloat16, 2e-2), (torch.float64, 1e-6)])
def test_other_dtypes_give_float32_distances_near_those_of_float32(metric, pixels, dtype, tolerance):
    other = copy.deepcopy(metric).to(dtype)
    d = other(pixels[:2], pixels[4:6])
    assert d.dtype == torch.float32
    torch.testing.assert_close(d, metric(pixels[:2], pixels[4:6]), atol=tolerance, rtol=0)
    back = copy.deepcopy(other).float()
    assert back.branches[0].mean.flatten().tolist() == pytest.approx([0.485, 0.456, 0.406], abs=1e-7)


def test_it_stays_in_evaluation_mode(metric, pixels):
    trained = copy.deepcopy(metric).train()
    assert not any(module.training for module in trained.modules())
    outer = torch.nn.Sequential(trained).train()
    assert not any(module.training for module in outer[0].modules())
    assert torch.equal(trained(pixels[:2], pixels[2:4]), metric(pixels[:2], pixels[2:4]))


def test_copies_and_pickles_give_the_same_numbers(metric, pixels, tmp_path):
    expected = metric(pixels[:2], pixels[2:4])
    assert torch.equal(copy.deepcopy(metric)(pixels[:2], pixels[2:4]), expected)
    assert torch.equal(pickle.loads(pickle.dumps(metric))(pixels[:2], pixels[2:4]), expected)
    metric.save_pretrained(tmp_path / "saved")
    again = load(tmp_path / "saved")
    assert torch.equal(again(pixels[:2], pixels[2:4]), expected)
    assert again.card == metric.card
    with pytest.raises(FileExistsError, match="exists already"):
        metric.save_pretrained(tmp_path / "saved")


class Holder(torch.nn.Module):
    """A network with a metric for its loss, as users write it."""

    def __init__(self, loss):
        super().__init__()
        self.network = torch.nn.Linear(2, 2)
        self.inner = torch.nn.ModuleDict({"loss": loss})


def pickled(module):
    return pickle.loads(pickle.dumps(module))


@pytest.mark.parametrize(("change", "assign"), [(None, False), (copy.deepcopy, True), (pickled, False)])
def test_a_metric_that_is_left_out_of_checkpoints_loads_strictly(metric, pixels, tmp_path, change, assign):
    change = change or (lambda module: module)
    holder = change(Holder(load("mini", in_state_dict=False)))
    torch.save(holder.state_dict(), tmp_path / "checkpoint.pt")
    assert (tmp_path / "checkpoint.pt").stat().st_size < 10_000
    held = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    assert list(held) == ["network.weight", "network.bias"]
    other = change(Holder(load("mini", in_state_dict=False)))
    expected = metric(pixels[:1], pixels[1:2])
    other.load_state_dict(held, strict=True, assign=assign)
    assert torch.equal(other.network.weight, holder.network.weight)
    assert torch.equal(other.inner["loss"](pixels[:1], pixels[1:2]), expected)
    assert not any(weight.requires_grad for weight in other.inner["loss"].parameters())
    with pytest.raises(RuntimeError, match=r"Missing key.*network\.bias"):
        other.load_state_dict({"network.weight": held["network.weight"]})
    with pytest.raises(RuntimeError, match=r"Unexpected key.*network\.more"):
        other.load_state_dict(held | {"network.more": torch.zeros(1)})


def test_weights_that_a_checkpoint_holds_are_taken_and_must_be_all_there(metric):
    whole = Holder(metric).state_dict()
    assert len(whole) == len(metric.state_dict()) + 2
    name = next(name for name in whole if name.endswith("fc1.weight"))
    holder = Holder(load("mini", in_state_dict=False))
    holder.load_state_dict(whole | {name: torch.ones_like(whole[name])})
    assert (holder.inner["loss"].state_dict()[name.removeprefix("inner.loss.")] == 1).all()
    del whole[name]
    with pytest.raises(RuntimeError, match=rf"Missing key.*{name}"):
        holder.load_state_dict(whole)
    with pytest.raises(RuntimeError, match=r"Missing key.*inner\.loss"):  # as ever, where it was not asked for
        Holder(load("mini")).load_state_dict(Holder(load("mini", in_state_dict=False)).state_dict())


def test_a_metric_that_is_left_out_has_its_own_weights_and_is_moved_wrapped_and_saved_as_others(metric, tmp_path):
    left_out = load("mini", in_state_dict=False)
    own = left_out.state_dict()
    assert all(torch.equal(own[name], tensor) for name, tensor in metric.state_dict().items())
    left_out.load_state_dict(own)
    left_out.save_pretrained(tmp_path / "saved")
    saved = load(tmp_path / "saved").state_dict()
    assert all(torch.equal(own[name], saved[name]) for name in own)
    holder = Holder(left_out).to(torch.bfloat16)
    assert holder.inner["loss"].precision == "bfloat16"
    averaged = torch.optim.swa_utils.AveragedModel(holder)
    assert list(averaged.state_dict()) == ["n_averaged", "module.network.weight", "module.network.bias"]
    averaged.load_state_dict(averaged.state_dict())
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    try:
        wrapped = torch.nn.parallel.DistributedDataParallel(holder)
        assert list(wrapped.state_dict()) == ["module.network.weight", "module.network.bias"]
        wrapped.load_state_dict(wrapped.state_dict())
    finally:
        torch.distributed.destroy_process_group()


def test_it_compiles_without_a_graph_break(metric, pixels):
    compiled = torch.compile(metric, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(pixels[:2], pixels[2:4]), metric(pixels[:2], pixels[2:4]), atol=1e-6, rtol=0)
    resized = torch.rand(2, 3, 100, 130)
    torch.testing.assert_close(compiled(resized, pixels[2:4]), metric(resized, pixels[2:4]), atol=1e-6, rtol=0)


@pytest.mark.slow
def test_it_compiles_with_inductor(metric, pixels):
    compiled = torch.compile(metric, fullgraph=True)
    torch.testing.assert_close(compiled(pixels[:2], pixels[2:4]), metric(pixels[:2], pixels[2:4]), atol=1e-5, rtol=0)


def test_it_serves_as_a_loss_under_ddp(metric, pixels, tmp_path):
    class Generator(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.gain = torch.nn.Parameter(torch.tensor(0.9))
            self.metric = copy.deepcopy(metric)

        def forward(self, x):
            return self.metric(x * self.gain, x, reduction="mean")

    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/rendezvous", rank=0, world_size=1)
    try:
        model = torch.nn.parallel.DistributedDataParallel(Generator())
        model(pixels[:2]).backward()
        assert model.module.gain.grad.isfinite()
        assert model.module.gain.grad != 0
    finally:
        torch.distributed.destroy_process_group()


def test_replicas_of_data_parallel_know_their_device(metric, pixels):
    """A replica has no parameters(); made here as nn.DataParallel makes it, by hand for want of two GPUs."""
    replica = copy.deepcopy(metric)
    for module in replica.modules():
        weights = dict(module._parameters)
        module._parameters.clear()
        module.__dict__.update(weights)
    assert list(replica.parameters()) == []
    assert torch.allclose(replica(pixels[:1], pixels[1:2]), metric(pixels[:1], pixels[1:2]), rtol=0, atol=1e-6)


def test_bad_calls_say_what_is_wrong(metric, pixels):
    with pytest.raises(ValueError, match="got 3 and 2 pictures; expected as many in both"):
        metric(pixels[:3], pixels[:2])
    with pytest.raises(ValueError, match="got reduction='avg'; expected"):
        metric(pixels[:1], pixels[:1], reduction="avg")
    with pytest.raises(ValueError, match="got a tensor on meta, the metric is on cpu; move one"):
        metric(pixels[:1].to("meta"), pixels[:1])
    with pytest.raises(ValueError, match=r"not those of 'mini': missing: .*surplus: nonsense"):
        PerceptualMetric(metric.card, {"nonsense": torch.zeros(1)})
    state = metric.state_dict()
    name = next(iter(state))
    with pytest.raises(ValueError, match=rf"misshapen: {name} \(7,\) instead of"):
        PerceptualMetric(metric.card, {**state, name: torch.zeros(7)})


@pytest.mark.gpu
def test_cuda_agrees_with_the_cpu(metric, pixels):
    with torch.backends.cudnn.flags(allow_tf32=False):
        d = copy.deepcopy(metric).cuda()(pixels[:4].cuda(), pixels[4:].cuda())
    torch.testing.assert_close(d.cpu(), metric(pixels[:4], pixels[4:]), atol=1e-5, rtol=0)
