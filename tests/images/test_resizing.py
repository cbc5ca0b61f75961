"""The resize: bit for bit Pillow's on 8-bit levels, a plain loop's elsewhere, and differentiable."""

import numpy as np
import PIL.Image
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dreamsim_metric.images.resizing import _multiply, _probe_rows_first, resize

SHAPES = [  # height, width, new height, new width
    (1, 1, 1, 1),
    (1, 1, 224, 224),
    (1, 1, 1, 7),
    (224, 224, 1, 1),
    (1, 300, 224, 224),
    (300, 1, 224, 224),
    (2, 3, 5, 4),
    (5, 4, 2, 3),
    (224, 224, 224, 224),
    (224, 301, 224, 224),
    (301, 224, 224, 224),
    (224, 97, 224, 224),
    (97, 224, 224, 224),
    (223, 225, 224, 224),
    (225, 223, 224, 224),
    (480, 640, 224, 224),
    (101, 67, 224, 37),
    (67, 101, 37, 224),
    (20_000, 1, 224, 224),
    (1, 20_000, 224, 224),
    (20_000, 1, 1, 1),
    (1_301, 13, 11, 13),
    (1_300, 13, 11, 12),
]


def pictures(height, width, seed=0):
    """Noise, and black and white alone, which overshoots most: uint8 `(2, 3, height, width)`."""
    noise = np.random.default_rng(seed).integers(0, 256, (3, height, width), dtype=np.uint8)
    return torch.from_numpy(np.stack([noise, np.where(noise > 127, np.uint8(255), np.uint8(0))]))


def by_pillow(batch, size):
    images = (PIL.Image.fromarray(picture.permute(1, 2, 0).contiguous().numpy()) for picture in batch)
    resized = [np.array(image.resize(size[::-1], PIL.Image.Resampling.BICUBIC)) for image in images]
    return torch.from_numpy(np.stack(resized)).permute(0, 3, 1, 2).float() / 255


def assert_exact(height, width, new_height, new_width, seed=0, device="cpu"):
    batch, size = pictures(height, width, seed), (new_height, new_width)
    expected = by_pillow(batch, size)
    floats = (batch.float() / 255).to(device)  # divided on the CPU: CUDA's division by a number rounds twice
    batch = batch.to(device)
    for resized in (resize(batch, size), _multiply(batch, size), resize(floats, size)):
        assert resized.dtype == torch.float32
        assert torch.equal(resized.cpu(), expected)


def random_shapes(count, longest, seed):
    """Sides from 1 to `longest`, short ones as often as long ones."""
    return np.exp(np.random.default_rng(seed).uniform(0, np.log(longest + 1), (count, 4))).astype(int).tolist()


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_8_bit_levels_are_resized_exactly_as_pillow_does(shape):
    assert_exact(*shape)


@st.composite
def shapes_where_the_order_of_the_passes_turns(draw):
    """Either side of the rules of Pillow 13 (first) and 12.2 (second)."""
    off_by = draw(st.integers(-1, 1))
    if draw(st.booleans()):
        new_height, new_width, lost = draw(st.tuples(st.integers(1, 40), st.integers(1, 40), st.integers(-15, 40)))
        return max(new_height + 2 * lost + off_by, 1), max(new_width + lost, 1), new_height, new_width
    width = draw(st.integers(1, 4))
    return 100 * width + off_by, width, draw(st.integers(1, 120)), draw(st.integers(1, 8))


side = st.integers(1, 80)


@settings(max_examples=150)
@given(st.one_of(st.tuples(side, side, side, side), shapes_where_the_order_of_the_passes_turns()), st.integers(0, 999))
@example((30, 20, 20, 15), 0)
@example((31, 20, 20, 15), 0)
def test_any_size_is_exact(shape, seed):
    assert_exact(*shape, seed)


def test_random_sizes_are_exact():
    for seed, shape in enumerate(random_shapes(150, 300, seed=1)):
        assert_exact(*shape, seed)


