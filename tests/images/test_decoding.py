"""Decoders and where they run: the same pixels, and what one cannot read goes to the other."""

from pathlib import Path

import PIL.Image
import pytest
import torch

from dreamsim_metric import embed
from dreamsim_metric.images.convert import to_pixels
from dreamsim_metric.images.decoding import decode
from dreamsim_metric.images.device import NotOnDeviceError, ToDevice
from dreamsim_metric.scale.embedding import Options
from dreamsim_metric.scale.scoring import embed_files
from tests.mixed import FILES, listed


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK", "rotated", "progressive"])
def test_torchvision_decodes_as_pillow_does(metric, tmp_path, mode):
    image, file = PIL.Image.open(FILES[1]), tmp_path / "a.jpg"
    exif = PIL.Image.Exif()
    if mode == "rotated":
        exif[0x0112] = 6
    image = image.convert(mode) if mode in ("L", "CMYK") else image
    image.save(file, quality=90, progressive=mode == "progressive", exif=exif)
    data = file.read_bytes()
    by_pillow, by_torchvision = (decode(data, "a.jpg", None, decoder) for decoder in ("pillow", "torchvision"))
    assert by_pillow.shape == by_torchvision.shape
    assert (by_pillow.int() - by_torchvision.int()).abs().max() <= 2
    assert torch.equal(to_pixels(file, None)[0], by_pillow / 255)
    left = decode(data, "a.jpg", 224, "torchvision", "cuda")
    assert left.ndim == (3 if mode in ("CMYK", "rotated") else 1)  # which nvJPEG could not do


def test_torchvision_finds_the_same_files_unreadable(metric, folder):
    by_pillow, by_torchvision = (
        embed_files(listed(folder), metric, options=Options(decoder=name)) for name in ("pillow", "torchvision")
    )
    assert by_pillow.unreadable == by_torchvision.unreadable
    torch.testing.assert_close(by_pillow.units, by_torchvision.units, atol=1e-6, rtol=0)


def test_resizing_on_the_device_gives_the_same_bits(metric):
    host, device = (embed_files(FILES, metric, options=Options(resize_on=where)) for where in ("host", "device"))
    assert torch.equal(host.units, device.units)


def test_a_jpeg_that_the_device_will_not_decode_goes_through_pillow(metric, folder, monkeypatch):
    """As on CUDA, where JPEGs are left to nvJPEG: the files go to the device as they are, and it refuses."""
    monkeypatch.setattr(
        "dreamsim_metric.scale.embedding.decode",
        lambda data, file, size, decoder, device: decode(data, file, size, "torchvision", "cuda"),
    )
    refused = []

    def refuse(encoded, device):
        refused.append(len(encoded))

    monkeypatch.setattr("dreamsim_metric.images.device.decode_by_torchvision", refuse)
    with pytest.raises(NotOnDeviceError):
        ToDevice(torch.device("cpu"), 224)([torch.zeros(9, dtype=torch.uint8)])
    broken = bytearray(Path(FILES[0]).read_bytes())
    (folder / "broken.jpg").write_bytes(broken[:500] + broken[-2:])
    found = embed_files([*FILES, str(folder / "broken.jpg")], metric)
    assert torch.equal(found.units, embed(FILES, model=metric))
    assert list(found.unreadable) == [str(folder / "broken.jpg")]
    assert refused == [1, len(FILES)]  # what is left of the broken one Pillow does not take for a JPEG
