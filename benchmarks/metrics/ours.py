"""Every model that `dreamsim_metric.load` takes, and the networks that papers call CLIP-I, DINO and DINOv2."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torchvision.transforms import functional as TF
from torchvision.transforms.functional import InterpolationMode

from benchmarks.metrics.base import Features, Maker, Metric, MetricCard, Options, Picture, Unmeasurable
from dreamsim_metric import PerceptualMetric, load
from dreamsim_metric.difference import compare_locally
from dreamsim_metric.distances import pair_distances
from dreamsim_metric.images.convert import to_image, to_pixels
from dreamsim_metric.scale.embedding import compute_metric_key


class Embedding(Metric):
    """The distance `1 − cos` of a model's unit embeddings.

    Args:
        name: name or folder of the model, for `load`.
        options: device and weights, which are `load`'s source.
    """

    embeds = True
    maps = True

    def __init__(self, name: str, options: Options, image_size: int | None = None) -> None:
        source = options.weights or None
        self.metric: PerceptualMetric = load(name, source=source, device=options.device, image_size=image_size)
        size = self.metric.card.image_size
        self.card = MetricCard(
            name=name,
            direction="distance",
            range=(0, 2),
            input=f"{size} × {size}",
            preprocessing=f"squashed to {size} × {size}, Pillow's bicubic",
            weights=self.metric.card.description,
            citation=self.metric.card.citation,
            parameters=sum(parameter.numel() for parameter in self.metric.parameters()),
        )

    @property
    def device(self) -> torch.device:
        return self.metric.device

    def key(self) -> str:
        return compute_metric_key(self.metric)  # of the package, whose embeddings these are

    def read(self, picture: Picture, size: tuple[int, int] | None = None) -> Tensor:
        side = self.metric.card.image_size
        return to_pixels(picture, (side, side))[0]

    def features(self, pixels: Tensor) -> Features:
        return (self.metric.to_unit(self.metric.features(pixels)),)

    def compare(self, a: Features, b: Features) -> Tensor:
        return pair_distances(a[0], b[0])

    @torch.inference_mode()
    def difference_map(self, a: Tensor, b: Tensor) -> Tensor:
        x, y = (pixels[None].to(self.device) for pixels in (a, b))
        try:
            return compare_locally(self.metric.branches, x, y, self.metric.card.center)[0].cpu()
        except ValueError as error:  # a network without local features
            raise Unmeasurable(str(error)) from error


@dataclass(frozen=True)
class _Published:
    model: str
    resize: int  # of the shorter side, before 224 × 224 are cut from the middle
    citation: str


_CLIP = "Radford et al. Learning Transferable Visual Models From Natural Language Supervision. ICML 2021"
_DINO = "Caron et al. Emerging Properties in Self-Supervised Vision Transformers. ICCV 2021"
_DINOV2 = "Oquab et al. DINOv2: Learning Robust Visual Features without Supervision. TMLR 2024"
_CROP = 224
_PUBLISHED = {
    "clip-i-b32": _Published("open_clip:ViT-B-32-quickgelu/openai", 224, _CLIP),
    "clip-i-l14": _Published("open_clip:ViT-L-14-quickgelu/openai", 224, _CLIP),
    "dino-vits16": _Published("timm:vit_small_patch16_224.dino#cls_norm", 256, _DINO),
    "dino-vits8": _Published("timm:vit_small_patch8_224.dino#cls_norm", 256, _DINO),
    "dinov2-vits14": _Published("timm:vit_small_patch14_dinov2.lvd142m#cls_norm", 256, _DINOV2),
    "dinov2-vitb14": _Published("timm:vit_base_patch14_dinov2.lvd142m#cls_norm", 256, _DINOV2),
}


class Cosine(Embedding):
    """The cosine of a network's features, preprocessed as its authors do: the middle is cut out, not squashed."""

    def __init__(self, name: str, published: _Published, options: Options) -> None:
        super().__init__(published.model, options, image_size=_CROP)
        self.resize = published.resize
        self.card = MetricCard(
            name=name,
            direction="similarity",
            range=(-1, 1),
            input=f"{_CROP} × {_CROP}",
            preprocessing=f"shorter side to {self.resize}, bicubic, then the middle {_CROP} × {_CROP}",
            weights=published.model,
            citation=published.citation,
            parameters=self.card.parameters,
        )

    def key(self) -> str:
        return Metric.key(self)  # other pixels than the package's

    def read(self, picture: Picture, size: tuple[int, int] | None = None) -> Tensor:
        own = to_image(picture)
        resized = TF.resize(own, [self.resize], InterpolationMode.BICUBIC)
        return TF.to_tensor(TF.center_crop(resized, [_CROP, _CROP]))

    def compare(self, a: Features, b: Features) -> Tensor:
        return 1 - pair_distances(a[0], b[0])


def _give_maker(name: str, published: _Published) -> Maker:
    return lambda options: Cosine(name, published, options)


METRICS: dict[str, Maker] = {name: _give_maker(name, published) for name, published in _PUBLISHED.items()}
