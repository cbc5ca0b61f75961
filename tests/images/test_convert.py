"""Pictures in: every form of one picture gives the same pixels, and what cannot be read is an error that helps."""

import io
import re
from collections import deque

import numpy as np
import pandas
import PIL.Image
import pytest
import torch

from dreamsim_metric.images.convert import count, hold, is_single, split_batches, to_image, to_pixels
from dreamsim_metric.images.encoding import encode

RANDOM = np.random.default_rng(0)
HWC = RANDOM.integers(0, 256, (60, 47, 3), dtype=np.uint8)
CHW = np.moveaxis(HWC, -1, 0)
FLOATS = CHW.astype(np.float32) / 255
SIZES = [(224, 224), (37, 50), (60, 47)]
PHOTOGRAPH = PIL.Image.fromarray(HWC)


def levels(picture, size=(60, 47)):
    """The one picture's 8-bit levels, HWC; at its own size nothing is resized."""
    return (to_pixels(picture, size) * 255).round().byte()[0].permute(1, 2, 0).numpy()


def saved(path, image=PHOTOGRAPH, **options):
    image.save(path, **options)
    return path


LAYOUTS = {"HWC": HWC, "NHWC": HWC[None], "CHW": CHW, "NCHW": CHW[None]}
FORMS = {
    "str": lambda folder: str(saved(folder / "picture.png")),
    "Path": lambda folder: saved(folder / "picture.png"),
    "PIL": PHOTOGRAPH,
    "bytes": encode(PHOTOGRAPH),
    "bytearray": bytearray(encode(PHOTOGRAPH)),
    "buffer": io.BytesIO(encode(PHOTOGRAPH)),
    "dict with bytes": {"bytes": encode(PHOTOGRAPH), "path": "picture.png"},
    "dict with a path": lambda folder: {"bytes": None, "path": str(saved(folder / "picture.png"))},
    "NumPy's string": lambda folder: np.str_(saved(folder / "picture.png")),
    "array of one object": lambda folder: np.array(saved(folder / "picture.png"), dtype=object),
    "list": [HWC],
    "generator": lambda folder: (picture for picture in [PHOTOGRAPH]),
    "column": lambda folder: pandas.Series([saved(folder / "picture.png")], index=["row"]),
    "column of dicts": pandas.Series([{"bytes": encode(PHOTOGRAPH), "path": None}]),
    "array of names": lambda folder: np.array([str(saved(folder / "picture.png"))]),
    "array of objects": lambda folder: np.array([saved(folder / "picture.png")], dtype=object),
    "tuple": (PHOTOGRAPH,),
    **{f"{layout} array": array for layout, array in LAYOUTS.items()},
    **{f"{layout} tensor": torch.from_numpy(array) for layout, array in LAYOUTS.items()},
    "float tensor": torch.from_numpy(FLOATS),
    "float array": FLOATS,
    "float64 array": CHW / 255,
    "big-endian floats": FLOATS.astype(">f4"),
    "read-only": np.frombuffer(HWC.tobytes(), np.uint8).reshape(HWC.shape),
    "negative strides": HWC[::-1, ::-1].copy()[::-1, ::-1],
    "Fortran order": np.asfortranarray(HWC),
    "opaque RGBA": PHOTOGRAPH.convert("RGBA"),
    "opaque RGBA array": np.array(PHOTOGRAPH.convert("RGBA")),
    "opaque RGBA floats": np.concatenate([FLOATS, np.ones_like(FLOATS[:1])]),
}


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_a_picture_gives_the_same_pixels(form, size, tmp_path):
    expected = PHOTOGRAPH.resize(size[::-1], PIL.Image.Resampling.BICUBIC)
    picture = FORMS[form](tmp_path) if callable(FORMS[form]) else FORMS[form]
    pixels = to_pixels(picture, size)
    assert pixels.dtype == torch.float32
    expected = torch.from_numpy(np.array(expected)).permute(2, 0, 1)[None].float() / 255
    assert torch.equal(pixels, expected)


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "CMYK"])
def test_a_picture_as_an_image_has_the_same_pixels(mode, tmp_path):
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    image = PHOTOGRAPH.convert(mode)
    if mode == "RGBA":
        image.putalpha(PHOTOGRAPH.convert("L"))
    path = tmp_path / "picture.tiff"
    image.save(path, exif=exif)
    expected = to_pixels(path, None)[0]
    with PIL.Image.open(path) as opened:
        for picture in (path, opened, expected):
            found = to_image(picture)
            assert found.mode == "RGB"
            assert np.array_equal(np.array(found), (255 * expected).round().byte().permute(1, 2, 0).numpy())


