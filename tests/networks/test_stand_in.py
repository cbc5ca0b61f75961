"""Quicker copies stand in for a network where nothing but its numbers is wanted, and give way to it elsewhere."""

import copy
import types

import pytest
import torch
import torch.autograd.forward_ad as forward_ad
import torch.nn.functional as F
from torch import nn
from torch.fx.experimental.proxy_tensor import make_fx
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from dreamsim_metric import load
from dreamsim_metric.card import Branch
from dreamsim_metric.models import IMAGENET
from dreamsim_metric.networks import inference, onednn
from dreamsim_metric.networks.backbone import Backbone

pytestmark = [
    pytest.mark.filterwarnings("ignore:There is a performance drop"),  # of batching rules that PyTorch has not got
    pytest.mark.filterwarnings("ignore:Attempted to insert a get_attr Node"),  # which torch.func.linearize does itself
    pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated"),  # which PyTorch's forward mode itself uses
]
A, B, ALONG = torch.rand(3, 1, 3, 64, 64, generator=torch.Generator().manual_seed(0)).unbind()
SMALL = {"embed_dim": 64, "depth": 2, "num_heads": 4, "num_classes": 0}


def vit(feature="cls"):
    torch.manual_seed(0)
    branch = Branch("timm:vit_tiny_patch16_224", feature, *IMAGENET, SMALL)
    return Backbone(branch, 64).eval().requires_grad_(False)


@pytest.fixture
def by_onednn(monkeypatch):
    """As on a processor where its products are the faster ones."""
    for module in (inference, onednn):
        monkeypatch.setattr(module, "check_products_by_onednn", lambda dtype: dtype == torch.float32)


@pytest.fixture(scope="module")
def metric():
    return load("mini", device="cpu")


@pytest.fixture(scope="module")
def slope(metric):
    """The derivative of A's distance to B along ALONG, by differences in float64."""
    exact = copy.deepcopy(metric).double()
    exact.head.double()
    ends = [metric_in_double(exact, A + step * ALONG.double(), B.double()) for step in (1e-5, -1e-5)]
    return ((ends[0] - ends[1]) / 2e-5).item()


def metric_in_double(exact, a, b):
    """The distance without any rounding to float32, at the pictures' own size."""
    (branch,) = exact.branches
    with torch.no_grad():
        maps = [branch.network.forward_features((x - branch.mean) / branch.std).flatten(2) for x in (a, b)]
    units = []
    for values in maps:
        pooled = values.mean(2), (values.var(2, correction=0) + 1e-5).sqrt()
        features = torch.cat([F.normalize(part, dim=1) for part in pooled], 1)
        units.append(F.normalize(exact.head(features), dim=1))
    return (units[0] - units[1]).square().sum() / 2


def distance(metric, a, b=B):
    """Without a resize, whose clipping has corners."""
    u, v = (metric.to_unit(metric.features(x)) for x in (a, b))
    return (u - v).square().sum() / 2


def dual(f, x, along):
    with forward_ad.dual_level():
        return forward_ad.unpack_dual(f(forward_ad.make_dual(x, along))).tangent


def steps(f, x, along):
    """As a function of one number, of which Jacobians are small."""
    return lambda step: f(x + step * along)


ZERO = torch.zeros(())
DERIVATIVES = {
    "torch.func.jvp": lambda f: torch.func.jvp(f, (A,), (ALONG,))[1],
    "dual tensors": lambda f: dual(f, A, ALONG),
    "dual tensors under no_grad": lambda f: torch.no_grad()(dual)(f, A, ALONG),
    "torch.func.linearize": lambda f: torch.func.linearize(f, A)[1](ALONG),
    "torch.func.jacfwd": lambda f: torch.func.jacfwd(steps(f, A, ALONG))(ZERO),
    "torch.func.jacrev": lambda f: torch.func.jacrev(steps(f, A, ALONG))(ZERO),
    "torch.func.grad": lambda f: (torch.func.grad(f)(A) * ALONG).sum(),
    "torch.func.vjp": lambda f: (torch.func.vjp(f, A)[1](torch.ones(()))[0] * ALONG).sum(),
    "autograd.functional.jvp": lambda f: torch.autograd.functional.jvp(f, A, ALONG)[1],
    "autograd.functional.jacobian": lambda f: torch.autograd.functional.jacobian(
        steps(f, A, ALONG), ZERO, strategy="forward-mode", vectorize=True
    ),
}

