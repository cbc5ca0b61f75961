"""All that was generated on one picture, to look at."""

from collections.abc import Sequence
from pathlib import Path

import PIL.Image
import PIL.ImageDraw
import PIL.ImageFont

from data_tools.manifest import read_rows, read_settings
from data_tools.tables import COLUMNS, collect_groups, settle_rows
from dreamsim_metric.files.write import write_file
from dreamsim_metric.images.convert import to_image
from dreamsim_metric.images.encoding import encode

_GAP, _TEXT, _INK, _PAPER = 8, 13, "#222222", "#ffffff"


def write_sheet(folder: Path, path: Path, side: int = 128, columns: int = 2, most: int = 200) -> int:
    """Write a contact sheet as a PNG: a line each triplet (reference, left, right) or picture with its variations.

    Args:
        folder: folder that `generate` made.
        path: file to write; replaced if it is there.
        side: side of a picture in pixels; smaller pictures are enlarged without smoothing.
        columns: number of lines side by side.
        most: number of lines shown at most, spread over all of them.

    Returns:
        Number of lines shown.

    Raises:
        FileNotFoundError: the folder is no generation, or a picture is gone.
        ValueError: nothing is complete yet.
        OSError: the disk is full or not writable.
    """
    read_settings(folder)
    lines = _list_lines(folder)
    if not lines:
        raise ValueError(f"{folder} has no complete triplet or pair yet; let `dreamsim-data generate` go on")
    shown = [lines[i * len(lines) // min(most, len(lines))] for i in range(min(most, len(lines)))]
    font = PIL.ImageFont.load_default(size=_TEXT)
    widest = max(len(pictures) for _, pictures in shown)
    cell = widest * (side + 2) + 2 * _GAP, side + _TEXT + 2 * _GAP
    columns = min(columns, len(shown))
    page = PIL.Image.new("RGB", (columns * cell[0], -(-len(shown) // columns) * cell[1] + _GAP), _PAPER)
    draw = PIL.ImageDraw.Draw(page)
    for i, (text, pictures) in enumerate(shown):
        left, top = (i % columns) * cell[0] + _GAP, (i // columns) * cell[1] + _GAP
        draw.text((left, top), text, fill=_INK, font=font)
        for j, file in enumerate(pictures):
            picture = to_image(file)
            smooth = PIL.Image.Resampling.LANCZOS if picture.width > side else PIL.Image.Resampling.NEAREST
            page.paste(picture.resize((side, side), smooth), (left + j * (side + 2), top + _TEXT + 5))
    write_file(path, encode(page))
    return len(shown)


def _list_lines(folder: Path) -> list[tuple[str, Sequence[Path]]]:
    found: dict[str, list[Path]] = {}
    for group in collect_groups(settle_rows(read_rows(folder, columns=COLUMNS))):
        paths = [folder / row["path"] for row in group]
        text = f"{group[0]['group']}  {group[0]['prompt']}"
        if len(group) == 3:
            found[text] = paths
        else:
            found.setdefault(text, paths[:1]).append(paths[1])
    return list(found.items())
