"""Pictures of any shape are shown whole in the experiment, in their proportions, and masks cover what they covered."""

import base64
import csv
import io

import numpy as np
import PIL.Image
import pytest

from tests.browser import browser as browser
from tests.browser import needs_browser
from tests.raters import open_page as open_page
from tests.raters import take_part
from tests.studies import CATEGORIES, serving, study

pytestmark = needs_browser
PLAIN = {"trials": 4, "practice": 0, "sentinel_every": 0}
SIZES = {
    "wide": [(128, 64)],
    "tall": [(64, 192)],
    "of several shapes": [(64, 128), (128, 64), (40, 40)],
    "small": [(9, 5)],
    "large": [(1600, 1100)],
}
VIEWS = {
    "screen": {"viewport": {"width": 1280, "height": 720}},
    "phone": {"viewport": {"width": 360, "height": 640}, "has_touch": True, "is_mobile": True},
    "phone on its side": {"viewport": {"width": 640, "height": 360}, "has_touch": True, "is_mobile": True},
}
PAPER = 210  # grey of the pictures' ground


def circles(folder, sizes, table, parts):
    """A dark circle in the middle of each picture: its shape on the screen is that of the picture's scaling."""
    (folder / "pictures").mkdir(parents=True)
    rows = []
    for group in range(6):
        paths = {}
        for number, part in enumerate(parts):
            width, height = sizes[number % len(sizes)]
            y, x = np.mgrid[:height, :width] + 0.5
            inside = (x - width / 2) ** 2 + (y - height / 2) ** 2 < (min(width, height) / 3) ** 2
            pixels = np.where(inside[..., None], (20, 10 * group, 60), PAPER).astype(np.uint8)
            paths[f"{part}_path"] = f"pictures/{group}_{part}.png"
            PIL.Image.fromarray(pixels).save(folder / paths[f"{part}_path"])
        rows.append({"id": group, **paths, "prompt": "a circle", "category": CATEGORIES[group % 3]})
    with open(folder / table, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return folder


@pytest.mark.parametrize("sizes", SIZES.values(), ids=SIZES)
def test_triplets_are_whole_in_their_proportions_and_fit_the_window(open_page, tmp_path, sizes):
    made = circles(tmp_path / "pictures", sizes, "triplets.csv", ("ref", "left", "right"))
    study(tmp_path / "study", made, **PLAIN)
    with serving(tmp_path / "study") as url:
        for view in VIEWS.values():
            page = open_page(url, **view)
            take_part(page)
            page.locator(".choice").wait_for()
            width, height = view["viewport"].values()
            assert page.evaluate("[document.documentElement.scrollWidth, document.documentElement.scrollHeight]") == [
                width,
                height,
            ]
            for picture in page.locator(".choice img").all():
                box = picture.bounding_box()
                natural = picture.evaluate("picture => picture.naturalWidth / picture.naturalHeight")
                assert box["width"] / box["height"] == pytest.approx(natural, rel=0.03)
                assert max(box["width"], box["height"]) > 100  # small ones are not left small
                assert 0 <= box["x"] <= width - box["width"]
                assert 0 <= box["y"] <= height - box["height"]
            page.context.close()


@pytest.mark.slow  # seconds of waiting in a browser
@pytest.mark.parametrize("sizes", SIZES.values(), ids=SIZES)
def test_masks_cover_just_what_pictures_shown_in_their_proportions_covered(open_page, tmp_path, sizes):
    study(tmp_path / "study", circles(tmp_path / "pictures", sizes, "pairs.csv", ("a", "b")), **PLAIN)
    keep = """
        window.frames_ = [];
        const draw = CanvasRenderingContext2D.prototype.drawImage;
        CanvasRenderingContext2D.prototype.drawImage = function (...given) {
          draw.apply(this, given);
          if (this.canvas.isConnected) frames_.push(this.canvas.toDataURL());
        };
    """
    with serving(tmp_path / "study") as url:
        page = open_page(url, script=keep, **VIEWS["phone"])
        take_part(page)
        page.locator("canvas").wait_for()
        box = page.locator("canvas").bounding_box()
        ratio = page.evaluate("document.querySelector('canvas').width / document.querySelector('canvas').height")
        assert box["width"] / box["height"] == pytest.approx(ratio, rel=0.01)
        assert box["width"] <= VIEWS["phone"]["viewport"]["width"]
        page.locator("p:has-text('first')").wait_for()
        shown = [decode(page, number) for number in range(-10, 0)]
        assert page.failures == []
    assert (shown[0] == 128).all()
    assert (shown[9] == 128).all()
    for number in range(4):
        picture, mask = shown[1 + 2 * number], shown[2 + 2 * number]
        covered = (picture != 128).any(-1)
        assert (covered == (mask != 128).any(-1)).all()
        rows, columns = (np.flatnonzero(covered.any(axis)) for axis in (1, 0))
        height, width = len(rows), len(columns)
        assert covered.sum() == height * width  # one rectangle, with no seams
        natural = sizes[number // 2 % len(sizes)]  # first, first, second, second
        swapped = sizes[(1 - number // 2) % len(sizes)]
        assert any(abs(width * h - height * w) <= max(w, h) for w, h in (natural, swapped))
        assert max(width / picture.shape[1], height / picture.shape[0]) == 1  # as large as the frame allows
        dark = (picture < 100).any(-1) & covered
        tall, wide = dark.any(1).sum(), dark.any(0).sum()
        assert abs(int(tall) - int(wide)) <= 1  # a circle


def decode(page, number):
    data = base64.b64decode(page.evaluate(f"frames_.at({number})").partition(",")[2])
    return np.asarray(PIL.Image.open(io.BytesIO(data)).convert("RGB"))
