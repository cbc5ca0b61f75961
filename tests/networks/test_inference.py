"""What is quicker gives the plain networks' numbers."""

import copy
import pickle

import open_clip.transformer as open_clip_gelu
import pytest
import timm.layers.activations as timm_gelu
import torch
import torch.nn.functional as F
from torch import nn

from dreamsim_metric import load
from dreamsim_metric.card import Branch
from dreamsim_metric.distances import compare_all
from dreamsim_metric.models import IMAGENET
from dreamsim_metric.networks import inference, onednn
from dreamsim_metric.networks.backbone import Backbone
from dreamsim_metric.networks.compiled import Compiled, _apply_linear_gelu, _PatchProduct
from dreamsim_metric.scale.embedding import compute_metric_key

PHOTOGRAPHS = [f"examples/{name}.jpg" for name in ("astronaut", "cat", "coffee", "rocket", "vest_1", "vest_2")]

HAS_BFLOAT16 = pytest.mark.skipif(
    torch.backends.cpu.get_cpu_capability() != "AVX512", reason="no bfloat16 in this processor's kernels"
)


def vit(**options):
    torch.manual_seed(0)
    small = {"embed_dim": 64, "depth": 2, "num_heads": 4, "num_classes": 0, **options}
    branch = Branch("timm:vit_tiny_patch16_224", "cls", *IMAGENET, small)
    backbone = Backbone(branch, 64).eval()
    return backbone.requires_grad_(False)


@pytest.fixture
def by_onednn(monkeypatch):
    """As on a processor where its products are the faster ones, and attention in steps is in bfloat16."""
    for module in (inference, onednn):
        monkeypatch.setattr(module, "check_products_by_onednn", lambda dtype: dtype in (torch.float32, torch.bfloat16))
    monkeypatch.setattr(inference, "attention_is_faster_in_steps", lambda dtype: dtype == torch.bfloat16)


def test_mini_fused_gives_the_plain_networks_distances():
    mini = load("mini")
    pixels = mini.preprocess(PHOTOGRAPHS)
    (branch,) = mini.branches
    fast, plain = mini.to_unit(branch(pixels)), mini.to_unit(branch.plain(pixels))
    assert any(isinstance(module, onednn.FusedConvolution) for module in branch._fast[1].modules())
    assert torch.allclose(compare_all(fast, fast), compare_all(plain, plain), rtol=0, atol=1e-6)


def test_onednn_products_give_the_plain_networks_features(by_onednn):
    backbone, pixels = vit(), torch.rand(10, 3, 64, 64)
    expected = backbone.plain(pixels)
    assert torch.allclose(backbone(pixels), expected, rtol=0, atol=2e-6)
    assert any(isinstance(module, onednn.FusedLinear) for module in backbone._fast[1].modules())
    assert not any(isinstance(module, onednn.FusedLinear) for module in backbone.network.modules())


GELUS = [nn.GELU(), nn.GELU("tanh"), timm_gelu.GELU(), timm_gelu.QuickGELU(), open_clip_gelu.QuickGELU()]


@pytest.mark.parametrize("gelu", GELUS, ids=lambda gelu: f"{type(gelu).__module__}: {gelu}")
@pytest.mark.parametrize("bias", [True, False])
def test_a_gelu_behind_a_product_is_that_of_its_own_layer(gelu, bias):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(64, 32, bias=bias), gelu, nn.Linear(32, 8), nn.Dropout()).eval()
    fast, x = inference.share(network), 5 * torch.randn(3, 7, 64)
    onednn.fuse_linear(fast)
    assert [type(layer) for layer in fast][:2] == [onednn.FusedLinear, nn.Identity]
    with torch.no_grad():
        expected = copy.deepcopy(network).double()(x.double())
        assert torch.allclose(fast(x).double(), expected, rtol=0, atol=5e-6)
        assert torch.allclose(fast(torch.zeros(0, 7, 64)), torch.zeros(0, 7, 8))
        with torch.autocast("cpu", torch.bfloat16):
            assert torch.equal(fast(x.bfloat16()), network(x.bfloat16()))


