"""Ours, the released package and other metrics, loaded once each and called as their own pages say."""

import contextlib
import io
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.names import check_precisions
from benchmarks.speed.machine import has_bfloat16
from benchmarks.speed.releases import keep_release, load_released
from dreamsim_metric import PerceptualMetric, load
from dreamsim_metric.card import ModelCard, Precision
from dreamsim_metric.distances import pair_distances
from dreamsim_metric.export import export
from dreamsim_metric.models import MODELS
from dreamsim_metric.networks.backbone import Backbone, create_network, read_only_for

Compare = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Variant:
    """A way to run a model of ours.

    Attributes:
        precision: precision of its networks.
        compiled: whether it is compiled for a GPU (`metric.compile_networks()`).
    """

    precision: Precision = "float32"
    compiled: bool = False

    def __str__(self) -> str:
        return f"ours {self.precision}{' compiled' if self.compiled else ''}"

    @classmethod
    def parse(cls, text: str) -> "Variant":
        """Parse `PRECISION` or `PRECISION+compiled`.

        Raises:
            ValueError: neither.
        """
        check_precisions([text])
        precision, _, more = text.partition("+")
        return cls(cast(Precision, precision), bool(more))


def list_variants(device: str) -> list[Variant]:
    """List what is quick on this machine, the default first."""
    found = [Variant()]
    if device != "cpu":
        found.append(Variant("bfloat16"))
        return [*found, Variant("bfloat16", True)]
    return [*found, Variant("bfloat16")] if has_bfloat16() else found


def make_random_metric(card: ModelCard) -> PerceptualMetric:
    """Make a released model as large as life, with the weights its networks are initialised with."""
    networks = (read_only_for(branch, create_network(branch, card.image_size)) for branch in card.branches)
    states = enumerate(network.state_dict() for network in networks)
    return PerceptualMetric(card, {f"branches.{i}.network.{k}": v for i, state in states for k, v in state.items()})


def count_flops(card: ModelCard, whole: bool = False) -> int:
    """Count floating-point operations of a picture's matrix products and convolutions, from the shapes.

    Args:
        card: card of a model.
        whole: whether the last block is run for all tokens too, as the released package and timm do.
    """
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        for branch in card.branches:
            size = card.image_size
            network: nn.Module = create_network(branch, size) if whole else Backbone(branch, size)
            network.to("meta").eval()(torch.empty(1, 3, size, size, dtype=torch.float32, device="meta"))
    return counter.get_total_flops()


class Contenders:
    """Models loaded when they are asked for and kept, on one device.

    Args:
        device: `cpu` or `cuda`, where all run.
        home: folder that keeps releases with random weights.
    """

    def __init__(self, device: str, home: Path) -> None:
        self.device, self.home = device, home
        self._kept: dict[Any, Any] = {}

    def _once(self, key: Any, make: Callable[[], Any]) -> Any:
        if key not in self._kept:
            self._kept[key] = make()
        return self._kept[key]

    def drop(self) -> None:
        """Forget all models, to have the memory back."""
        self._kept.clear()
        if self.device != "cpu":
            torch.cuda.empty_cache()

    def release(self, name: str) -> Path:
        """Write or find the folder of a released type with random weights."""
        return keep_release(self.home, name)

    def ours(self, name: str, variant: Variant = Variant()) -> PerceptualMetric:
        """Load a model of ours; released types on the same weights as `released`."""

        def make() -> PerceptualMetric:
            given: Any = {"source": self.release(name)} if name in MODELS else {}
            metric = load(name, device=self.device, precision=variant.precision, **given)
            if variant.compiled:
                metric.compile_networks()
            return metric

        return self._once(("ours", name, variant), make)

    def exported(self, name: str) -> Compare:
        """Export a model of ours as ONNX; ONNX Runtime runs it on as many of the CPU's threads as PyTorch has now."""
        import onnxruntime

        def make() -> bytes:
            with tempfile.TemporaryDirectory() as folder:
                file = Path(folder) / "metric.onnx"
                export(load(name), "onnx", file)
                return file.read_bytes()

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        onnx = self._once(("exported", name), make)
        session = onnxruntime.InferenceSession(onnx, options, providers=["CPUExecutionProvider"])

        def compare(a: Tensor, b: Tensor) -> Tensor:
            units = torch.from_numpy(session.run(None, {"pixels": torch.cat([a, b]).numpy()})[0])
            return pair_distances(*units.split([len(a), len(b)]))

        return compare

    def released(self, name: str) -> Any:
        """Load the released package's model, which its README calls with two batches."""
        return self._once(("released", name), lambda: load_released(name, self.release(name), self.device)[0])

    def timm_cosine(self, name: str) -> Compare:
        """Make the same networks by timm, with random weights, and the cosine of what they give."""
        networks = self._once(("timm", name), lambda: [
            create_network(branch, MODELS[name].image_size).to(self.device) for branch in MODELS[name].branches
        ])  # fmt: skip

        @torch.inference_mode()
        def compare(a: Tensor, b: Tensor) -> Tensor:
            u, v = (torch.cat([network(pictures) for network in networks], 1) for pictures in (a, b))
            return 1 - F.cosine_similarity(u, v)

        return compare

    def lpips(self, network: str) -> Compare:
        """Make LPIPS of its authors' package; the trunk's weights are random, which take as long."""
        import lpips

        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")  # it calls torchvision and torch.load in ways that are deprecated
            module = lpips.LPIPS(net=network, pnet_rand=True, verbose=False).eval().to(self.device)
        return torch.inference_mode()(lambda a, b: module(a, b, normalize=True).flatten())

    def torchmetrics_lpips(self, network: Any) -> Compare:
        """Make LPIPS of torchmetrics; the trunk's weights are random."""
        from torchmetrics.functional.image.lpips import _LPIPS

        module: Any = _LPIPS(net=network, pnet_rand=True).eval().to(self.device)
        return torch.inference_mode()(lambda a, b: module(a, b, normalize=True).flatten())

    def formula(self, package: str, name: str) -> Compare:
        """Make SSIM and its like, of piq or torchmetrics."""
        if package == "piq":
            import piq

            given = {"data_range": 1.0, "reduction": "none"}
            return torch.inference_mode()(lambda a, b: getattr(piq, name)(a, b, **given))
        from torchmetrics.functional import image

        return torch.inference_mode()(lambda a, b: getattr(image, name)(a, b, reduction="none", data_range=1.0))
