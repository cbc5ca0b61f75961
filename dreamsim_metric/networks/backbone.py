"""One vision network and the rule that reads its feature. Only the work that the feature needs is done."""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dreamsim_metric.card import Branch
from dreamsim_metric.messages import suggest
from dreamsim_metric.networks.defaults import set_usual_defaults
from dreamsim_metric.networks.inference import CPU_BATCH, changes_are_counted, prepare_for_inference
from dreamsim_metric.networks.mobilenet import MobileNetV2
from dreamsim_metric.networks.stand_in import Makeup, can_be_copied, choose_attention, is_looked_at

_VARIANCE_FLOOR = 1e-5  # keeps the gradient of the standard deviation finite on constant feature maps


class Backbone(nn.Module):
    """Pixels to features: normalisation, network, feature rule.

    Args:
        branch: the network and the rule that reads its feature.
        image_size: height and width of the pictures it will see; ViTs are built for it.

    The network has the right shape and no weights to speak of: load a state dict before use.

    Raises:
        ValueError: unknown network, or a feature that this network does not have.
    """

    network: Any
    mean: Tensor
    std: Tensor

    def __init__(self, branch: Branch, image_size: int):
        super().__init__()
        self.branch = branch
        self.image_size = image_size
        self.network = read_only_for(branch, create_network(branch, image_size))
        self.dtype = torch.float32
        self._fast: tuple[Makeup, nn.Module] | None = None
        for name in ("mean", "std"):
            statistic = torch.tensor(getattr(branch, name), dtype=torch.float32, device="cpu").view(3, 1, 1)
            self.register_buffer(name, statistic, persistent=False)

    def _apply(self, fn: Any, recurse: bool = True) -> "Backbone":
        norms = [module for module in self.network.modules() if isinstance(module, nn.BatchNorm2d)]
        before = [norm.state_dict() for norm in norms]
        super()._apply(fn, recurse)
        self._fast = None
        # Noted here because nn.DataParallel's replicas have no parameters() to ask.
        self.dtype = min((tensor.dtype for tensor in self.network.parameters()), key=lambda dtype: dtype.itemsize)
        if self.dtype.itemsize < torch.float32.itemsize:
            # Folded into convolutions after rounding, they moved distances by four times as much.
            for norm, state in zip(norms, before, strict=True):
                norm.float().load_state_dict(state)
        # .half() moves the network to half precision, not the constants of its input.
        for name in ("mean", "std"):
            device = getattr(self, name).device
            statistic = torch.tensor(getattr(self.branch, name), dtype=torch.float32, device=device)
            setattr(self, name, statistic.view(3, 1, 1))
        return self

    @set_usual_defaults()
    def make_constants(self) -> None:
        """Compute what a network that was made on the meta device has no file for: tables of relative places, say."""
        missing = [name for name, buffer in self.network.named_buffers() if buffer.is_meta]
        if missing:
            made = dict(create_network(self.branch, self.image_size).named_buffers())
            for name in missing:
                place, _, last = name.rpartition(".")
                self.network.get_submodule(place).register_buffer(last, made[name], persistent=False)

    def forward(self, pixels: Tensor) -> Tensor:
        """Compute float32 features of `(N, 3, S, S)` in [0, 1]: `(N, D)`, or `(N, 1 + patches, D)` for `cls_patch`."""
        fast = self._stand_in(pixels)
        if fast is None:
            return self.plain(pixels)
        with torch.no_grad():
            return torch.cat([self._read(fast, some) for some in pixels.chunk(math.ceil(len(pixels) / CPU_BATCH) or 1)])

    def plain(self, pixels: Tensor) -> Tensor:
        """Run `forward` by the network itself, and not by a quicker copy of it."""
        with choose_attention(pixels, self.network):
            return self._read(self.network, pixels)

    def _stand_in(self, pixels: Tensor) -> nn.Module | None:
        """The network's quicker copy, where it may stand in."""
        if pixels.device.type != "cpu" or is_looked_at(pixels):
            return None
        if self._fast is None or not self._fast[0].holds(self.network):
            if not changes_are_counted() or not can_be_copied(self.network):
                return None
            with set_usual_defaults(), torch.no_grad():
                fast = prepare_for_inference(self.network, self.image_size, self.dtype)
                # In a tuple: a module would be registered as a part.
                self._fast = (Makeup(self.network, fast), fast)
        return self._fast[1]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_fast": None}  # its weights are laid out for this processor

    def _read(self, network: Any, pixels: Tensor) -> Tensor:
        x = ((pixels - self.mean) / self.std).to(self.dtype)
        if self.branch.feature == "stages":
            return self._stages(network, x)
        read = _open_clip_feature if self.branch.network.startswith("open_clip:") else _compute_timm_feature
        return read(network, x, self.branch.feature).float()

    def local_features(self, pixels: Tensor) -> list[Tensor]:
        """Compute what the feature is made of, place by place.

        Patch tokens after the last block, as the feature takes them (before or after the final norm); for `stages`,
        the map of each stage; else the last feature map.

        Args:
            pixels: pictures `(N, 3, S, S)` float32 in [0, 1].

        Returns:
            Maps `(N, D, h, w)` float32, one or, for `stages`, one a statistic.

        Raises:
            ValueError: the network does not give tokens or maps.
        """
        with choose_attention(pixels, self.network):
            return self._local_features(((pixels - self.mean) / self.std).to(self.dtype))

    def _local_features(self, x: Tensor) -> list[Tensor]:
        if self.branch.feature == "stages":
            by_stage = self._maps(self.network, x)
            return [by_stage[stage].float() for _, stage in self.branch.stages]
        from timm.models.vision_transformer import VisionTransformer

        from dreamsim_metric.networks.vision_transformer import compute_patch_tokens

        if self.branch.network.startswith("open_clip:"):
            found = _open_clip_feature(self.network, x, "cls_patch" if self.branch.feature == "cls" else "patches")[
                :, 1:
            ]
        elif isinstance(self.network, VisionTransformer):
            found = compute_patch_tokens(self.network, x)
        else:
            found = self.network.forward_features(x)
            if found.ndim == 3:
                found = found[:, getattr(self.network, "num_prefix_tokens", 0) :]
            elif found.ndim == 4 and found.shape[-1] == getattr(self.network, "num_features", 0) != found.shape[1]:
                found = found.permute(0, 3, 1, 2)  # some networks have channels last
        if found.ndim == 3:
            side = round(found.shape[1] ** 0.5)
            if side * side != found.shape[1]:
                raise ValueError(f"{self.branch.network} has {found.shape[1]} tokens, which are no square of places")
            found = found.transpose(1, 2).unflatten(2, (side, side))
        if found.ndim != 4:
            raise ValueError(
                f"{self.branch.network} gives no feature map, shape {tuple(found.shape)}; use another model"
            )
        return [found.float()]

    def _maps(self, network: Any, x: Tensor) -> dict[int, Tensor]:
        stages = {stage for _, stage in self.branch.stages}
        middle = sorted(stages - {-1})
        if -1 not in stages:
            maps = network.forward_intermediates(x, indices=middle, stop_early=True, intermediates_only=True)
        elif middle:
            final, maps = network.forward_intermediates(x, indices=middle)
            maps = [*maps, final]
        else:
            maps = [network.forward_features(x)]
        return dict(zip([*middle, -1], maps, strict=False))

    def _stages(self, network: Any, x: Tensor) -> Tensor:
        by_stage = self._maps(network, x)
        parts = []
        for statistic, stage in self.branch.stages:
            values = by_stage[stage].float().flatten(2)  # N x C x HW
            pooled = values.mean(2)
            if statistic == "std":  # on the CPU torch.var takes as long as a tenth of MobileNetV2
                pooled = ((values - pooled[..., None]).square().mean(2) + _VARIANCE_FLOOR).sqrt()
            parts.append(F.normalize(pooled, dim=1))
        return torch.cat(parts, dim=1)


