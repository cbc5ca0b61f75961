"""What stands on the inside of a library gives way to the plain way, and to its numbers, when that inside changes."""

import copy
import sys

import pytest
import timm.models.vision_transformer as timm_vit
import torch
import torch.nn.functional as F
from timm.layers import Mlp, PatchEmbed
from torch import nn

from dreamsim_metric.card import Branch
from dreamsim_metric.models import IMAGENET
from dreamsim_metric.networks import compiled, inference, onednn
from dreamsim_metric.networks.backbone import Backbone
from dreamsim_metric.networks.class_token import ClassTokenBlock
from dreamsim_metric.networks.guards import agrees, draw_noise

SMALL = {"embed_dim": 64, "depth": 2, "num_heads": 4, "num_classes": 0}
PLAIN_ATTENTION, PLAIN_BLOCK, PLAIN_MLP = (kind.forward for kind in (timm_vit.Attention, timm_vit.Block, Mlp))
PRODUCT = torch.ops.mkldnn._linear_pointwise


def vit(feature="cls", **options):
    torch.manual_seed(0)
    backbone = Backbone(Branch("timm:vit_tiny_patch16_224", feature, *IMAGENET, SMALL | options), 64)
    return backbone.eval().requires_grad_(False)


def last(backbone):
    return backbone.network.blocks[-1]


def class_token_of_the_whole_network(backbone, pixels):
    """By hooks and timm's own blocks, whatever became of the last one."""
    whole = copy.deepcopy(backbone)
    last(whole).__class__ = timm_vit.Block
    return whole.plain(pixels)


DISAGREE = {
    "other numbers": lambda x: 1.001 * x,
    "another shape": lambda x: x[:1],
    "another dtype": lambda x: x.double(),
    "not a number": lambda x: x * float("nan"),
    "missing": lambda x: x.no_such_method(),
    "other arguments": lambda x, y: x,
}


@pytest.mark.parametrize("quick", DISAGREE.values(), ids=DISAGREE)
def test_a_way_that_differs_or_fails_does_not_agree(quick):
    x = draw_noise(3, 4, like=torch.zeros(1))
    assert agrees("the same", lambda x: x + 1e-6, lambda x: x, x)
    assert not agrees("another", quick, lambda x: x, x)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_rounding_agrees_and_a_hundredth_more_is_rounding_in_bfloat16_only(dtype):
    x = draw_noise(64, 64, like=torch.zeros(1, dtype=dtype))
    assert agrees("rounded", lambda x: (x.double() @ x.double()).to(dtype), lambda x: x @ x, x)
    assert agrees("off", lambda x: 1.01 * x, lambda x: x, x) == (dtype == torch.bfloat16)


def test_noise_is_the_same_every_time_and_leaves_the_global_generator_alone():
    before = torch.get_rng_state()
    assert torch.equal(draw_noise(5, like=torch.zeros(1)), draw_noise(5, like=torch.zeros(1)))
    assert torch.equal(torch.get_rng_state(), before)


# timm's block


def a_step_more(block, x, *args, **kwargs):
    return PLAIN_BLOCK(block, x, *args, **kwargs).tanh()


def scaled_attention(attention, x, *args, **kwargs):
    return 1.5 * PLAIN_ATTENTION(attention, x, *args, **kwargs)


def attention_of_other_arguments(attention, x, grid=None):
    return PLAIN_ATTENTION(attention, x if grid is None else grid)


CHANGED = {
    "a step more in the block": (timm_vit.Block, a_step_more),
    "a step more in the attention": (timm_vit.Attention, scaled_attention),
    "a block that cannot run": (timm_vit.Attention, attention_of_other_arguments),
}


@pytest.mark.parametrize(("kind", "forward"), CHANGED.values(), ids=CHANGED)
@pytest.mark.parametrize("on_meta", [False, True])
def test_a_block_that_timm_changed_stays_whole(kind, forward, on_meta, monkeypatch):
    state = vit().state_dict()
    monkeypatch.setattr(kind, "forward", forward)
    with torch.device("meta" if on_meta else "cpu"):  # where a metric builds its networks, before it has weights
        backbone = Backbone(Branch("timm:vit_tiny_patch16_224", "cls", *IMAGENET, SMALL), 64).eval()
    backbone.load_state_dict(state, assign=True)
    backbone.requires_grad_(False)
    assert type(last(backbone)) is timm_vit.Block
    if forward is not attention_of_other_arguments:
        if on_meta:
            backbone.mean, backbone.std = vit().mean, vit().std
        pixels = torch.rand(2, 3, 64, 64)
        expected = backbone.network.forward_features((pixels - backbone.mean) / backbone.std)[:, 0]
        assert torch.allclose(backbone(pixels), expected, rtol=0, atol=1e-6)


