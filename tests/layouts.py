"""Miniatures of published data sets, in the folders and files of their authors, for tests of their readers."""

import csv
from pathlib import Path

import numpy as np
import openpyxl
import PIL.Image
from scipy.io import savemat

LIVE = {"jp2k": 227, "jpeg": 233, "wn": 174, "gblur": 174, "fastfading": 174}


def picture(path, seed=0, size=(24, 20)):
    """A small picture of noise."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
    PIL.Image.fromarray(pixels).save(path)
    return path


def tid2013(root: Path) -> Path:
    """Two originals, two distortions at two levels; names mix capitals as the release does."""
    lines = []
    for i, reference in enumerate(("I01", "i02")):
        picture(root / f"reference_images/{reference}.BMP", i)
        for kind in (1, 24):
            for level in (1, 5):
                name = f"{'I' if i else 'i'}0{i + 1}_{kind:02}_{level}.bmp"
                picture(root / f"distorted_images/{name}", 10 * i + kind + level)
                lines.append(f"{6 - level + i / 10:.5f} {name}")
    (root / "mos_with_names.txt").write_text("\n".join(lines) + "\n")
    return root


def kadid10k(root: Path) -> Path:
    """Two originals, two distortions at two levels."""
    rows = []
    for i in (1, 2):
        picture(root / f"images/I0{i}.png", i)
        for kind in (1, 25):
            for level in (1, 2):
                name = f"I0{i}_{kind:02}_0{level}.png"
                picture(root / f"images/{name}", 100 * i + kind + level)
                rows.append((name, f"I0{i}.png", f"{5 - level - i / 10:.2f}", "0.64"))
    with open(root / "dmos.csv", "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("dist_img", "ref_img", "dmos", "var"), *rows])
    return root


def pipal(root: Path) -> Path:
    """Two originals; distorted pictures in the four folders that are downloaded."""
    for i in (1, 2):
        picture(root / f"Train_Ref/A000{i}.bmp", i)
        lines = []
        for kind in range(4):
            name = f"A000{i}_0{kind}_00.bmp"
            picture(root / f"Distortion_{kind + 1}/{name}", 10 * i + kind)
            lines.append(f"{name},{1400.5 + 10 * kind + i}")
        (root / "Train_Label").mkdir(exist_ok=True)
        (root / f"Train_Label/A000{i}.txt").write_text("\n".join(lines) + "\n")
    return root


def csiq(root: Path) -> Path:
    """Two originals, two distortions at two levels; the table begins below and right of notes."""
    book = openpyxl.Workbook()
    sheet = book.active
    sheet.title = "all_by_image"
    sheet.append([])
    sheet.append([None, "CSIQ", None, "all ratings"])
    sheet.append([None, None, None, "image", "dst_idx", "dst_type", "dst_lev", "dmos_std", "dmos"])
    for i, image in enumerate((1600, "boston")):
        picture(root / f"src_imgs/{image}.png", i)
        for k, (kind, folder, label) in enumerate((("noise", "awgn", "AWGN"), ("jpeg 2000", "jpeg2000", "jpeg2000"))):
            for level in (1, 2):
                picture(root / f"dst_imgs/{folder}/{image}.{label}.{level}.png", 10 * i + 3 * k + level)
                sheet.append([None, None, None, image, k + 1, kind, level, 0.1, 0.2 * level + 0.01 * i])
    book.save(root / "csiq.DMOS.xlsx")
    return root


def live(root: Path) -> Path:
    """All 982 rows of the tables, as they refer to pictures by position; every picture file is one of a few."""
    picture(root / "refimgs/womanhat.bmp", 1)
    picture(root / "refimgs/bikes.bmp", 2)
    kinds = [(kind, i) for kind, count in LIVE.items() for i in range(1, count + 1)]
    for n, (kind, i) in enumerate(kinds):
        path = root / kind / f"img{i}.bmp"
        if n < 4:
            picture(path, n)
        else:
            path.parent.mkdir(exist_ok=True)
            path.hardlink_to(root / f"jp2k/img{n % 4 + 1}.bmp")
    names = np.empty((1, len(kinds)), dtype=object)
    names[0] = ["womanhat.bmp" if n % 2 else "bikes.bmp" for n in range(len(kinds))]
    originals = (np.arange(len(kinds)) % 5 == 0)[None].astype(np.uint8)
    dmos = np.where(originals, 0, 20 + np.arange(len(kinds))[None] / 20)
    savemat(root / "refnames_all.mat", {"refnames_all": names})
    savemat(root / "dmos_realigned.mat", {"dmos_new": dmos, "dmos_std": dmos / 10, "orgs": originals})
    return root


def things(root: Path) -> Path:
    """Four objects and three lines."""
    for i, name in enumerate(("aardvark_01b", "abacus_01b", "accordion_01b", "acorn_01b")):
        picture(root / f"{name}.png", i)
    lines = (
        "aardvark_01b abacus_01b acorn_01b",
        "acorn_01b accordion_01b abacus_01b",
        "abacus_01b acorn_01b aardvark_01b",
    )
    (root / "things_valset.txt").write_text("\n".join(lines) + "\n")
    return root


def ratings(root: Path) -> Path:
    """A table of one's own."""
    picture(root / "a.png", 1)
    rows = [("ref_path", "path", "different", "votes", "spread")]
    for i in range(6):
        picture(root / f"b{i}.png", i)
        rows.append(("a.png", f"b{i}.png", str(i - 2), "9", "0.5"))
    with open(root / "ratings.csv", "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)
    return root


def matrix(root: Path, raters: int = 3, n: int = 5) -> Path:
    """Raters who see differences of brightness, with noise."""
    random = np.random.default_rng(0)
    level = np.linspace(0, 1, n)
    for i in range(n):
        path = root / f"pictures/{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        PIL.Image.new("RGB", (16, 16), (int(250 * level[i]),) * 3).save(path)
    noise = random.normal(0, 0.05, (raters, n, n))
    found = np.abs(level[:, None] - level) + (noise + noise.transpose(0, 2, 1)) / 2
    (root / "pictures.txt").write_text("".join(f"pictures/{i}.png\n" for i in range(n)))
    np.save(root / "rdm.npy", found)
    return root


LAYOUTS = {
    "tid2013": tid2013,
    "kadid10k": kadid10k,
    "pipal": pipal,
    "csiq": csiq,
    "live": live,
    "things": things,
    "ratings": ratings,
    "matrix": matrix,
}
