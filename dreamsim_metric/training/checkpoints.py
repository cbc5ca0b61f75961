"""The folder of a run: its configuration, its log, the best model so far and all that it takes to go on.

    config.json                   what was asked for, versions, digests of data and base weights
    metrics.jsonl                 a line every few steps and after each epoch
    card.json, adapter_…, head.…  the best model so far: `load` takes the folder (see folders.py)
    metrics.json                  its figures
    last.safetensors              weights, optimiser and progress after the last checkpoint

Every file is replaced at once. What is random depends on the seed and the step alone, so that a run that was killed and
resumed ends with the weights it would have had.
"""

import json
import shutil
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from dreamsim_metric.files.json_file import parse_json, read_json, write_json
from dreamsim_metric.files.lock import LOCK
from dreamsim_metric.files.write import write_file
from dreamsim_metric.messages import list_briefly
from dreamsim_metric.training.config import Config
from dreamsim_metric.weights.folder import digest, read_folder, read_tensors

if TYPE_CHECKING:
    from torch import Tensor
    from torch.optim import Optimizer

CONFIG, LOG, LAST, METRICS = "config.json", "metrics.jsonl", "last.safetensors", "metrics.json"
PROGRESS = ("step", "epoch", "best", "waited", "finished", "lines", "sha256")  # how far a run is


def check_out(config: Config) -> None:
    """Be sure that a run can begin in its folder, or go on.

    Raises:
        FileExistsError: the folder holds something, and `config.resume` is off.
    """
    folder = config.out
    if (folder / CONFIG).is_file():
        if not config.resume:
            raise FileExistsError(f"{folder} holds a run; go on with it by --resume, or choose another --out")
    elif folder.exists() and (not folder.is_dir() or any(file.name != LOCK for file in folder.iterdir())):
        raise FileExistsError(f"{folder} exists and is no run; choose another --out")


class Run:
    """A run's folder.

    Args:
        config: what the run does; `config.out` is the folder.
        facts: digests of what else must not change between starting and resuming.
        versions: versions of the libraries, for the record.

    Raises:
        FileExistsError: the folder holds something, and `config.resume` is off.
        ValueError: it holds a run with another configuration or other data.
        OSError: the disk is full or not writable.
    """

    def __init__(self, config: Config, facts: dict[str, str], versions: dict[str, str]):
        check_out(config)
        self.folder = config.out
        self.is_new = not (self.folder / CONFIG).is_file()
        if self.is_new:
            self.folder.mkdir(parents=True, exist_ok=True)
            saved = {"config": config.to_dict(), "facts": facts, "versions": versions}
            write_json(self.folder / CONFIG, saved)
            return
        saved = read_json(self.folder / CONFIG, "choose another --out", ("config", "facts"))
        changed = config.difference(saved["config"])
        changed += [f"{name} has changed" for name, value in facts.items() if saved["facts"].get(name) != value]
        if changed:
            raise ValueError(
                f"{self.folder} is a run of another configuration ({'; '.join(changed)}): "
                "resume with the one it was started with, or choose another --out"
            )

    def abandon(self) -> None:
        """Remove a folder that is new and holds nothing to go on with."""
        if self.is_new:
            shutil.rmtree(self.folder)

    def load_last(self, names: Iterable[str]) -> tuple[dict[str, "Tensor"], dict[str, Any]] | None:
        """Read tensors and progress of the last checkpoint, if there is one.

        Args:
            names: names of the weights that must be there.

        Raises:
            ValueError: the checkpoint is damaged, or lacks something, as that of another version may.
        """
        path = self.folder / LAST
        if not path.is_file():
            return None
        tensors, metadata = read_tensors(path)
        hint = "choose another --out"
        progress = parse_json(metadata.get("progress", "{}").encode(), f"progress in {path}", hint, PROGRESS)
        missing = [name for name in names if name not in tensors]
        if missing:
            raise ValueError(f"{path} lacks {list_briefly(missing)}, perhaps as one of another version; {hint}")
        if progress.pop("sha256") != digest(tensors):
            raise ValueError(f"{path} is damaged: its numbers are not those that were written; {hint}")
        return tensors, progress

    def check_model(self, progress: dict[str, Any]) -> None:
        """Be sure that the best model so far is there; a run that goes on replaces what is half-written.

        Raises:
            FileNotFoundError: a file of it was removed.
            ValueError: the run is finished, and the model damaged.
        """
        try:
            read_folder(self.folder)
        except ValueError:
            if progress["finished"]:
                raise
        except FileNotFoundError as error:
            raise FileNotFoundError(f"{error}: choose another --out, the run cannot make it again") from error

    def cut_log(self, progress: dict[str, Any] | None) -> None:
        """Take back the lines that were logged after a checkpoint, or all where there is none."""
        if (self.folder / LOG).is_file():
            lines = (self.folder / LOG).read_bytes().splitlines(keepends=True)
            write_file(self.folder / LOG, b"".join(lines[: progress["lines"] if progress else 0]))

    def save_last(self, tensors: dict[str, "Tensor"], progress: dict[str, Any]) -> None:
        """Replace the last checkpoint.

        Args:
            tensors: weights and the optimiser's state, by name.
            progress: how far the run is, in JSON's types.

        Raises:
            OSError: the disk is full; the checkpoint before is intact.
        """
        from safetensors.torch import save

        path = self.folder / LOG
        lines = path.read_bytes().count(b"\n") if path.is_file() else 0
        metadata = {"progress": json.dumps({**progress, "lines": lines, "sha256": digest(tensors)})}
        write_file(self.folder / LAST, save(tensors, metadata))

    def log(self, row: dict[str, Any]) -> None:
        """Add a line to `metrics.jsonl`."""
        with open(self.folder / LOG, "a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")

    def write_metrics(self, metrics: dict[str, Any]) -> None:
        """Replace `metrics.json`, the figures of the best model."""
        write_json(self.folder / METRICS, metrics)


def list_optimizer_tensors(optimizer: "Optimizer") -> dict[str, "Tensor"]:
    """Name the tensors of an optimiser's state."""
    state = optimizer.state_dict()["state"]
    return {
        f"optimizer.{i}.{name}": value.detach().cpu().contiguous()
        for i, values in state.items()
        for name, value in values.items()
    }


def restore_optimizer(optimizer: "Optimizer", tensors: dict[str, "Tensor"]) -> None:
    """Give an optimiser the state of `list_optimizer_tensors`."""
    state: dict[int, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        if key.startswith("optimizer."):
            _, i, name = key.split(".")
            state.setdefault(int(i), {})[name] = tensor
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