def test_weights_that_come_later_are_asked_again():
    with torch.device("meta"):
        backbone = Backbone(Branch("timm:vit_tiny_patch16_224", "cls", *IMAGENET, SMALL), 64).eval()
    assert type(last(backbone)) is ClassTokenBlock
    backbone.load_state_dict(vit().state_dict(), assign=True)
    assert type(last(backbone)) is ClassTokenBlock


@pytest.mark.parametrize("options", [{"qk_norm": True}, {"scale_attn_norm": True}, {}])
def test_attention_with_norms_of_its_own_is_left_to_timm(options):
    backbone, pixels = vit(**options), torch.rand(2, 3, 64, 64)
    assert (type(last(backbone)) is ClassTokenBlock) == (not options)
    expected = class_token_of_the_whole_network(backbone, pixels)
    assert torch.allclose(backbone(pixels), expected, rtol=0, atol=2e-6)


@torch.no_grad()
def test_what_a_block_is_told_beside_its_tokens_is_obeyed():
    block, x = last(vit()), torch.randn(2, 5, 64)
    assert type(block) is ClassTokenBlock
    mask = torch.tensor([True, True, False, True, False]).expand(2, 4, 5, 5)
    for told in ({"attn_mask": mask}, {"is_causal": True}):
        expected = PLAIN_BLOCK(block, x, **told)[:, :1]
        assert torch.equal(block(x, **told), expected)
        assert not torch.allclose(block(x), expected, atol=1e-3)
    assert torch.equal(block(x, None, False), block(x, attn_mask=None, is_causal=False))
    assert torch.allclose(block(x, None), PLAIN_BLOCK(block, x)[:, :1], rtol=0, atol=1e-6)


def test_without_timms_block_networks_are_whole(monkeypatch):
    expected, pixels = vit(), torch.rand(2, 3, 64, 64)
    monkeypatch.delitem(sys.modules, "dreamsim_metric.networks.class_token")
    block = timm_vit.Block
    monkeypatch.delattr(timm_vit, "Block")
    backbone = vit(block_fn=block)
    assert type(last(backbone)) is block
    assert torch.allclose(backbone(pixels), expected(pixels), rtol=0, atol=2e-6)
    assert torch.allclose(backbone.local_features(pixels)[0], expected.local_features(pixels)[0], rtol=0, atol=2e-6)


# oneDNN


@pytest.fixture
def by_onednn(monkeypatch):
    """As on a processor where its products are the faster ones."""
    for module in (inference, onednn):
        monkeypatch.setattr(module, "check_products_by_onednn", lambda dtype: dtype == torch.float32)


def without_bias(x, weight, bias, *activation):
    return PRODUCT(x, weight, None, *activation)


def without_activation(x, weight, bias, *activation):
    return PRODUCT(x, weight, bias, "none", [], "")


def of_other_arguments(x, weight, bias, activation):
    raise AssertionError("never called with four")


def missing(*given):
    raise AttributeError("'_OpNamespace' 'mkldnn' object has no attribute '_linear_pointwise'")


OPERATORS = [without_bias, without_activation, of_other_arguments, missing]


@pytest.mark.parametrize("operator", OPERATORS)
def test_a_product_that_changed_is_not_used(operator, by_onednn, monkeypatch):
    monkeypatch.setattr(torch.ops.mkldnn, "_linear_pointwise", operator)
    backbone, pixels = vit("patch_mean"), torch.rand(2, 3, 64, 64)
    for name, parameter in backbone.network.named_parameters():
        if name.endswith("bias"):
            parameter.copy_(torch.randn_like(parameter))
    assert torch.allclose(backbone(pixels), backbone.plain(pixels), rtol=0, atol=2e-6)
    fused = [module for module in backbone._fast[1].modules() if isinstance(module, onednn.FusedLinear)]
    # All but the two with a GELU behind them have no activation to lose.
    assert len(fused) == (6 if operator is without_activation else 0)


@pytest.mark.parametrize("operator", [*OPERATORS, PRODUCT])
def test_a_product_that_changed_is_not_chosen(operator, monkeypatch):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")
    monkeypatch.setattr(onednn, "_check_much_slower", lambda *given: True)
    monkeypatch.setattr(torch.ops.mkldnn, "_linear_pointwise", operator)
    onednn.check_products_by_onednn.cache_clear()
    try:
        assert onednn.check_products_by_onednn(torch.float32) == (operator in (PRODUCT, without_activation))
    finally:
        onednn.check_products_by_onednn.cache_clear()


def test_a_perceptron_with_a_step_more_keeps_its_gelu_where_it_is(by_onednn, monkeypatch):
    def forward(mlp, x):
        return mlp.fc2(mlp.act(mlp.fc1(x).sin()))

    monkeypatch.setattr(Mlp, "forward", forward)
    backbone, pixels = vit(), torch.rand(2, 3, 64, 64)
    assert torch.allclose(backbone(pixels), backbone.plain(pixels), rtol=0, atol=2e-6)
    fused = [module for module in backbone._fast[1].modules() if isinstance(module, onednn.FusedLinear)]
    assert fused
    assert {module.fused[0] for module in fused} == {"none"}


