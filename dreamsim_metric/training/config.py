"""What a training run does, as data: the presets of `dreamsim-metric train`."""

import math
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal

from dreamsim_metric.bounds import check_least
from dreamsim_metric.card import Head
from dreamsim_metric.judgements.formats import Format

Loss = Literal["hinge", "bradley-terry"]
"""What training makes small: the hinge on the majority's choice, or the cross-entropy of all votes."""

# What does not touch the numbers; weights are known by their digest.
_HARMLESS = {"weights", "out", "resume", "save_every", "log_every", "log_with", "workers", "device"}


@dataclass(frozen=True)
class Config:
    """One training run.

    Attributes:
        data: human judgements: a folder or a table (.csv, .tsv, .parquet, .jsonl), with triplets (2AFC).
        out: folder of the run, which `load` takes.
        resume: go on with the run that is in the folder, if there is one.
        model: models that are tuned, as `load` takes them; several are tuned jointly, their features side by side.
        weights: weights on this disk, in place of a download: a release's archive or folder; a file, for timm: and
            open_clip:; one for each model, in their order.
        image_size: height and width of the pictures in pixels (default: the model's own).
        format: format of the data (default: by its layout).
        min_votes: fewest votes of a triplet; others are left out (default: 6 for NIGHTS, else 0).
        shared_pictures: allow pictures that several splits show, which is otherwise an error: it flatters the figures.
        val: split that is validated on; where the data has none called val, triplets of some of train's references.
        val_fraction: share of train's reference pictures that is held out for that.
        rank: rank of LoRA; 0 for none.
        alpha: strength of LoRA: the change to a weight is alpha / rank · B A.
        dropout: probability that LoRA passes over a feature in training.
        targets: endings of the names of modules that get LoRA (default: the fused qkv of ViTs, the pointwise
            convolutions of CNNs).
        head: network behind the features that is tuned.
        hidden: width of the MLP head.
        head_dropout: probability that a feature in front of the head is zeroed in training.
        loss: hinge on the majority, or Bradley-Terry on all votes.
        margin: margin of the hinge.
        temperature: difference of distances at which Bradley-Terry makes one side e times as likely as the other.
        batch_size: triplets in a step, over all processes.
        micro_batch: triplets that are in memory at once in each process, gradients added up; 0 for the whole batch.
        epochs: passes over the training triplets.
        lr: learning rate of Adam.
        betas: decay rates of Adam's two averages.
        weight_decay: decay of the weights in a step, decoupled, as in AdamW.
        schedule: course of the learning rate after the warm-up.
        warmup: steps of linear warm-up.
        clip: largest norm of the gradient; 0 for any.
        precision: numbers that the networks compute with; distances and losses are always float32.
        monitor: what picks the best checkpoint: the loss or the agreement on the validation triplets.
        patience: epochs without a better checkpoint until the run stops; 0 for never.
        seed: seed of everything that is random.
        save_every: steps between checkpoints, beside those after each epoch.
        log_every: steps between lines of metrics.jsonl.
        log_with: loggers beside metrics.jsonl.
        workers: threads that decode pictures (default: one a core, at most 16).
        device: device that computes: cpu or cuda (default: cuda where there is one, else cpu).

    Example:
        >>> config = Config(data=Path("judged"), out=Path("runs/mine"), rank=0, head="mlp", warmup=10)
        >>> config.rate(step=4, steps=100), config.rate(step=50, steps=100)
        (0.00015, 0.0003)
        >>> Config(data=Path("judged"), out=Path("runs/mine"), rank=0)
        Traceback (most recent call last):
        ValueError: got rank 0 and no head: nothing to train; set rank for LoRA, head, or both
    """

    data: Path
    out: Path
    resume: bool = False
    model: tuple[str, ...] = ("mini",)
    weights: tuple[Path, ...] = ()
    image_size: int | None = None
    format: Format | None = None
    min_votes: float | None = None
    shared_pictures: bool = False
    val: str = "val"
    val_fraction: float = 0.1
    rank: int = 16
    alpha: float = 32.0
    dropout: float = 0.2
    targets: tuple[str, ...] = ()
    head: Literal["none", "mlp", "linear"] = "none"
    hidden: int = 512
    head_dropout: float = 0.0
    loss: Loss = "hinge"
    margin: float = 0.05
    temperature: float = 0.05
    batch_size: int = 32
    micro_batch: int = 0
    epochs: int = 8
    lr: float = 3e-4
    betas: tuple[float, float] = (0.5, 0.999)
    weight_decay: float = 0.0
    schedule: Literal["constant", "cosine", "linear"] = "constant"
    warmup: int = 0
    clip: float = 0.0
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    monitor: Literal["loss", "agreement"] = "loss"
    patience: int = 0
    seed: int = 1234
    save_every: int = 100
    log_every: int = 10
    log_with: tuple[Literal["tensorboard", "wandb"], ...] = ()
    workers: int | None = None
    device: str | None = None

    def __post_init__(self) -> None:
        for name, least in _LEAST.items():
            value = getattr(self, name)
            if value is not None:
                check_least(name, value, least)
        for name in ("lr", "temperature", "alpha"):
            if not getattr(self, name) > 0:
                raise ValueError(f"got {name} {getattr(self, name)}; expected a number above 0")
        if not 0 < self.val_fraction < 1 or not 0 <= self.dropout < 1 or not 0 <= self.head_dropout < 1:
            raise ValueError(
                f"got val_fraction {self.val_fraction}, dropout {self.dropout} and head_dropout {self.head_dropout}; "
                "expected shares below 1"
            )
        if self.device not in (None, "cpu", "cuda"):
            raise ValueError(
                f"got device {self.device}; expected cpu or cuda: of several, CUDA_VISIBLE_DEVICES chooses"
            )
        if self.rank == 0 and self.head == "none":
            raise ValueError("got rank 0 and no head: nothing to train; set rank for LoRA, head, or both")
        if self.head_dropout and self.head == "none":
            raise ValueError(f"got head_dropout {self.head_dropout} and no head; set head to mlp or linear")

    @property
    def tuned_head(self) -> Head | None:
        """The head that is trained."""
        return None if self.head == "none" else Head(self.head, self.hidden)

    def rate(self, step: int, steps: int) -> float:
        """Compute the learning rate of a step (from 0) of a run of so many."""
        if step < self.warmup:
            return self.lr * (step + 1) / self.warmup
        done = (step - self.warmup) / max(1, steps - self.warmup)
        if self.schedule == "cosine":
            return self.lr * (1 + math.cos(math.pi * done)) / 2
        return self.lr * (1 - done) if self.schedule == "linear" else self.lr

    def to_dict(self) -> dict[str, Any]:
        """Write all fields as values that JSON knows."""
        return {name: _to_plain(value) for name, value in asdict(self).items()}

    def recipe(self) -> dict[str, Any]:
        """Pick what shaped the weights, for the model's card."""
        unused = {"data", "model", "image_size", "format", "shared_pictures", "head" if self.head == "none" else ""}
        unused |= set() if self.rank else {"rank", "alpha", "dropout", "targets"}
        unused |= set() if self.head == "mlp" else {"hidden"}
        unused |= {"temperature"} if self.loss == "hinge" else {"margin"}
        return {name: value for name, value in self.to_dict().items() if name not in _HARMLESS | unused and value}

    def difference(self, saved: dict[str, Any]) -> list[str]:
        """List what would make other numbers than the configuration that was saved, a line each."""
        mine = self.to_dict()
        return [
            f"{item.name}: {saved.get(item.name)!r} then, {mine[item.name]!r} now"
            for item in fields(self)
            if item.name not in _HARMLESS and saved.get(item.name) != mine[item.name]
        ]


