"""The training loop: triplets of judged pictures in, a tuned metric out (DreamSim, section 4.2)."""

import math
import sys
from contextlib import ExitStack
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

from dreamsim_metric.distances import compare_triplets
from dreamsim_metric.files.lock import lock_folder
from dreamsim_metric.judgements.agreement import majority_agreement, vote_agreement
from dreamsim_metric.judgements.calibration import fit_left
from dreamsim_metric.judgements.readers import read_triplets
from dreamsim_metric.judgements.tables import Triplets, check, share_pictures
from dreamsim_metric.networks.defaults import set_usual_defaults
from dreamsim_metric.training.checkpoints import Run, list_optimizer_tensors, restore_optimizer
from dreamsim_metric.training.config import Config
from dreamsim_metric.training.inputs import (
    digest_contents,
    digest_table,
    is_sound,
    pick,
    write_features,
    write_pixels,
)
from dreamsim_metric.training.lora import collect_adapter_state, set_dropout
from dreamsim_metric.training.model import TripletModel, collect_head_state, describe_tuned, find_trained, make_tuned
from dreamsim_metric.training.step import compute_loss, run_backward
from dreamsim_metric.weights.folder import Tuned, write_tuned

_MIXED = {"float32": "no", "bfloat16": "bf16", "float16": "fp16"}  # in accelerate's words
_EVALUATED = 64  # pictures embedded at once without gradients


@set_usual_defaults()
def train(config: Config) -> Path:
    """Tune a metric on judged triplets.

    Args:
        config: what the run does; under `accelerate launch` or `torchrun`, each process calls this.

    Returns:
        The run's folder, which `load` takes.

    Raises:
        DataError: pictures missing or unreadable, or rows malformed: all of them, by row.
        ValueError: an empty split, a configuration that does not fit the model or the run in the folder.
        FileExistsError: the folder holds something else.
        FloatingPointError: the loss is not finite any more; the best model so far is intact.
        ImportError: a logger that is asked for is not installed.
        OSError: the disk is full, or another process trains in that folder; the last checkpoint is intact.

    Example:
        >>> import tempfile
        >>> from dreamsim_metric import load
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     data, out = Path("examples/judged"), Path(folder) / "run"
        ...     config = Config(data=data, out=out, val="test", rank=0, head="mlp", hidden=256, epochs=1, device="cpu")
        ...     load(train(config)).card.description
        'mini with an MLP head, tuned on judged'
    """
    absent = [name for name in config.log_with if find_spec(name) is None]
    if absent:  # accelerate would only not log
        raise ImportError(f"{' and '.join(absent)} asked for by log_with: pip install {' '.join(absent)}")
    if config.device == "cuda" and not torch.cuda.is_available():  # accelerate would take the CPU
        raise ValueError("got device cuda; this machine has none that PyTorch can use: leave the device out")
    with ExitStack() as held:
        trainer = _Trainer(config, held)
        trainer.fit()
        return trainer.run.folder