def test_a_gelu_that_something_else_may_read_is_left_alone():
    class Branches(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear, self.act = nn.Linear(4, 4), nn.GELU()

    network = Branches()
    onednn.fuse_linear(network)
    assert type(network.act) is nn.GELU
    assert network.linear.fused == ("none", "")


@HAS_BFLOAT16
@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "vit_base_patch16_clip_quickgelu_224"])
def test_in_bfloat16_onednn_is_as_near_to_float32_as_the_plain_network(by_onednn, name):
    small = {"embed_dim": 64, "depth": 3, "num_heads": 4, "num_classes": 0}
    torch.manual_seed(0)
    exact = Backbone(Branch(f"timm:{name}", "cls", *IMAGENET, small), 64).eval().requires_grad_(False)
    rounded, pixels = copy.deepcopy(exact).bfloat16(), torch.rand(10, 3, 64, 64)
    expected = exact.plain(pixels)
    usual, found = rounded.plain(pixels), rounded(pixels)
    assert not any(getattr(module, "fused_attn", False) for module in rounded._fast[1].modules())
    assert not torch.equal(found, usual)
    assert (found - expected).abs().max() <= 1.5 * (usual - expected).abs().max()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_attention_in_steps_is_attention(dtype):
    backbone = vit().to(dtype)
    attention, x = backbone.network.blocks[0].attn, torch.randn(2, 17, 64).to(dtype)
    expected = attention(x)
    onednn.unfuse_attention(attention)
    assert torch.allclose(attention(x), expected, rtol=0, atol=1e-6 if dtype == torch.float32 else 1e-2)


def test_large_batches_are_cut_on_the_cpu_and_nothing_else_changes():
    backbone, pixels = vit(), torch.rand(2 * inference.CPU_BATCH + 1, 3, 64, 64)
    one_by_one = torch.cat([backbone(picture[None]) for picture in pixels])
    assert torch.allclose(backbone(pixels), one_by_one, rtol=0, atol=2e-6)
    assert backbone(pixels[:0]).shape == (0, 64)


def test_gradients_go_through_the_plain_network(by_onednn):
    backbone, pixels = vit(), torch.rand(1, 3, 64, 64, requires_grad=True)
    backbone(pixels).sum().backward()
    assert pixels.grad is not None
    assert pixels.grad.abs().sum() > 0


def test_weights_that_change_are_noticed():
    backbone, pixels = Backbone(Branch("timm:mobilenetv2_100", "pooled", *IMAGENET), 64), torch.rand(1, 3, 64, 64)
    backbone.requires_grad_(False).eval()
    before = backbone(pixels)
    backbone.network.conv_stem.weight.mul_(2)
    assert not torch.allclose(backbone(pixels), before)
    assert torch.allclose(backbone(pixels), backbone.plain(pixels), rtol=1e-4, atol=1e-5)


def test_the_copy_is_no_part_of_the_metric():
    mini = load("mini")
    names, before = set(mini.state_dict()), mini.embed(PHOTOGRAPHS[0])
    for again in (copy.deepcopy(mini), pickle.loads(pickle.dumps(mini))):
        assert set(again.state_dict()) == names
        assert torch.equal(again.embed(PHOTOGRAPHS[0]), before)


