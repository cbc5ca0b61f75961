"""Known changes grow with their level, keep what they should, and are made the same way twice."""

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import PIL.Image
import PIL.ImageFilter
import pytest
import torch

from benchmarks import cli
from benchmarks.metrics.base import Metric, MetricCard, Options
from benchmarks.metrics.registry import find_metrics
from benchmarks.sensitivity.changes import CHANGES, Scene, apply_changes, read_scenes
from benchmarks.sensitivity.run import rank_changes, run
from dreamsim_metric import distance
from dreamsim_metric.images.convert import to_pixels
from tests import layouts

EXAMPLES = Path("examples")
SCENES = {scene.name: scene for scene in read_scenes(EXAMPLES)}
COFFEE = SCENES["coffee"]
NEUTRAL = dict.fromkeys(("rotation", "shift", "crop", "hue", "saturation", "brightness", "contrast", "blur"), 0)


def pixels(picture):
    return np.asarray(picture).astype(int)


def far(a, b):
    return np.abs(pixels(a) - pixels(b)).mean()


def test_the_examples_have_their_masks():
    assert set(SCENES) == {"astronaut", "cat", "coffee", "rocket", "vest_1", "vest_2"}
    assert {name for name, scene in SCENES.items() if scene.mask} == {"astronaut", "coffee", "vest_1", "vest_2"}
    assert SCENES["vest_1"].other.name == "astronaut"  # not the same vest again
    assert max(max(scene.picture.size) for scene in SCENES.values()) == 512
    assert all(scene.mask.size == scene.picture.size for scene in SCENES.values() if scene.mask)


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_change_grows_with_its_level(change):
    if change.name == "size":
        sizes = [change.apply(COFFEE, level).width for level in change.levels]
        assert sizes == [384, 256, 128]
        return
    found = [far(COFFEE.picture, change.apply(COFFEE, level)) for level in change.levels]
    moved = change.name in ("rotation", "shift", "crop", "hue")  # pixels repeat, and hues come round
    assert sorted(found[:3]) == found[:3]
    assert moved or sorted(found) == found
    assert found[-1] > 0
    assert all(change.apply(COFFEE, level).size == COFFEE.picture.size for level in change.levels)
    assert all(change.apply(COFFEE, level).mode == "RGB" for level in change.levels)


@pytest.mark.parametrize("name", NEUTRAL)
def test_no_change_at_level_zero(name):
    most = 3 if name == "hue" else 0  # whose colour space has whole numbers
    assert far(COFFEE.picture, CHANGES[name].apply(COFFEE, 0)) <= most


@pytest.mark.parametrize("name", [name for name in CHANGES if name not in ("noise", "brightness", "size")])
def test_a_picture_of_one_colour_stays_so(name):
    """No black corners, no seams."""
    grey = PIL.Image.new("RGB", (90, 60), (128, 128, 128))
    mask = PIL.Image.new("L", (90, 60), 0)
    mask.paste(255, (30, 20, 60, 40))
    scene = Scene("grey", grey, mask, Scene("other", grey, mask))
    for level in CHANGES[name].levels:
        assert np.abs(pixels(CHANGES[name].apply(scene, level)) - 128).max() <= 3


def test_what_is_random_is_the_same_twice():
    twice = [pixels(CHANGES["noise"].apply(COFFEE, 16)) for _ in range(2)]
    assert np.array_equal(*twice)
    assert not np.array_equal(twice[0], pixels(CHANGES["noise"].apply(replace(COFFEE, name="tea"), 16)))
    assert (pixels(CHANGES["noise"].apply(COFFEE, 8)) - pixels(COFFEE.picture)).std() == pytest.approx(8, rel=0.1)


def test_changes_are_pillows():
    data = io.BytesIO()
    COFFEE.picture.save(data, "JPEG", quality=30)
    assert np.array_equal(pixels(CHANGES["JPEG"].apply(COFFEE, 70)), pixels(PIL.Image.open(data)))
    assert np.array_equal(pixels(CHANGES["flip"].apply(COFFEE, 1)), pixels(COFFEE.picture)[:, ::-1])
    assert np.array_equal(pixels(CHANGES["upside down"].apply(COFFEE, 1)), pixels(COFFEE.picture)[::-1])
    assert np.array_equal(pixels(CHANGES["re-encoding"].apply(COFFEE, 1)), pixels(COFFEE.picture))
    grey = pixels(CHANGES["saturation"].apply(COFFEE, 1))
    assert (grey == grey[..., :1]).all()
    shifted = pixels(CHANGES["shift"].apply(COFFEE, 0.1))
    assert np.array_equal(shifted[:, 51:], pixels(COFFEE.picture)[:, : 512 - 51])


def test_swaps_leave_the_other_part_alone():
    object_ = pixels(COFFEE.mask.filter(PIL.ImageFilter.MinFilter(5))) == 255
    swapped = pixels(CHANGES["background swap"].apply(COFFEE, 1))
    assert np.array_equal(swapped[object_], pixels(COFFEE.picture)[object_])
    outside = np.ones(object_.shape, dtype=bool)
    left, top, right, bottom = COFFEE.mask.getbbox()
    outside[max(0, top - 5) : bottom + 5, max(0, left - 5) : right + 5] = False
    swapped = pixels(CHANGES["object swap"].apply(COFFEE, 1))
    assert np.array_equal(swapped[outside], pixels(COFFEE.picture)[outside])
    assert np.abs(swapped - pixels(COFFEE.picture))[object_].mean() > 20


