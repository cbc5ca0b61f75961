"""Merged adapters, held to peft's own forward pass."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from peft import LoraConfig, get_peft_model, get_peft_model_state_dict

from dreamsim_metric.weights.lora import merge_lora

WIDTH = 24


class Network(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.blocks = torch.nn.ModuleList(
            torch.nn.ModuleDict({"qkv": torch.nn.Linear(WIDTH, 3 * WIDTH), "mlp": torch.nn.Linear(3 * WIDTH, WIDTH)})
            for _ in range(2)
        )

    def forward(self, x):
        for block in self.blocks:
            x = torch.tanh(block["mlp"](torch.tanh(block["qkv"](x))))
        return x


def tuned(rank, alpha, targets=("qkv",)):
    """A network in peft's hands with nothing left at zero, its weights before, its adapter and configuration."""
    torch.manual_seed(rank)
    network = Network().eval()
    state = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    config = LoraConfig(r=rank, lora_alpha=alpha, lora_dropout=0.3, bias="none", target_modules=list(targets))
    model = get_peft_model(network, config).eval()
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.2)
    adapter = {
        name.removeprefix("base_model.model."): tensor.clone()
        for name, tensor in get_peft_model_state_dict(model).items()
    }
    return model, state, adapter, config.to_dict()


@settings(max_examples=20, deadline=None)
@given(rank=st.integers(1, 2 * WIDTH), alpha=st.sampled_from([0.5, 1, 3.0, 8, 16, 32]), all_layers=st.booleans())
def test_merged_weights_compute_what_peft_computes(rank, alpha, all_layers):
    model, state, adapter, config = tuned(rank, alpha, ("qkv", "mlp") if all_layers else ("qkv",))
    model, state = model.double(), {name: tensor.double() for name, tensor in state.items()}
    before = {name: tensor.clone() for name, tensor in state.items()}
    merged = merge_lora(state, adapter, config)
    network = Network().double()
    network.load_state_dict(merged)
    x = torch.randn(7, WIDTH, dtype=torch.float64)
    with torch.no_grad():
        theirs = model(x)
        assert (network(x) - theirs).abs().max() <= 1e-12
        network.load_state_dict(before)
        assert (network(x) - theirs).abs().max() > 1e-3, "the adapter does nothing: the comparison says nothing"
    assert all(torch.equal(state[name], before[name]) for name in before)
    assert all((merged[name] is state[name]) == (name not in changed(adapter)) for name in state)


def changed(adapter):
    return {name.split(".lora_")[0] + ".weight" for name in adapter}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64])
def test_merged_weights_keep_the_type_of_the_base(dtype):
    _, state, adapter, config = tuned(4, 8)
    merged = merge_lora({name: tensor.to(dtype) for name, tensor in state.items()}, adapter, config)
    assert {tensor.dtype for tensor in merged.values()} == {dtype}


QKV = "blocks.1.qkv"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({f"{QKV}.lora_B.weight": None}, rf"missing {QKV}\.lora_B\.weight"),
        ({f"{QKV}.lora_A.weight": None}, rf"missing {QKV}\.lora_A\.weight"),
        ({"head.lora_A.weight": torch.zeros(4, 24), "head.lora_B.weight": torch.zeros(9, 4)}, r"missing head\.weight"),
        ({f"{QKV}.lora_magnitude_vector": torch.ones(72)}, rf"unknown tensors {QKV}\.lora_magnitude_vector"),
        ({f"{QKV}.lora_B.bias": torch.ones(72)}, rf"unknown tensors {QKV}\.lora_B\.bias"),
        ({f"blocks.1.mlp.lora_{x}.weight": torch.ones(4, 4) for x in "AB"}, r"unknown tensors blocks\.1\.mlp\.lora_A"),
        ({f"{QKV}.lora_{x}.weight": None for x in "AB"}, rf"missing {QKV}\.lora_A\.weight, {QKV}\.lora_B\.weight;"),
        ({f"{QKV}.lora_A.weight": torch.full((4, 24), math.nan)}, rf"not finite in {QKV}\.lora_A\.weight"),
        ({f"{QKV}.lora_B.weight": torch.full((72, 4), math.inf)}, rf"not finite in {QKV}\.lora_B\.weight"),
        ({f"{QKV}.lora_B.weight": torch.zeros(0)}, rf"{QKV} has B and A of \(0,\)"),
        ({f"odd{i}": torch.ones(1) for i in range(7)}, r"unknown tensors odd0, odd1, odd2, odd3, odd4 and 2 more"),
        (
            {f"{QKV}.lora_A.weight": torch.zeros(3, 24)},
            rf"{QKV} has B and A of \(72, 4\) and \(3, 24\); expected rank 4",
        ),
        ({f"{QKV}.lora_A.weight": torch.zeros(4, 25)}, rf"{QKV} has .*\(4, 25\).* for a weight \(72, 24\)"),
        ({f"{QKV}.lora_B.weight": torch.zeros(71, 4)}, rf"{QKV} has .*\(71, 4\)"),
        ({f"{QKV}.lora_B.weight": torch.zeros(72)}, rf"{QKV} has .*\(72,\)"),
        ({f"{QKV}.lora_B.weight": torch.zeros(())}, rf"{QKV} has B and A of \(\)"),
    ],
)
def test_tensors_that_do_not_fit_are_named(change, message):
    _, state, adapter, config = tuned(4, 8)
    adapter = {name: tensor for name, tensor in (adapter | change).items() if tensor is not None}
    with pytest.raises(ValueError, match=message):
        merge_lora(state, adapter, config)


