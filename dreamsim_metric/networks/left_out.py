"""Modules whose weights may be left out of the checkpoints of what holds them."""

from typing import Any

from torch import Tensor, nn


class MayBeLeftOut(nn.Module):
    """A module that is frozen, so that whoever holds it need not keep its weights.

    Attributes:
        in_state_dict: whether the weights are part of the `state_dict` of a module that holds this one, and so of its
            checkpoints. If not, such a checkpoint is loaded strictly all the same, and the weights stay as they are.
    """

    def __init__(self) -> None:
        super().__init__()
        self.in_state_dict = True
        self.register_load_state_dict_pre_hook(_keep_weights)

    def state_dict(self, *args: Any, **options: Any) -> Any:
        """Return the weights by name; nothing to a module that holds this one, if not `in_state_dict`."""
        holder = args[0] if args else options.get("destination")
        return super().state_dict(*args, **options) if self.in_state_dict or holder is None else holder


def _keep_weights(module: MayBeLeftOut, state: dict[str, Tensor], prefix: str, *rest: Any) -> None:
    """Fill a checkpoint in with the module's own weights, where it holds none of them as was asked for."""
    if not module.in_state_dict and not any(name.startswith(prefix) for name in state):
        state.update({prefix + name: tensor for name, tensor in module.state_dict().items()})