def test_scenes_without_masks_are_not_swapped():
    made = {change.name for change, _, _ in apply_changes(SCENES["cat"])}
    assert made == CHANGES.keys() - {"background swap", "object swap"}
    with pytest.raises(ValueError, match="cat has no mask"):
        CHANGES["object swap"].apply(SCENES["cat"], 1)


def test_folders_that_hold_no_scenes_are_said(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such folder of pictures"):
        read_scenes(tmp_path / "gone")
    with pytest.raises(ValueError, match="holds no pictures"):
        read_scenes(tmp_path)
    layouts.picture(tmp_path / "a.png")
    layouts.picture(tmp_path / "masks" / "a.png", size=(10, 10))
    with pytest.raises(ValueError, match=r"is 10 × 10; expected the size of a.png"):
        read_scenes(tmp_path)
    (tmp_path / "a.png").write_text("no picture")
    with pytest.raises(ValueError, match="cannot be read as a picture"):
        read_scenes(tmp_path)


def test_scenes_have_the_pixels_that_metrics_see(tmp_path):
    """Upright, laid over white, 16 bits scaled and not cut off."""
    grey = np.linspace(0, 65535, 20 * 24).reshape(20, 24).astype(np.uint16)
    PIL.Image.fromarray(grey).save(tmp_path / "deep.png")
    clear = np.random.default_rng(0).integers(0, 256, (20, 24, 4), dtype=np.uint8)
    PIL.Image.fromarray(clear).save(tmp_path / "clear.png")
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    PIL.Image.fromarray(clear[..., :3]).save(tmp_path / "turned.jpg", exif=exif)
    scenes = read_scenes(tmp_path)
    assert [scene.name for scene in scenes] == ["clear", "deep", "turned"]
    for scene, file in zip(scenes, sorted(tmp_path.iterdir()), strict=True):
        assert torch.equal(to_pixels(scene.picture, None), to_pixels(file, None))


def test_a_scene_that_is_an_animation_is_refused(tmp_path):
    frames = [PIL.Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    with pytest.raises(ValueError, match=r"a\.gif has several frames"):
        read_scenes(tmp_path)


def made(names):
    return find_metrics(names), lambda name: Options()


@pytest.mark.slow
def test_sensitivity_is_the_metrics_own_distance(tmp_path):
    makers, options = made(["mini", "psnr"])
    scenes = [SCENES["coffee"], SCENES["cat"]]
    table = run(makers, scenes, tmp_path, options=options)
    assert table.equals(pd.read_parquet(tmp_path / "sensitivity.parquet"))
    assert len(table) == sum(1 for scene in scenes for _ in apply_changes(scene)) * 2
    row = table[(table.metric == "mini") & (table.change == "blur") & (table.level == 2)].iloc[0]
    d = distance(COFFEE.picture, CHANGES["blur"].apply(COFFEE, 2))
    assert row.distance == pytest.approx(d, abs=1e-6)
    assert row.relative == pytest.approx(d / distance(COFFEE.picture, SCENES["cat"].picture), abs=1e-5)
    psnr = table[(table.metric == "psnr") & (table.change == "size") & (table.level == 0.5)].iloc[0]
    a = to_pixels(COFFEE.picture, None)
    b = to_pixels(CHANGES["size"].apply(COFFEE, 0.5), a.shape[-2:])
    assert -psnr.distance == pytest.approx(-10 * np.log10(((a - b) ** 2).mean().item()), abs=1e-3)
    means = rank_changes(table)
    assert list(means.columns) == ["mini", "psnr"]
    assert means.loc["blur", "mini"] == pytest.approx(
        table[(table.metric == "mini") & (table.change == "blur")].relative.mean()
    )


class Blind(Metric):
    card = MetricCard("blind", "distance", (0, 1), "native", "none")

    def compare(self, a, b):
        return torch.zeros(len(a[0]))


def test_metrics_that_cannot_be_had_or_see_nothing_are_left_out(tmp_path, capsys):
    def absent(options):
        raise ConnectionError("no network")

    makers = {"blind": lambda options: Blind(), "absent": absent, **find_metrics(["gmsd"])}
    table = run(makers, [SCENES["coffee"], SCENES["cat"]], tmp_path, options=lambda name: Options())
    assert set(table.metric) == {"gmsd"}
    shown = capsys.readouterr().err
    assert "blind: it finds different pictures no more different" in shown
    assert "absent: weights not available: no network" in shown
    with pytest.raises(ValueError, match="two at least"):
        run(makers, [COFFEE], tmp_path, options=lambda name: Options())


def test_the_command_prints_the_ranking(tmp_path, capsys):
    for i in range(2):
        layouts.picture(tmp_path / f"pictures/{i}.png", i, (64, 64))
    given = [
        "sensitivity",
        "--pictures",
        str(tmp_path / "pictures"),
        "--metrics",
        "psnr",
        "--out",
        str(tmp_path / "out"),
    ]
    assert cli.main(given) == 0
    shown = capsys.readouterr().out
    assert "re-encoding *" in shown
    assert "rotation" in shown
    assert cli.main(["sensitivity", "--pictures", "gone", "--out", str(tmp_path / "out")]) == 1
    assert "dreamsim-bench: no such folder of pictures: gone" in capsys.readouterr().err