FORWARD = ["torch.func.jvp", "dual tensors under no_grad", "torch.func.jacfwd"]


@pytest.mark.parametrize("derivative", DERIVATIVES.values(), ids=DERIVATIVES)
def test_derivatives_of_all_kinds_are_the_slope(derivative, metric, slope):
    distance(metric, A)  # so that there is a quicker copy
    assert derivative(lambda x: distance(metric, x)).item() == pytest.approx(slope, rel=1e-3)


@pytest.mark.parametrize(
    "name", ["torch.func.jvp", "dual tensors under no_grad", "torch.func.jacfwd", "torch.func.grad"]
)
@pytest.mark.parametrize("feature", ["cls", "cls_patch"])
def test_derivatives_of_vision_transformers_are_those_of_the_network_in_steps(name, feature, by_onednn):
    backbone = vit(feature)
    backbone(A)
    x = A.clone().requires_grad_()
    with sdpa_kernel(SDPBackend.MATH):
        (gradient,) = torch.autograd.grad(backbone.plain(x).square().sum(), x)
    found = DERIVATIVES[name](lambda x: backbone(x).square().sum())
    assert found.item() == pytest.approx((gradient * ALONG).sum().item(), rel=1e-4)


def test_second_derivatives_are_those_of_the_first_ones(metric):
    second = torch.func.hessian(steps(lambda x: distance(metric, x), A, ALONG))(ZERO)
    step = ZERO.clone().requires_grad_()
    (first,) = torch.autograd.grad(distance(metric, A + step * ALONG), step, create_graph=True)
    assert second.item() == pytest.approx(torch.autograd.grad(first, step)[0].item(), rel=1e-3)


def test_what_depends_on_a_weight_has_its_derivative(metric):
    (branch,) = metric.branches
    weight = branch.network.conv_head.weight
    distance(metric, A)

    def of_weight(scale):
        given = {"branches.0.network.conv_head.weight": weight * scale}
        return torch.func.functional_call(Distance(metric), {f"metric.{name}": x for name, x in given.items()}, (A,))

    ends = [of_weight(torch.tensor(1 + step)) for step in (1e-2, -1e-2)]
    (_, found), before = torch.func.jvp(of_weight, (torch.ones(()),), (torch.ones(()),)), distance(metric, A)
    assert found.item() == pytest.approx((ends[0] - ends[1]).item() / 2e-2, rel=5e-2)
    assert torch.equal(distance(metric, A), before)


class Distance(nn.Module):
    def __init__(self, metric):
        super().__init__()
        self.metric = metric

    def forward(self, x):
        return distance(self.metric, x)


MAPS = {
    "vmap": lambda f, x: torch.func.vmap(f)(x),
    "functionalize": lambda f, x: torch.stack([torch.func.functionalize(f)(some) for some in x]),
    "make_fx": lambda f, x: make_fx(torch.func.vmap(f))(x)(x),
    "compile": lambda f, x: torch.stack([torch.compile(f, backend="aot_eager", fullgraph=True)(some) for some in x]),
}


@pytest.mark.parametrize("way", MAPS.values(), ids=MAPS)
@pytest.mark.parametrize("size", [64, 224])
def test_mapped_and_traced_distances_are_those_of_a_loop(way, size, metric):
    some = torch.rand(2, 1, 3, size, size, generator=torch.Generator().manual_seed(1))
    expected = torch.stack([metric(x, B) for x in some])
    found = way(lambda x: metric(x, B), some)
    assert torch.allclose(found, expected, rtol=0, atol=1e-6)


def test_operations_are_counted_where_there_is_a_quicker_copy(metric):
    counts = []
    for gradients in (True, False):
        with FlopCounterMode(display=False) as counter, torch.set_grad_enabled(gradients):
            distance(metric, A.clone().requires_grad_())
        counts.append(counter.get_total_flops())
    assert counts[0] == counts[1] > 0


# Hooks


class Counter:
    def __init__(self):
        self.calls = 0

    def __call__(self, *_):
        self.calls += 1


