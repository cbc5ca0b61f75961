"""Files decoded ahead in threads: the pixels of `to_pixels`, in order, and beside them why some cannot be read."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from dreamsim_metric.images.ahead import decode_files, find_unreadable, map_in_order, read_ahead, start_threads
from dreamsim_metric.images.convert import to_pixels
from tests.mixed import BAD, FILES, listed


def test_reading_ahead_is_bounded_and_in_order():
    taken = []

    def items():
        for i in range(100):
            taken.append(i)
            yield i

    with ThreadPoolExecutor(4) as pool:
        results = map_in_order(pool, lambda i: i * i, items(), 6)
        assert [next(results) for _ in range(10)] == [i * i for i in range(10)]
        assert len(taken) == 16
        assert list(results) == [i * i for i in range(10, 100)]


@pytest.mark.parametrize("size", [None, 48])
@pytest.mark.parametrize("workers", [None, 1, 3])
def test_decoded_files_have_the_pixels_of_to_pixels(folder, size, workers):
    files = listed(folder)
    found = list(decode_files(files, size, workers=workers))
    assert len(found) == len(files)
    for file, pixels in zip(files, found, strict=True):
        if file.rpartition("/")[2] in BAD:
            assert isinstance(pixels, (OSError, ValueError))
            assert file in str(pixels)
        else:
            assert pixels.dtype == torch.uint8
            assert torch.equal(pixels / 255, to_pixels(file, size and (size, size))[0])


def test_unreadable_files_are_found_with_their_reasons_in_a_line(folder):
    found = find_unreadable([*listed(folder), *listed(folder)])
    assert {path.name for path in found} == BAD
    assert all(str(path) in why and "\n" not in why for path, why in found.items())


def test_batches_of_files_are_those_of_to_pixels_and_end_at_the_first_that_cannot_be_read(folder):
    cpu = torch.device("cpu")
    found = list(read_ahead(FILES, 4, 64, cpu))
    assert [len(some) for some in found] == [4, len(FILES) - 4]
    assert torch.equal(torch.cat(found) / 255, to_pixels(FILES, (64, 64)))
    batches = read_ahead([*FILES[:2], str(folder / "empty.png"), *FILES], 2, 64, cpu)
    next(batches)
    with pytest.raises(ValueError, match="empty file"):
        next(batches)


def test_what_nobody_wants_any_more_is_not_begun():
    begun, stopped = [], threading.Event()

    def work(i):
        begun.append(i)
        return i == 0 or stopped.wait(0.2)

    with start_threads(1) as pool:
        assert next(map_in_order(pool, work, range(9), 8))
    assert len(begun) <= 2
