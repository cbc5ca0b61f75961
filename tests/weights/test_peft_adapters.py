"""Folders that peft saves, read without it: merged as peft reads them itself, or refused with the reason."""

import contextlib
import io
import json
import typing

import pytest
import torch
from peft import LoraConfig, PeftModel, PeftType, get_peft_model
from peft.tuners.lora import LoraLayer
from safetensors.torch import load_file

from dreamsim_metric.weights.lora import merge_lora
from tests.weights.test_lora import WIDTH, Network

TOLERANCE = 1e-5  # of outputs around 1, in float32
PREFIX = "base_model.model."


def base():
    torch.manual_seed(5)
    return Network().eval()


def randomised(model):
    """Nothing of the adapter is at zero."""
    torch.manual_seed(6)
    for name, parameter in model.named_parameters():
        if "lora_" in name:
            parameter.data += 0.1 * torch.randn_like(parameter)
    return model.eval()


def saved(model, folder):
    """Tensors and configuration as peft writes them."""
    with contextlib.redirect_stdout(io.StringIO()):
        model.save_pretrained(folder)
    tensors = load_file(folder / "adapter_model.safetensors")
    config = json.loads((folder / "adapter_config.json").read_text())
    return {name.removeprefix(PREFIX): tensor for name, tensor in tensors.items()}, config


@torch.no_grad()
def check_merged(model, folder):
    """What is merged computes what peft computes from the same folder, which is not what the base computes."""
    adapter, config = saved(model, folder)
    network, x = base(), torch.randn(7, WIDTH)
    network.load_state_dict(merge_lora(dict(base().state_dict()), adapter, config))
    theirs = PeftModel.from_pretrained(base(), folder).eval()(x)
    assert (network(x) - theirs).abs().max() <= TOLERANCE
    assert (theirs - base()(x)).abs().max() > 1e-3, "the adapter does nothing: the comparison says nothing"
    assert (network(x) - model(x)).abs().max() <= TOLERANCE
    return config


def initialisations():
    """Every way that the installed peft begins a LoRA, by its own type hints."""
    bool_, named = typing.get_args(typing.get_type_hints(LoraConfig)["init_lora_weights"])
    assert bool_ is bool
    return [True, False, *(name.replace("[number of iters]", "2") for name in typing.get_args(named)), "lora_ga"]


CHANGE_THE_BASE = ("olora", "pissa", "pissa_niter_2", "corda", "loftq", "lora_ga")


def begun(start):
    """A network with an adapter that begins in this way, with data where the way asks for some."""
    network, x = base(), torch.randn(64, WIDTH)
    settings = {"r": 4, "lora_alpha": 8, "target_modules": ["qkv", "mlp"], "init_lora_weights": start}
    if start == "corda":
        from peft.tuners.lora.config import CordaConfig
        from peft.tuners.lora.corda import preprocess_corda

        config = LoraConfig(**settings, corda_config=CordaConfig(corda_method="kpm"))
        preprocess_corda(network, config, run_model=lambda: network(x))
        return get_peft_model(network, config)
    if start == "lora_ga":
        from peft import LoraGAConfig, preprocess_loraga

        config = LoraConfig(**settings, lora_ga_config=LoraGAConfig())
        preprocess_loraga(network, config, lambda: network(x).square().mean().backward())
        return get_peft_model(network, config)
    if start == "eva":
        from peft import EvaConfig, initialize_lora_eva_weights

        model = get_peft_model(network, LoraConfig(**settings, eva_config=EvaConfig(rho=2.0, tau=0.2)))
        initialize_lora_eva_weights(
            model,
            [x[i : i + 16] for i in range(0, 64, 16)],
            forward_fn=lambda inner, inputs: inner(inputs),
            prepare_model_inputs_fn=None,
            prepare_layer_inputs_fn=None,
            show_progress_bar=False,
        )
        return model
    if start == "loftq":  # peft wants bitsandbytes for it; what is saved is of the same form
        model = get_peft_model(network, LoraConfig(**settings | {"init_lora_weights": True}))
        model.peft_config["default"].init_lora_weights = start
        return model
    return get_peft_model(network, LoraConfig(**settings))


@pytest.mark.filterwarnings("ignore")  # peft's, about its own ways
@pytest.mark.parametrize("start", initialisations(), ids=str)
def test_every_initialisation_of_peft_is_merged_rightly_or_refused(start, tmp_path):
    model = randomised(begun(start))
    if start not in CHANGE_THE_BASE:
        config = check_merged(model, tmp_path)
        assert config["rank_pattern"] or start != "eva", "no rank was changed: this says nothing of them"
        return
    adapter, config = saved(model, tmp_path)
    with pytest.raises(ValueError, match=f"init_lora_weights '{start}', which changes the base weights"):
        merge_lora(dict(base().state_dict()), adapter, config)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("start", ["pissa", "olora"])
def test_what_peft_converts_back_to_the_first_weights_is_merged(start, tmp_path):
    model = begun(start)
    model.peft_config["default"].init_lora_weights = True  # it would be begun anew when it is read
    with contextlib.redirect_stdout(io.StringIO()):
        model.save_pretrained(tmp_path / "first")
    model.peft_config["default"].init_lora_weights = start
    randomised(model)
    model.save_pretrained(tmp_path, path_initial_model_for_weight_conversion=str(tmp_path / "first"))
    config = json.loads((tmp_path / "adapter_config.json").read_text())
    tensors = load_file(tmp_path / "adapter_model.safetensors")
    adapter = {name.removeprefix(PREFIX): tensor for name, tensor in tensors.items()}
    network, x = base(), torch.randn(7, WIDTH)
    network.load_state_dict(merge_lora(dict(base().state_dict()), adapter, config))
    with torch.no_grad():
        assert (network(x) - model(x)).abs().max() <= TOLERANCE