class TwiceRead(nn.Module):
    """A batch normalisation that is not alone in reading its convolution."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)
        self.norm.running_mean.fill_(0.5)

    def forward(self, x):
        y = self.conv(x)
        return self.norm(y) - y


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_network_that_would_change_is_left_as_it_is(dtype):
    network = TwiceRead().eval().requires_grad_(False)
    network.conv.to(dtype)
    assert inference.prepare_for_inference(network, 16, dtype) is network


def test_batch_normalisation_stays_in_float32_and_the_rest_is_rounded():
    metric = load("mini")
    before = {name: tensor.clone() for name, tensor in metric.state_dict().items()}
    for precision, dtype in (("bfloat16", torch.bfloat16), ("float16", torch.float16)):
        metric.set_precision(precision)
        (backbone,) = metric.branches
        assert backbone.dtype == dtype
        for name, tensor in metric.state_dict().items():
            if ".bn" in name:
                assert torch.equal(tensor, before[name])
            elif ".conv" in name:
                assert tensor.dtype == dtype


@HAS_BFLOAT16
def test_in_bfloat16_convolutions_are_fused_and_no_further_from_float32():
    exact, rounded = load("mini"), load("mini", precision="bfloat16")
    pixels = exact.preprocess(PHOTOGRAPHS)
    (branch,) = rounded.branches
    expected = exact.embed(PHOTOGRAPHS)
    usual, found = rounded.to_unit(branch.plain(pixels)), rounded.to_unit(branch(pixels))
    assert any(isinstance(module, onednn.FusedConvolution) for module in branch._fast[1].modules())
    errors = [(compare_all(u, u) - compare_all(expected, expected)).abs().max() for u in (usual, found)]
    assert errors[1] <= 1.5 * errors[0]


def test_without_the_operators_the_plain_network_is_used(monkeypatch):
    def missing(*given):
        raise AttributeError("no such operator")

    monkeypatch.setattr(onednn.FusedConvolution, "forward", missing)
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).eval().requires_grad_(False)
    assert inference.prepare_for_inference(network, 16) is network


@pytest.mark.parametrize("choice", [onednn.check_products_by_onednn, onednn.attention_is_faster_in_steps])
def test_what_is_faster_is_found_out_once_a_process(choice):
    choice.cache_clear()
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        assert choice(dtype) == choice(dtype)
    assert choice.cache_info().misses == 3
    assert not choice(torch.float16)


def test_a_product_that_rounds_otherwise_is_not_taken(monkeypatch):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")
    monkeypatch.setattr(onednn, "_check_much_slower", lambda *given: True)
    usual = F.linear
    onednn.check_products_by_onednn.cache_clear()
    try:
        assert onednn.check_products_by_onednn(torch.float32)
        onednn.check_products_by_onednn.cache_clear()
        monkeypatch.setattr(F, "linear", lambda x, w: usual(x.bfloat16(), w.bfloat16()).to(x.dtype))
        assert not onednn.check_products_by_onednn(torch.float32)
    finally:
        onednn.check_products_by_onednn.cache_clear()


def test_other_activations_stay_behind_the_convolution():
    torch.manual_seed(0)
    norm = nn.BatchNorm2d(4).eval()
    norm.act = nn.Hardswish()
    convolution, x = nn.Conv2d(3, 4, 3, stride=2, padding=1, bias=False), torch.randn(2, 3, 9, 9)
    with torch.no_grad():
        fused = onednn.FusedConvolution(convolution, norm, x.shape)(x)
        assert torch.allclose(fused, F.hardswish(norm(convolution(x))), rtol=0, atol=1e-6)


@pytest.mark.parametrize(("precision", "largest"), [("float32", 0.0), ("tf32", 0.0), ("bfloat16", 2e-2)])
def test_precision_is_told_and_its_error_is_known(precision, largest):
    exact, rounded = load("mini"), load("mini", precision=precision)
    assert (exact.precision, rounded.precision) == ("float32", precision)
    u, v = exact.embed(PHOTOGRAPHS), rounded.embed(PHOTOGRAPHS)
    error = (compare_all(u, u) - compare_all(v, v)).abs().max()
    assert error <= largest
    assert (error > 0) == (largest > 0)


def test_double_precision_is_left_to_the_plain_network():
    exact, doubled = load("mini"), load("mini").double()
    u, v = exact.embed(PHOTOGRAPHS), doubled.embed(PHOTOGRAPHS)
    assert torch.allclose(compare_all(u, u), compare_all(v.float(), v.float()), rtol=0, atol=2e-6)


def test_what_rounds_otherwise_is_kept_apart_in_the_cache():
    compiled = load("mini")
    compiled.compile_networks()
    keys = [
        compute_metric_key(load("mini")),
        compute_metric_key(load("mini", precision="bfloat16")),
        compute_metric_key(compiled),
    ]
    assert len(set(keys)) == 3


def test_a_network_in_training_is_not_replaced_by_compiled_ones():
    mini = load("mini")
    mini.compile_networks()
    mini.branches[0].network.requires_grad_(True)
    mini(PHOTOGRAPHS[0], PHOTOGRAPHS[1]).sum().backward()
    assert mini.branches[0].network.conv_stem.weight.grad.abs().sum() > 0


def test_an_unknown_precision_is_refused():
    with pytest.raises(ValueError, match="got precision='int4'; expected one of float32, tf32"):
        load("mini", precision="int4")


@pytest.mark.parametrize("buckets", [(), (8, 1), (0, 4), (2, 2)])
def test_batch_sizes_to_compile_for_must_ascend(buckets):
    with pytest.raises(ValueError, match="expected ascending positive ones"):
        Compiled(nn.ModuleList(), buckets)


def test_patches_by_a_product_are_the_convolutions():
    torch.manual_seed(0)
    patches, x = nn.Conv2d(3, 5, (4, 2), stride=(4, 2)), torch.randn(2, 3, 12, 8)
    assert torch.allclose(_PatchProduct(patches)(x), patches(x), rtol=0, atol=1e-6)


def test_gelu_at_the_end_of_a_product_is_that_after_it():
    torch.manual_seed(0)
    x, weight, bias = torch.randn(2, 3, 8), torch.randn(5, 8), torch.randn(5)
    assert torch.allclose(_apply_linear_gelu(x, weight, bias), F.gelu(F.linear(x, weight, bias)), rtol=0, atol=1e-3)


def test_batches_are_cut_or_filled_up_whichever_takes_less():
    compiled = Compiled(nn.ModuleList([vit()]), (1, 8, 32, 128))
    expected = {
        0: [1], 1: [1], 2: [1, 1], 3: [8], 8: [8], 9: [8, 1], 30: [32], 33: [32, 1], 64: [32, 32],
        100: [32, 32, 32, 8], 120: [128], 128: [128], 300: [128, 128, 32, 8, 8],
    }  # fmt: skip
    assert {n: compiled.sizes(n) for n in expected} == expected
    for n in range(1, 400):
        sizes = compiled.sizes(n)
        assert sum(sizes) >= n > sum(sizes[:-1])


@pytest.mark.slow
def test_compiled_networks_give_the_plain_ones_embeddings_for_every_batch():
    backbone = vit()
    compiled, pixels = Compiled(nn.ModuleList([backbone]), (1, 4)), torch.rand(9, 3, 64, 64)
    for n in (1, 2, 4, 9):
        assert torch.allclose(compiled(pixels[:n]), backbone(pixels[:n]), rtol=0, atol=1e-5)


@pytest.mark.gpu
@pytest.mark.parametrize(("precision", "largest"), [("float32", 2e-6), ("bfloat16", 2e-2)])
def test_on_cuda_compiled_graphs_give_the_cpus_distances(precision, largest):
    exact = load("mini").embed(PHOTOGRAPHS)
    metric = load("mini", device="cuda", precision=precision)
    metric.compile_networks((4,))
    found = metric.embed(PHOTOGRAPHS).cpu()
    assert torch.allclose(compare_all(found, found), compare_all(exact, exact), rtol=0, atol=largest)
    assert torch.equal(metric.embed(PHOTOGRAPHS).cpu(), found)


@pytest.mark.gpu
def test_on_cuda_networks_side_by_side_give_what_they_give_one_after_the_other():
    branches = nn.ModuleList([vit(), vit(depth=3)]).cuda()
    compiled, pixels = Compiled(branches, (4,)), torch.rand(4, 3, 64, 64, device="cuda")
    expected = torch.cat([branch.plain(pixels) for branch in branches], dim=-1)
    for _ in range(20):
        assert torch.allclose(compiled(pixels), expected, rtol=0, atol=1e-5)


@pytest.mark.gpu
def test_on_cuda_float32_is_float32_whatever_the_process_is_set_to():
    on_cpu, on_cuda = load("mini"), load("mini", device="cuda")
    exact, expected = on_cpu.embed(PHOTOGRAPHS), on_cpu.difference_map(*PHOTOGRAPHS[:2])
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = True
    try:
        found, where = on_cuda.embed(PHOTOGRAPHS).cpu(), on_cuda.difference_map(*PHOTOGRAPHS[:2]).cpu()
        assert (torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32) == (True, True)
    finally:
        torch.backends.cuda.matmul.allow_tf32 = False
    assert torch.allclose(compare_all(found, found), compare_all(exact, exact), rtol=0, atol=2e-6)
    assert torch.allclose(where, expected, rtol=0, atol=1e-5)