@pytest.mark.parametrize("name", ["_convolution_pointwise", "mkldnn_reorder_conv2d_weight"])
@pytest.mark.parametrize("error", [AttributeError, RuntimeError, TypeError])
def test_without_a_convolution_of_onednn_the_plain_one_is_used(name, error, monkeypatch):
    def fails(*given):
        raise error("changed")

    place = torch.ops.mkldnn if name == "_convolution_pointwise" else torch._C._nn
    monkeypatch.setattr(place, name, fails)
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).eval().requires_grad_(False)
    assert inference.prepare_for_inference(network, 16) is network


def test_where_changes_of_weights_are_not_counted_there_are_no_quicker_copies(monkeypatch):
    inference.changes_are_counted.cache_clear()
    monkeypatch.setattr(torch.Tensor, "_version", 0, raising=False)
    try:
        backbone, pixels = vit(), torch.rand(2, 3, 64, 64)
        assert torch.equal(backbone(pixels), backbone.plain(pixels))
        assert backbone._fast is None
    finally:
        inference.changes_are_counted.cache_clear()


# The compiler and CUDA


def test_only_patches_that_are_a_product_become_one():
    def embed(**options):
        made = PatchEmbed(64, 16, embed_dim=8)
        made.proj = nn.Conv2d(3, 8, **{"kernel_size": 16, "stride": 16} | options)
        return made

    changed = {"padding": 8, "stride": 8, "dilation": 2}
    for options in ({}, *({name: value} for name, value in changed.items())):
        made = embed(**options)
        compiled._use_products(made, 64)
        assert isinstance(made.proj, nn.Conv2d) == bool(options)
    made = embed()
    compiled._use_products(made, 70)  # whose rim the convolution leaves out
    assert isinstance(made.proj, nn.Conv2d)
    made.proj = nn.Identity()
    compiled._use_products(made, 64)
    assert type(made.proj) is nn.Identity


def relu_instead(bias, x, weight, use_gelu):
    return F.relu(torch.addmm(bias, x, weight))


@pytest.mark.parametrize("operator", [torch._addmm_activation, relu_instead, None])
def test_a_gelu_joins_the_product_before_it_where_that_is_the_same(operator, monkeypatch):
    monkeypatch.setattr(compiled, "_is_half_on_cuda", lambda weight: True)
    if operator is None:
        monkeypatch.delattr(torch, "_addmm_activation")
    else:
        monkeypatch.setattr(torch, "_addmm_activation", operator)
    torch.manual_seed(0)
    mlp = Mlp(8, 16).bfloat16().eval().requires_grad_(False)
    before, x = copy.deepcopy(mlp), torch.randn(2, 3, 8).bfloat16()
    compiled._use_products(mlp, 64)
    joined = operator not in (relu_instead, None)
    assert isinstance(mlp.fc1, compiled._GeluLinear) == joined
    assert torch.allclose(mlp(x), before(x), rtol=0, atol=1e-2)
    if not joined:
        assert torch.equal(mlp(x), before(x))


@pytest.mark.parametrize("options", [{"bias": False}, {"use_conv": True}])
def test_a_gelu_behind_another_layer_stays(options, monkeypatch):
    monkeypatch.setattr(compiled, "_is_half_on_cuda", lambda weight: True)
    mlp = Mlp(8, 16, **options).bfloat16().eval()
    compiled._use_products(mlp, 64)
    assert type(mlp.act) is nn.GELU


def test_a_gelu_that_is_not_right_behind_its_layer_stays(monkeypatch):
    monkeypatch.setattr(compiled, "_is_half_on_cuda", lambda weight: True)
    monkeypatch.setattr(Mlp, "forward", lambda mlp, x: mlp.fc2(mlp.act(mlp.fc1(x).sin())))
    mlp = Mlp(8, 16).bfloat16().eval().requires_grad_(False)
    compiled._use_products(mlp, 64)
    assert type(mlp.act) is nn.GELU


def test_more_versions_are_compiled_where_the_compiler_has_such_a_limit(monkeypatch):
    import torch._dynamo

    before = torch._dynamo.config.recompile_limit
    with compiled._allow_many_versions():
        assert torch._dynamo.config.recompile_limit == compiled._VERSIONS > before
        assert torch._dynamo.config.accumulated_recompile_limit == compiled._VERSIONS
    assert torch._dynamo.config.recompile_limit == before
    monkeypatch.setattr(compiled, "_LIMITS", ("a_limit_of_another_name",))
    compiled._choose_compiler_config.cache_clear()
    try:
        with compiled._allow_many_versions():
            assert torch._dynamo.config.recompile_limit == before
    finally:
        compiled._choose_compiler_config.cache_clear()