TURNS = ["FLIP_LEFT_RIGHT", "ROTATE_180", "FLIP_TOP_BOTTOM", "TRANSPOSE", "ROTATE_270", "TRANSVERSE", "ROTATE_90"]


@pytest.mark.parametrize("from_file", [True, False])
@pytest.mark.parametrize(("orientation", "turn"), [(1, None), *enumerate(TURNS, start=2)])
def test_exif_rotation_is_applied(orientation, turn, from_file, tmp_path):
    exif = PIL.Image.Exif()
    exif[0x0112] = orientation
    path = saved(tmp_path / "rotated.png", exif=exif)
    upright = PHOTOGRAPH.transpose(PIL.Image.Transpose[turn]) if turn else PHOTOGRAPH
    with PIL.Image.open(path) as image:
        assert np.array_equal(levels(path if from_file else image, upright.size[::-1]), np.array(upright))


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGBX", "CMYK", "YCbCr", "HSV", "LAB"])
def test_every_opaque_mode_becomes_rgb(mode):
    image = PIL.Image.new("LAB", (47, 60), (130, 20, 240)) if mode == "LAB" else PHOTOGRAPH.convert(mode)
    assert np.array_equal(levels(image), np.array(image.convert("RGB")))


FILES = ["CMYK jpg", "YCbCr jpg", "L jpg", "P gif", "1 png", "RGB png", "RGB webp", "RGB tiff", "RGB bmp", "RGBA tiff"]


@pytest.mark.parametrize("kind", FILES)
def test_files_of_one_frame_are_read_as_rgb(kind, tmp_path):
    mode, suffix = kind.split()
    path = saved(tmp_path / f"picture.{suffix}", PHOTOGRAPH.convert(mode))
    with PIL.Image.open(path) as image:
        assert np.array_equal(levels(path), np.array(image.convert("RGB")))


GREY = [HWC[..., 0], HWC[..., :1], HWC[None, ..., :1], FLOATS[0], FLOATS[:1], FLOATS[None, :1]]


@pytest.mark.parametrize("grey", GREY, ids=lambda grey: f"{grey.dtype} {grey.shape}")
def test_greyscale_arrays_are_repeated(grey):
    assert np.array_equal(levels(grey), HWC[..., [0, 0, 0]])


def on_white(image):
    image = image.convert("RGBA")
    return np.array(PIL.Image.alpha_composite(PIL.Image.new("RGBA", image.size, "white"), image).convert("RGB"))


def translucent(mode):
    image = PHOTOGRAPH.convert("RGBA")
    image.putalpha(PIL.Image.fromarray(HWC[..., 0]))
    return image.convert("LA").convert("La") if mode == "La" else image.convert(mode)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA", "RGBa", "La"])
def test_transparency_is_laid_over_white(mode):
    image = translucent(mode)
    assert np.array_equal(levels(image), on_white(image.convert("LA") if mode == "La" else image))


TRANSPARENT = {  # mode, `transparency` of the PNG
    "palette, one colour": ("P", PHOTOGRAPH.convert("P").getpixel((0, 0))),
    "palette, alphas": ("P", bytes(range(256))),
    "grey": ("L", 200),
    "one bit": ("1", 255),
    "colour": ("RGB", tuple(map(int, HWC[0, 0]))),
}


@pytest.mark.parametrize("case", TRANSPARENT)
def test_transparency_beside_the_pixels_of_a_png_is_laid_over_white(case, tmp_path):
    mode, transparency = TRANSPARENT[case]
    path = saved(tmp_path / "picture.png", PHOTOGRAPH.convert(mode), transparency=transparency)
    with PIL.Image.open(path) as image:
        assert (np.array(image.convert("RGBA"))[..., 3] < 255).any()
        assert np.array_equal(levels(path), on_white(image))


VALUE, ALPHA = np.meshgrid(np.arange(256, dtype=np.uint8), np.arange(256, dtype=np.uint8))
ALL_ALPHAS = np.stack([VALUE, VALUE, VALUE, ALPHA], axis=-1)


