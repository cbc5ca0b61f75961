"""Human data sets are read from the folders that their authors distribute, and what is missing there is said."""

import numpy as np
import pytest

from benchmarks import cli
from benchmarks.human.data.matrices import read_matrix
from benchmarks.human.data.quality import read_csiq, read_kadid10k, read_live, read_pipal, read_ratings, read_tid2013
from benchmarks.human.data.things import read_things
from benchmarks.human.sources import collect_sources, find_source, read_parts
from dreamsim_metric.judgements.tables import DataError, check
from tests import layouts
from tests.judged import write_pairs, write_triplets
from tests.tables import relative, write


@pytest.mark.parametrize("name", layouts.LAYOUTS)
def test_a_data_set_is_recognised_read_and_sound(name, tmp_path):
    root = layouts.LAYOUTS[name](tmp_path / "some folder")
    (part,) = read_parts(str(root))
    assert part.source is collect_sources()[name]
    (named,) = read_parts(f"{name}={root}")
    assert list(named.table)[:3] == list(part.table)[:3]
    check([part.table], shared_pictures=True)


def test_tid2013(tmp_path):
    table = read_tid2013(layouts.tid2013(tmp_path))
    assert len(table) == 8
    assert relative(table, tmp_path)[0] == ("reference_images/I01.BMP", "distorted_images/i01_01_1.bmp", 5.0)
    assert relative(table, tmp_path)[5] == ("reference_images/i02.BMP", "distorted_images/I02_01_5.bmp", 1.1)
    assert table.subsets == ("01", "01", "24", "24") * 2
    assert len(table.pictures) == 10


def test_kadid10k_scores_are_larger_for_better_pictures(tmp_path):
    table = read_kadid10k(layouts.kadid10k(tmp_path))
    assert relative(table, tmp_path)[1] == ("images/I01.png", "images/I01_01_02.png", 2.9)
    assert table.spread == pytest.approx(0.8)
    assert set(table.votes) == {30}
    assert table.split("test_25").ids == ("I01_25_01", "I01_25_02", "I02_25_01", "I02_25_02")


@pytest.mark.parametrize("folder", ["Distortion_*", "Train_Dist"])
def test_pipal_with_its_pictures_in_four_folders_or_in_one(tmp_path, folder):
    root = layouts.pipal(tmp_path)
    if folder == "Train_Dist":
        (root / folder).mkdir()
        for file in root.glob("Distortion_*/*"):
            file.rename(root / folder / file.name)
    table = read_pipal(root)
    assert [path.rpartition("/")[2] for path in relative(table, root)[6][:2]] == ["A0002.bmp", "A0002_02_00.bmp"]
    assert table.alike[6] == 1422.5
    assert set(table.splits) == {"train"}


def test_csiq_from_its_workbook_and_from_the_text_made_of_it(tmp_path):
    root = layouts.csiq(tmp_path)
    table = read_csiq(root)
    assert relative(table, root)[6][:2] == ("src_imgs/boston.png", "dst_imgs/jpeg2000/boston.jpeg2000.1.png")
    assert table.alike == pytest.approx([-0.2, -0.4, -0.2, -0.4, -0.21, -0.41, -0.21, -0.41])
    assert table.spread == pytest.approx(0.1)
    lines = [f"{path[1].rpartition('/')[2]} {-alike}" for *path, alike in relative(table, root)]
    (root / "csiq_label.txt").write_text("\n".join(lines) + "\n")
    assert list(read_csiq(root)) == list(table)
    assert read_csiq(root).subsets == table.subsets == ("awgn", "awgn", "jpeg2000", "jpeg2000") * 2