class _Trainer:
    """All that one run holds, from the data to the optimiser."""

    def __init__(self, config: Config, held: ExitStack):
        self.config = config
        self.accelerator = Accelerator(
            cpu=config.device == "cpu",
            mixed_precision=_MIXED[config.precision],
            log_with=list(config.log_with) or None,
            project_dir=config.out,
        )
        table = read_triplets(config.data, config.format, min_votes=config.min_votes)
        if config.val == "val" not in table.splits:
            table = table.hold_out(config.val_fraction, config.seed)
        self.table = table
        self.train_set, self.val_set = share_pictures(table.split("train"), table.split(config.val))
        for split in (self.train_set, self.val_set):
            if (split.right == 0.5).all():
                raise ValueError(f"people tie on all triplets of {table.name}'s {split.splits[0]}; nothing to go by")
        self.card, self.metric, self.lora = make_tuned(config)
        if self.accelerator.is_main_process:
            held.enter_context(lock_folder(config.out))
        facts = {"data": digest_table(table), "base weights": self.card.base_sha256}
        if self.accelerator.is_main_process:  # once: it reads all files
            facts["content of the pictures"] = digest_contents(self.train_set.pictures)
        self.run = self._open_run(facts)
        self.parameters = list(find_trained(self.metric).values())
        self.optimizer: Any = torch.optim.AdamW(
            self.parameters, config.lr, betas=config.betas, weight_decay=config.weight_decay
        )
        self.progress: dict[str, Any] = {"step": 0, "epoch": 0, "best": None, "waited": 0, "finished": False}
        self._restore()
        self.model, self.optimizer = self.accelerator.prepare(
            TripletModel(self.metric, self.lora is None, config.head_dropout), self.optimizer
        )
        if self.accelerator.scaler is not None and "scaler" in self.progress:
            self.accelerator.scaler.load_state_dict(self.progress["scaler"])
        if config.log_with:
            settings = {name: str(value) for name, value in config.to_dict().items()}
            self.accelerator.init_trackers("dreamsim_metric", settings)

    def _open_run(self, facts: dict[str, str]) -> Run:
        versions = {module.__name__: module.__version__ for module in (accelerate, np, peft, timm, torch)}
        with self.accelerator.main_process_first():
            # The other processes find the folder that the main one has just made.
            config = self.config if self.accelerator.is_main_process else replace(self.config, resume=True)
            return Run(config, facts, versions)

    def _restore(self) -> None:
        last = self.run.load_last(find_trained(self.metric))
        if self.accelerator.is_main_process:
            self.run.cut_log(last and last[1])
        if last:
            if self.accelerator.is_main_process:
                self.run.check_model(last[1])
            tensors, self.progress = last
            self.metric.load_state_dict({name: tensors[name] for name in find_trained(self.metric)}, strict=False)
            restore_optimizer(self.optimizer, tensors)
        self.accelerator.wait_for_everyone()

    def fit(self) -> None:
        """Train to the end, unless that is reached already."""
        if not self.progress["finished"]:
            self.inputs = self._make_inputs()
            self._train()
        self.accelerator.end_training()
        if self.accelerator.is_main_process:
            for file in self.run.folder.glob("inputs-*"):
                file.unlink()

    def _make_inputs(self) -> np.ndarray:
        """Pixels or, where the branches are frozen, features of all pictures: made by one process, mapped by all."""
        config, pictures, frozen = self.config, self.train_set.pictures, self.lora is None
        path = self.run.folder / f"inputs-{'features' if frozen else 'pixels'}.npy"
        if self.accelerator.is_main_process:
            unreadable: dict[Path, str] = {}
            try:
                there = is_sound(path)
                if not there and frozen:
                    metric = self.metric.to(self.accelerator.device)
                    unreadable = write_features(metric, pictures, path, config.workers)
                elif not there:
                    unreadable = write_pixels(pictures, self.card.image_size, path, config.workers)
                check([self.table], unreadable, shared_pictures=config.shared_pictures)
            except Exception:
                self.run.abandon()
                raise
        self.accelerator.wait_for_everyone()
        return np.load(path, mmap_mode="r")

    def _train(self) -> None:
        config, progress = self.config, self.progress
        batches = math.ceil(len(self.train_set) / config.batch_size)
        self.steps = batches * config.epochs
        quiet = None if self.accelerator.is_main_process else True
        with tqdm(total=self.steps, initial=progress["step"], desc="training", unit="step", disable=quiet) as self.bar:
            if progress["best"] is None:  # the untuned metric is the first candidate
                self._validate()
                self._save()
            while not progress["finished"]:
                order = np.random.default_rng((config.seed, progress["epoch"])).permutation(len(self.train_set))
                for batch in range(progress["step"] - progress["epoch"] * batches, batches):
                    self._step(order[batch * config.batch_size : (batch + 1) * config.batch_size])
                    if progress["step"] % config.save_every == 0:
                        self._save()
                progress["epoch"] += 1
                self._validate()
                stopped = config.patience and progress["waited"] >= config.patience
                progress["finished"] = bool(stopped or progress["epoch"] == config.epochs)
                self._save()

    def _step(self, rows: np.ndarray) -> None:
        config, progress = self.config, self.progress
        rate = config.rate(progress["step"], self.steps)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        # Of the step and not of what came before, so that a resumed run draws the same.
        torch.manual_seed((config.seed * 1_000_003 + progress["step"]) * 1009 + self.accelerator.process_index)
        if self.lora:
            set_dropout(self.metric, True)
        loss = run_backward(self.accelerator, self.model, config, self.train_set, self.inputs, rows)
        if self.lora:
            set_dropout(self.metric, False)
        norm = float(self.accelerator.clip_grad_norm_(self.parameters, config.clip or math.inf))
        # fp16's scaler skips a step whose gradients overflow.
        if not math.isfinite(loss) or not (math.isfinite(norm) or self.accelerator.scaler):
            raise FloatingPointError(
                f"the loss is {loss} and its gradient {norm} at step {progress['step']}: "
                f"lower --lr (now {config.lr:g}), set --clip or --precision float32; "
                f"the best model so far is in {self.run.folder}"
            )
        self.optimizer.step()
        self.optimizer.zero_grad()
        progress["step"] += 1
        self.bar.update()
        if progress["step"] % config.log_every == 0:
            self._log({"step": progress["step"], "loss": loss, "gradient_norm": norm, "lr": rate})
            self.bar.set_postfix(loss=f"{loss:.4f}")

    def _validate(self) -> None:
        progress = self.progress
        left, right = _compute_distances(self.accelerator, self.model, self.val_set, self.inputs)
        figures = _compute_figures(self.config, left, right, self.val_set)
        place = {"step": progress["step"], "epoch": progress["epoch"]}
        self._log({**place, **figures})
        score = figures["val_agreement"] if self.config.monitor == "agreement" else -figures["val_loss"]
        progress["waited"] += 1
        if progress["best"] is None or score > progress["best"]:
            progress.update(best=score, waited=0)
            if self.accelerator.is_main_process:
                self._keep(place, figures, left.numpy(), right.numpy())
        if self.accelerator.is_main_process:
            self.bar.write(
                f"epoch {progress['epoch']}: validation loss {figures['val_loss']:.4f}, "
                f"agreement {figures['val_agreement']:.2f} %" + ("" if progress["waited"] else ", the best so far"),
                file=sys.stderr,
            )

    def _keep(self, place: dict[str, int], figures: dict[str, float], left: np.ndarray, right: np.ndarray) -> None:
        """Make the model of now the one that the folder holds."""
        val_set, name = self.val_set, self.train_set.name
        try:
            curve = fit_left(left, right, val_set.right, val_set.votes, f"{name} {self.config.val}")
        except ValueError:  # too few votes
            curve = None
        references = len(np.unique(self.train_set.index[:, 0]))
        data = {"data": name, "triplets": len(self.train_set), "references": references, **place}
        card = describe_tuned(self.card, self.config, data, figures["val_agreement"], curve)
        tuned = Tuned(
            collect_adapter_state(self.metric), self.lora or {}, collect_head_state(self.metric), place["step"]
        )
        write_tuned(self.run.folder, card, tuned)
        self.run.write_metrics({**place, **figures})

    def _save(self) -> None:
        if self.accelerator.is_main_process:
            if self.accelerator.scaler is not None:
                self.progress["scaler"] = self.accelerator.scaler.state_dict()
            named = {name: tensor.detach().cpu().contiguous() for name, tensor in find_trained(self.metric).items()}
            self.run.save_last(named | list_optimizer_tensors(self.optimizer.optimizer), self.progress)
        self.accelerator.wait_for_everyone()

    def _log(self, row: dict[str, Any]) -> None:
        if self.accelerator.is_main_process:
            self.run.log(row)
        if self.config.log_with:
            self.accelerator.log({name: value for name, value in row.items() if name != "step"}, step=row["step"])


def _compute_figures(config: Config, left: Tensor, right: Tensor, triplets: Triplets) -> dict[str, float]:
    losses, weights = compute_loss(config, left, right, triplets, np.arange(len(triplets)))
    d = left.numpy(), right.numpy()
    return {
        "val_loss": float((losses * weights).sum() / weights.sum()),
        "val_agreement": 100 * float(np.nanmean(majority_agreement(*d, triplets.right))),
        "val_vote_agreement": 100 * float(vote_agreement(*d, triplets.right).mean()),
    }


@torch.no_grad()
def _compute_distances(
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
    left, right = zip(*(compare_triplets(units, some) for some in rows), strict=True)
    return torch.cat(left), torch.cat(right)
