"""The training loop: triplets of judged pictures in, a tuned metric out (DreamSim, section 4.2)."""

import hashlib
import math
import sys
from contextlib import nullcontext
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import accelerate
import numpy as np
import peft
import timm
import torch
from accelerate import Accelerator
from torch import Tensor, nn
from tqdm import tqdm

from ..adapters import adapter_state, set_dropout
from ..calibration import Curve, fit_left
from ..datasets import Triplets, check, on_common_pictures
from ..folders import Tuned, write_tuned
from ..metric import PerceptualMetric
from ..readers import read_triplets
from ..scores import majority_agreement, vote_agreement
from .checkpoints import Run, optimizer_tensors, restore_optimizer
from .config import Config
from .inputs import pick, write_features, write_pixels
from .losses import bradley_terry, hinge
from .model import TripletModel, head_state, trained, triplet_distances, tuned_card, tuned_metric

_EVALUATED = 64  # pictures embedded at once without gradients


def train(config: Config) -> Path:
    """Tune a metric on judged triplets.

    Args:
        config: see `Config`; under `accelerate launch` or `torchrun`, each process calls this.

    Returns:
        The run's folder, which `load` takes.

    Raises:
        DataError: pictures missing or unreadable, or rows malformed: all of them, by row.
        ValueError: an empty split, a configuration that does not fit the model or the run in the folder.
        FileExistsError: the folder holds something else.
        FloatingPointError: the loss is not finite any more; the best model so far is intact.
        ModuleNotFoundError: a logger that is asked for is not installed.
        OSError: the disk is full; the last checkpoint is intact.
    """
    absent = [name for name in config.log_with if find_spec(name) is None]
    if absent:  # accelerate would only not log
        raise ModuleNotFoundError(f"{' and '.join(absent)} asked for by log_with: pip install {' '.join(absent)}")
    accelerator = Accelerator(
        cpu=config.cpu,
        mixed_precision=config.precision,
        log_with=list(config.log_with) or None,
        project_dir=config.out,
    )
    table = read_triplets(config.data, config.format, min_votes=config.min_votes)
    if config.val not in table.splits:
        table = table.hold_out(config.val_fraction, config.seed, config.val)
    train_set, val_set = on_common_pictures(table.split("train"), table.split(config.val))
    card, metric, lora = tuned_metric(config)
    facts = {"data": _data_digest(table), "base weights": card.base_sha256}
    versions = {module.__name__: module.__version__ for module in (accelerate, np, peft, timm, torch)}
    with accelerator.main_process_first():
        run = Run(config if accelerator.is_main_process else replace(config, resume=True), facts, versions)
    inputs = _inputs(accelerator, config, table, train_set, metric, lora is None, run)

    parameters = [parameter for parameter in metric.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(parameters, config.lr, betas=config.betas, weight_decay=config.weight_decay)
    progress: dict[str, Any] = {"step": 0, "epoch": 0, "best": None, "waited": 0, "finished": False}
    last = run.load_last()
    if accelerator.is_main_process:
        run.cut_log(last and last[1])
    if last:
        tensors, progress = last
        metric.load_state_dict({name: tensors[name] for name in trained(metric)}, strict=False)
        restore_optimizer(optimizer, tensors)
    accelerator.wait_for_everyone()
    model, optimizer = accelerator.prepare(TripletModel(metric, lora is None), optimizer)
    if accelerator.scaler is not None and "scaler" in progress:
        accelerator.scaler.load_state_dict(progress["scaler"])
    if config.log_with:
        settings = {name: str(value) for name, value in config.to_dict().items()}
        accelerator.init_trackers("dreamsim_metric", settings)

    def save() -> None:
        if accelerator.is_main_process:
            if accelerator.scaler is not None:
                progress["scaler"] = accelerator.scaler.state_dict()
            named = {name: tensor.detach().cpu().contiguous() for name, tensor in trained(metric).items()}
            run.save_last(named | optimizer_tensors(optimizer.optimizer), progress)
        accelerator.wait_for_everyone()

    def log(row: dict[str, Any]) -> None:
        if accelerator.is_main_process:
            run.log(row)
        if config.log_with:
            accelerator.log({name: value for name, value in row.items() if name != "step"}, step=row["step"])

    def validate() -> None:
        left, right = _distances(accelerator, model, val_set, inputs)
        figures = _figures(config, left, right, val_set)

        def curve() -> Curve | None:
            try:
                return fit_left(left.numpy(), right.numpy(), val_set.right, val_set.votes, f"{table.name} {config.val}")
            except ValueError:  # too few votes
                return None

        better = figures[f"val_{config.monitor}"] * (1 if config.monitor == "agreement" else -1)
        log({"step": progress["step"], "epoch": progress["epoch"], **figures})
        progress["waited"] += 1
        if progress["best"] is None or better > progress["best"]:
            progress.update(best=better, waited=0)
            if accelerator.is_main_process:
                data = {
                    "data": table.name,
                    "triplets": len(train_set),
                    "references": len(np.unique(train_set.index[:, 0])),
                    "epoch": progress["epoch"],
                    "step": progress["step"],
                }
                tuned = Tuned(adapter_state(metric), lora or {}, head_state(metric), progress["step"])
                write_tuned(run.folder, tuned_card(card, config, data, figures["val_agreement"], curve()), tuned)
                run.write_metrics({"step": progress["step"], "epoch": progress["epoch"], **figures})
        if accelerator.is_main_process:
            bar.write(
                f"epoch {progress['epoch']}: validation loss {figures['val_loss']:.4f}, "
                f"agreement {figures['val_agreement']:.2f} %" + ("" if progress["waited"] else ", the best so far"),
                file=sys.stderr,
            )

    batches = math.ceil(len(train_set) / config.batch_size)
    steps = batches * config.epochs
    with tqdm(
        total=steps,
        initial=progress["step"],
        desc="training",
        unit="step",
        disable=None if accelerator.is_main_process else True,
    ) as bar:
        if progress["best"] is None:  # the untuned metric is the first candidate
            validate()
            save()
        while not progress["finished"]:
            order = np.random.default_rng((config.seed, progress["epoch"])).permutation(len(train_set))
            for batch in range(progress["step"] - progress["epoch"] * batches, batches):
                rows = order[batch * config.batch_size : (batch + 1) * config.batch_size]
                rate = config.rate(progress["step"], steps)
                for group in optimizer.param_groups:
                    group["lr"] = rate
                # Of the step and not of what came before, so that a resumed run draws the same.
                torch.manual_seed((config.seed * 1_000_003 + progress["step"]) * 1009 + accelerator.process_index)
                set_dropout(metric, True) if lora else None
                loss = backward(accelerator, model, config, train_set, inputs, rows)
                set_dropout(metric, False) if lora else None
                if not math.isfinite(loss):
                    raise FloatingPointError(
                        f"the loss is {loss} at step {progress['step']}: lower --lr (now {config.lr:g}), set --clip or "
                        f"--precision no; the best model so far is in {run.folder}"
                    )
                norm = accelerator.clip_grad_norm_(parameters, config.clip or math.inf)
                optimizer.step()
                optimizer.zero_grad()
                progress["step"] += 1
                bar.update()
                if progress["step"] % config.log_every == 0:
                    log({"step": progress["step"], "loss": loss, "gradient_norm": float(norm), "lr": rate})
                    bar.set_postfix(loss=f"{loss:.4f}")
                if progress["step"] % config.save_every == 0:
                    save()
            progress["epoch"] += 1
            validate()
            stopped = config.patience and progress["waited"] >= config.patience
            progress["finished"] = bool(stopped or progress["epoch"] == config.epochs)
            save()
    accelerator.end_training()
    if accelerator.is_main_process:
        for file in run.folder.glob("inputs-*.npy"):
            file.unlink()
    return run.folder


def backward(
    accelerator: Accelerator, model: nn.Module, config: Config, triplets: Triplets, inputs: np.ndarray, rows: np.ndarray
) -> float:
    """Gradients of one step's loss, over all processes and micro-batches as over one batch.

    Args:
        accelerator: that prepared `model`.
        model: a `TripletModel`.
        config: of the run.
        triplets: the training triplets.
        inputs: of their pictures.
        rows: of the triplets in this step, all processes together.

    Returns:
        The loss, a weighted mean over all the rows.
    """
    world, rank = accelerator.num_processes, accelerator.process_index
    _, weights = _loss(config, torch.zeros(len(rows)), torch.zeros(len(rows)), triplets, rows)
    total = max(float(weights.sum()), 1e-12)  # where all are ties
    share = math.ceil(len(rows) / world)
    size = config.micro_batch or share
    parts = np.array_split(rows[rank::world], math.ceil(share / size))
    summed = torch.zeros((), device=accelerator.device)
    for i, part in enumerate(parts):
        counted = len(part) > 0
        part = part if counted else rows[:1]  # processes go in step: one without rows contributes nothing
        pictures, index = np.unique(triplets.index[part], return_inverse=True)
        picked = pick(inputs, pictures).to(accelerator.device)
        places = torch.from_numpy(index.reshape(-1, 3)).to(accelerator.device)
        last = i == len(parts) - 1
        with nullcontext() if last else accelerator.no_sync(model):
            left, right = model(picked, places)
            losses, weights = _loss(config, left, right, triplets, part)
            loss = (losses * weights).sum() / total * counted
            accelerator.backward(loss * world)  # the processes' gradients are averaged
        summed += loss.detach()
    return float(accelerator.reduce(summed, "sum"))


def _loss(config: Config, left: Tensor, right: Tensor, triplets: Triplets, rows: np.ndarray) -> tuple[Tensor, Tensor]:
    share, votes = (
        torch.from_numpy(values[rows]).to(left.device, torch.float32) for values in (triplets.right, triplets.votes)
    )
    if config.loss == "hinge":
        return hinge(left, right, share, votes, config.margin)
    return bradley_terry(left, right, share, votes, config.temperature)


def _figures(config: Config, left: Tensor, right: Tensor, triplets: Triplets) -> dict[str, float]:
    losses, weights = _loss(config, left, right, triplets, np.arange(len(triplets)))
    d = left.numpy(), right.numpy()
    return {
        "val_loss": float((losses * weights).sum() / weights.sum()),
        "val_agreement": 100 * float(np.nanmean(majority_agreement(*d, triplets.right))),
        "val_vote_agreement": 100 * float(vote_agreement(*d, triplets.right).mean()),
    }


@torch.no_grad()
def _distances(
    accelerator: Accelerator, model: nn.Module, triplets: Triplets, inputs: np.ndarray
) -> tuple[Tensor, Tensor]:
    """Both distances of all triplets, on the CPU; the processes share the pictures."""
    inner = accelerator.unwrap_model(model)
    pictures, index = np.unique(triplets.index, return_inverse=True)
    share = math.ceil(len(pictures) / accelerator.num_processes)
    start = accelerator.process_index * share
    mine = np.arange(start, start + share) % len(pictures)  # as many in each process
    parts = []
    for some in np.array_split(mine, math.ceil(share / _EVALUATED)):
        with accelerator.autocast():
            units = inner.embed(pick(inputs, pictures[some]).to(accelerator.device))
        parts.append(units.float())
    units = accelerator.gather(torch.cat(parts))[: len(pictures)].cpu()
    rows = torch.from_numpy(index.reshape(-1, 3)).split(4096)
    left, right = zip(*(triplet_distances(units, some) for some in rows), strict=True)
    return torch.cat(left), torch.cat(right)


def _inputs(
    accelerator: Accelerator,
    config: Config,
    table: Triplets,
    train_set: Triplets,
    metric: PerceptualMetric,
    frozen: bool,
    run: Run,
) -> np.ndarray:
    """Pixels or, where the branches are frozen, features of all pictures: made by one process, mapped by all."""
    path = run.folder / f"inputs-{'features' if frozen else 'pixels'}.npy"
    if accelerator.is_main_process:
        unreadable: dict[Path, str] = {}
        try:
            if not path.is_file() and frozen:
                unreadable = write_features(metric.to(accelerator.device), train_set.pictures, path, config.workers)
            elif not path.is_file():
                unreadable = write_pixels(train_set.pictures, metric.card.image_size, path, config.workers)
            check([table], unreadable, shared_pictures=config.shared_pictures)
        except Exception:
            run.abandon()
            raise
    accelerator.wait_for_everyone()
    return np.load(path, mmap_mode="r")


def _data_digest(table: Triplets) -> str:
    found = hashlib.sha256("\n".join(map(str, table.pictures)).encode())
    for values in (table.index, table.right, table.votes):
        found.update(np.ascontiguousarray(values).data)
    found.update("\n".join(table.splits).encode())
    return found.hexdigest()