def _to_plain(value: Any) -> Any:
    """Take a value as JSON has it."""
    if isinstance(value, tuple):
        return [_to_plain(part) for part in value]
    return str(value) if isinstance(value, Path) else value


_LEAST = {
    **dict.fromkeys(("rank", "margin", "micro_batch", "weight_decay", "warmup", "clip", "patience", "seed"), 0),
    **dict.fromkeys(("hidden", "batch_size", "epochs", "save_every", "log_every", "workers"), 1),
}

_DINO = "timm:vit_base_patch16_224.dino#cls"
_ENSEMBLE = (
    _DINO,
    "timm:vit_base_patch16_clip_quickgelu_224.openai#embedding",
    "timm:vit_base_patch16_clip_224.laion400m_e32#embedding",
)


def list_presets(data: Path, out: Path) -> dict[str, tuple[str, Config]]:
    """Make the presets of `dreamsim-metric train`: by name, what it is and its configuration.

    The released recipes are those of DreamSim's repository (training/configs), but for OpenCLIP's LAION-400M weights:
    timm has epoch 32 of them, the released ensemble began at epoch 31.

    Args:
        data: folder (or table) of judged triplets.
        out: folder of the run.

    Returns:
        By name, a line on what the preset is, and its configuration.

    Example:
        >>> found = list_presets(Path("judged"), Path("runs/mine"))
        >>> list(found)
        ['mini', 'ensemble-lora', 'single-lora', 'patch-lora', 'mlp']
        >>> found["mlp"][1].head, found["single-lora"][1].rank
        ('mlp', 16)
    """
    base = Config(data=data, out=out)  # of the single models, as released
    return {
        "mini": (
            "mini with an MLP head, on all votes: seconds to minutes on a CPU",
            replace(
                base,
                model=("mini",),
                rank=0,
                head="mlp",
                hidden=256,
                loss="bradley-terry",
                batch_size=512,
                epochs=20,
                schedule="cosine",
            ),
        ),
        "ensemble-lora": (
            "DreamSim's ensemble: LoRA on DINO, CLIP and OpenCLIP ViT-B/16 together",
            replace(base, model=_ENSEMBLE, rank=16, alpha=1.0, dropout=0.3, batch_size=16, epochs=6),
        ),
        "single-lora": ("DreamSim's single models: LoRA on DINO ViT-B/16", replace(base, model=(_DINO,))),
        "patch-lora": (
            "DreamSim's patch models: LoRA on DINO ViT-B/16, class and mean patch token",
            replace(base, model=(_DINO + "_patch",)),
        ),
        "mlp": (
            "DreamSim's MLP on the frozen ensemble",
            replace(base, model=_ENSEMBLE, rank=0, head="mlp", batch_size=512, epochs=20),
        ),
    }
