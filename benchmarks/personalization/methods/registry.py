"""All methods by name."""

from collections.abc import Sequence

from benchmarks.names import check_methods
from benchmarks.personalization.methods import (
    custom_diffusion,
    decomposition,
    dreambooth,
    fabric,
    ip_adapter,
    plain,
    textual_inversion,
)
from benchmarks.personalization.methods.base import Method

METHODS: dict[str, Method] = {
    "plain": plain.METHOD,
    "dreambooth": dreambooth.METHOD,
    "dreambooth-lora": dreambooth.LORA,
    "dreambooth-no-prior": dreambooth.WITHOUT_PRIOR,
    "textual-inversion": textual_inversion.METHOD,
    "custom-diffusion": custom_diffusion.METHOD,
    "decomposition": decomposition.METHOD,
    "fabric": fabric.METHOD,
    "ip-adapter": ip_adapter.METHOD,
}


def find_methods(names: Sequence[str]) -> dict[str, Method]:
    """Find the methods of these names, in that order.

    Raises:
        ValueError: an unknown name, with the nearest ones.
    """
    check_methods(names)
    return {name: METHODS[name] for name in names}
