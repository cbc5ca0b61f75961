"""The gradients of one step. Run by itself, also in several processes, it writes them to a file.

Usage: `torchrun --nproc-per-node 2 -m tests.gradients DATA NETWORK LOSS ROWS OUT`.
"""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from safetensors.torch import save_file

from dreamsim_metric.images.ahead import decode_files
from dreamsim_metric.judgements.readers import read_triplets
from dreamsim_metric.training import loop
from dreamsim_metric.training.config import Config


def gradients(config: Config, rows: int = 21) -> tuple[float, dict[str, torch.Tensor]]:
    """Loss and gradients of the first rows, with LoRA and an MLP head that are no longer at their beginning."""
    config = replace(config, dropout=0.0, rank=4, head="mlp", hidden=8)
    AcceleratorState._reset_state(reset_partial_state=True)
    accelerator = Accelerator(cpu=True)
    table = read_triplets(config.data)
    pixels = np.stack([picture.numpy() for picture in decode_files(table.pictures, 48)])
    _, metric, _ = loop.make_tuned(config)
    torch.manual_seed(1)
    for name, parameter in metric.named_parameters():
        if "lora_B" in name or "fc2" in name:
            torch.nn.init.normal_(parameter, std=0.05)
    model = accelerator.prepare(loop.TripletModel(metric, frozen=False))
    loss = loop.run_backward(accelerator, model, config, table, pixels, np.arange(rows))
    return loss, {name: p.grad.clone() for name, p in metric.named_parameters() if p.grad is not None}


if __name__ == "__main__":
    data, network, kind, rows, out = sys.argv[1:]
    loss, found = gradients(Config(Path(data), Path(out), model=(network,), loss=kind), int(rows))
    state = loop.Accelerator(cpu=True)
    if state.is_main_process:
        save_file(found | {"loss": torch.tensor([loss, state.num_processes])}, out)
    state.wait_for_everyone()
    state.end_training()