SETTINGS = {
    "rank-stabilised": {"use_rslora": True},
    "ranks by name": {"rank_pattern": {"mlp": 2, r"blocks\.1\.qkv": 7}},
    "alphas by name": {"alpha_pattern": {r"0\.mlp": 2.5}, "use_rslora": True},
    "ranks and alphas": {"rank_pattern": {"qkv": 3}, "alpha_pattern": {"mlp": 3}},
    "a pattern": {"target_modules": r".*\.1\.(qkv|mlp)"},
    "whole names": {"target_modules": ["blocks.0.qkv", "blocks.1.mlp"]},
    "all linear": {"target_modules": "all-linear"},
    "some left out": {"exclude_modules": ["blocks.0.qkv"]},
    "left out by a pattern": {"exclude_modules": r"blocks\.1\..*"},
    "one layer": {"layers_to_transform": 1, "layers_pattern": "blocks"},
    "layers": {"layers_to_transform": [0], "layers_pattern": ["layers", "blocks"]},
    "one layer and a whole name": {
        "layers_to_transform": [1],
        "layers_pattern": "blocks",
        "target_modules": ["mlp", "blocks.0.qkv"],
    },
}


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_targets_ranks_and_scales_are_read_as_peft_reads_them(settings, tmp_path):
    config = LoraConfig(**{"r": 4, "lora_alpha": 6, "target_modules": ["qkv", "mlp"]} | settings)
    model = randomised(get_peft_model(base(), config))
    written = check_merged(model, tmp_path)
    tuned = {name.removeprefix(PREFIX) for name, module in model.named_modules() if isinstance(module, LoraLayer)}
    adapter, _ = saved(model, tmp_path)
    for module in tuned:  # each of them is missed
        rest = {name: tensor for name, tensor in adapter.items() if not name.startswith(module + ".")}
        with pytest.raises(ValueError, match=rf"missing {module}\.lora_A\.weight|the adapter is empty"):
            merge_lora(dict(base().state_dict()), rest, written)


OTHER_OPTIONS = {
    "DoRA": {"use_dora": True},
    "bias": {"bias": "lora_only"},
    "a bias of B": {"lora_bias": True},
    "modules kept": {"modules_to_save": ["mlp"]},
}


@pytest.mark.filterwarnings("ignore:Adapter 'default'")  # peft 0.21.2 warns of the bias that it was asked for
@pytest.mark.parametrize("settings", OTHER_OPTIONS.values(), ids=OTHER_OPTIONS)
def test_what_is_more_than_lora_is_refused(settings, tmp_path):
    config = LoraConfig(**{"r": 4, "lora_alpha": 6, "target_modules": ["qkv"]} | settings)
    adapter, written = saved(randomised(get_peft_model(base(), config)), tmp_path)
    with pytest.raises(ValueError, match=f"asks for .*{next(iter(settings))}"):
        merge_lora(dict(base().state_dict()), adapter, written)


@pytest.mark.parametrize("kind", sorted({kind.value for kind in PeftType} - {"LORA"}))
def test_other_kinds_of_adapter_are_refused(kind):
    with pytest.raises(ValueError, match=f"'peft_type': '{kind}'"):
        merge_lora({}, {}, {"peft_type": kind, "r": 4, "lora_alpha": 4, "target_modules": ["qkv"]})


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("names", [("0", "1"), ("1", "0"), ("qkv", "mlp")])
def test_an_adapter_that_peft_saves_in_part_is_refused_with_what_it_lacks(names, tmp_path):
    """peft 0.21.2 leaves out tensors in whose names another adapter's name stands."""
    config = LoraConfig(r=4, lora_alpha=8, target_modules=["qkv", "mlp"])
    model = get_peft_model(base(), config, adapter_name=names[0])
    model.add_adapter(names[1], config)
    randomised(model)
    with contextlib.redirect_stdout(io.StringIO()):
        model.save_pretrained(tmp_path)
    folder = tmp_path / names[0]
    written = json.loads((folder / "adapter_config.json").read_text())
    tensors = load_file(folder / "adapter_model.safetensors")
    adapter = {name.removeprefix(PREFIX): tensor for name, tensor in tensors.items()}
    if len(adapter) == 8:
        pytest.skip("this peft saves them whole")
    with pytest.raises(ValueError, match=r"missing blocks\.|the adapter is empty"):
        merge_lora(dict(base().state_dict()), adapter, written)


@pytest.mark.parametrize("rank", [4, 0.7])
@pytest.mark.parametrize("kind", ["LoHaConfig", "LoKrConfig", "LoraConfig"])
@pytest.mark.filterwarnings("ignore")
def test_adapters_that_peft_converts_to_lora_are_merged_as_peft_reads_them(kind, rank, tmp_path):
    import peft

    torch.manual_seed(3)
    model = get_peft_model(base(), getattr(peft, kind)(r=8, target_modules=["qkv", "mlp"]))
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data += 0.3 * torch.randn_like(parameter)
    peft.save_as_lora(tmp_path, model.eval(), rank=rank)
    written = json.loads((tmp_path / "adapter_config.json").read_text())
    tensors = load_file(tmp_path / "adapter_model.safetensors")
    adapter = {name.removeprefix(PREFIX): tensor for name, tensor in tensors.items()}
    network, x = base(), torch.randn(7, WIDTH)
    network.load_state_dict(merge_lora(dict(base().state_dict()), adapter, written))
    with torch.no_grad():
        theirs = PeftModel.from_pretrained(base(), tmp_path).eval()(x)
        assert (network(x) - theirs).abs().max() <= TOLERANCE
        assert (theirs - base()(x)).abs().max() > 1e-3
