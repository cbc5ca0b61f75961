"""Private parts of other libraries: what is used, and where, is listed here, and a part that changed is named.

A library's inside is looked for, compared once with the plain way, and given up for it where it is gone or differs
(`dreamsim_metric.networks.guards`; tests/networks/test_guards.py simulates that). Numbers then stay right, but
something is slower than it could be: these tests say that it has come to this.
"""

import ast
import importlib.util
import inspect
import re
from collections import defaultdict

import diffusers.models.attention_processor as diffusers_attention
import lpips
import piq
import pytest
import timm.layers
import timm.models.vision_transformer as timm_vit
import torch
from torch import nn

from tests.places import ROOT

PACKAGES = ("dreamsim_metric", "data_tools", "benchmarks", "examples")
NETWORKS = "dreamsim_metric/networks"
USED = {  # a name, and the files that use it
    "_C": {f"{NETWORKS}/onednn.py", f"{NETWORKS}/stand_in.py"},
    "_LPIPS": {"benchmarks/speed/contenders.py"},
    "__class__": {"benchmarks/speed/releases.py", f"{NETWORKS}/class_token.py"},
    "_addmm_activation": {f"{NETWORKS}/compiled.py"},
    "_apply": {"dreamsim_metric/metric.py", f"{NETWORKS}/backbone.py"},
    "_convolution_pointwise": {f"{NETWORKS}/onednn.py"},
    "_functorch": {f"{NETWORKS}/stand_in.py"},
    "_hub_dir": {"benchmarks/speed/releases.py"},
    "_len_torch_dispatch_stack": {f"{NETWORKS}/stand_in.py"},
    "_linear_pointwise": {"benchmarks/speed/groups.py", f"{NETWORKS}/onednn.py"},
    "_nn": {f"{NETWORKS}/onednn.py"},
    "_option_string_actions": {"dreamsim_metric/commands/parser.py"},
    "_parse_repo_info": {"benchmarks/speed/releases.py"},
    "_version": {f"{NETWORKS}/inference.py", f"{NETWORKS}/stand_in.py"},
    "numpy._core": {"benchmarks/metrics/trunks.py"},
    "numpy._core.multiarray": {"benchmarks/metrics/trunks.py"},
    "onnxscript.optimizer._constant_folding": {"dreamsim_metric/export.py"},
    "torch._dynamo.config": {f"{NETWORKS}/compiled.py"},
}


def is_private(name):
    return re.fullmatch(r"_[A-Za-z]\w*", name) is not None


def attributes_of_ours(trees):
    """Names of methods, of fields and of what is set on `self`."""
    for tree in trees:
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                yield from (part.name for part in node.body if isinstance(part, ast.FunctionDef))
                yield from (name.id for part in node.body for name in ast.walk(part) if isinstance(name, ast.Name))
            elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and is_self(node.value):
                yield node.attr


def is_self(node):
    return isinstance(node, ast.Name) and node.id == "self"


def private_names(tree, ours):
    """What a file uses of others: attributes, imports, and names in quotes that are looked up."""
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(attr="__class__", ctx=ast.Store()):
                yield "__class__"
            case ast.Attribute(attr=name, value=ast.Call(func=ast.Name(id="super"))) if is_private(name):
                yield name
            case ast.Attribute(attr=name) if is_private(name) and name not in ours:
                yield name
            case ast.ImportFrom(module=module, names=names) if module.partition(".")[0] not in PACKAGES:
                yield from (alias.name for alias in names if is_private(alias.name))
                yield from [module] if "._" in module else []
            case ast.Import(names=names):
                yield from (alias.name for alias in names if "._" in alias.name)
            case ast.Call(func=ast.Name(id="getattr" | "hasattr" | "setattr"), args=[_, ast.Constant(value=text), *_]):
                yield from [text] if is_private(text) and text not in ours else []
            case ast.Constant(value=str(text)) if re.fullmatch(r"(\w+\.)+_[a-z]\w*(\.\w+)*", text):
                yield text


def test_private_parts_of_libraries_are_those_that_are_listed():
    """Who adds one here has a plain way beside it, a comparison, and a test of both."""
    files = [file for package in PACKAGES for file in sorted((ROOT / package).rglob("*.py"))]
    trees = {file.relative_to(ROOT).as_posix(): ast.parse(file.read_text(encoding="utf-8")) for file in files}
    ours, found = set(attributes_of_ours(trees.values())), defaultdict(set)
    for file, tree in trees.items():
        of_file = {name for node in tree.body for name in ([node.name] if hasattr(node, "name") else [])}
        for name in private_names(tree, ours | of_file):
            found[name].add(file)
    assert dict(found) == USED


def arguments(of):
    """Names of what a function or an operator takes."""
    if isinstance(of, torch._ops.OpOverloadPacket):
        return [argument.name for argument in of.default._schema.arguments]
    return list(inspect.signature(of).parameters)


