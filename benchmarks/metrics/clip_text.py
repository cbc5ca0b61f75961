"""CLIP-T: how well a picture fits the prompt that it was generated from."""

import torch
from torch import Tensor
from torchvision.transforms import functional as TF
from torchvision.transforms.functional import InterpolationMode

from benchmarks.metrics.base import Features, Maker, Metric, MetricCard, Options, Picture
from dreamsim_metric.images.convert import to_image
from dreamsim_metric.messages import say_error_with_kind

_NAMES = {"clip-t-b32": "ViT-B-32-quickgelu", "clip-t-l14": "ViT-L-14-quickgelu"}


class CLIPText(Metric):
    """The cosine of CLIP's embeddings of a picture and of a text.

    Args:
        name: name of the metric, see `METRICS`.
        architecture: name of the network in open_clip.
        options: device and weights: a file among them is open_clip's checkpoint; else OpenAI's are downloaded.

    Raises:
        OSError: the weights cannot be downloaded.
    """

    embeds = True

    def __init__(self, name: str, architecture: str, options: Options) -> None:
        import open_clip

        source = str(options.weights[0]) if options.weights else "openai"
        try:
            self.module = open_clip.create_model(architecture, pretrained=source, require_pretrained=True)
        except Exception as error:  # the libraries raise many kinds
            raise ConnectionError(f"cannot get {architecture}/{source} ({say_error_with_kind(error)})") from error
        self.module = self.module.to(options.device).eval().requires_grad_(False)
        self._tokenizer = open_clip.get_tokenizer(architecture)
        self._device = options.device
        visual = self.module.visual
        self._side = visual.image_size[0] if isinstance(visual.image_size, tuple) else visual.image_size
        self._mean, self._std = visual.image_mean, visual.image_std
        self.card = MetricCard(
            name=name,
            direction="similarity",
            range=(-1, 1),
            input=f"{self._side} × {self._side}",
            preprocessing=f"shorter side to {self._side}, bicubic, then the middle; the reference is the prompt",
            weights=f"open_clip:{architecture}, {source.rpartition('/')[2]}",
            citation="Hessel et al. CLIPScore. EMNLP 2021; Ruiz et al. DreamBooth. CVPR 2023",
            parameters=sum(parameter.numel() for parameter in self.module.parameters()),
        )

    @property
    def device(self) -> torch.device:
        return self._device

    def read(self, picture: Picture, size: tuple[int, int] | None = None) -> Tensor:
        own = to_image(picture)
        resized = TF.resize(own, [self._side], InterpolationMode.BICUBIC)
        return TF.to_tensor(TF.center_crop(resized, [self._side, self._side]))

    def features(self, pixels: Tensor) -> Features:
        normal = TF.normalize(pixels, list(self._mean), list(self._std))
        return (self.module.encode_image(normal, normalize=True),)

    @torch.inference_mode()
    def text(self, prompts: list[str]) -> Tensor:
        return self.module.encode_text(self._tokenizer(prompts).to(self._device), normalize=True)

    def compare(self, a: Features, b: Features) -> Tensor:
        return (a[0] * b[0]).sum(-1)


def _give_maker(name: str, architecture: str) -> Maker:
    return lambda options: CLIPText(name, architecture, options)


METRICS: dict[str, Maker] = {name: _give_maker(name, architecture) for name, architecture in _NAMES.items()}
