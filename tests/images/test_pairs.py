"""Both pictures of a pair are resized in one way: as Pillow does where both are 8-bit, else without rounding."""

import numpy as np
import PIL.Image
import pytest
import torch

from dreamsim_metric import distance, distance_matrix, embed
from dreamsim_metric.images.convert import to_pixels
from dreamsim_metric.images.pairs import to_pairs
from dreamsim_metric.images.resizing import resize
from tests.pictures import PHOTOGRAPHS

CAT, COFFEE = (path for path in PHOTOGRAPHS if path.stem in ("cat", "coffee"))
SIZE = (224, 224)


@pytest.fixture(scope="module")
def target():
    return to_pixels(CAT, None)


@pytest.fixture(scope="module")
def prediction(target):
    """0.0025 levels from the target."""
    noise = torch.randn(target.shape, generator=torch.Generator().manual_seed(0))
    return (target + 1e-5 * noise).clamp(0, 1)


KINDS = {
    "a path": lambda x: CAT,
    "a list of paths": lambda x: [str(CAT)],
    "an image": lambda x: PIL.Image.open(CAT),
    "an array": lambda x: np.asarray(PIL.Image.open(CAT)),
    "uint8": lambda x: (x * 255).round().to(torch.uint8)[0],
    "float32": lambda x: x,
    "float64": lambda x: (x * 255).round().double() / 255,
}


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_a_prediction_almost_at_its_8_bit_target_is_at_almost_nothing(kind, metric, prediction, target):
    x = prediction.clone().requires_grad_()
    d = metric(x, kind(target))
    d.sum().backward()
    assert 0 < d.item() < 5e-9
    assert x.grad.norm() < 1e-4
    assert metric(kind(target), prediction).item() == pytest.approx(d.item(), abs=1e-10)
    assert distance(kind(target), prediction, model=metric, batch_size=1) == pytest.approx(d.item(), abs=1e-10)
    assert distance_matrix(prediction, [CAT], model=metric).item() == pytest.approx(d.item(), abs=1e-10)
    assert metric.difference_map(prediction, kind(target)).max() < 1e-6


@pytest.mark.parametrize(("dtype", "largest"), [(torch.bfloat16, 5e-5), (torch.float16, 2e-6)])
@pytest.mark.parametrize("kind", ["a path", "float32"])
def test_a_rounded_copy_of_a_picture_is_near_it(dtype, largest, kind, metric, target):
    assert metric(target.to(dtype), KINDS[kind](target)).item() < largest


def test_adam_stays_at_the_target(metric, prediction, target):
    x = prediction.clone().requires_grad_()
    optimiser = torch.optim.Adam([x], lr=1e-7)
    for _ in range(5):
        optimiser.zero_grad()
        d = metric(x, target, reduction="sum", check=False)
        d.backward()
        optimiser.step()
        assert d.item() < 5e-9


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_8_bit_pictures_of_all_kinds_have_pillows_pixels_and_one_distance(kind, metric, target):
    expected = np.asarray(PIL.Image.open(CAT).resize(SIZE, PIL.Image.Resampling.BICUBIC))
    pixels, a, b = to_pairs(kind(target), COFFEE, SIZE)
    assert np.array_equal((pixels[a] * 255).round().to(torch.uint8)[0].permute(1, 2, 0).numpy(), expected)
    assert len(pixels) == 2
    assert b.tolist() == [1]
    assert metric(kind(target), COFFEE).item() == metric(CAT, COFFEE).item()
    assert metric(kind(target), CAT).item() == 0


def test_a_pair_is_alone_whatever_else_is_in_the_batch(metric, prediction, target):
    many = torch.cat([target, prediction, target.flip(3), prediction.flip(3)])
    singly = torch.cat([metric(target, some[None]) for some in many])
    for found in (
        metric(target, many),
        metric(many, CAT),
        metric(target.expand(4, -1, -1, -1), many),
        metric([CAT] * 4, list(many)),
        distance(CAT, many, model=metric, batch_size=3),
        distance(many, [CAT] * 4, model=metric, batch_size=3),
        distance_matrix([CAT], many, model=metric)[0],
        distance_matrix(many, model=metric)[0],
    ):
        torch.testing.assert_close(found, singly, atol=1e-6, rtol=0)
        assert found[0] == 0
        assert found[1] < 5e-9


def test_a_picture_of_the_models_size_leaves_the_other_as_pillow_resizes_it(metric):
    given = torch.rand(1, 3, *SIZE, generator=torch.Generator().manual_seed(0))
    units = metric.embed(given), embed(CAT, model=metric)
    assert metric(given, CAT).item() == pytest.approx((units[0] - units[1]).square().sum().item() / 2, abs=1e-6)


def test_an_embedding_without_rounding_is_compared_with_those_of_other_pictures(metric, prediction):
    unit = metric.embed(prediction)
    assert (unit - embed(CAT, model=metric, rounded=False)).square().sum() < 1e-8
    assert (unit - embed(CAT, model=metric)).square().sum() > 1e-5


def test_which_of_the_8_bit_pictures_are_rounded_can_be_told(target):
    both = torch.cat([target, target])
    found = resize(both, SIZE, rounded=torch.tensor([True, False]))
    assert torch.equal(found[:1], resize(target, SIZE))
    assert 1e-4 < (found[0] - found[1]).abs().max() < 0.01
    levels = (both * 255).round().to(torch.uint8)
    assert torch.allclose(resize(levels, SIZE, rounded=torch.tensor([True, False])), found, rtol=0, atol=1e-6)


def test_pairs_that_do_not_fit_are_refused_with_their_numbers(metric, prediction):
    with pytest.raises(ValueError, match="got 3 and 2 pictures; expected as many in both"):
        metric(torch.cat([prediction] * 3), [CAT, COFFEE])