# Part → what is there, what was expected when it was used, and where.
INSIDES = {
    "torch.ops.mkldnn._linear_pointwise": (
        lambda: arguments(torch.ops.mkldnn._linear_pointwise),
        ["X", "W", "B", "attr", "scalars", "algorithm"],
        f"{NETWORKS}/onednn.py",
    ),
    "torch.ops.mkldnn._convolution_pointwise": (
        lambda: arguments(torch.ops.mkldnn._convolution_pointwise),
        ["X", "W", "B", "padding", "stride", "dilation", "groups", "attr", "scalars", "algorithm"],
        f"{NETWORKS}/onednn.py",
    ),
    "torch._C._nn.mkldnn_reorder_conv2d_weight": (
        lambda: (
            callable(torch._C._nn.mkldnn_reorder_conv2d_weight),
            arguments(torch.ops.aten.mkldnn_reorder_conv2d_weight),
        ),
        (True, ["self", "padding", "stride", "dilation", "groups", "input_size"]),
        f"{NETWORKS}/onednn.py",
    ),
    "torch._addmm_activation": (
        lambda: (callable(torch._addmm_activation), arguments(torch.ops.aten._addmm_activation)),
        (True, ["self", "mat1", "mat2", "beta", "alpha", "use_gelu"]),
        f"{NETWORKS}/compiled.py",
    ),
    "torch.Tensor._version": (
        lambda: torch.zeros(1).add_(1)._version,
        1,
        f"{NETWORKS}/inference.py, by which changed weights are noticed",
    ),
    "hooks of modules": (
        lambda: (
            {name for name in vars(nn.Linear(1, 1)) if name.endswith("hooks") and "state_dict" not in name},
            {
                name
                for name, value in vars(nn.modules.module).items()
                if name.startswith("_global_") and name.endswith("hooks") and isinstance(value, dict)
            },
        ),
        (
            {"_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks"},
            {f"_global_{kind}_hooks" for kind in ("forward", "forward_pre", "backward", "backward_pre")}
            | {f"_global_{kind}_registration_hooks" for kind in ("module", "parameter", "buffer")},
        ),
        f"{NETWORKS}/stand_in.py, by which hooks are noticed",
    ),
    "wrapped tensors and modes": (
        lambda: (
            torch._C._functorch.is_functorch_wrapped_tensor(torch.ones(1)),
            torch._C._len_torch_dispatch_stack(),
        ),
        (False, 0),
        f"{NETWORKS}/stand_in.py, by which derivatives and traces are noticed",
    ),
    "torch.nn.Module._apply": (
        lambda: arguments(nn.Module._apply),
        ["self", "fn", "recurse"],
        f"{NETWORKS}/backbone.py, which keeps batch normalisation in float32",
    ),
    "limits of the compiler": (
        lambda: all(hasattr(torch.compiler.config, f"{kind}recompile_limit") for kind in ("", "accumulated_")),
        True,
        f"{NETWORKS}/compiled.py",
    ),
    "timm's Block": (
        lambda: (set(arguments(timm_vit.Block.forward)), list(dict(timm_vit.Block(8, 2).named_children()))),
        (
            {"self", "x", "attn_mask", "is_causal"},
            ["norm1", "attn", "ls1", "drop_path1", "norm2", "mlp", "ls2", "drop_path2"],
        ),
        f"{NETWORKS}/class_token.py",
    ),
    "timm's Attention": (
        lambda: (
            set(arguments(timm.layers.Attention.forward)),
            list(dict(timm.layers.Attention(8, 2).named_children())),
            timm.layers.Attention(8, 2).num_heads,
            timm.layers.Attention(8, 2).head_dim,
            timm.layers.Attention(8, 2).fused_attn,
        ),
        (
            {"self", "x", "attn_mask", "is_causal"},
            ["qkv", "q_norm", "k_norm", "attn_drop", "norm", "proj", "proj_drop"],
            2,
            4,
            True,
        ),
        f"{NETWORKS}/class_token.py; fused_attn: {NETWORKS}/onednn.py",
    ),
    "timm's Mlp": (
        lambda: list(dict(timm.layers.Mlp(8).named_children())),
        ["fc1", "act", "drop1", "norm", "fc2", "drop2"],
        f"{NETWORKS}/onednn.py and {NETWORKS}/compiled.py",
    ),
    "timm's PatchEmbed": (
        lambda: type(timm.layers.PatchEmbed(32, 16).proj),
        nn.Conv2d,
        f"{NETWORKS}/compiled.py",
    ),
    "diffusers' processors of attention": (
        lambda: arguments(diffusers_attention.AttnProcessor2_0.__call__)[:6],
        ["self", "attn", "hidden_states", "encoder_hidden_states", "attention_mask", "temb"],
        "benchmarks/personalization/methods/fabric_attention.py",
    ),
    "lpips' module": (
        lambda: (arguments(lpips.normalize_tensor)[:1], arguments(lpips.LPIPS.forward)),
        (["in_feat"], ["self", "in0", "in1", "retPerLayer", "normalize"]),
        "benchmarks/metrics/lpips.py",
    ),
    "piq's module": (
        lambda: (arguments(piq.DISTS.get_features), arguments(piq.DISTS.compute_distance), "weights" in PIQ),
        (["self", "x"], ["self", "x_features", "y_features"], True),
        "benchmarks/metrics/dists.py",
    ),
    "torch.hub": (
        lambda: (arguments(torch.hub._parse_repo_info), torch.hub._hub_dir),
        (["github"], None),
        "benchmarks/speed/releases.py, which keeps the released package off the network",
    ),
    "torchmetrics' module of LPIPS": (
        lambda: "pnet_rand" in arguments(torchmetrics_lpips()),
        True,
        "benchmarks/speed/contenders.py",
    ),
    "onnxscript's logger": (
        lambda: importlib.util.find_spec("onnxscript.optimizer._constant_folding") is not None,
        True,
        "dreamsim_metric/export.py",
    ),
}
PIQ = inspect.signature(piq.ContentLoss.__init__).parameters


def torchmetrics_lpips():
    from torchmetrics.functional.image.lpips import _LPIPS

    return _LPIPS


@pytest.mark.parametrize("part", INSIDES)
def test_a_private_part_is_there_and_is_as_it_was(part):
    look, expected, where = INSIDES[part]
    try:
        found = look()
    except Exception as error:
        found = f"{type(error).__name__}: {error}"
    assert found == expected, f"{part} has changed; {where} now takes the plain way: see what its new one needs"
