"""The pictures that an evaluation draws."""

import numpy as np
import PIL.Image
import pytest

from dreamsim_metric.evaluation.diagram import draw_reliability
from dreamsim_metric.evaluation.sheet import SheetRow, write_triplet_sheet

GREEN, ORANGE = (0x2A, 0x9D, 0x4A), (0xE0, 0x7B, 0x1A)


@pytest.fixture
def row(tmp_path):
    for name, picture in {
        "wide.jpg": PIL.Image.new("L", (900, 10), 40),
        "clear.png": PIL.Image.new("RGBA", (30, 60), (10, 20, 200, 90)),
        "palette.gif": PIL.Image.new("P", (5, 5), 3),
    }.items():
        picture.save(tmp_path / name)
    files = (tmp_path / name for name in ("palette.gif", "wide.jpg", "clear.png"))
    return SheetRow("a very long id, and with an ö in it", *files, 0.8, 5.0, 0.1, 0.3)


def size(path):
    with PIL.Image.open(path) as image:
        return image.size


def column(path, colour, third):
    """Whether the colour is in the left, middle or right third of the sheet, below the legend."""
    pixels = np.asarray(PIL.Image.open(path).convert("RGB"))[50:]
    width = pixels.shape[1] // 3
    part = pixels[:, third * width : (third + 1) * width]
    return bool((part == colour).all(-1).sum() > 500)


def test_choices_are_framed_on_their_sides(row, tmp_path):
    write_triplet_sheet([row], tmp_path / "sheet.png", columns=1)  # people: right; the metric: left
    assert [column(tmp_path / "sheet.png", GREEN, i) for i in range(3)] == [False, False, True]
    assert [column(tmp_path / "sheet.png", ORANGE, i) for i in range(3)] == [True, False, False]


def test_a_sheet_has_a_place_for_each_triplet(row, tmp_path):
    sizes = []
    for n in (1, 2, 3):
        write_triplet_sheet([row] * n, tmp_path / "sheet.png")
        sizes.append(size(tmp_path / "sheet.png"))
    assert sizes[0] == sizes[1]
    assert sizes[2][0] == sizes[0][0]
    assert sizes[2][1] > sizes[0][1]
    assert not list(tmp_path.glob(".*"))


def test_a_write_that_fails_leaves_the_old_picture(row, tmp_path):
    (tmp_path / "sheet.png").mkdir()
    with pytest.raises(OSError, match="cannot write"):
        write_triplet_sheet([row], tmp_path / "sheet.png")
    assert (tmp_path / "sheet.png").is_dir()
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("observed", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("bins", [1, 10])
def test_diagrams_are_drawn_whatever_was_observed(tmp_path, observed, bins):
    from dreamsim_metric.judgements.calibration import tabulate_reliability

    p = np.linspace(0, 1, 20)
    rows = tabulate_reliability(p, np.full(20, observed), np.full(20, 3.0), bins)
    assert len(rows) == bins
    assert all(row["low"] <= row["observed"] <= row["high"] for row in rows)
    draw_reliability(rows, 0.1, tmp_path / "diagram.png", "judged the same")
    assert size(tmp_path / "diagram.png") == (750, 825)
