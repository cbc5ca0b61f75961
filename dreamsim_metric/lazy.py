"""Faces of packages: public names that load the modules behind them on first use, so that importing costs little."""

import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any


def attach(
    package: str, names: Mapping[str, Sequence[str]]
) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """Make a package's `__getattr__`, `__dir__` and `__all__`.

    For type checkers the package imports the same names under `TYPE_CHECKING`.

    Args:
        package: `__name__` of the package.
        names: public names by the module in the package that defines them.

    Example:
        >>> __getattr__, __dir__, __all__ = attach("dreamsim_metric", {"distances": ["pair_distances"]})
        >>> __all__, __getattr__("pair_distances").__module__
        (['pair_distances'], 'dreamsim_metric.distances')
    """
    home = {name: module for module, defined in names.items() for name in defined}
    public = list(home)

    def get(name: str) -> Any:
        if name not in home:
            raise AttributeError(f"module {package!r} has no attribute {name!r}; it has {', '.join(public)}")
        value = getattr(import_module(f"{package}.{home[name]}"), name)
        setattr(sys.modules[package], name, value)
        return value

    return get, lambda: public, public
