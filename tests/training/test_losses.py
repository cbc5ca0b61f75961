"""The losses against loops in float64, values and gradients."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dreamsim_metric.training.losses import bradley_terry, hinge


def _examples(n=200):
    random = np.random.default_rng(0)
    left, right = random.uniform(0, 0.5, (2, n))
    left[:5] = right[:5]
    votes = random.integers(1, 8, n).astype(float)
    share = random.binomial(votes.astype(int), 0.5) / votes
    return left, right, share, votes


def hinge_loop(left, right, share, votes, margin):
    total = weight = 0.0
    gradient = np.zeros(len(left))
    for i in range(len(left)):
        if share[i] == 0.5:
            continue
        y = 1 if share[i] > 0.5 else -1
        gap = margin - (left[i] - right[i]) * y
        total += max(0.0, gap)
        gradient[i] = -y if gap > 0 else 0
        weight += 1
    return total / weight, gradient / weight


def bradley_terry_loop(left, right, share, votes, temperature):
    total = weight = 0.0
    gradient = np.zeros(len(left))
    for i in range(len(left)):
        p = 1 / (1 + np.exp(-(left[i] - right[i]) / temperature))
        total -= votes[i] * (share[i] * np.log(p) + (1 - share[i]) * np.log(1 - p))
        gradient[i] = votes[i] * (p - share[i]) / temperature
        weight += votes[i]
    return total / weight, gradient / weight


@pytest.mark.parametrize(("loss", "loop"), [(hinge, hinge_loop), (bradley_terry, bradley_terry_loop)])
@pytest.mark.parametrize("scale", [0.02, 0.05, 0.3])
def test_values_and_gradients_are_those_of_a_loop(loss, loop, scale):
    data = _examples()
    left, right, share, votes = map(torch.from_numpy, data)
    left.requires_grad_()
    right.requires_grad_()
    losses, weights = loss(left, right, share, votes, scale)
    value = (losses * weights).sum() / weights.sum()
    value.backward()
    expected, gradient = loop(*data, scale)
    assert value.item() == pytest.approx(expected, rel=1e-9)  # the loop loses digits in 1 − p
    np.testing.assert_allclose(left.grad, gradient, rtol=1e-7, atol=1e-12)
    np.testing.assert_allclose(right.grad, -gradient, rtol=1e-7, atol=1e-12)


def test_the_hinge_is_that_of_the_released_training_on_unanimous_votes():
    left, right = torch.rand(2, 100, dtype=torch.float64)
    share = torch.randint(0, 2, (100,)).double()
    y = 2 * share.round() - 1
    released = torch.clamp(0.05 - (left - right) * y, min=0).sum() / 100
    losses, weights = hinge(left, right, share, torch.ones(100))
    assert ((losses * weights).sum() / weights.sum()).item() == pytest.approx(released.item(), rel=1e-12)


@given(st.floats(0, 2), st.floats(0, 2), st.floats(0, 1), st.integers(1, 20))
@pytest.mark.parametrize("loss", [hinge, bradley_terry])
def test_changing_sides_changes_nothing(loss, left, right, share, votes):
    values = [torch.tensor([x], dtype=torch.float64) for x in (left, right, share, float(votes))]
    one = loss(*values)
    other = loss(values[1], values[0], 1 - values[2], values[3])
    torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)
    assert (one[0] >= 0).all()
