"""Our checkpoint format: a folder with `card.json` and `model.safetensors`, or with what was tuned on top of its base.

- `card.json`: what it is (`dreamsim_metric.ModelCard`), with the digests of the files of weights;
- `model.safetensors`: all weights, merged; or:
- `adapter_model.safetensors`, `adapter_config.json`: LoRA in peft's own format, and/or
- `head.safetensors`: the tuned head.
"""

import errno
import hashlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dreamsim_metric.card import ModelCard
from dreamsim_metric.files.digest import digest_file
from dreamsim_metric.files.json_file import read_json, write_json
from dreamsim_metric.files.write import check_space, create_folder, write_file
from dreamsim_metric.weights.lora import PEFT_PREFIX

if TYPE_CHECKING:
    from torch import Tensor

CARD, WEIGHTS, README = "card.json", "model.safetensors", "README.md"
ADAPTER, ADAPTER_CONFIG, HEAD = "adapter_model.safetensors", "adapter_config.json", "head.safetensors"
MINI = Path(__file__).parents[1] / "assets" / "mini"


@dataclass(frozen=True)
class Tuned:
    """What training changed: tensors named as in `PerceptualMetric`'s state dict.

    Attributes:
        adapter: tensors `MODULE.lora_A.weight` and `MODULE.lora_B.weight`; empty without LoRA.
        adapter_config: peft's configuration; empty without LoRA.
        head: tensors `head.…`; empty without a head.
        step: number of the run's step; the files of one folder must agree on it.
    """

    adapter: dict[str, "Tensor"]
    adapter_config: dict[str, Any]
    head: dict[str, "Tensor"]
    step: int = 0


