"""What a picture may take of a machine: memory, and turns."""

import os
import subprocess
import sys
import threading

import numpy as np
import PIL.Image
import pytest

from dreamsim_metric.images.budget import Budget
from dreamsim_metric.images.convert import to_pixels
from dreamsim_metric.images.pillow import open_file
from tests.places import ROOT

WIDTH, HEIGHT = 4000, 2000
PROGRAM = """
import resource, sys
from pathlib import Path
from dreamsim_metric.images.pillow import read_file
read_file(Path("examples/cat.jpg"), (224, 224))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
read_file(Path(sys.argv[1]), (224, 224))
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024)
"""


def made(kind):
    ramp = np.tile(np.arange(WIDTH, dtype=np.uint16), (HEIGHT, 1))
    grey = PIL.Image.fromarray((ramp % 256).astype(np.uint8))
    if kind.startswith("16"):
        return PIL.Image.fromarray(ramp * 16)
    if kind.startswith("P"):
        return grey.quantize(64)
    return PIL.Image.merge(kind.split()[0], [grey] * len(kind.split()[0]))


@pytest.mark.parametrize(
    ("kind", "bytes_a_pixel", "options"),
    [
        ("RGB", 3, {}),
        ("RGBA", 4, {}),
        ("LA", 2, {}),
        ("P, one", 3, {"transparency": 3}),
        ("P, many", 3, {"transparency": bytes(range(0, 256, 4))}),
        ("RGB keyed", 3, {"transparency": (1, 2, 3)}),
        ("16 bits", 2, {}),
        ("16 bits, keyed", 2, {"transparency": 16 * 7}),
    ],
)
def test_a_picture_takes_three_times_its_bytes_at_most(tmp_path, kind, bytes_a_pixel, options):
    file = tmp_path / "large.png"
    made(kind).save(file, compress_level=1, **options)
    run = subprocess.run([sys.executable, "-c", PROGRAM, file], cwd=ROOT, capture_output=True, text=True, check=True)
    assert int(run.stdout) < 3 * bytes_a_pixel * WIDTH * HEIGHT + 60_000_000


MODES = ["RGBA", "LA", "PA", "P", "L", "RGB", "1", "I;16", "La"]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("background", ["white", "black"])
def test_transparency_has_the_bits_of_pillows_alpha_composite(tmp_path, mode, background):
    random = np.random.default_rng(0)
    levels = random.integers(0, 256, (1100, 1000, 4), dtype=np.uint8)  # more than a band
    key = {"P": 3, "L": 7, "RGB": (0, 0, 0), "1": 0, "I;16": 257 * 7}.get(mode)
    if mode == "I;16":
        image = PIL.Image.fromarray(levels[..., 0].astype(np.uint16) * 257)
        expected = PIL.Image.fromarray(
            np.where(levels[..., :1] == 7, [0, 0, 0, 0], levels[..., [0, 0, 0, 3]]).astype(np.uint8)
        )
        expected.putalpha(PIL.Image.fromarray(np.where(levels[..., 0] == 7, 0, 255).astype(np.uint8)))
        image.info["transparency"] = key
    else:
        image = PIL.Image.fromarray(levels if mode in ("RGBA", "P", "PA") else levels[..., :3].copy())
        if mode == "La":
            image = PIL.Image.fromarray(levels).convert("LA").convert("La")
        elif mode != "RGBA":
            image = image.convert("RGB").quantize(64) if mode == "P" else PIL.Image.fromarray(levels).convert(mode)
        if key is not None:
            image.info["transparency"] = key
        expected = (image.convert("LA") if mode == "La" else image).convert("RGBA")
    expected = PIL.Image.alpha_composite(PIL.Image.new("RGBA", image.size, background), expected).convert("RGB")
    from dreamsim_metric.images.pillow import to_rgb

    assert np.array_equal(np.asarray(to_rgb(image, "it", background)), np.asarray(expected))


def test_a_large_array_with_transparency_is_laid_over_white_as_a_small_one():
    levels = np.random.default_rng(0).integers(0, 256, (1100, 1000, 4), dtype=np.uint8)
    whole = to_pixels(PIL.Image.fromarray(levels), None)
    assert np.array_equal(to_pixels(levels, None), whole)


def test_threads_wait_for_pixels_that_others_hold():
    budget, order = Budget(100), []

    def second():
        with budget.hold(50):
            order.append("second")

    with budget.hold(1000):
        thread = threading.Thread(target=second)
        thread.start()
        thread.join(0.05)
        order.append("first")
    thread.join()
    assert order == ["first", "second"]
    assert budget.free == 100


def test_a_pipe_is_refused(tmp_path):
    os.mkfifo(tmp_path / "a.png")
    with pytest.raises(ValueError, match=r"a\.png is no regular file but a pipe, socket or device"):
        open_file(tmp_path / "a.png")
    with pytest.raises(ValueError, match="null is no regular file but a pipe, socket or device"):
        to_pixels("/dev/null", None)