HOOKS = {
    "forward": lambda module, hook: module.register_forward_hook(hook),
    "forward, of a method": lambda module, hook: module.register_forward_hook(hook.__call__),
    "before": lambda module, hook: module.register_forward_pre_hook(hook),
    "with keywords": lambda module, hook: module.register_forward_hook(hook, with_kwargs=True, always_call=True),
    "of all modules": lambda module, hook: nn.modules.module.register_module_forward_hook(
        lambda of, *_: hook() if of is module else None
    ),
    "before all modules": lambda module, hook: nn.modules.module.register_module_forward_pre_hook(
        lambda of, *_: hook() if of is module else None
    ),
}


@pytest.mark.parametrize("place", HOOKS.values(), ids=HOOKS)
@pytest.mark.parametrize("first", [True, False])
def test_hooks_on_layers_are_called_once_a_call_and_no_more_when_removed(place, first):
    metric, hook = load("mini", device="cpu"), Counter()
    if first:
        distance(metric, A)
    handle = place(metric.get_submodule("branches.0.network.blocks.3"), hook)
    try:
        for expected in (1, 2):
            metric.features(A)
            assert hook.calls == expected
    finally:
        handle.remove()
    metric.features(A)
    assert hook.calls == 2
    assert any(isinstance(module, onednn.FusedConvolution) for module in metric.branches[0]._fast[1].modules())


def test_what_a_hook_returns_is_taken():
    metric = load("mini", device="cpu")
    before = metric.features(A)
    handle = metric.get_submodule("branches.0.network.conv_head").register_forward_hook(lambda module, given, y: y * 0)
    assert not torch.allclose(metric.features(A), before)
    handle.remove()
    assert torch.equal(metric.features(A), before)


LAYERS = [
    "blocks.0",
    "blocks.0.attn.qkv",
    "blocks.1",
    "blocks.1.attn",
    "blocks.1.attn.qkv",
    "blocks.1.attn.proj",
    "norm",
]


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("gradients", [True, False])
def test_hooks_in_vision_transformers_are_called_and_change_no_number(layer, gradients, by_onednn):
    backbone, hook = vit("cls_norm"), Counter()
    expected = backbone(A)
    backbone.network.get_submodule(layer).register_forward_hook(hook)
    found = backbone(A.clone().requires_grad_(gradients))
    assert hook.calls == 1
    assert torch.allclose(found, expected, rtol=0, atol=2e-6)


def test_backward_hooks_are_called():
    metric, hook = load("mini", device="cpu"), Counter()
    distance(metric, A)
    metric.get_submodule("branches.0.network.blocks.3").register_full_backward_hook(hook)
    distance(metric, A.clone().requires_grad_()).backward()
    assert hook.calls == 1


# Changes


def scale(weight):
    weight.data.mul_(1.5)


def put_another_tensor(weight):
    weight.data = 1.5 * weight.data


def remove_a_channel(weight):
    weight.data[5] = 0


def replace_a_layer(network):
    network.conv_head = nn.Conv2d(320, 1280, 1, bias=False).requires_grad_(False)


def replace_a_weight(network):
    network.conv_head.weight = nn.Parameter(1.5 * network.conv_head.weight, requires_grad=False)


def delete_a_weight(network):
    weight = 1.5 * network.conv_head.weight.detach()
    del network.conv_head.weight
    network.conv_head.weight = weight


def replace_a_forward(network):
    plain = network.conv_head.forward
    network.conv_head.forward = lambda x: 1.5 * plain(x)


def replace_a_class(network):
    class Twice(nn.Conv2d):
        def forward(self, x):
            return 1.5 * super().forward(x)

    network.conv_head.__class__ = Twice


class Larger(nn.Module):
    def forward(self, x):
        return 1.5 * x


