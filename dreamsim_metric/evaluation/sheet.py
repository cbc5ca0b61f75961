"""A sheet of judged triplets as one picture, to look at where a metric and people part."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import PIL.Image
import PIL.ImageDraw
import PIL.ImageFont

from dreamsim_metric.files.write import write_file
from dreamsim_metric.images.ahead import decode_files
from dreamsim_metric.images.encoding import encode

_SIDE, _GAP, _FRAME, _TEXT = 168, 14, 5, 15
_PEOPLE, _METRIC, _INK, _PAPER = "#2a9d4a", "#e07b1a", "#222222", "#ffffff"


@dataclass(frozen=True)
class SheetRow:
    """A triplet on the sheet.

    Attributes:
        id: the triplet's name in the data.
        reference, left, right: the picture files.
        share: share of votes for the right, in [0, 1].
        votes: number of people who judged.
        left_distance, right_distance: the metric's distances from the reference.
    """

    id: str
    reference: Path
    left: Path
    right: Path
    share: float
    votes: float
    left_distance: float
    right_distance: float


def write_triplet_sheet(rows: Sequence[SheetRow], path: Path, columns: int = 2) -> None:
    """Write triplets as a PNG: left, reference, right, each with its votes and distance.

    Pictures are squashed to squares, as metrics see them. The side that people chose is framed in green, the
    metric's in orange, inside it where they agree.

    Args:
        rows: the triplets to draw.
        path: the PNG file to write; replaced if it is there.
        columns: number of triplets side by side.

    Raises:
        OSError: the disk is full or not writable.
    """
    font = PIL.ImageFont.load_default(size=_TEXT)
    cell = 3 * _SIDE + 6 * _GAP, _SIDE + 2 * _GAP + 2 * (_TEXT + 4)
    head = 2 * _GAP + _TEXT
    lines = -(-len(rows) // columns)
    sheet = PIL.Image.new("RGB", (columns * cell[0], head + lines * cell[1]), _PAPER)
    draw = PIL.ImageDraw.Draw(sheet)
    x = _GAP
    for colour, text in ((_PEOPLE, "people's choice"), (_METRIC, "the metric's choice"), (None, "middle: reference")):
        if colour:
            draw.rectangle((x, _GAP, x + _TEXT, _GAP + _TEXT), outline=colour, width=_FRAME - 1)
            x += _TEXT + 6
        draw.text((x, _GAP - 1), text, fill=_INK, font=font)
        x += int(draw.textlength(text, font=font)) + 2 * _GAP
    for i, row in enumerate(rows):
        left, top = (i % columns) * cell[0] + 2 * _GAP, head + (i // columns) * cell[1]
        people = "right" if row.share > 0.5 else "left" if row.share < 0.5 else ""
        nearer = row.right_distance - row.left_distance
        ours = "left" if nearer > 0 else "right" if nearer < 0 else ""
        seen = decode_files((row.left, row.reference, row.right), _SIDE)
        for j, (name, pixels) in enumerate(zip(("left", "reference", "right"), seen, strict=True)):
            at = left + j * (_SIDE + _GAP), top
            if not isinstance(pixels, Exception):  # a file that went away since it was embedded leaves its place empty
                sheet.paste(PIL.Image.fromarray(pixels.permute(1, 2, 0).numpy()), at)
            frames = [colour for chosen, colour in ((people, _PEOPLE), (ours, _METRIC)) if chosen == name]
            for depth, colour in enumerate(frames):
                inset = depth * _FRAME
                box = (at[0] + inset, at[1] + inset, at[0] + _SIDE - 1 - inset, at[1] + _SIDE - 1 - inset)
                draw.rectangle(box, outline=colour, width=_FRAME)
            if name == "reference":
                said = [_clip(f"triplet {row.id}", font, draw), ""]
            else:
                share = row.share if name == "right" else 1 - row.share
                distance = row.right_distance if name == "right" else row.left_distance
                said = [f"{share * row.votes:g} of {row.votes:g} votes", f"distance {distance:.3f}"]
            for k, text in enumerate(said):
                draw.text((at[0], at[1] + _SIDE + 4 + k * (_TEXT + 4)), text, fill=_INK, font=font)
    write_file(path, encode(sheet))


def _clip(text: str, font: PIL.ImageFont.FreeTypeFont | PIL.ImageFont.ImageFont, draw: PIL.ImageDraw.ImageDraw) -> str:
    while draw.textlength(text, font=font) > _SIDE:
        text = text[:-2] + "…"
    return text