def test_live_leaves_the_undistorted_copies_out(tmp_path):
    table = read_live(layouts.live(tmp_path))
    assert len(table) == 982 - 197
    assert table.ids[0] == "jp2k/img2"
    assert relative(table, tmp_path)[0] == ("refimgs/womanhat.bmp", "jp2k/img2.bmp", -20.05)
    row = table.ids.index("jpeg/img2")  # the 229th picture
    assert table.alike[row] == pytest.approx(-(20 + 228 / 20))
    assert set(table.subsets) == set(layouts.LIVE)


def test_things_third_is_the_odd_one(tmp_path):
    table = read_things(layouts.things(tmp_path))
    assert relative(table, tmp_path)[1] == ("acorn_01b.png", "accordion_01b.png", "abacus_01b.png", 2)


def test_ratings_of_ones_own(tmp_path):
    table = read_ratings(layouts.ratings(tmp_path))
    assert table.alike.tolist() == [2, 1, 0, -1, -2, -3]
    assert table.spread.tolist() == [0.5] * 6


def test_a_matrix_is_all_its_pairs(tmp_path):
    root = layouts.matrix(tmp_path, raters=2, n=4)
    found = np.load(root / "rdm.npy")
    found[0, 0, 1] = found[0, 1, 0] = np.nan
    np.save(root / "rdm.npy", found)
    table = read_matrix(root)
    assert table.ids == ("0-1", "0-2", "0-3", "1-2", "1-3", "2-3")
    assert table.votes.tolist() == [1, 2, 2, 2, 2, 2]
    assert table.ratings[4].tolist() == found[:, 1, 3].tolist()
    np.save(root / "similarity.npy", 1 - found)
    assert read_matrix(root).ratings[5] == pytest.approx(found[:, 2, 3] - 1)


def test_nights_and_bapps_are_reported_by_their_parts(tmp_path):
    text = "id,left_vote,right_vote,votes,ref_path,left_path,right_path,split,is_imagenet,prompt\n"
    for i, split in enumerate(("train", "val", "test", "test")):
        for folder in ("ref/000", "distort/000"):
            for side in ("", "_0", "_1"):
                layouts.picture(tmp_path / f"nights/{folder}/00{i}{side}.png", i)
        paths = f"ref/000/00{i}.png,distort/000/00{i}_0.png,distort/000/00{i}_1.png"
        text += f"{i},1,0,7,{paths},{split},{i % 2 == 0},An image of a cat\n"
    write(tmp_path / "nights/data.csv", text)
    parts = read_parts(str(tmp_path / "nights"))
    assert [(part.split, len(part.table)) for part in parts] == [
        ("val", 1),
        ("test", 2),
        ("test_imagenet", 1),
        ("test_no_imagenet", 1),
    ]
    for kind in ("cnn", "color"):
        for part in ("ref", "p0", "p1"):
            layouts.picture(tmp_path / f"bapps/2afc/val/{kind}/{part}/000000.png", len(kind + part))
        (tmp_path / f"bapps/2afc/val/{kind}/judge").mkdir()
        np.save(tmp_path / f"bapps/2afc/val/{kind}/judge/000000.npy", np.array([0.2]))
    for level in ("bapps", "bapps/2afc", "bapps/2afc/val"):
        found = read_parts(str(tmp_path / level))
        assert [(part.data, part.split) for part in found] == [
            ("bapps", name) for name in ("val", "val_cnn", "val_color")
        ]


def test_a_folder_with_triplets_and_pairs_gives_both(tmp_path):
    write_triplets(tmp_path / "judged", splits=("train", "test"))
    write_pairs(tmp_path / "judged", split="test")
    parts = read_parts(str(tmp_path / "judged"))
    assert [(part.data, type(part.table).__name__) for part in parts] == [("judged", "Triplets"), ("judged", "Pairs")]
    assert len(read_parts(str(tmp_path / "judged"), ["train"])[0].table) == 30


def _without(root, name):
    (root / name).unlink()