CHANGES = {
    "in place": lambda network: network.conv_head.weight.mul_(1.5),
    "in place, by .data": lambda network: scale(network.conv_head.weight),
    "a channel, by .data": lambda network: remove_a_channel(network.conv_head.weight),
    "the sign, by .data": lambda network: network.conv_head.weight.data.neg_(),
    "another .data": lambda network: put_another_tensor(network.conv_head.weight),
    "a buffer": lambda network: network.bn2.running_mean.data.add_(1),
    "another layer": replace_a_layer,
    "another weight": replace_a_weight,
    "a weight that is no parameter": delete_a_weight,
    "a setting": lambda network: setattr(network.bn2, "eps", 0.5),
    "in training": lambda network: network.bn2.train(),
    "another forward": replace_a_forward,
    "another class": replace_a_class,
    "a parametrization": lambda network: nn.utils.parametrize.register_parametrization(
        network.conv_head, "weight", Larger()
    ),
    "weight norm": lambda network: nn.utils.parametrizations.weight_norm(network.conv_head).weight,
    "a loaded state": lambda network: network.load_state_dict(
        {name: 1.1 * tensor for name, tensor in network.state_dict().items()}, assign=True
    ),
    "something without a copy": lambda network: setattr(network, "made_by", (i for i in range(3))),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize("first", [True, False])
def test_a_network_that_was_changed_is_the_one_that_is_computed(change, first):
    metric = load("mini", device="cpu")
    (branch,) = metric.branches
    if first:
        branch(A)
    change(branch.network)
    plain = copy_of_running_numbers(branch.network)
    expected = branch.plain(A)
    branch.network.load_state_dict(plain, strict=False)
    assert torch.allclose(branch(A), expected, rtol=0, atol=2e-5)


def copy_of_running_numbers(network):
    """What batch normalisation in training writes over."""
    return {name: tensor.clone() for name, tensor in network.state_dict().items() if name.startswith("bn2.")}


PARTS = {
    "another norm of queries": lambda block: setattr(block.attn, "q_norm", nn.LayerNorm(16)),
    "another attention": lambda block: setattr(block, "attn", Halved()),
    "another scale": lambda block: setattr(block, "ls1", Larger()),
    "queries by another class": lambda block: setattr(block.attn, "qkv", Doubled(block.attn.qkv)),
    "queries by another forward": lambda block: setattr(
        block.attn.qkv,
        "forward",
        types.MethodType(lambda self, x: 2 * F.linear(x, self.weight, self.bias), block.attn.qkv),
    ),
    "queries by a parametrization": lambda block: nn.utils.parametrize.register_parametrization(
        block.attn.qkv, "weight", Larger()
    ),
}


class Halved(nn.Module):
    def forward(self, x, **kwargs):
        return x / 2


class Doubled(nn.Linear):
    def __init__(self, layer):
        super().__init__(layer.in_features, layer.out_features)
        self.load_state_dict(layer.state_dict())

    def forward(self, x):
        return 2 * super().forward(x)


@torch.no_grad()
@pytest.mark.parametrize("change", PARTS.values(), ids=PARTS)
def test_a_last_block_with_other_parts_is_computed_with_them(change, by_onednn):
    backbone = vit()
    before = backbone(A)
    change(backbone.network.blocks[-1])
    backbone.requires_grad_(False).eval()
    last = backbone.network.blocks[-1]
    whole = copy.deepcopy(backbone)
    whole.network.blocks[-1].forward = types.MethodType(type(last).whole, whole.network.blocks[-1])
    expected = whole.plain(A)
    assert not torch.allclose(expected, before, rtol=0, atol=1e-4)
    assert torch.allclose(backbone(A), expected, rtol=0, atol=2e-6)


def test_weights_that_learn_again_are_seen_to():
    metric = load("mini", device="cpu")
    metric.features(A)
    metric.branches[0].network.conv_head.weight.requires_grad_(True)
    assert metric.features(A).requires_grad
    metric.branches.requires_grad_(False)
    assert not metric.features(A).requires_grad


@pytest.mark.parametrize("name", FORWARD)
def test_compiled_networks_give_way_to_derivatives(name, metric, slope, monkeypatch):
    monkeypatch.setattr("dreamsim_metric.networks.compiled._compile", lambda branch: branch.plain)
    compiled = copy.deepcopy(metric)
    compiled.compile_networks((1,))
    assert DERIVATIVES[name](lambda x: distance(compiled, x)).item() == pytest.approx(slope, rel=1e-3)


@pytest.mark.parametrize("layer", ["branches", "branches.0", "branches.0.network.conv_head"])
def test_compiled_networks_give_way_to_hooks_and_changes(layer, monkeypatch):
    monkeypatch.setattr("dreamsim_metric.networks.compiled._compile", lambda branch: branch.plain)
    metric, hook = load("mini", device="cpu"), Counter()
    metric.compile_networks((1,))
    expected = metric.features(A)
    handle = metric.get_submodule(layer).register_forward_hook(hook)
    metric.features(A)
    assert hook.calls == (layer != "branches")  # a list is not called
    handle.remove()
    replace_a_weight(metric.branches[0].network)
    assert not torch.allclose(metric.features(A), expected)
