"""A template and what goes into it → a file."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2

from dreamsim_metric.files.write import write_file


def write_page(template: str, shown: Mapping[str, Any], out: Path) -> Path:
    """Write a page from a template.

    Args:
        template: name of a file beside this one.
        shown: values of all that it names.
        out: file to write.

    Returns:
        The file that was written.

    Raises:
        OSError: the disk is full or not writable.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.globals["infinity"] = math.inf
    text = environment.get_template(template).render(shown)
    out.parent.mkdir(parents=True, exist_ok=True)
    write_file(out, text.encode())
    return out
