"""A tree of concepts as a picture."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import PIL.Image
import PIL.ImageDraw
import PIL.ImageFont

_SIDE, _GAP, _TEXT = 96, 12, 20  # of a picture; between nodes; height of a line of text
_SHOWN = 4  # pictures of a node, two by two


@dataclass(frozen=True)
class Node:
    """A concept.

    Attributes:
        word: word that stands for it; the noun, at the root.
        pictures: photographs at the root, painted pictures below.
        scores: scores of the seeds that its children were tried with; empty for leaves.
    """

    word: str
    pictures: Sequence[PIL.Image.Image]
    scores: dict[str, Any]


def draw_tree(nodes: Sequence[Node]) -> PIL.Image.Image:
    """Draw the root above, its children below, and so on, with some pictures of each.

    Args:
        nodes: nodes of whole levels; node n has the children 2 n + 1 and 2 n + 2.
    """
    depth = (len(nodes) + 1).bit_length() - 1  # levels
    wide, high = 2 * _SIDE, 2 * _SIDE + _TEXT
    leaves = 2 ** (depth - 1)
    page = PIL.Image.new("RGB", (leaves * (wide + _GAP) + _GAP, depth * (high + 3 * _GAP)), "white")
    draw = PIL.ImageDraw.Draw(page)
    font = PIL.ImageFont.load_default(14)
    place: list[tuple[int, int]] = []
    for i, node in enumerate(nodes):
        level = (i + 1).bit_length() - 1
        across = (i + 1 - 2**level + 0.5) / 2**level
        x, y = round(across * page.width), level * (high + 3 * _GAP) + _GAP
        if i:
            above_x, above_y = place[(i - 1) // 2]
            draw.line([(above_x, above_y + high), (x, y)], fill="gray", width=2)
        place.append((x, y))
        draw.text((x, y + _TEXT / 2), node.word, fill="black", font=font, anchor="mm")
        for j, picture in enumerate(node.pictures[:_SHOWN]):
            small = picture.resize((_SIDE, _SIDE), PIL.Image.Resampling.BICUBIC)
            page.paste(small, (x - _SIDE + (j % 2) * _SIDE, y + _TEXT + (j // 2) * _SIDE))
    return page
