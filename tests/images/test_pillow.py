"""Pictures are opened in one way: what it sees, and that there is no second."""

import ast
import io

import numpy as np
import PIL.Image
import pytest

from dreamsim_metric.images.convert import to_image, to_mask, to_pixels
from tests.places import ROOT

OPENERS = {
    *("PIL.Image.open", "Image.open", "PIL.ImageFile.Parser", "imageio.imread", "cv2.imread", "cv2.imdecode"),
    *("matplotlib.image.imread", "plt.imread", "skimage.io.imread", "PIL.ImageOps.exif_transpose"),
    *("torchvision.io.read_image", "torchvision.io.decode_image", "torchvision.io.decode_jpeg"),
    *("read_image", "decode_image", "decode_jpeg", "imread", "exif_transpose", "default_loader", "pil_loader"),
}
ALLOWED = {  # who opens pictures, and what
    "dreamsim_metric/images/pillow.py": {"PIL.Image.open", "PIL.ImageOps.exif_transpose"},
    "dreamsim_metric/images/decoding.py": {"decode_jpeg"},  # of JPEGs that it decodes alike
    "data_tools/stimuli.py": {"PIL.Image.open"},  # of which kind a file is; browsers decode it
    "benchmarks/speed/groups.py": {"PIL.Image.open"},  # as others do, whose time is measured
}


def openers(tree):
    """What a file calls or hands on of what opens pictures, by its dotted name."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute | ast.Name) and (name := ast.unparse(node)) in OPENERS:
            yield name
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] in ("PIL", "torchvision"):
            yield from (alias.name for alias in node.names if alias.name in OPENERS | {"open"})


def test_pictures_are_opened_in_one_file():
    found = {}
    for package in ("dreamsim_metric", "data_tools", "benchmarks"):
        for file in sorted((ROOT / package).rglob("*.py")):
            if used := set(openers(ast.parse(file.read_text(encoding="utf-8")))):
                found[file.relative_to(ROOT).as_posix()] = used
    assert found == ALLOWED


SECOND = ["with PIL.Image.open(path) as image: pass", "from PIL import Image\nlist(map(Image.open, files))"]
SECOND += ["from PIL.Image import open", "from torchvision.io import decode_image", "pixels = plt.imread(file)"]


@pytest.mark.parametrize("code", SECOND)
def test_a_second_way_is_found(code):
    assert list(openers(ast.parse(code)))


TURNS = ["FLIP_LEFT_RIGHT", "ROTATE_180", "FLIP_TOP_BOTTOM", "TRANSPOSE", "ROTATE_270", "TRANSVERSE", "ROTATE_90"]
KINDS = {"L": np.uint8, "I;16": np.uint16, "RGB": np.uint8, "RGBA": np.uint8, "CMYK": np.uint8, "LA": np.uint8}


@pytest.mark.parametrize("mode", KINDS)
@pytest.mark.parametrize("compression", [None, "tiff_lzw"])
def test_a_rotated_tiff_is_upright_however_it_is_opened(mode, compression, tmp_path):
    random = np.random.default_rng(0)
    bands = {"L": (), "I;16": (), "LA": (2,), "RGB": (3,)}.get(mode, (4,))
    values = random.integers(0, np.iinfo(KINDS[mode]).max, (30, 21, *bands), dtype=KINDS[mode])
    image = PIL.Image.fromarray(values, **({"mode": mode} if mode == "CMYK" else {}))
    upright = to_pixels(image, None)[0].permute(1, 2, 0).numpy()
    for orientation, turn in enumerate(TURNS, start=2):
        exif = PIL.Image.Exif()
        exif[0x0112] = orientation
        file = tmp_path / f"{orientation}.tif"
        image.save(file, exif=exif, compression=compression)
        turned = np.asarray(
            PIL.Image.fromarray(np.arange(630, dtype=np.int32).reshape(30, 21)).transpose(PIL.Image.Transpose[turn])
        )
        expected = upright.reshape(630, 3)[turned]
        with PIL.Image.open(file) as opened, PIL.Image.open(io.BytesIO(file.read_bytes())) as from_bytes:
            for picture in (file, opened, from_bytes):
                assert np.array_equal(to_pixels(picture, None)[0].permute(1, 2, 0).numpy(), expected)
            assert opened.filename == str(file)


@pytest.mark.parametrize("mode", ["L", "RGB", "LA", "RGBA", "I;16", "1"])
def test_a_mask_is_white_where_something_is(mode, tmp_path):
    inside = np.zeros((8, 6), bool)
    inside[:3] = True
    values = {
        "I;16": PIL.Image.fromarray(np.where(inside, 65535, 300).astype(np.uint16)),
        "LA": PIL.Image.fromarray(np.dstack(2 * [np.where(inside, 255, 0)]).astype(np.uint8)),
        "RGBA": PIL.Image.fromarray(np.dstack(3 * [np.full_like(inside, 255, int)] + [255 * inside]).astype(np.uint8)),
    }
    image = (
        values[mode] if mode in values else PIL.Image.fromarray(np.where(inside, 255, 0).astype(np.uint8)).convert(mode)
    )
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    image.save(tmp_path / "mask.png", exif=exif)
    mask = to_mask(tmp_path / "mask.png")
    assert mask.mode == "L"
    assert np.array_equal(np.asarray(mask) > 127, np.rot90(inside, -1))


def test_an_image_made_of_a_picture_is_a_new_one_without_what_was_beside_its_pixels(tmp_path):
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    PIL.Image.new("RGB", (4, 6)).save(tmp_path / "a.png", exif=exif, dpi=(72, 72))
    with PIL.Image.open(tmp_path / "a.png") as opened:
        for picture in (tmp_path / "a.png", opened, PIL.Image.new("RGB", (6, 4))):
            image = to_image(picture)
            assert image is not picture
            assert (image.size, image.info, dict(image.getexif())) == ((6, 4), {}, {})
