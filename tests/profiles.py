"""Colour profiles (ICC), written by hand, and the colours that they stand for in float64."""

import struct

import numpy as np

D50 = (0.9642, 1.0, 0.8249)
PRIMARIES = {  # red, green and blue as XYZ at D50
    "sRGB": ((0.4360, 0.2225, 0.0139), (0.3851, 0.7169, 0.0971), (0.1431, 0.0606, 0.7139)),
    "Display P3": ((0.5151, 0.2412, -0.0011), (0.2919, 0.6922, 0.0419), (0.1572, 0.0666, 0.7841)),
    "Adobe RGB": ((0.6097, 0.3111, 0.0195), (0.2053, 0.6257, 0.0609), (0.1492, 0.0632, 0.7446)),
    "linear sRGB": ((0.4360, 0.2225, 0.0139), (0.3851, 0.7169, 0.0971), (0.1431, 0.0606, 0.7139)),
}
GAMMA = {"Adobe RGB": 2.2, "linear sRGB": 1.0}  # the others have sRGB's curve


def _fixed(*numbers):
    return b"".join(struct.pack(">i", round(65536 * number)) for number in numbers)


def _assemble(space, connection, tags):
    text = "made for a test".encode("utf-16-be")
    words = b"mluc\0\0\0\0" + struct.pack(">II", 1, 12) + b"enUS" + struct.pack(">II", len(text), 28) + text
    tags = {b"desc": words, b"cprt": words, b"wtpt": b"XYZ \0\0\0\0" + _fixed(*D50), **tags}
    table, body, start = struct.pack(">I", len(tags)), b"", 132 + 12 * len(tags)
    for name, data in tags.items():
        data += b"\0" * (-len(data) % 4)
        table += name + struct.pack(">II", start + len(body), len(data))
        body += data
    head = struct.pack(">I", start + len(body)) + b"\0\0\0\0" + b"\x04\x30\0\0" + b"mntr" + space + connection
    head += b"\0" * 12 + b"acsp" + b"\0" * 28 + _fixed(*D50) + b"\0" * 48
    return head + table + body


def _curve(gamma):
    if gamma is not None:
        return b"para\0\0\0\0" + struct.pack(">HH", 0, 0) + _fixed(gamma)
    return b"para\0\0\0\0" + struct.pack(">HH", 3, 0) + _fixed(2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)


def colour_profile(name):
    """A profile of RGB by its primaries."""
    tags = {b"%cXYZ" % c: b"XYZ \0\0\0\0" + _fixed(*xyz) for c, xyz in zip(b"rgb", PRIMARIES[name], strict=True)}
    return _assemble(b"RGB ", b"XYZ ", tags | {b"%cTRC" % c: _curve(GAMMA.get(name)) for c in b"rgb"})


def grey_profile(gamma):
    """A profile of grey by its gamma; None for sRGB's curve."""
    return _assemble(b"GRAY", b"XYZ ", {b"kTRC": _curve(gamma)})


def ink_profile(colours):
    """A profile of CMYK, linear between the 16 full tones, of which `colours` has L*, a* and b*."""
    grid = b"".join(
        bytes([round(lightness * 2.55), round(a + 128), round(b + 128)]) for lightness, a, b in colours.reshape(-1, 3)
    )
    ramp = bytes(range(256))
    table = b"mft1\0\0\0\0" + bytes([4, 3, 2, 0]) + _fixed(1, 0, 0, 0, 1, 0, 0, 0, 1) + 4 * ramp + grid + 3 * ramp
    return _assemble(b"CMYK", b"Lab ", {b"A2B0": table})


def _decoded(levels, gamma):
    if gamma is not None:
        return levels**gamma
    return np.where(levels <= 0.04045, levels / 12.92, ((levels + 0.055) / 1.055) ** 2.4)


def _to_srgb(xyz):
    linear = np.clip(xyz @ np.linalg.inv(np.array(PRIMARIES["sRGB"])), 0, 1)
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def srgb_of_colours(levels, name):
    """Levels of 255 `(…, 3)` in a colour profile as levels of sRGB."""
    return 255 * _to_srgb(_decoded(levels / 255, GAMMA.get(name)) @ np.array(PRIMARIES[name]))


def srgb_of_grey(levels, gamma):
    """Levels of 255 `(…)` in a profile of grey as levels of sRGB `(…, 3)`."""
    return 255 * _to_srgb(_decoded(levels / 255, gamma)[..., None] * np.array(D50))


def srgb_of_lab(lab):
    """L*, a* and b* `(…, 3)` as levels of sRGB."""
    y = (lab[..., 0] + 16) / 116
    f = np.stack([y + lab[..., 1] / 500, y, y - lab[..., 2] / 200], axis=-1)
    return 255 * _to_srgb(np.where(f > 6 / 29, f**3, 3 * (6 / 29) ** 2 * (f - 4 / 29)) * np.array(D50))