@pytest.mark.parametrize("form", [PIL.Image.fromarray, torch.from_numpy])
def test_every_alpha_over_every_value_is_rounded_as_pillow_does(form):
    assert np.array_equal(levels(form(ALL_ALPHAS), (256, 256)), on_white(PIL.Image.fromarray(ALL_ALPHAS)))


def test_float_rgba_is_composited_without_rounding():
    colour, alpha = (torch.from_numpy(channel).double() / 255 for channel in (VALUE, ALPHA))
    pixels = to_pixels(torch.from_numpy(ALL_ALPHAS).permute(2, 0, 1) / 255, (256, 256))
    assert (pixels - (colour * alpha + 1 - alpha)).abs().max() < 1e-6
    assert 0 <= pixels.min() <= pixels.max() <= 1


SIXTEEN_BITS = np.arange(65536, dtype=np.uint16).reshape(256, 256)


@pytest.mark.parametrize("suffix", ["png", "pgm", "tiff", None])
def test_16_bits_are_scaled_to_the_nearest_of_8(suffix, tmp_path):
    image = PIL.Image.fromarray(SIXTEEN_BITS)
    grey = levels(image if suffix is None else saved(tmp_path / f"deep.{suffix}", image), (256, 256))
    assert np.array_equal(grey, np.repeat(np.round(SIXTEEN_BITS / 257)[..., None], 3, axis=-1))


def test_the_transparent_value_of_a_16_bit_png_is_white(tmp_path):
    image = PIL.Image.fromarray(SIXTEEN_BITS[:2, :2])
    path = saved(tmp_path / "deep.png", image, transparency=1)
    assert levels(path, (2, 2))[..., 0].tolist() == [[0, 255], [1, 1]]


def test_of_a_multi_picture_jpeg_the_photograph_is_read(tmp_path):
    preview = [PIL.Image.new("RGB", (8, 6))]
    path = saved(tmp_path / "phone.jpg", format="MPO", save_all=True, append_images=preview)
    with PIL.Image.open(path) as image:
        assert (image.format, image.n_frames) == ("MPO", 2)
        assert np.array_equal(levels(path), np.array(image.convert("RGB")))


@pytest.mark.parametrize("shape", [(1, 1), (1, 2), (2, 1), (1, 500), (20_000, 1), (1, 20_000)], ids=str)
def test_thin_and_tiny_pictures_are_read(shape):
    array = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    pixels = to_pixels(PIL.Image.fromarray(array), (224, 224))
    assert torch.equal(pixels, to_pixels(torch.from_numpy(array).permute(2, 0, 1) / 255, (224, 224)))


def test_a_list_may_mix_forms_and_sizes():
    pictures = [PHOTOGRAPH, HWC[:9, :31], torch.from_numpy(FLOATS[:, 5:]), HWC[..., 0], translucent("RGBA")]
    one_by_one = torch.cat([to_pixels(picture, (40, 30)) for picture in pictures])
    assert torch.equal(to_pixels(pictures, (40, 30)), one_by_one)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_every_float_type_is_taken_at_its_value(dtype):
    picture = torch.from_numpy(FLOATS).to(dtype)
    assert torch.equal(to_pixels(picture, (37, 50)), to_pixels(picture.float(), (37, 50)))


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_gradients_reach_every_float_tensor(channels, size):
    batch, single = (torch.rand(*n, channels, 60, 47, requires_grad=True) for n in ((2,), ()))
    (to_pixels(batch, size).sum() + to_pixels([single, PHOTOGRAPH], size).sum()).backward()
    for tensor in (batch, single):
        assert tensor.grad.isfinite().all()
        assert (tensor.grad != 0).float().mean() > 0.9


def test_the_value_range_has_room_for_rounding_and_is_checked_on_request():
    picture = torch.tensor([0.0, 1.0]).repeat(3, 4, 1)
    assert to_pixels(picture * (1 + 5e-6), (8, 8)).max() <= 1
    with pytest.raises(ValueError, match=r"got float values from 0 to 1\.0001"):
        to_pixels(picture * 1.0001, (8, 8))
    to_pixels(picture * 1.0001, (8, 8), check=False)


ANIMATED = ("gif", "png", "webp", "tiff")