def create_network(branch: Branch, image_size: int) -> nn.Module:
    """Make the network without weights, in evaluation mode."""
    library, _, name = branch.network.partition(":")
    if branch.network == "timm:mobilenetv2_100" and _check_last_map_only(branch):
        return MobileNetV2().eval()
    if library == "timm":
        import timm

        if not timm.is_model(name.partition(".")[0]):
            hint = suggest(name.partition(".")[0], timm.list_models())
            raise ValueError(f"timm {timm.__version__} has no model {name!r}; {hint or 'see timm.list_models()'}")
        options = dict(branch.options)
        config = timm.get_pretrained_cfg(name)
        if config and config.fixed_input_size:
            options["img_size"] = image_size
        return timm.create_model(name, pretrained=False, **options).eval()
    if library == "open_clip":
        import open_clip

        if name not in open_clip.list_models():
            raise ValueError(
                f"open_clip {open_clip.__version__} has no architecture {name!r}; see open_clip.list_models()"
            )
        # create_model would make the whole text tower, and for some architectures fetch its tokenizer.
        config = open_clip.get_model_config(name)
        vision = {**config["vision_cfg"], "image_size": image_size, "timm_model_pretrained": False}
        text = {"context_length": 1, "vocab_size": 1, "width": 1, "heads": 1, "layers": 1}
        model: Any = open_clip.CLIP(config["embed_dim"], vision, text, config.get("quick_gelu", False))
        return model.visual.eval()
    raise ValueError(f"got network {branch.network!r}; expected timm:NAME or open_clip:ARCHITECTURE")


