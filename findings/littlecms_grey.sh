#!/bin/sh
# LittleCMS as Pillow 13.0.0 has it: dark greys of a linear grey profile (gamma 1) come out too dark in sRGB.
# Seen: level 1 of 255 becomes 6, where the formula gives 13, and level 2 becomes 12 for 22; with the flag NOOPTIMIZE
# all levels are within rounding of the formula.
# Expected: an 8-bit channel has 256 values, so that a table of all of them could be exact. By default the conversion
# is sampled at 33 places, too few for the steep beginning of sRGB's curve.
set -e
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv v
v/bin/pip install --quiet pillow==13.0.0 numpy==2.4.6
v/bin/python - <<'END'
import io
import struct

import numpy as np
from PIL import Image, ImageCms


def fixed(*numbers):
    return b"".join(struct.pack(">i", round(number * 65536)) for number in numbers)


white = (0.9642, 1.0, 0.8249)
text = b"mluc\0\0\0\0" + struct.pack(">II", 1, 12) + b"enUS" + struct.pack(">II", 8, 28) + "grey".encode("utf-16-be")
tags = {
    b"desc": text,
    b"cprt": text,
    b"wtpt": b"XYZ \0\0\0\0" + fixed(*white),
    b"kTRC": b"para\0\0\0\0" + struct.pack(">HH", 0, 0) + fixed(1.0),
}
table, body, start = struct.pack(">I", len(tags)), b"", 132 + 12 * len(tags)
for name, data in tags.items():
    data += b"\0" * (-len(data) % 4)
    table += name + struct.pack(">II", start + len(body), len(data))
    body += data
head = struct.pack(">I", start + len(body)) + b"\0\0\0\0\x04\x30\0\0mntrGRAYXYZ " + b"\0" * 12 + b"acsp"
profile = ImageCms.ImageCmsProfile(io.BytesIO(head + b"\0" * 28 + fixed(*white) + b"\0" * 48 + table + body))

levels = np.arange(256)
linear = levels / 255
exact = 255 * np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
off = {}
for name, flags in (("default", 0), ("NOOPTIMIZE", ImageCms.Flags.NOOPTIMIZE)):
    turn = ImageCms.buildTransform(profile, ImageCms.createProfile("sRGB"), "L", "RGB", flags=flags)
    found = np.asarray(turn.apply(Image.fromarray(levels.astype(np.uint8)[None])))[0, :, 0]
    off[name] = np.abs(found - exact)
    print(name, "levels 1, 2, 3 →", found[1:4].tolist(), "for", exact[1:4].round(1).tolist(), end="; ")
    print("largest difference", round(float(off[name].max()), 1))
assert off["default"].max() > 5 and off["NOOPTIMIZE"].max() < 2
END
