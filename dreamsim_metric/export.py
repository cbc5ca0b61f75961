"""A metric as one file that loads without this package: ONNX, PyTorch's own exported program, or plain weights.

Both graphs take pixels and give unit embeddings; what is in between (mean and standard deviation of each branch, merged
adapters, head, centring) is inside. Every file carries the model's card. docs/export.md has the code to read them.
"""

import errno
import io
import json
import logging
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor, nn

from dreamsim_metric.card import ModelCard
from dreamsim_metric.files.write import check_space
from dreamsim_metric.metric import PerceptualMetric
from dreamsim_metric.networks.defaults import set_usual_defaults
from dreamsim_metric.version import __version__

if TYPE_CHECKING:
    from torch.export import ExportedProgram

__all__ = ["ExportFormat", "export"]

ExportFormat = Literal["onnx", "torch-export", "safetensors"]
"""What a metric is written as: ONNX, PyTorch's own exported program, or plain weights."""

CARD = "card.json"  # where the card is in each format's metadata
TOLERANCE = 1e-5  # of an embedding's numbers
_ONE_FILE = 2_000_000_000  # bytes: protobuf, hence ONNX, cannot hold 2 GiB


@set_usual_defaults()
def export(metric: PerceptualMetric, to: ExportFormat, out: str | os.PathLike[str]) -> float:
    """Write a metric in a format that loads without this package.

    A graph is run on noise, in batches of 1 and 3, and kept only if its embeddings are the metric's within 1e-5.

    Args:
        metric: the metric to export; its weights are written in float32.
        to: `onnx`, `torch-export` (`torch.export.load` reads it) or `safetensors` (weights and card, no graph).
        out: the file, new; whole or not at all. Beside an ONNX model over 2 GB is `out`.data with its weights.

    Returns:
        The largest difference seen between numbers of the embeddings; 0 for `safetensors`.

    Raises:
        ValueError: unknown format, adapters that are not merged, or a network that cannot be traced.
        FileExistsError: `out` is there already.
        ArithmeticError: the exported graph computes something else.
        ImportError: `onnx` without the packages of `dreamsim_metric[export]`.
        OSError: the disk is full or not writable.

    Example:
        >>> import tempfile
        >>> from dreamsim_metric import load
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     export(load("mini"), "safetensors", f"{folder}/mini.safetensors")
        0.0
    """
    if to not in FORMATS:
        raise ValueError(f"got format {to!r}; expected {', '.join(FORMATS)}")
    out, kind = Path(out), FORMATS[to]
    if out.suffix != kind.suffix:
        raise ValueError(f"got {out.name!r} for {to}; expected a name that ends in {kind.suffix}")
    for file in (out, _collect_weights(out)):
        if file.exists():
            raise FileExistsError(f"{file} exists already; remove it or choose another name")
    # As it would load: on the CPU, in float32, without hooks and adapters, and no weights that are views of others.
    state = {name: tensor.cpu().contiguous() for name, tensor in metric.state_dict().items()}
    metric = PerceptualMetric(metric.card, state)
    out.parent.mkdir(parents=True, exist_ok=True)
    check_space(out, sum(tensor.nbytes for tensor in metric.state_dict().values()))
    with tempfile.TemporaryDirectory(prefix=f".{out.name}-", dir=out.parent) as folder:
        beside = Path(folder) / out.name
        kind.write(metric, beside)
        difference = measure_difference(metric, kind.read(beside)) if kind.read else 0.0
        # Its weights first: a model under its final name is whole.
        for file in sorted(Path(folder).iterdir(), reverse=True):
            file.chmod(0o644)  # safetensors makes it 0600
            with open(file, "rb") as written:
                os.fsync(written.fileno())  # else a power cut could leave an empty file under the final name
            file.replace(out.parent / file.name)
    return difference


def describe_card(card: ModelCard) -> str:
    """Write the card as JSON, with what a reader without this package needs to know besides."""
    size = card.image_size
    return json.dumps(
        asdict(card)
        | {
            "dreamsim_metric": __version__,
            "input": f"pixels: float32 (N, 3, {size}, {size}), RGB in [0, 1], squashed to it by Pillow's bicubic",
            "output": f"embedding: float32 (N, {card.embedding_size}), unit length; distance = 1 - dot product",
        }
    )


class EmbeddingModule(nn.Module):
    """A module to trace: pixels `(N, 3, S, S)` float32 in [0, 1] → unit embeddings `(N, embedding_size)`."""

    def __init__(self, metric: PerceptualMetric):
        super().__init__()
        self.metric = metric

    def forward(self, pixels: Tensor) -> Tensor:
        """Embed pixels."""
        return self.metric.to_unit(self.metric.features(pixels))