def _check_last_map_only(branch: Branch) -> bool:
    """Whether the feature needs no stage but the last, and nothing behind it."""
    return branch.options == {"num_classes": 0} and {stage for _, stage in branch.stages} == {-1}


def read_only_for(branch: Branch, network: nn.Module) -> nn.Module:
    """Cut what the feature does not need; the names of what stays do not change."""
    if isinstance(network, MobileNetV2):
        return network
    from dreamsim_metric.networks.vision_transformer import cut

    return cut(branch, network)


def _compute_timm_feature(network: Any, x: Tensor, feature: str) -> Tensor:
    if feature == "embedding":
        return network(x)
    tokens = network.forward_features(x)
    if feature == "pooled":
        return network.forward_head(tokens, pre_logits=True)
    if tokens.ndim != 3:
        raise ValueError(f"{type(network).__name__} has no tokens for feature {feature!r}; use pooled or stages")
    if feature in ("cls", "cls_norm"):
        return tokens[:, 0]
    patches = tokens[:, getattr(network, "num_prefix_tokens", 0) :]
    return patches.mean(1) if feature == "patch_mean" else torch.cat([tokens[:, :1], patches], 1)


def _open_clip_feature(network: Any, x: Tensor, feature: str) -> Tensor:
    """A feature; `patches` is as `cls_patch`, after the final norm."""
    if feature == "embedding":
        out = network(x)
        return out[0] if isinstance(out, tuple) else out
    if feature == "pooled" or not hasattr(network, "ln_post"):
        raise ValueError(f"{type(network).__name__} of open_clip has no feature {feature!r}; use embedding")
    out = network.forward_intermediates(
        x,
        indices=1,
        normalize_intermediates=feature in ("cls_norm", "patch_mean", "patches"),
        intermediates_only=True,
        output_fmt="NLC",
        output_extra_tokens=True,
    )
    patches, prefix = out["image_intermediates"][0], out["image_intermediates_prefix"][0]
    if feature in ("cls", "cls_norm"):
        return prefix[:, 0]
    return patches.mean(1) if feature == "patch_mean" else torch.cat([prefix[:, :1], patches], 1)
