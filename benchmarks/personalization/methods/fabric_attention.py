"""Self-attention that also looks at other pictures: the mechanism of FABRIC (von Rütte et al. 2023).

Before each pass of the network, a pass over the references, noised to the same level and told nothing, keeps what comes
into every self-attention. Then pictures attend to those tokens as well as to their own: the half of the batch that is
told the prompt to the tokens of the liked pictures, the other half to those of the disliked. Probabilities of reference
tokens are multiplied by a weight w and all of them scaled to sum to 1, that is, log w is added to their logits.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor

from dreamsim_metric.networks.guards import agrees, draw_noise

SELF = "attn1.processor"  # how the names of self-attentions end
_FAINT = 1e-30  # the weight of tokens that are as good as not there


@dataclass(frozen=True)
class References:
    """Pictures to look at.

    Attributes:
        latents: latents `(P + N, C, h, w)`, scaled as the network takes them: P liked, then N disliked.
        liked: number P of liked pictures.
        told: keyword arguments of the network for as many pictures and no prompt.
        seed: seed of the noise on them.
    """

    latents: Tensor
    liked: int
    told: Mapping[str, Any]
    seed: int = 0

    def noise(self, step: int) -> Tensor:
        """Draw the noise of a step, like the latents; it is the same whatever is painted, alone or beside others."""
        random = torch.Generator().manual_seed(1_000_003 * self.seed + step)
        return torch.randn(self.latents.shape, generator=random, dtype=torch.float32, device="cpu")


@dataclass
class Shared:
    """State that the self-attentions of a network share.

    Attributes:
        mode: `keep` what comes in, look at what was `kept`, or do nothing but the `plain` attention.
        tokens: tokens of the liked `(P·T, C)` and of the disliked `(N·T, C)`, by name of the attention.
        liked: number of references that are liked.
        weights: function from depth, 0 (the outermost blocks) to 1 (the middle), to the weights of liked and disliked.
        guided: whether the batch has two halves, the first of which is told nothing (diffusers' order).
    """

    mode: Literal["plain", "keep", "kept"] = "plain"
    tokens: dict[str, tuple[Tensor, Tensor]] = field(default_factory=dict)
    liked: int = 0
    weights: Callable[[float], tuple[float, float]] = lambda depth: (1.0, 1.0)
    guided: bool = True


class SelfAttention:
    """A processor of diffusers' attention, around the one that was there, which so stays in use (and LoRA with it).

    Args:
        plain: processor that was there.
        name: name of the attention.
        depth: depth of its block: 0 for the outermost, 1 for the middle.
        shared: state of all self-attentions, see `Shared`.
    """

    def __init__(self, plain: Callable[..., Tensor], name: str, depth: float, shared: Shared) -> None:
        self.plain, self.name, self.depth, self.shared = plain, name, depth, shared

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        temb: Tensor | None = None,
        **more: Any,
    ) -> Tensor:
        """Compute attention of `(B, T, C)`, called by diffusers; self-attentions get no mask and no other states."""
        shared = self.shared
        if shared.mode == "keep":
            liked, disliked = hidden_states[: shared.liked], hidden_states[shared.liked :]
            shared.tokens[self.name] = (liked.flatten(0, 1), disliked.flatten(0, 1))
        if shared.mode != "kept":
            return self.plain(attn, hidden_states, encoder_hidden_states, attention_mask, temb, **more)
        looked = list(zip(shared.tokens[self.name], shared.weights(self.depth), strict=True))
        parts = hidden_states.chunk(2) if shared.guided else (hidden_states,)
        halves = zip(parts, looked[::-1] if shared.guided else looked[:1], strict=True)
        return torch.cat([self._look(attn, part, *what, temb=temb, **more) for part, what in halves])

    def _look(self, attn: Any, hidden: Tensor, tokens: Tensor, weight: float, **more: Any) -> Tensor:
        if not len(tokens) or not weight:
            return self.plain(attn, hidden, None, None, **more)
        rows, own, _ = hidden.shape
        everything = torch.cat([hidden, tokens.expand(rows, -1, -1)], dim=1)  # (B, T + K, C)
        bias = hidden.new_zeros(rows, 1, everything.shape[1])
        bias[..., own:] = math.log(weight)
        return self.plain(attn, hidden, everything, bias, **more)


@contextmanager
def look_at(
    pipeline: Any, references: References, weights: Callable[[int, int, float], tuple[float, float]]
) -> Iterator[None]:
    """Let pictures that a pipeline paints look at references while it lasts; afterwards the network is as it was.

    Args:
        pipeline: pipeline of Stable Diffusion's family. One call of it is meant: steps are counted.
        references: pictures to look at; none: nothing changes.
        weights: weights of liked and disliked pictures, by step, number of steps and depth (see `Shared`). Where they
            are all 0, the step is the pipeline's own and costs no more than that.

    Raises:
        ValueError: the network's attention does not look at other tokens as it is told to.
    """
    _check_attention(pipeline.unet)
    unet, shared, step = pipeline.unet, Shared(liked=references.liked), 0
    before = dict(unet.attn_processors)

    def look(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        nonlocal step
        if shared.mode == "keep":  # our own call
            return
        now, count = step, len(pipeline.scheduler.timesteps)
        step += 1
        shared.weights, shared.guided = (lambda depth: weights(now, count, depth)), pipeline.do_classifier_free_guidance
        held = (references.liked, (len(references.latents) - references.liked) * shared.guided)
        used = any(n and weight for depth in (0, 1) for n, weight in zip(held, shared.weights(depth), strict=True))
        shared.mode = "plain"
        if used:
            latents, time = args[:2]
            noisy = _add_noise(pipeline.scheduler, references, now, time).to(latents)
            shared.mode = "keep"
            unet(noisy, time, **references.told, return_dict=False)
            shared.mode = "kept"

    hook = unet.register_forward_pre_hook(look, with_kwargs=True)
    try:
        unet.set_attn_processor(
            {
                name: SelfAttention(plain, name, find_depth(name, len(unet.down_blocks)), shared)
                if name.endswith(SELF)
                else plain
                for name, plain in before.items()
            }
        )
        yield
    finally:
        hook.remove()
        unet.set_attn_processor(before)


@torch.no_grad()
def _check_attention(unet: Any) -> None:
    """Try each kind of self-attention on noise: there is no other way to look at pictures.

    Tokens of weight 1 are as good as the picture's own, those of almost none as good as not there.
    """
    kinds = {type(plain): (name, plain) for name, plain in unet.attn_processors.items() if name.endswith(SELF)}
    for kind, (name, plain) in kinds.items():
        attn = unet.get_submodule(name.removesuffix(".processor"))
        own, others = draw_noise(2, 1, 4, attn.to_q.in_features, like=next(attn.parameters()))
        if not all(
            _weigh(attn, plain, own, others[0], weight, seen)
            for weight, seen in ((1.0, torch.cat([own, others], dim=1)), (_FAINT, own))
        ):
            raise ValueError(
                f"{kind.__name__} of this diffusers does not weigh the tokens of other pictures; expected an attention "
                "that adds a bias: call pipeline.unet.set_default_attn_processor()"
            )


def _weigh(attn: Any, plain: Callable[..., Tensor], own: Tensor, others: Tensor, weight: float, seen: Tensor) -> bool:
    """Whether to look at other tokens, `(K, C)`, is to attend to all that is then seen, `(1, T or T + K, C)`."""
    shared = Shared("kept", {"": (others, others)}, weights=lambda depth: (weight, weight), guided=False)
    looking = SelfAttention(plain, "", 0, shared)
    name = f"FABRIC's {type(plain).__name__}"
    return agrees(name, lambda x, _: looking(attn, x), lambda x, y: plain(attn, y)[:, : x.shape[1]], own, seen)


def find_depth(name: str, blocks: int) -> float:
    """Find how deep in the network an attention is: 0 in the outermost blocks, 1 in the middle.

    Args:
        name: name of its processor: "up_blocks.1.attentions.0…".
        blocks: number of blocks that lead down.

    Example:
        >>> [find_depth(name, 4) for name in ("down_blocks.0.a", "down_blocks.2.a", "mid_block.a", "up_blocks.3.a")]
        [0.0, 0.5, 1.0, 0.0]
    """
    side, number = name.split(".")[:2]
    if side == "mid_block":
        return 1.0
    return (int(number) if side == "down_blocks" else blocks - 1 - int(number)) / blocks


def _add_noise(scheduler: Any, references: References, step: int, time: Tensor) -> Tensor:
    """Add as much noise as is on what the network sees in this step: `(P + N, C, h, w)` float32."""
    clean = references.latents.to(time.device, torch.float32)
    noise = references.noise(step).to(time.device)
    noisy = scheduler.add_noise(clean, noise, time.reshape(1).expand(len(clean)))
    return torch.as_tensor(scheduler.scale_model_input(noisy, time))
