"""The metric: branches → head → one unit embedding → distance."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dreamsim_metric.card import PRECISIONS, ModelCard, Precision
from dreamsim_metric.difference import compare_locally
from dreamsim_metric.distances import check_pairs, pair_distances
from dreamsim_metric.images.convert import Pictures, to_pixels
from dreamsim_metric.images.pairs import Pairs, check_device, to_pairs, to_unrounded
from dreamsim_metric.networks.backbone import Backbone
from dreamsim_metric.networks.defaults import set_usual_defaults
from dreamsim_metric.networks.heads import create_head
from dreamsim_metric.networks.inference import keep_full_precision
from dreamsim_metric.networks.left_out import MayBeLeftOut
from dreamsim_metric.weights.fitting import fit_weights
from dreamsim_metric.weights.folder import write_folder
from dreamsim_metric.weights.hub import push
from dreamsim_metric.weights.readme import write_readme

if TYPE_CHECKING:
    from dreamsim_metric.networks.compiled import Compiled


class PerceptualMetric(MayBeLeftOut):
    """How different two pictures look to a person: 0 for the same picture, at most 2.

    The distance is `1 − cos` of the pictures' embeddings (DreamSim, section 4.1). It is differentiable with respect to
    float tensors; the weights are frozen and the module stays in evaluation mode.

    Args:
        card: the card of the model to build.
        state: weights by name, in the form of `state_dict()`.

    Attributes:
        in_state_dict: whether checkpoints of a module that holds the metric have its weights (`load`).

    Raises:
        ValueError: weights missing, surplus, of the wrong shape or type, not finite or zeros.

    Example:
        >>> import torch
        >>> from dreamsim_metric import load
        >>> metric = load("mini")
        >>> metric("examples/vest_1.jpg", ["examples/vest_1.jpg", "examples/vest_2.jpg", "examples/coffee.jpg"])
        tensor([0.0000, 0.1135, 1.1500])
        >>> a, b = torch.rand(2, 4, 3, 100, 120, requires_grad=True)
        >>> metric(a, b).shape, metric(a, b, reduction="mean").requires_grad
        (torch.Size([4]), True)
    """

    @set_usual_defaults()
    def __init__(self, card: ModelCard, state: dict[str, Tensor]):
        super().__init__()
        if card.head and card.center and any(branch.feature == "cls_patch" for branch in card.branches):
            raise ValueError(f"{card.name!r} has a head on tokens, which are not centred one by one: use center=False")
        self.card = card
        self._size = (card.image_size, card.image_size)
        with torch.device("meta"):  # no time and memory for weights that are about to be replaced
            self.branches = nn.ModuleList(Backbone(branch, card.image_size) for branch in card.branches)
            self.head = create_head(card.head, card.embedding_size)
        self._tf32 = False
        self._compiled: Compiled | None = None
        self.load_state_dict(fit_weights(card, state, self.state_dict()), assign=True)
        for branch in self.branches:
            cast(Backbone, branch).make_constants()
        self.requires_grad_(False)
        self.eval()

    def train(self, mode: bool = True) -> "PerceptualMetric":
        """Stay in evaluation mode, whatever is asked for: a distance must not depend on dropout or on the batch."""
        return super().train(False)

    @set_usual_defaults()
    def _apply(self, fn: Any, recurse: bool = True) -> "PerceptualMetric":
        super()._apply(fn, recurse)
        self._compiled = None
        self.head.float()  # .half() moves the networks to half precision, not the last steps
        return self

    @property
    def device(self) -> torch.device:
        """Device that the weights are on."""
        # A buffer's, since nn.DataParallel's replicas have no parameters.
        return cast(Backbone, self.branches[0]).mean.device

    @property
    def precision(self) -> Precision:
        """Precision that the networks compute in: `float32`, `tf32`, `bfloat16` or `float16`."""
        name = "tf32" if self._tf32 else str(cast(Backbone, self.branches[0]).dtype).removeprefix("torch.")
        return cast(Precision, name)

    def set_precision(self, precision: Precision) -> None:
        """Change, in place, the precision that the networks compute in; the head and the distance stay in float32.

        What this does to distances is on `docs/precision.md`. Weights that were rounded do not get their digits back:
        load the model anew for that.

        Args:
            precision: `float32`; `bfloat16` or `float16`, which GPUs and some processors are quicker in; `tf32`,
                float32 of which NVIDIA GPUs round products to 10 bits (the same as float32 elsewhere).

        Raises:
            ValueError: an unknown precision.

        Example:
            >>> from dreamsim_metric import load
            >>> metric = load("mini")
            >>> metric.set_precision("bfloat16")
            >>> metric.precision
            'bfloat16'
        """
        if precision not in PRECISIONS:
            raise ValueError(f"got precision={precision!r}; expected one of {', '.join(PRECISIONS)}")
        self._tf32 = precision == "tf32"
        self.to(torch.float32 if self._tf32 else getattr(torch, precision))

    def compile_networks(self, buckets: Sequence[int] = (1, 8, 32, 128)) -> None:
        """Compile the networks, in place, for when no gradients are asked for; on CUDA, replay them as graphs.

        Moving the metric to another device or precision undoes it.

        Args:
            buckets: batch sizes, ascending. Each is compiled when it first comes, which takes up to a minute; batches
                are filled up to the next of them, and larger ones cut.

        Raises:
            ValueError: sizes that are not ascending.
        """
        from dreamsim_metric.networks.compiled import Compiled  # the compiler takes seconds to import

        self._compiled = Compiled(self.branches, buckets)

    @property
    def is_compiled(self) -> bool:
        """Whether the networks are compiled; in half precision on CUDA that moves distances within their rounding."""
        return self._compiled is not None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_compiled": None}  # graphs are this process's

    def preprocess(self, pictures: Pictures, *, check: bool = True, rounded: bool = True) -> Tensor:
        """Bring anything image-like to the metric's size and device: `(N, 3, S, S)` float32 in [0, 1].

        Mean and standard deviation are not applied here: each branch has its own.

        Args:
            pictures: anything that `dreamsim_metric.images.to_pixels` takes; tensors on the metric's device.
            check: whether values outside [0, 1] are looked for.
            rounded: whether 8-bit pictures are rounded to 8 bits when they are resized, as Pillow does.
        """
        check_device(pictures, self.device)
        read = to_pixels if rounded else to_unrounded
        return read(pictures, self._size, check=check).to(self.device)

    def _preprocess_pairs(self, a: Pictures, b: Pictures, check: bool = True) -> Pairs:
        pairs = to_pairs(a, b, self._size, check=check, device=self.device)
        check_pairs(len(pairs.a), len(pairs.b))
        return pairs

    def embed(self, pictures: Pictures, *, normalize: bool = True, check: bool = True, rounded: bool = True) -> Tensor:
        """Compute one embedding a picture.

        Args:
            pictures: anything image-like, one or many; all at once, so mind the memory (`dreamsim_metric.embed`
                works in batches).
            normalize: whether embeddings are scaled to unit length (after centring, where the card says so). If not:
                the raw features, which the released package gives with `normalize_embeds=False`.
            check: whether values outside [0, 1] are looked for.
            rounded: whether 8-bit pictures are rounded to 8 bits when they are resized, as Pillow does. `False` is for
                embeddings that are compared with those of pictures that are not 8-bit, a generator's output say.

        Returns:
            `(N, embedding_size)` float32, always with a batch dimension.
        """
        features = self.features(self.preprocess(pictures, check=check, rounded=rounded))
        return self.to_unit(features) if normalize else self.head(self.pool(features))

    def features(self, pixels: Tensor) -> Tensor:
        """Compute the branches' features, the expensive part: `(N, 3, S, S)` in [0, 1] → `(N, D)`, `(N, tokens, D)`."""
        with keep_full_precision(pixels.device, self._tf32):
            if self._compiled is not None and self._compiled.stands_for(self.branches, pixels):
                return self._compiled(pixels)
            return torch.cat([branch(pixels) for branch in self.branches], dim=-1)

    def to_unit(self, features: Tensor) -> Tensor:
        """Make unit embeddings `(N, embedding_size)` of `features`, by the head, in float32 also under autocast."""
        with torch.autocast(features.device.type, enabled=False), keep_full_precision(features.device):
            if self.card.center and features.ndim == 3:  # each token by itself, before they are averaged
                features = F.normalize(features - features.mean(-1, keepdim=True), dim=-1)
            pooled = self.pool(features)
            if pooled.shape[-1] != self.card.embedding_size:
                raise ValueError(
                    f"{self.card.name!r} gives {pooled.shape[-1]} numbers; its card has embedding_size "
                    f"{self.card.embedding_size}"
                )
            embedding = self.head(pooled)
            if self.card.center and features.ndim == 2:
                embedding = embedding - embedding.mean(-1, keepdim=True)
            return F.normalize(embedding, dim=-1)

    @staticmethod
    def pool(features: Tensor) -> Tensor:
        """Average `(N, 1 + patches, D)` tokens of `cls_patch` to `(N, 2 D)`; anything else stays as it is."""
        return features if features.ndim == 2 else torch.cat([features[:, 0], features[:, 1:].mean(1)], dim=-1)

    def forward(
        self, a: Pictures, b: Pictures, reduction: Literal["none", "mean", "sum"] = "none", *, check: bool = True
    ) -> Tensor:
        """Compute the distances between `a[i]` and `b[i]`.

        Both pictures of a pair are resized in one way: rounded to 8 bits as Pillow does where all of the two that is
        resized is 8-bit, else without rounding.

        Args:
            a, b: anything image-like; as many in one as in the other, or one against many.
            reduction: `none` for `(N,)`, `mean` or `sum` for a scalar.
            check: whether values outside [0, 1] are looked for.

        Returns:
            float32 in [0, 2], whatever the dtype of the weights.

        Raises:
            ValueError: unequal numbers, or pictures that cannot be read (see `preprocess`).
        """
        if reduction not in ("none", "mean", "sum"):
            raise ValueError(f"got reduction={reduction!r}; expected 'none', 'mean' or 'sum'")
        pixels, of_a, of_b = self._preprocess_pairs(a, b, check)
        units = self.to_unit(self.features(pixels))
        d = pair_distances(units.index_select(0, of_a), units.index_select(0, of_b))
        return d if reduction == "none" else d.mean() if reduction == "mean" else d.sum()

    def difference_map(self, a: Pictures, b: Pictures) -> Tensor:
        """Map where two pictures differ, as the metric's networks see it.

        At each place, `1 − cos` of the local features there: patch tokens of a ViT, the map of each stage of a CNN,
        averaged over stages and branches. The distance itself is not its mean: it compares pooled features, and a head
        comes after those and has no places.

        Args:
            a, b: anything image-like; as many in one as in the other, or one against many.

        Returns:
            `(N, S, S)` float32 in [0, 2], for the pictures squashed to the metric's size; exactly 0 where local
            features are equal. `dreamsim_metric.difference.overlay` draws it.

        Raises:
            ValueError: unequal numbers, pictures that cannot be read, or a network without local features.
        """
        pixels, of_a, of_b = self._preprocess_pairs(a, b)
        a, b = pixels.index_select(0, of_a), pixels.index_select(0, of_b)
        with keep_full_precision(self.device, self._tf32):
            return compare_locally(self.branches, a, b, self.card.center)

    def probability_same(self, a: Pictures, b: Pictures) -> Tensor:
        """Predict how likely people are to judge two pictures the same, by the psychometric curve on the card.

        Args:
            a, b: anything image-like; as many in one as in the other, or one against many.

        Returns:
            `(N,)` in [0, 1].

        Raises:
            ValueError: the card has no such curve; `dreamsim-metric calibrate` fits one to judged pairs.
        """
        if self.card.same is None:
            raise self._uncalibrated("same", "pairs that people judged the same or not (JND)")
        return self.card.same(self(a, b))

    def probability_left(self, reference: Pictures, left: Pictures, right: Pictures) -> Tensor:
        """Predict how likely people are to judge `left` nearer to `reference` than `right`.

        Args:
            reference, left, right: anything image-like; as many in each, or one reference for all.

        Returns:
            `(N,)` in [0, 1]; for one triplet with its sides changed, 1 minus this.

        Raises:
            ValueError: the card has no such curve; `dreamsim-metric calibrate` fits one to judged triplets.

        Example:
            >>> from dreamsim_metric import load
            >>> load("mini").probability_left("examples/vest_1.jpg", "examples/vest_2.jpg", "examples/cat.jpg")
            tensor([0.9488])
        """
        if self.card.left is None:
            raise self._uncalibrated("left", "triplets of which people judged which side is nearer (2AFC)")
        return self.card.left(self(reference, left) - self(reference, right))

    def _uncalibrated(self, curve: str, data: str) -> ValueError:
        return ValueError(
            f"{self.card.name!r} has no calibration for probability_{curve}; fit one to {data}: "
            f"dreamsim-metric calibrate --model {self.card.name} --data FOLDER --out MODEL, then load(MODEL)"
        )

    def save_pretrained(self, folder: str | os.PathLike[str]) -> None:
        """Write a folder that `load` takes: `card.json`, `model.safetensors` and, for people, `README.md`.

        Args:
            folder: the folder to make.

        Raises:
            FileExistsError: the folder is there already.
            OSError: the disk is full or not writable.

        Example:
            >>> import tempfile
            >>> from dreamsim_metric import load
            >>> with tempfile.TemporaryDirectory() as folder:
            ...     load("mini").save_pretrained(f"{folder}/mine")
            ...     load(f"{folder}/mine").card.name
            'mini'
        """
        state = {name: tensor.cpu() for name, tensor in self.state_dict().items()}
        write_folder(Path(folder), self.card, state, write_readme(self.card, str(folder)))

    def push_to_hub(self, repository: str, *, private: bool = False, token: str | None = None) -> str:
        """Upload what `save_pretrained` writes to the Hugging Face hub, for `load("hf:OWNER/REPO")`.

        Args:
            repository: `OWNER/REPO`; made if it is not there.
            private: whether a new repository is private.
            token: the hub's access token; default the one of `hf auth login` or `$HF_TOKEN`.

        Returns:
            The address of the commit.

        Raises:
            ConnectionError: no network, or the hub refused; the message says why.
        """
        return push(self.card, self.state_dict(), repository, private, token)