@pytest.fixture
def folder(tmp_path):
    """Files that cannot be read, one of each kind."""
    for suffix, kept in (("jpg", 0.5), ("png", 0.5), ("gif", 0.01)):
        whole = saved(tmp_path / f"truncated.{suffix}").read_bytes()
        (tmp_path / f"truncated.{suffix}").write_bytes(whole[: int(kept * len(whole))])
    damaged = bytearray(saved(tmp_path / "damaged.png").read_bytes())
    damaged[len(damaged) // 2] ^= 255
    (tmp_path / "damaged.png").write_bytes(damaged)
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "text.jpg").write_text("not a picture")
    (tmp_path / "folder.png").mkdir()
    for suffix in ANIMATED:
        saved(tmp_path / f"frames.{suffix}", save_all=True, append_images=[PHOTOGRAPH.rotate(180)])
    saved(tmp_path / "integers.tiff", PHOTOGRAPH.convert("I"))
    saved(tmp_path / "floats.tiff", PHOTOGRAPH.convert("F"))
    return tmp_path


BAD_FILES = {
    "missing.jpg": "no such picture: {path}",
    "http://example.com/cat.jpg": "no such picture: .*cat.jpg; download it first",
    "empty.jpg": r"{path} is an empty file \(0 bytes\); expected a picture",
    "text.jpg": "{path} is not a picture that Pillow can read",
    "folder.png": "{path} is a folder; expected a picture file: pass a list of the files in it",
    "truncated.jpg": r"{path} will not decode \(OSError: .*truncated.*\); is it whole\?",
    "truncated.png": r"{path} will not decode \(OSError: .*truncated.*\); is it whole\?",
    "truncated.gif": r"{path} (will not decode|is not a picture)",
    "damaged.png": r"{path} will not decode \(.*\); is it whole\?",
    **{f"frames.{kind}": rf"{{path}} has several frames \({kind.upper()}\); expected one picture" for kind in ANIMATED},
    "integers.tiff": r"{path} has mode I, .* expected 8 or 16 bits: scale it to 0…255 and \.convert\('L'\)",
    "floats.tiff": r"{path} has mode F, .* expected 8 or 16 bits: scale it to 0…255 and \.convert\('L'\)",
}


@pytest.mark.parametrize("in_a_list", [False, True])
@pytest.mark.parametrize("name", BAD_FILES)
def test_a_file_that_cannot_be_read_is_named(name, in_a_list, folder):
    path = name if "://" in name else folder / name
    error = FileNotFoundError if BAD_FILES[name].startswith("no such") else ValueError
    with pytest.raises(error, match=BAD_FILES[name].format(path=re.escape(str(path)))):
        to_pixels([PHOTOGRAPH, path] if in_a_list else path, (8, 8))


