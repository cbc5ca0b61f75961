"""Sphinx: README, the pages of docs/ and the API reference as one site, without network. `make docs` builds it."""

import ast
import inspect
import re
from importlib import import_module
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx
from sphinx.pycode import ModuleAnalyzer

from dreamsim_metric.version import __version__

project = "dreamsim_metric"
author = "the authors of dreamsim_metric"
release = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
# The source is the repository's root, so that a link means the same here and where the files are read as they are.
root_doc = "README"
include_patterns = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "docs/*.md", "examples/CREDITS.md"]
exclude_patterns = [".venv", "build", "**/node_modules", "tests"]
nitpicky = True
# Not: names of other libraries, whose sites are not at hand, and a type variable.
nitpick_ignore_regex = [("py:.*", r"(?!dreamsim_metric\.).*|dreamsim_metric\.images\.convert\.P")]

html_theme = "furo"
html_title = f"dreamsim_metric {__version__}"
html_copy_source = html_show_sphinx = False
myst_heading_anchors = 3
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
napoleon_use_rtype = False
python_maximum_signature_line_length = 100
default_role = "code"

PAGES = """

```{toctree}
:hidden:
:caption: Guides
docs/scoring
docs/training
docs/data
docs/study
docs/security
docs/benchmarks
docs/personalization
docs/cluster
docs/export
docs/precision
docs/differences
docs/performance
docs/mini
docs/mini-diffusion
```

```{toctree}
:hidden:
:caption: Reference
docs/reference
CHANGELOG
CONTRIBUTING
examples/CREDITS
```
"""
FACES = re.findall(r"automodule:: (\S+)", (Path(__file__).parent / "reference.md").read_text(encoding="utf-8"))
PLACES = {name: f"{face}.{name}" for face in FACES for name in import_module(face).__all__}


def add_pages(app: Sphinx, name: str, source: list[str]) -> None:
    """Put what the sidebar lists behind the README, which is also read where nothing builds it."""
    if name == root_doc:
        source[0] += PAGES


def prepare_docstring(app: Sphinx, what: str, name: str, value: object, options: Any, lines: list[str]) -> None:
    """Link the public names in a docstring; a type's text is the one behind it where it is defined."""
    if what == "data":
        lines[:] = _text_of(name)
    for i, line in enumerate(lines):
        if line == "Attributes:":  # of dataclasses, which are made with these
            lines[i] = "Args:"
            continue
        lines[i] = re.sub(r"(?<![`:\w])`(?:dreamsim_metric\.)?(?:\w+\.)?(\w+)`", _linked, line)


def _linked(found: re.Match[str]) -> str:
    place = PLACES.get(found[1])
    return f":py:obj:`{found[0].strip('`')} <{place}>`" if place else found[0]


def _text_of(name: str) -> list[str]:
    face, _, name = name.rpartition(".")
    tree = ast.parse(inspect.getsource(import_module(face)))
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    homes = [node.module for node in imports if node.module and name in [alias.name for alias in node.names]]
    return ModuleAnalyzer.for_module(homes[0] if homes else face).find_attr_docs()["", name]


def setup(app: Sphinx) -> None:
    app.connect("source-read", add_pages)
    app.connect("autodoc-process-docstring", prepare_docstring, priority=400)  # before napoleon