@set_usual_defaults()
def trace(metric: PerceptualMetric) -> "ExportedProgram":
    """Trace the graph of `EmbeddingModule`, in ATen's operators, for any number of pictures.

    Args:
        metric: the metric to trace.

    Raises:
        ValueError: the network decides by values, or is made for one number of pictures.
    """
    size = metric.card.image_size
    try:
        return torch.export.export(
            EmbeddingModule(metric).eval(),
            (torch.rand(2, 3, size, size, dtype=torch.float32, device="cpu"),),
            dynamic_shapes=({0: torch.export.Dim("N")},),
        )
    except Exception as error:  # of many kinds
        reason = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise ValueError(
            f"{metric.card.name!r} cannot be traced by torch.export ({reason}); safetensors needs no tracing"
        ) from error


def _write_onnx(metric: PerceptualMetric, file: Path) -> None:
    import onnxruntime  # noqa: F401 # needed to check it: said before the work
    import onnxscript  # noqa: F401

    graph = trace(metric)
    with _silence_folding():
        program = torch.onnx.export(
            graph,
            dynamo=True,
            input_names=["pixels"],
            output_names=["embedding"],
            dynamic_shapes={"pixels": {0: "N"}},  # its name there
            verbose=False,
        )
    assert program is not None
    model = program.model
    model.metadata_props[CARD] = describe_card(metric.card)
    size = sum(value.const_value.nbytes for value in model.graph.initializers.values() if value.const_value is not None)
    with _name_full_disk(file):
        program.save(file, external_data=size > _ONE_FILE)


def _write_program(metric: PerceptualMetric, file: Path) -> None:
    archive = io.BytesIO()  # PyTorch's own writer aborts the process when the disk is full
    torch.export.save(trace(metric), archive, extra_files={CARD: describe_card(metric.card)})
    with _name_full_disk(file):
        file.write_bytes(archive.getbuffer())


def _write_weights(metric: PerceptualMetric, file: Path) -> None:
    from safetensors.torch import save_file

    state = {name: tensor.contiguous() for name, tensor in metric.state_dict().items()}
    with _name_full_disk(file):
        save_file(state, file, {CARD: describe_card(metric.card)})


def _read_onnx(file: Path) -> Callable[[Tensor], Tensor]:
    import onnxruntime

    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    return lambda pixels: torch.from_numpy(session.run(None, {"pixels": pixels.numpy()})[0])


def _read_program(file: Path) -> Callable[[Tensor], Tensor]:
    return torch.export.load(file).module()


@dataclass(frozen=True)
class _Kind:
    """A kind of file: what its name ends in, how it is written, and how read for a check where it is a graph."""

    suffix: str
    write: Callable[[PerceptualMetric, Path], None]
    read: Callable[[Path], Callable[[Tensor], Tensor]] | None = None


FORMATS: dict[ExportFormat, _Kind] = {
    "onnx": _Kind(".onnx", _write_onnx, _read_onnx),
    "torch-export": _Kind(".pt2", _write_program, _read_program),
    "safetensors": _Kind(".safetensors", _write_weights),
}


def measure_difference(metric: PerceptualMetric, exported: Callable[[Tensor], Tensor]) -> float:
    """Measure the largest difference between numbers of embeddings of noise, in batches of 1 and 3.

    Args:
        metric: the metric that was exported.
        exported: the exported function from pixels to embeddings.

    Raises:
        ArithmeticError: it is above `TOLERANCE`, or not a number.
    """
    random = torch.Generator().manual_seed(0)
    size = metric.card.image_size
    differences = []
    for n in (1, 3):
        pixels = torch.rand(n, 3, size, size, generator=random, dtype=torch.float32, device="cpu")
        with torch.inference_mode():
            differences.append((EmbeddingModule(metric)(pixels) - exported(pixels)).abs().max())
    worst = torch.stack(differences).max().item()  # which NaN stays in, as in Python's max it would not
    if not worst <= TOLERANCE:
        raise ArithmeticError(
            f"the exported {metric.card.name!r} gives embeddings off by {worst:.1e}, more than {TOLERANCE:.0e}; "
            "nothing was kept: export to another format, and please report it"
        )
    return worst


def _collect_weights(out: Path) -> Path:
    return out.with_name(out.name + ".data")


@contextmanager
def _name_full_disk(file: Path) -> Iterator[None]:
    """Each library reports a full disk as its own error."""
    try:
        yield
    except Exception as error:
        raise OSError(errno.EIO, f"cannot write {file.name} in {file.parent.parent} ({error}); make room") from error


@contextmanager
def _silence_folding() -> Iterator[None]:
    """onnxscript warns of each node with several outputs that it leaves as it is, which is nothing to act on."""
    logger = logging.getLogger("onnxscript.optimizer._constant_folding")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)