def test_a_file_too_large_to_be_trusted_is_named(tmp_path, monkeypatch):
    path = saved(tmp_path / "bomb.png")
    monkeypatch.setattr(PIL.Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(ValueError, match=re.escape(str(path)) + r" .*2820 pixels.*PIL\.Image\.MAX_IMAGE_PIXELS"):
        to_pixels(path, (8, 8))


def test_how_many_pixels_a_picture_may_have_is_one_setting(tmp_path, monkeypatch):
    path = saved(tmp_path / "large.png")
    monkeypatch.setattr(PIL.Image, "MAX_IMAGE_PIXELS", 100)
    for most in (2820, 10**9):
        monkeypatch.setenv("DREAMSIM_METRIC_MAX_PIXELS", str(most))
        assert np.array_equal(levels(path), HWC)
        assert most == PIL.Image.MAX_IMAGE_PIXELS
    for most in (2819, 100):
        monkeypatch.setenv("DREAMSIM_METRIC_MAX_PIXELS", str(most))
        with pytest.raises(ValueError, match=r"large.png has more pixels than are allowed \(.*2820 pixels"):
            to_pixels(path, None)
    for most in ("many", "0", "-5", "1e9"):
        monkeypatch.setenv("DREAMSIM_METRIC_MAX_PIXELS", most)
        with pytest.raises(ValueError, match=f"got DREAMSIM_METRIC_MAX_PIXELS={most}; expected a number of pixels"):
            to_pixels(path, None)


def test_an_opened_file_that_will_not_decode_is_an_error(folder):
    with (
        PIL.Image.open(folder / "truncated.png") as image,
        pytest.raises(ValueError, match=r"\(mode RGB\) will not convert to RGB \(OSError: .*truncated"),
    ):
        to_pixels(image, (8, 8))


REAL = torch.from_numpy(RANDOM.random((3, 9, 8), np.float32))
BYTES = np.zeros((9, 8, 3), np.uint8)
ANYTHING = (
    "expected a path, a PIL image, a file's bytes, an opened file, a uint8 array or tensor .*, or a list of those"
)
FIRST = r"expected channels first, \(3, H, W\) or \(N, 3, H, W\)"
NOT_8_BIT = r"expected uint8 in 0…255 or floating point in \[0, 1\]: convert with .*, or divide"
BAD = {
    "0…255": (REAL * 250 + 5, r"from \S+ to 25\S+; expected \[0, 1\]: if these are 8-bit levels, divide by 255"),
    "-1…1": (REAL * 2 - 1, r"from -0\.\S+ to 0\.\S+; expected \[0, 1\]: if these are in \[-1, 1\], use \(x \+ 1\) / 2"),
    "normalised": ((REAL - 0.45) / 0.22, r"expected \[0, 1\]: undo any mean/std normalisation .* \.clamp\(0, 1\)"),
    "NaN": (REAL.where(REAL < 0.9, torch.nan), "from nan to nan; .*: it holds NaN or infinity"),
    "infinity": (REAL.where(REAL < 0.9, torch.inf), "to inf; .*: it holds NaN or infinity"),
    "two channels": (REAL[:2], rf"got floats of shape \(2, 9, 8\); {FIRST} with 1, 3 or 4 channels, not 2"),
    "five channels": (torch.rand(2, 5, 9, 8), rf"shape \(2, 5, 9, 8\); {FIRST} with 1, 3 or 4 channels, not 5"),
    "no channels": (REAL[:0], "1, 3 or 4 channels, not 0"),
    "two channels of bytes": (BYTES[..., :2], r"uint8 of shape \(9, 8, 2\); expected 1, 3 or 4 channels, first"),
    "HWC floats": (BYTES / 255, rf"{FIRST}: it looks channels-last: use \.permute\(2, 0, 1\) \(np\.moveaxis"),
    "NHWC floats": (torch.rand(2, 9, 8, 3), rf"{FIRST}: it looks channels-last: use \.permute\(0, 3, 1, 2\)"),
    "CHW or HWC": (BYTES[:3], r"uint8 of shape \(3, 8, 3\), which reads as channels first and as channels last; pass"),
    "NCHW or NHWC": (BYTES[None, :4], r"uint8 of shape \(1, 4, 8, 3\), which reads as channels first and as .*; pass"),
    "int64": (REAL.long(), rf"got torch.int64 of shape \(3, 9, 8\); {NOT_8_BIT}"),
    "int32": (BYTES.astype(np.int32), rf"got torch.int32 of shape \(9, 8, 3\); {NOT_8_BIT}"),
    "uint16": (BYTES.astype(np.uint16), rf"got torch.uint16 .*; {NOT_8_BIT}"),
    "bool": (BYTES > 0, rf"got torch.bool .*; {NOT_8_BIT}"),
    "complex": (REAL + 1j, rf"got torch.complex64 .*; {NOT_8_BIT}"),
    "long doubles": (BYTES.astype(np.longdouble), rf"got an array of \S+; {ANYTHING}"),
    "objects": (BYTES.astype(object), f"got an array of object; {ANYTHING}"),
    "one dimension": (REAL[0, 0], rf"got 1 dimensions, shape \(8,\); {ANYTHING}"),
    "five dimensions": (REAL[None, None], f"got 5 dimensions, .*; {ANYTHING}"),
    "empty list": ([], r"got no pictures \(an empty list or batch\); expected at least one"),
    "empty batch": (REAL[None][:0], r"got shape \(0, 3, 9, 8\), which has no pixels; expected at least one picture"),
    "empty batch of bytes": (BYTES[None][:0], r"got shape \(0, 9, 8, 3\), which has no pixels"),
    "no rows": (REAL[:, :0], r"got shape \(3, 0, 8\), which has no pixels; expected .* at least 1 × 1"),
    "no pixels": (PIL.Image.new("RGB", (0, 5)), r"PIL image has no pixels \(size \(0, 5\)\); expected at least 1 × 1"),
    "nested list": ([PHOTOGRAPH, [PHOTOGRAPH]], "got a list inside a list; expected one picture each: .* flatten it"),
    "batch in a list": ([REAL[None]], r"got shape \(1, 3, 9, 8\) inside a list; expected one picture each: pass"),
    "None": (None, f"got NoneType; {ANYTHING}"),
    "numbers": ([0.5], f"got float; {ANYTHING}"),
    "generator of nothing": ((picture for picture in []), "got no pictures"),
    "generator in a list": ([iter([PHOTOGRAPH])], "got a list_iterator inside a list; expected one picture each: pass"),
    "set": ({"a.png", "b.png"}, "got a set of pictures, which has no order; expected a list"),
    "table": (pandas.DataFrame({"a": ["a.png"]}), r"got a table \(DataFrame\); expected its column of pictures"),
    "dict": ({"a": PHOTOGRAPH}, "got a dict of a; expected bytes or path of a picture: of a table's row, pass"),
    "dict of nothing": ({"bytes": None, "path": None}, "got a dict of bytes, path; expected bytes or path of a pict"),
    "bytes": (b"\x89PNG", "the picture's file is not a picture that Pillow can read"),
    "no bytes": (b"", r"the picture's file is empty \(0 bytes\)"),
    "text of a file": (io.StringIO("text"), "the opened file is opened as text; expected a file opened with mode 'rb'"),
    "nothing in a column": (pandas.Series([None]), "got NoneType; expected a path"),
    "two devices": ([REAL, REAL.to("meta")], r"on cpu and meta; expected one device: move them with \.to\(device\)"),
    "a PIL image and a device": ([PHOTOGRAPH, REAL.to("meta")], "on cpu and meta; expected one device"),
    "mode I": (PHOTOGRAPH.convert("I"), r"the PIL image has mode I, .*: scale it to 0…255 and \.convert\('L'\)"),
    "mode F": (PHOTOGRAPH.convert("F"), "the PIL image has mode F, .*: scale it"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_read_is_an_error_that_says_what_to_do(case):
    pictures, message = BAD[case]
    with pytest.raises(ValueError, match=message):
        to_pixels(pictures, (8, 8))


SINGLE = ["a.jpg", PHOTOGRAPH, BYTES, REAL[0], b"bytes", io.BytesIO(b"bytes"), {"bytes": b"bytes", "path": None}]
SEVERAL = [(REAL.expand(5, -1, -1, -1), 5), (BYTES[None], 1), (["a.jpg"], 1), ((PHOTOGRAPH, BYTES, REAL), 3)]
SEVERAL += [(pandas.Series(["a.jpg"] * 3, index=[2, 0, 1]), 3), (np.array(["a.jpg", "b.jpg"]), 2), (deque([b"a"]), 1)]


@pytest.mark.parametrize(("pictures", "n"), [*((picture, None) for picture in SINGLE), *SEVERAL])
def test_pictures_are_counted_and_divided_without_reading_them(pictures, n):
    assert is_single(pictures) == (n is None)
    assert count(pictures) == (n or 1)
    assert [count(some) for some in split_batches(pictures, 2)] == [2] * ((n or 1) // 2) + [1] * ((n or 1) % 2)
    assert all(is_single(some) == (n is None) for some in split_batches(pictures, 2))


def test_what_gives_pictures_once_is_held_and_a_column_is_asked_for_each_when_it_is_wanted():
    held = hold(picture for picture in [PHOTOGRAPH, BYTES])
    assert held == [PHOTOGRAPH, BYTES]

    class Column:
        """As of the library `datasets`: an element is decoded when it is taken."""

        taken = 0

        def __len__(self):
            return 5

        def __iter__(self):
            for _ in range(5):
                self.taken += 1
                yield PHOTOGRAPH

    column = Column()
    assert hold(column) is column
    assert next(split_batches(column, 2)) == [PHOTOGRAPH] * 2
    assert column.taken == 2


def test_an_opened_file_is_read_from_its_beginning_and_stays_open(tmp_path):
    with saved(tmp_path / "picture.png").open("rb") as file:
        assert np.array_equal(levels(file), levels(file))
        assert np.array_equal(np.array(to_image(file)), HWC)
        assert not file.closed


@pytest.mark.parametrize("nothing", [[], (), REAL[None][:0], BYTES[None][:0]], ids=["list", "tuple", "tensor", "array"])
def test_no_pictures_and_batches_of_none_are_errors(nothing):
    with pytest.raises(ValueError, match="got no pictures"):
        count(nothing)
    for batch_size in (0, -1):
        with pytest.raises(ValueError, match=f"got batch_size {batch_size}; expected 1 or more"):
            list(split_batches(PHOTOGRAPH, batch_size))
