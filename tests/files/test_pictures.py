"""One rule says which files are pictures, for commands, data sets and benchmarks alike."""

import io
import os

import numpy as np
import PIL.Image
import PIL.ImageFile
import pytest

from benchmarks.human.data.things import read_things
from benchmarks.personalization.layout import read_pictures
from benchmarks.personalization.subjects import Prompt, Subject, read_subjects
from benchmarks.sensitivity.changes import read_scenes
from dreamsim_metric.files.pictures import find_pictures, list_pictures
from dreamsim_metric.formats import list_endings
from dreamsim_metric.images.convert import to_image
from dreamsim_metric.images.pillow import read_encoded
from dreamsim_metric.judgements.readers import read_triplets

ENDINGS = (".tiff", ".TIF", ".gif", ".webp", ".bmp", ".ppm", ".jp2", ".jpeg", ".PNG")


def picture(path, seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (24, 20, 3), dtype=np.uint8)
    PIL.Image.fromarray(pixels).save(path)
    return path


def touch(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


@pytest.mark.parametrize("ending", ENDINGS)
def test_whatever_pillow_reads_is_a_picture(tmp_path, ending):
    file = picture(tmp_path / f"a{ending}")
    touch(tmp_path, "notes.txt", "a.npy", "a.png.part", "png")
    assert find_pictures([str(tmp_path)]) == list_pictures(tmp_path) == [str(file)]


NO_PICTURES = [".h5", ".hdf", ".mpg", ".mpeg", ".eps", ".ps", ".pdf", ".grib", ".bufr", ".wmf", ".emf", ".svg", ".palm"]


def test_films_drawings_and_containers_are_no_pictures(tmp_path):
    touch(tmp_path, *(f"a{ending}" for ending in NO_PICTURES))
    assert list_pictures(tmp_path) == []


def test_every_format_that_counts_as_a_picture_is_decoded_by_pillow_itself():
    """What Pillow only recognises, or hands to Ghostscript or Windows, raises OSError for want of a handler."""
    PIL.Image.init()
    kinds = {PIL.Image.registered_extensions()[ending] for ending in list_endings()}
    stubs = {
        kind
        for kind, (factory, _) in PIL.Image.OPEN.items()
        if isinstance(factory, type) and issubclass(factory, PIL.ImageFile.StubImageFile)
    }
    assert {"BUFR", "GRIB", "HDF5", "WMF"} <= stubs
    assert not kinds & {*stubs, "EPS", "MPEG", "PDF"}
    assert {"JPEG", "PNG", "TIFF", "WEBP", "GIF", "BMP", "JPEG2000"} <= kinds


@pytest.fixture
def _without_plugins(monkeypatch):
    """As where Pillow has no plugin: what one has registered is forgotten."""
    endings = {".heic", ".heif", ".hif", ".avif"}
    monkeypatch.setattr("dreamsim_metric.formats.list_endings", lambda: list_endings() - endings)
    monkeypatch.setattr("dreamsim_metric.files.pictures.list_endings", lambda: list_endings() - endings)


@pytest.mark.usefixtures("_without_plugins")
def test_photographs_that_are_not_decoded_here_are_named(tmp_path, capsys):
    touch(tmp_path, "a.HEIC", "b.heic", "c.jpg", "d.avif", "e.heif", ".f.heic", "g.eps")
    assert list_pictures(tmp_path) == [str(tmp_path / "c.jpg")]
    said = capsys.readouterr().err
    assert said == (
        f"passed over in {tmp_path}, since nothing here decodes them: a.HEIC, b.heic, d.avif and 1 more; "
        "pip install pillow-heif\n"
    )
    with pytest.raises(ValueError, match=r"a.HEIC is not a picture that Pillow can read; pip install pillow-heif$"):
        read_encoded(io.BytesIO(b"no picture"), "a.HEIC")


def test_heic_is_read_where_its_plugin_is(tmp_path):
    heif = pytest.importorskip("pillow_heif")
    pixels = np.random.default_rng(0).integers(0, 256, (64, 48, 3), dtype=np.uint8)
    heif.from_pillow(PIL.Image.fromarray(pixels)).save(tmp_path / "a.heic", quality=-1, chroma=444)
    assert list_pictures(tmp_path) == [str(tmp_path / "a.heic")]
    assert np.abs(np.asarray(to_image(tmp_path / "a.heic"), dtype=int) - pixels).max() <= 3


def test_pictures_come_in_the_order_of_their_names_without_hidden_ones(tmp_path):
    touch(tmp_path, "b.png", "a.jpg", ".c.png", "._a.jpg", "deep/d.png", ".deep/e.png", "deep/er/f.tif")
    (tmp_path / "circle").symlink_to(tmp_path)
    (tmp_path / "nowhere.png").symlink_to(tmp_path / "none")
    top = [str(tmp_path / name) for name in ("a.jpg", "b.png", "nowhere.png")]
    assert list_pictures(tmp_path) == top
    deep = [str(tmp_path / name) for name in ("deep/d.png", "deep/er/f.tif")]
    assert list_pictures(tmp_path, recursive=True) == sorted([*top, *deep])
    assert find_pictures([top[1], str(tmp_path), "other.txt"]) == [top[1], top[0], top[2], "other.txt"]


def test_names_begin_with_the_folder_s(tmp_path, monkeypatch):
    touch(tmp_path, "a.png", "b/c.png")
    monkeypatch.chdir(tmp_path)
    assert list_pictures(".", recursive=True) == ["a.png", os.path.join("b", "c.png")]
    assert list_pictures("./b") == [os.path.join("b", "c.png")]


def test_a_folder_without_pictures_is_an_error_that_names_one_with_some(tmp_path):
    touch(tmp_path, "text.txt")
    assert list_pictures(tmp_path) == list_pictures(tmp_path / "gone") == []
    for recursive in (False, True):
        with pytest.raises(ValueError, match=r"holds no pictures \(no file with a picture's ending\); .* that does$"):
            find_pictures([str(tmp_path)], recursive)
    touch(tmp_path, "deep/a.png")
    with pytest.raises(ValueError, match=rf"that does, such as {tmp_path / 'deep'}, or search deeper .*--recursive"):
        find_pictures([str(tmp_path)])


def test_scenes_of_sensitivity_may_be_of_any_format(tmp_path):
    for i, ending in enumerate((".tiff", ".gif")):
        picture(tmp_path / f"{i}{ending}", i)
    assert [scene.name for scene in read_scenes(tmp_path)] == ["0", "1"]


def test_photographs_and_painted_pictures_may_be_of_any_format(tmp_path):
    (tmp_path / "subjects.csv").write_text("subject,class\nmug,cup\n")
    (tmp_path / "prompts.csv").write_text("prompt\na red {}\n")
    for i, ending in enumerate(ENDINGS):
        picture(tmp_path / "mug" / f"{i}{ending}", i)
        picture(tmp_path / "painted" / "method" / "mug" / "a-red" / f"{i}{ending}", i)
    (subject,) = read_subjects(tmp_path)
    assert [path.suffix for path in subject.pictures] == list(ENDINGS)
    (gallery,) = read_pictures(tmp_path / "painted", [Subject("mug", "cup", subject.pictures, (Prompt("a red {}"),))])
    assert [picture.path.suffix for picture in gallery.pictures] == list(ENDINGS)


def test_data_sets_may_have_been_converted(tmp_path):
    for part in ("ref", "p0", "p1"):
        picture(tmp_path / "bapps" / "val" / "cnn" / part / "000.webp")
    (tmp_path / "bapps" / "val" / "cnn" / "judge").mkdir()
    np.save(tmp_path / "bapps" / "val" / "cnn" / "judge" / "000.npy", np.float32([0.4]))
    touch(tmp_path / "bapps" / "val" / "cnn", "ref/._000.png", "judge/._000.npy")  # as macOS leaves them
    triplets = read_triplets(tmp_path / "bapps")
    assert (triplets.problems, [path.name for path in triplets.pictures]) == ((), ["000.webp"] * 3)

    for name in ("a", "b", "deep/c"):
        picture(tmp_path / "things" / "images" / f"{name}.TIFF")
    (tmp_path / "things" / "things_valset.txt").write_text("a b deep/c\n")
    odd = read_things(tmp_path / "things")
    assert (odd.problems, [path.name for path in odd.pictures]) == ((), ["a.TIFF", "b.TIFF", "c.TIFF"])