WRONG = {
    "tid2013 without a picture": ("tid2013", lambda r: _without(r, "distorted_images/i01_01_1.bmp"), "no picture for"),
    "tid2013 with a strange name": (
        "tid2013",
        lambda r: write(r / "mos_with_names.txt", "5.1 cat.bmp\n"),
        "expected a name like",
    ),
    "kadid10k without an original": ("kadid10k", lambda r: _without(r, "images/I01.png"), "no reference for"),
    "kadid10k with a text for a score": (
        "kadid10k",
        lambda r: write(r / "dmos.csv", "dist_img,ref_img,dmos\nI01_01_01.png,I01.png,good\n"),
        "is 'good'; expected a number",
    ),
    "pipal without labels": ("pipal", lambda r: [file.unlink() for file in r.glob("Train_Label/*")], "no labels in"),
    "csiq without its table": ("csiq", lambda r: _without(r, "csiq.DMOS.xlsx"), "no such table"),
    "live without names": ("live", lambda r: _without(r, "refnames_all.mat"), "lacks dmos_realigned.mat"),
    "things with two names": ("things", lambda r: write(r / "things_valset.txt", "a b\n"), "2 names; expected three"),
    "things without a picture": ("things", lambda r: _without(r, "acorn_01b.png"), "no picture acorn_01b.png"),
    "ratings without a column": (
        "ratings",
        lambda r: write(r / "ratings.csv", "ref_path,path\na,b\n"),
        "no column alike",
    ),
    "a matrix of another size": ("matrix", lambda r: np.save(r / "rdm.npy", np.zeros((2, 2))), "has shape"),
    "a matrix that is not symmetric": (
        "matrix",
        lambda r: np.save(r / "rdm.npy", np.arange(25.0).reshape(5, 5)),
        "not symmetric",
    ),
    "a matrix that is no array": ("matrix", lambda r: write(r / "rdm.npy", "x"), "not a NumPy array"),
}


@pytest.mark.parametrize(("name", "spoil", "message"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_with_a_data_set_is_said(tmp_path, name, spoil, message):
    root = layouts.LAYOUTS[name](tmp_path / "data")
    spoil(root)
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        read_parts(f"{name}={root}")


def test_all_bad_rows_are_said_at_once(tmp_path):
    root = layouts.tid2013(tmp_path)
    for file in sorted(root.glob("distorted_images/*"))[:3]:
        file.unlink()
    with pytest.raises(DataError) as raised:
        read_parts(str(root))
    assert len(raised.value.problems) == 3


def test_unknown_names_and_layouts_are_said(tmp_path):
    with pytest.raises(ValueError, match="unknown data set 'tid2012': did you mean tid2013"):
        read_parts(f"tid2012={tmp_path}")
    with pytest.raises(ValueError, match="looks like none of"):
        read_parts(str(tmp_path))
    with pytest.raises(FileNotFoundError, match="no such data set"):
        read_parts(str(tmp_path / "gone"))
    with pytest.raises(ValueError, match=r"got splits dev; expected some of those in .*: all, test"):
        read_parts(str(layouts.ratings(tmp_path / "ratings")), ["dev"])
    with pytest.raises(FileNotFoundError, match="no such file"):
        find_source("gone.py")


def test_the_command_says_where_to_get_data_and_whether_it_is_whole(tmp_path, capsys):
    assert cli.main(["data"]) == 0
    assert set(collect_sources()) == {line.split()[0] for line in capsys.readouterr().out.splitlines()}
    assert cli.main(["data", "tid2013"]) == 0
    assert "get it: https://www.ponomarenko.info" in capsys.readouterr().out
    assert cli.main(["data", "tid2013", str(layouts.tid2013(tmp_path))]) == 0
    shown = capsys.readouterr().out
    assert "Ratings, 8 rows, 10 pictures" in shown
    assert "note: split test has 8 judgements; published are 3000" in shown
    assert "not as published" in shown
    assert cli.main(["data", "tid2013", str(tmp_path / "gone")]) == 1
    assert "dreamsim-bench: no such folder" in capsys.readouterr().err
