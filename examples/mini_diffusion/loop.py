"""What both trainings share: captioned pictures, batches that only depend on the seed, checkpoints, a log."""

import argparse
import io
import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn
from tqdm import tqdm

from dreamsim_metric.commands.options import add_option
from dreamsim_metric.commands.parser import Parser
from dreamsim_metric.files.write import write_file
from dreamsim_metric.images.device import choose_default_device


def options(description: str, steps: int = 7000, batch_size: int = 32, lr: float = 1e-3) -> Parser:
    """Make a parser with the options that both trainings have, and defaults for some."""
    usual = choose_default_device()
    parser = Parser(description=description)
    parser.add_argument("data", type=Path, help="image folder: square pictures of one size, metadata.jsonl")
    parser.add_argument("out", type=Path, help="folder of the run; one that is there goes on")
    parser.add_argument("--steps", type=int, default=steps, metavar="N", help="steps of the optimiser")
    add_option(parser, "--batch-size", default=batch_size, help="pictures in a step")
    parser.add_argument("--lr", type=float, default=lr, metavar="N", help="learning rate of AdamW")
    add_option(parser, "--seed")
    threads = torch.get_num_threads()
    parser.add_argument("--threads", type=int, default=threads, metavar="N", help="threads on the CPU")
    add_option(parser, "--device", default=usual, help="device that computes")
    add_option(
        parser,
        "--precision",
        choices=("float32", "bfloat16"),
        default="bfloat16" if usual == "cuda" else "float32",
        help="numbers that are multiplied; bfloat16 is quick with AMX, and up to fifteen times slower without",
    )
    parser.add_argument("--save-every", type=int, default=500, metavar="N", help="steps between checkpoints")
    return parser


def read_images(folder: Path) -> tuple[Tensor, list[list[str]]]:
    """Read pictures (N, 3, H, W), uint8, and the captions of each.

    Raises:
        ValueError: a picture of another size than the first.
    """
    rows = [json.loads(line) for line in (folder / "metadata.jsonl").read_text().splitlines()]
    pixels = []
    for row in tqdm(rows, desc=f"reading {folder.name}", unit="picture", mininterval=5):
        with Image.open(folder / row["file_name"]) as picture:
            pixels.append(np.asarray(picture.convert("RGB")))
        if pixels[-1].shape != pixels[0].shape or pixels[0].shape[0] != pixels[0].shape[1]:
            raise ValueError(
                f"{folder / row['file_name']} has {pixels[-1].shape[:2]} pixels; expected squares, all of the size of "
                f"the first, {pixels[0].shape[:2]}: scale them"
            )
    texts = [[row["text"]] if isinstance(row["text"], str) else row["text"] for row in rows]
    return torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2).contiguous(), texts


def batch(count: int, size: int, step: int, seed: int) -> Tensor:
    """Choose the items that step number `step` sees: every epoch all of them, in an order of its own."""
    epoch, at = divmod(step, count // size)
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed + 1_000_003 * epoch))
    return order[at * size : (at + 1) * size]


def lr_share(step: int, steps: int, warm_up: int = 200) -> float:
    """Compute the share of the highest learning rate: a linear rise, then half a cosine to nothing."""
    return min((step + 1) / warm_up, 1.0) * (0.5 + 0.5 * math.cos(math.pi * step / steps))


def run(
    args: argparse.Namespace,
    parts: dict[str, nn.Module],
    loss: Callable[[int], Tensor],
    ema: dict[str, nn.Module] | None = None,
    decay: float = 0.999,
) -> Iterator[int]:
    """Train to the end from the last checkpoint; yields each step at which one was written.

    Args:
        args: options of `options`.
        parts: networks that are trained.
        loss: loss of a step, by its number alone, so that a run that was stopped goes on as if it had not been.
        ema: averages of `parts`, by the same names.
        decay: decay of those averages.

    Raises:
        FloatingPointError: the loss is not finite.
        OSError: the disk is full; the last checkpoint is intact.
    """
    torch.set_num_threads(args.threads)
    parameters = [parameter for part in parts.values() for parameter in part.parameters()]
    optimizer = torch.optim.AdamW(parameters, args.lr, betas=(0.9, 0.99), weight_decay=0.01, fused=True)
    averages = ema or {}
    stateful: dict[str, Any] = {
        **parts,
        **{f"ema {name}": part for name, part in averages.items()},
        "optimizer": optimizer,
    }
    file, log, first = args.out / "state.pt", args.out / "log.jsonl", 0
    if file.is_file():
        state: dict[str, Any] = torch.load(file, map_location=args.device, weights_only=True)
        first = state.pop("step")
        for name, held in state.items():
            stateful[name].load_state_dict(held)
    lines = log.read_text().splitlines(keepends=True) if first else []
    lines = [line for line in lines if json.loads(line)["step"] < first]
    args.out.mkdir(parents=True, exist_ok=True)
    recent = []
    for step in tqdm(range(first, args.steps), initial=first, total=args.steps, unit="step", mininterval=10):
        for group in optimizer.param_groups:
            group["lr"] = args.lr * lr_share(step, args.steps)
        value = loss(step)
        value.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        for name, average in averages.items():
            share = min(decay, (step + 1) / (step + 10))
            get_ema_multi_avg_fn(share)(list(average.parameters()), list(parts[name].parameters()), None)
        recent.append(value.item())
        if not math.isfinite(recent[-1]):
            raise FloatingPointError(f"the loss of step {step} is {recent[-1]}; lower --lr")
        if (step + 1) % 100 == 0:
            lines.append(json.dumps({"step": step, "loss": round(sum(recent) / len(recent), 5)}) + "\n")
            recent = []
        if (step + 1) % args.save_every == 0 or step + 1 == args.steps:
            held = {name: part.state_dict() for name, part in stateful.items()}
            buffer = io.BytesIO()
            torch.save({"step": step + 1, **held}, buffer)
            write_file(file, buffer.getvalue())
            write_file(log, "".join(lines).encode())
            yield step + 1