@pytest.mark.slow
def test_very_many_random_sizes_are_exact():
    for seed, shape in enumerate([*random_shapes(1500, 300, seed=2), *random_shapes(100, 2000, seed=3)]):
        assert_exact(*shape, seed)


@pytest.mark.gpu
def test_cuda_is_exact():
    for seed, shape in enumerate([*SHAPES, *random_shapes(300, 600, seed=4)]):
        assert_exact(*shape, seed, device="cuda")


@pytest.mark.gpu
@pytest.mark.parametrize("size", [(224, 224), (40, 300)])
def test_cuda_resizes_other_floats_as_the_cpu_does(size):
    batch = torch.rand(4, 3, 131, 97, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(resize(batch.cuda(), size).cpu(), resize(batch, size), rtol=0, atol=1e-7)


@pytest.mark.parametrize("as_floats", [lambda x: x * (1 / 255), lambda x: x.double() / 255, lambda x: x / 255 + 5e-8])
def test_rounding_of_the_floats_does_not_take_them_off_the_8_bit_levels(as_floats):
    batch = pictures(50, 61)
    assert torch.equal(resize(as_floats(batch.float()), (37, 80)), by_pillow(batch, (37, 80)))


def cubic(x):
    x = abs(x)
    if x < 1:
        return 1.5 * x**3 - 2.5 * x**2 + 1
    return -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2 if x < 2 else 0.0


def line_by_loop(line, n_out):
    scale = len(line) / n_out
    resized = []
    for i in range(n_out):
        weights = [cubic((j + 0.5 - (i + 0.5) * scale) / max(scale, 1.0)) for j in range(len(line))]
        value = sum(weight * x for weight, x in zip(weights, line, strict=True)) / sum(weights)
        resized.append(min(max(value, 0.0), 1.0))
    return resized


def by_loop(batch, size):
    """Float64 `(N, C, *size)`: the filter and the clipping, without fixed point and 8 bits."""

    def rows(plane):
        return [line_by_loop(row, size[1]) for row in plane]

    def columns(plane):
        return transposed([line_by_loop(column, size[0]) for column in transposed(plane)])

    def transposed(plane):
        return [list(line) for line in zip(*plane, strict=True)]

    height_first = _probe_rows_first(*batch.shape[-2:], *size)
    planes = batch.double().flatten(0, 1).tolist()
    resized = [rows(columns(plane)) if height_first else columns(rows(plane)) for plane in planes]
    return torch.tensor(resized, dtype=torch.float64).unflatten(0, batch.shape[:2])


def uniform(*shape, low=0.0, high=1.0, seed=0):
    return torch.empty(shape, dtype=torch.float64).uniform_(low, high, generator=torch.Generator().manual_seed(seed))


def fixed_point_error(n_in, n_out):
    """The most that Pillow's weights, multiples of 2^-22, can change a value of one pass: half a unit each."""
    return 0.0 if n_in == n_out else min(4 * max(n_in / n_out, 1) + 1, n_in) * 2**-23


small = st.integers(1, 24)


@settings(max_examples=60)
@given(small, small, small, small, st.integers(0, 999))
def test_other_floats_are_filtered_and_clipped_without_rounding(height, width, new_height, new_width, seed):
    batch = uniform(1, 3, height, width, seed=seed)
    for sharpness in (1, 8):  # 8: mostly black and white, so that most is clipped
        batch = (sharpness * (batch - 0.5) + 0.5).clamp(0, 1) * 0.9999 + 3e-5
        resized = resize(batch.float(), (new_height, new_width))
        assert resized.dtype == torch.float32
        assert 0 <= resized.min() <= resized.max() <= 1
        error = (resized - by_loop(batch, (new_height, new_width))).abs().max()
        assert error <= 1e-7 + fixed_point_error(height, new_height) + fixed_point_error(width, new_width)


@pytest.mark.parametrize("level", [0.0, 1.0, 0.3, 100 / 255, 1 - 1e-5])
@pytest.mark.parametrize("shape", [(1, 1, 5, 7), (300, 400, 224, 224), (50, 61, 224, 224), (300, 50, 7, 224)])
def test_constant_pictures_stay_constant(shape, level):
    resized = resize(torch.full((1, 3, *shape[:2]), level), shape[2:])
    assert (resized - level).abs().max() <= 1e-6


@pytest.mark.parametrize("size", [(37, 80), (150, 20), (50, 61)])
def test_each_picture_of_a_batch_is_resized_as_if_alone(size):
    on_grid = pictures(50, 61).float() / 255
    off_grid = uniform(2, 3, 50, 61).float()
    batch = torch.stack([on_grid[0], off_grid[0], on_grid[1], off_grid[1]])
    alone = torch.cat([resize(picture[None], size) for picture in batch])
    assert torch.equal(resize(batch, size), alone)
    assert torch.equal(alone[::2], by_pillow(pictures(50, 61), size))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("size", [(9, 8), (5, 6)])
def test_every_float_type_is_resized_in_float64_and_returned_in_float32(dtype, size):
    batch = uniform(1, 3, 9, 8).to(dtype)
    resized = resize(batch, size)
    assert resized.dtype == torch.float32
    assert torch.equal(resized, resize(batch.double(), size))


def gradient(batch, size, direction):
    batch = batch.clone().requires_grad_()
    (resize(batch, size) * direction).sum().backward()
    return batch.grad


@pytest.mark.parametrize(("low", "high"), [(0.3, 0.7), (0.0, 1.0)], ids=["unclipped", "clipped"])
@pytest.mark.parametrize("shape", [(7, 9, 12, 5), (12, 10, 5, 4), (5, 6, 11, 13), (30, 4, 6, 4), (1, 8, 3, 3)], ids=str)
def test_gradient_is_that_of_the_filter_and_the_clipping(shape, low, high):
    height, width, *size = shape
    batch, step = uniform(1, 2, height, width, low=low, high=high), 1e-6 * uniform(1, 2, height, width, low=-1, seed=1)
    direction = uniform(1, 2, *size, low=-1, seed=2).float()
    risen, fallen = (by_loop(batch + sign * step, size) for sign in (1, -1))
    expected = ((risen - fallen) / 2 * direction).sum()
    assert torch.isclose((gradient(batch, size, direction) * step).sum(), expected, rtol=1e-5, atol=0)


def test_gradient_passes_straight_through_the_rounding():
    levels = torch.from_numpy(np.random.default_rng(0).integers(80, 170, (1, 3, 20, 30))) / 255
    direction = uniform(1, 3, 13, 40, seed=2).float()
    on_grid = gradient(levels, (13, 40), direction)
    assert on_grid.count_nonzero() == on_grid.numel()
    assert torch.allclose(on_grid, gradient(levels + 1e-3, (13, 40), direction), rtol=0, atol=1e-6)


@pytest.mark.parametrize("shape", [(300, 400, 224, 224), (50, 61, 224, 224), (2000, 3, 7, 224)], ids=str)
@pytest.mark.parametrize("level", [0.0, 1.0, 77 / 255])
@pytest.mark.parametrize("speck", [0.0, 0.4321], ids=["on grid", "off grid"])
def test_black_and_white_have_the_gradient_of_grey(shape, level, speck):
    height, width, *size = shape
    flat = torch.full((1, 3, height, width), level)
    flat[0, 0, 0, 0] += (1 - 2 * level) * speck
    direction = uniform(1, 3, *size, seed=2).float()
    found, grey = (gradient(batch, size, direction) for batch in (flat, torch.full_like(flat, 0.4321)))
    far = (slice(None), slice(1, None))  # from the speck
    assert torch.allclose(found[far], grey[far], rtol=0, atol=1e-6)
    assert found.isfinite().all()
    assert found[far].abs().sum() > 0