def test_an_empty_adapter_is_refused():
    _, state, _, config = tuned(4, 8)
    with pytest.raises(ValueError, match="the adapter is empty"):
        merge_lora(state, {}, config)


def test_a_rank_other_than_the_configuration_says_is_refused():
    _, state, adapter, config = tuned(4, 8)
    with pytest.raises(ValueError, match="expected rank 5"):
        merge_lora(state, adapter, config | {"r": 5})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"use_dora": True}, "use_dora"),
        ({"lora_bias": True}, "lora_bias"),
        ({"target_parameters": ["blocks.0.qkv.weight"]}, "target_parameters"),
        ({"trainable_token_indices": [1]}, "trainable_token_indices"),
        ({"layer_replication": [[0, 2], [1, 2]]}, "layer_replication"),
        ({"enable_lora": [True, False, True], "merge_weights": False}, "enable_lora"),
        ({"an_option_of_a_later_peft": 0.5}, "an_option_of_a_later_peft"),
        ({"fan_in_fan_out": True}, "fan_in_fan_out"),
        ({"bias": "all"}, "'bias': 'all'"),
        ({"rank_pattern": {"qkv": "3"}}, "rank_pattern"),
        ({"rank_pattern": ["qkv"]}, "rank_pattern"),
        ({"alpha_pattern": {"qkv": None}}, "alpha_pattern"),
        ({"init_lora_weights": "pissa_niter_4"}, "init_lora_weights 'pissa_niter_4', which changes the base weights"),
        ({"init_lora_weights": "of a later peft"}, "init_lora_weights"),
        ({"modules_to_save": ["head"]}, "modules_to_save"),
        ({"peft_type": "LOHA"}, "LOHA"),
        ({"r": None}, "r None"),
        ({"r": 0}, "r 0"),
        ({"r": "4"}, "r '4'"),
        ({"r": True}, "r True"),
        ({"lora_alpha": None}, "lora_alpha None"),
        ({"lora_alpha": "8"}, "lora_alpha '8'"),
        ({"lora_alpha": math.nan}, "lora_alpha nan"),
        ({"target_modules": None}, "targets None"),
        ({"target_modules": ["query"]}, "targets .'query'."),
        ({"target_modules": "qkv("}, r"qkv\(', which is no pattern"),
    ],
)
def test_other_kinds_of_adapter_are_refused_by_name(change, message):
    _, state, adapter, config = tuned(4, 8)
    with pytest.raises(ValueError, match=rf"adapter_config\.json .*{message}"):
        merge_lora(state, adapter, config | change)


@pytest.mark.parametrize("config", [[], "r", None, {}])
def test_a_configuration_of_another_form_is_refused(config):
    _, state, adapter, _ = tuned(4, 8)
    with pytest.raises(ValueError, match="expected peft's configuration"):
        merge_lora(state, adapter, config)


def test_the_scale_is_alpha_over_rank():
    state = {"m.weight": torch.zeros(1, 1)}
    adapter = {"m.lora_A.weight": torch.ones(3, 1), "m.lora_B.weight": torch.ones(1, 3)}
    merged = merge_lora(state, adapter, {"r": 3, "lora_alpha": 7, "target_modules": ["m"]})
    assert math.isclose(merged["m.weight"].item(), 7.0, rel_tol=1e-6)


@pytest.mark.filterwarnings("ignore:LoRA adapter added to ConvNd layer with groups:UserWarning")
@pytest.mark.parametrize(("size", "options"), [(1, {}), (3, {}), (3, {"groups": 2})])
def test_convolutions_merge_as_peft_computes(size, options):
    torch.manual_seed(0)

    def make():
        first = torch.nn.Conv2d(6, 10, size, bias=False, **options)
        return torch.nn.Sequential(first, torch.nn.ReLU(), torch.nn.Conv2d(10, 4, size))

    network = make()
    state = {name: tensor.double() for name, tensor in network.state_dict().items()}
    config = LoraConfig(r=4, lora_alpha=5, target_modules=["0", "2"])
    model = get_peft_model(network, config).eval()
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.2)
    adapter = {name.removeprefix("base_model.model."): t for name, t in get_peft_model_state_dict(model).items()}
    model, network = model.double(), make().double()
    x = torch.randn(2, 6, 8, 8, dtype=torch.float64)
    if options:  # the adapter has groups as well, which its tensors show
        with pytest.raises(ValueError, match="the adapter of 0 has B and A of"):
            merge_lora(state, adapter, config.to_dict())
        return
    network.load_state_dict(merge_lora(state, adapter, config.to_dict()))
    with torch.no_grad():
        assert (network(x) - model(x)).abs().max() <= 1e-12
        network.load_state_dict(state)
        assert (network(x) - model(x)).abs().max() > 1e-3