def read_card(folder: Path) -> ModelCard:
    """Read the card of a model's folder.

    Args:
        folder: a folder that `save_pretrained` or a training run wrote.

    Raises:
        FileNotFoundError: there is no card.
        ValueError: the card is damaged.

    Example:
        >>> from pathlib import Path
        >>> read_card(Path("dreamsim_metric/assets/mini")).name
        'mini'
    """
    if not (folder / CARD).is_file():
        raise FileNotFoundError(f"{folder} has no {CARD}; expected a model folder with {CARD} and {WEIGHTS}")
    try:
        return ModelCard.from_json((folder / CARD).read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{folder / CARD}: {error}") from error


def is_checkpoint(path: Path) -> bool:
    """Tell whether a path is what DreamSim's own trainer leaves: an adapter's folder, or Lightning's file."""
    if path.is_dir():
        return (path / ADAPTER_CONFIG).is_file() and not (path / CARD).is_file()
    return path.suffix == ".ckpt" and path.is_file()


def read_folder(folder: Path) -> tuple[ModelCard, dict[str, "Tensor"] | Tuned]:
    """Read card and weights: the state dict of a merged model, or what was tuned on top of `card.base`.

    Args:
        folder: a model's folder.

    Raises:
        FileNotFoundError: the card or the weights are missing.
        ValueError: a damaged file, or files that do not belong together.
    """
    card, names = read_card(folder), [name for name in (WEIGHTS, ADAPTER, HEAD) if (folder / name).is_file()]
    with ThreadPoolExecutor(1) as pool:  # beside the reading, which is half as quick
        digests = pool.map(lambda name: digest_file(folder / name), names)
        weights = _read_weights(folder, card)
        for name, found in zip(names, digests, strict=True):
            if found != card.sha256.get(name, found):
                raise ValueError(
                    f"{folder / name} is damaged or half-written (its sha256 is {found[:12]}…, that on {CARD} is "
                    f"{card.sha256[name][:12]}…); get or make it again, or, if you changed it yourself, take sha256 "
                    f"out of {CARD}"
                )
    return replace(card, sha256={}), weights


def _read_weights(folder: Path, card: ModelCard) -> dict[str, "Tensor"] | Tuned:
    if (folder / WEIGHTS).is_file():
        return read_tensors(folder / WEIGHTS)[0]
    adapter = bool(card.training.get("rank")) or any((folder / name).is_file() for name in (ADAPTER, ADAPTER_CONFIG))
    head = (folder / HEAD).is_file()
    if card.base and card.head and not head:
        raise FileNotFoundError(f"{folder} has no {HEAD}, and was tuned with one; without, it is another model")
    if not (card.base and (adapter or head)):
        raise FileNotFoundError(f"{folder} has no {WEIGHTS}; expected a model folder with {CARD} and {WEIGHTS}")
    if adapter and not (folder / ADAPTER).is_file():
        raise FileNotFoundError(f"{folder} has no {ADAPTER}, and was tuned with one; without, it is another model")
    steps, adapter_config = set(), {}
    tensors: dict[str, dict[str, Tensor]] = {ADAPTER: {}, HEAD: {}}
    for name in (ADAPTER,) * adapter + (HEAD,) * head:
        tensors[name], metadata = read_tensors(folder / name)
        steps.add(int(metadata.get("step", 0)))
    if len(steps) > 1:
        raise ValueError(
            f"{ADAPTER} and {HEAD} in {folder} are of different steps ({' and '.join(map(str, sorted(steps)))}): "
            "the run was killed while it wrote them; resume it"
        )
    if adapter and not tensors[ADAPTER]:
        raise ValueError(f"{folder / ADAPTER} is empty; expected the adapter that the model was tuned with")
    if adapter:
        adapter_config = read_json(folder / ADAPTER_CONFIG, "expected peft's configuration")
    stripped = {name.removeprefix(PEFT_PREFIX): tensor for name, tensor in tensors[ADAPTER].items()}
    return Tuned(stripped, adapter_config, tensors[HEAD], steps.pop())


def read_tensors(file: Path) -> tuple[dict[str, "Tensor"], dict[str, str]]:
    """Read tensors and metadata of a safetensors file.

    Args:
        file: the file to read.

    Raises:
        ValueError: it is damaged.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, framework="pt") as opened:
            names = opened.keys()
            return {name: opened.get_tensor(name) for name in names}, opened.metadata() or {}
    except SafetensorError as error:
        raise ValueError(f"{file} is damaged or half-written ({error}); remove it and make or load it again") from error


def write_folder(folder: Path, card: ModelCard, state: dict[str, "Tensor"], readme: str = "") -> None:
    """Write a merged model: whole or not at all.

    Args:
        folder: the folder to make.
        card: the model's card.
        state: weights by name.
        readme: text of the page that goes with it; none if empty.

    Raises:
        FileExistsError: the folder is there already.
        OSError: the disk is full or not writable.
    """
    from safetensors.torch import save_file

    if folder.exists():
        raise FileExistsError(f"{folder} exists already; remove it or choose another name")
    with create_folder(folder) as beside:
        check_space(folder, sum(tensor.nbytes for tensor in state.values()))
        if readme:
            (beside / README).write_text(readme, encoding="utf-8")
        try:
            save_file({name: tensor.contiguous() for name, tensor in state.items()}, beside / WEIGHTS)
        except Exception as error:  # safetensors reports a full disk as its own error
            raise OSError(errno.EIO, f"cannot write {folder} ({error})") from error
        (beside / WEIGHTS).chmod(0o644)  # safetensors makes it 0600
        card = replace(card, sha256={WEIGHTS: digest_file(beside / WEIGHTS)})
        (beside / CARD).write_text(card.to_json(), encoding="utf-8")


def write_tuned(folder: Path, card: ModelCard, tuned: Tuned) -> None:
    """Write or replace what was tuned in a folder that exists.

    Each file is replaced at once. A process killed between two of them leaves files of different steps, which
    `read_folder` notices.

    Args:
        folder: a folder that exists.
        card: the model's card.
        tuned: the tensors that training changed.

    Raises:
        OSError: the disk is full or not writable.
    """
    from safetensors.torch import save

    digests: dict[str, str] = {}

    def write(name: str, tensors: dict[str, "Tensor"]) -> None:
        data = save({key: tensor.contiguous() for key, tensor in tensors.items()}, metadata)
        write_file(folder / name, data)
        digests[name] = hashlib.sha256(data).hexdigest()

    metadata = {"step": str(tuned.step)}  # one key: several would be written in any order, and no file be like another
    if tuned.adapter:
        write_json(folder / ADAPTER_CONFIG, tuned.adapter_config, sort_keys=True)
        write(ADAPTER, {PEFT_PREFIX + name: tensor for name, tensor in tuned.adapter.items()})
    if tuned.head:
        write(HEAD, tuned.head)
    write_file(folder / CARD, replace(card, sha256=digests).to_json().encode())


def digest(state: dict[str, "Tensor"]) -> str:
    """Digest named tensors by sha256, whatever the file they came in."""
    found = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name]
        found.update(f"{name} {tuple(tensor.shape)} ".encode())
        values = tensor.float() if tensor.is_floating_point() else tensor
        found.update(values.contiguous().cpu().numpy().data)
    return found.hexdigest()
