"""The page that goes with a model."""

import json
from typing import Any

from dreamsim_metric.card import Curve, ModelCard


def write_readme(card: ModelCard, name: str) -> str:
    """Write the page of a model, from its card: what it is, how to load it, data, recipe, figures, licence.

    Args:
        card: the model's card.
        name: the name that `load` takes.
    """
    kind = f"tuned on {card.training['data']}" if card.training else "untuned"
    sections = [
        f"# {card.name}\n\n{card.description or 'A perceptual metric.'}",
        "How different two pictures look to a person: 0 is the same picture, 2 the most that two can differ. "
        f"A model for the Python package `dreamsim_metric`, {kind}.",
        f'## Use\n\n```python\nfrom dreamsim_metric import distance\n\ndistance("a.jpg", "b.jpg", model="{name}")\n```',
        "## What it is\n\n"
        + _format_table(
            {f"branch {i}": f"{branch.network}, feature {branch.feature}" for i, branch in enumerate(card.branches, 1)}
            | {
                "head": f"{card.head.kind}" + (f", width {card.head.hidden}" if card.head.kind == "mlp" else "")
                if card.head
                else "none",
                "input": f"{card.image_size} × {card.image_size} pixels, bicubic, aspect ratio ignored",
                "embedding": f"{card.embedding_size} numbers" + (", centred" if card.center else ""),
                "made from": ", ".join(card.base) or "—",
            }
        ),
    ]
    if card.training:
        sections.append("## Data and recipe\n\n" + _format_table(card.training))
    if card.agreement:
        figures = {name: f"{percent:.1f} %" for name, percent in card.agreement.items()}
        sections.append("## Agreement with people\n\n" + _format_table(figures))
    curves = {"same": ("judged the same", card.same), "left": ("left judged nearer", card.left)}
    said = [_describe_curve(what, curve) for what, curve in curves.values() if curve]
    if said:
        sections.append("## What a distance means\n\n" + "\n".join(said))
    sections.append(f"## Licence\n\n{card.licence}" + (f"\n\n## Citation\n\n{card.citation}" if card.citation else ""))
    front = ["library_name: dreamsim_metric", "license: other", f"license_name: {json.dumps(card.licence)}"]
    front += ["tags:", "- perceptual-metric", "- image-similarity"]
    return "---\n" + "\n".join(front) + "\n---\n\n" + "\n\n".join(sections) + "\n"


def _format_table(rows: dict[str, Any]) -> str:
    cells = {name: str(value).replace("|", "\\|").replace("\n", " ") for name, value in rows.items()}
    return "| | |\n|---|---|\n" + "\n".join(f"| {name} | {value} |" for name, value in cells.items())


def _describe_curve(what: str, curve: Curve) -> str:
    x = "d" if curve.threshold else "(d_left − d_right)"
    shift = f"({curve.threshold:.4g} − {x})" if curve.threshold else f"−{x}"
    return (
        f"- P({what}) = {curve.lapse / 2:.3f} + {1 - curve.lapse:.3f} · sigmoid({shift} / {curve.scale:.4g}); "
        f"{curve.judgements} judgements of {curve.data}, calibration error {curve.error:.3f}"
    )
