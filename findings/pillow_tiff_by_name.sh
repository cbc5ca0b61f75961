#!/bin/sh
# Pillow 13.0.0: a plain grey TIFF that is to be turned (orientation 6) is torn when it is opened by its path.
# Seen: it says that it is 200 wide and 300 high, as it is when turned, and gives 300 × 200 pixels that are neither the
# turned nor the stored picture (61 levels of 255 off on average). Opened by the same path through open(), or saved
# with compression, it is exact.
# Expected: one file, one picture. By path Pillow maps the pixels into memory, as rows of the length that they have
# only after the turn.
set -e
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv v
v/bin/pip install --quiet pillow==13.0.0 numpy==2.4.6
v/bin/python - <<'END'
import numpy as np
from PIL import Image

y, x = np.mgrid[:200, :300]
picture = np.round(127 + 120 * np.sin(x / 40) * np.cos(y / 25)).astype(np.uint8)
upright = np.rot90(picture, -1)


def read(source):
    with Image.open(source) as image:
        said, found = image.size, np.asarray(image).astype(int)
    off = [float(np.abs(found - one).mean()) for one in (upright, picture) if one.shape == found.shape]
    print(source if isinstance(source, str) else "through open()", "says", said, "gives", found.shape[::-1], "off", off)
    return said == found.shape[::-1], off[0]


exif = Image.Exif()
exif[0x0112] = 6
Image.fromarray(picture).save("plain.tif", exif=exif)
Image.fromarray(picture).save("packed.tif", exif=exif, compression="tiff_lzw")
assert read("packed.tif") == (True, 0)
with open("plain.tif", "rb") as file:
    assert read(file) == (True, 0)
agrees, off = read("plain.tif")
assert not agrees and off > 20
END
