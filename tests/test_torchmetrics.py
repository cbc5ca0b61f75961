"""The torchmetrics form agrees with the plain call, over batches and over processes."""

import pytest
import torch
import torch.multiprocessing

from dreamsim_metric import load
from dreamsim_metric.torchmetrics import PerceptualDistance
from tests.pictures import PHOTOGRAPHS


@pytest.fixture(scope="module")
def pairs():
    random = torch.Generator().manual_seed(0)
    return torch.rand(2, 6, 3, 80, 60, generator=random)


@pytest.fixture(scope="module")
def expected(pairs):
    return load("mini")(*pairs)


REDUCTIONS = {"mean": torch.Tensor.mean, "sum": torch.Tensor.sum, "none": torch.clone}


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_it_accumulates_what_the_plain_call_gives(reduction, pairs, expected):
    metric = PerceptualDistance("mini", reduction=reduction)
    for start in (0, 2, 5):
        stop = {0: 2, 2: 5, 5: 6}[start]
        metric.update(pairs[0, start:stop], pairs[1, start:stop])
    torch.testing.assert_close(metric.compute(), REDUCTIONS[reduction](expected), atol=1e-6, rtol=0)
    metric.reset()
    metric.update(PHOTOGRAPHS[0], PHOTOGRAPHS[0])
    assert metric.compute().sum() == 0


def test_a_step_gives_its_own_value(pairs, expected):
    metric = PerceptualDistance(load("mini"))
    torch.testing.assert_close(metric(pairs[0, :4], pairs[1, :4]), expected[:4].mean(), atol=1e-6, rtol=0)
    torch.testing.assert_close(metric(pairs[0, 4:], pairs[1, 4:]), expected[4:].mean(), atol=1e-6, rtol=0)
    torch.testing.assert_close(metric.compute(), expected.mean(), atol=1e-6, rtol=0)
    assert (metric.higher_is_better, metric.is_differentiable) == (False, True)


def test_an_unknown_reduction_is_refused():
    with pytest.raises(ValueError, match="got reduction='median'"):
        PerceptualDistance("mini", reduction="median")


def _one_of_two(rank, rendezvous, pairs, results):
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{rendezvous}", rank=rank, world_size=2)
    for reduction in REDUCTIONS:
        metric = PerceptualDistance("mini", reduction=reduction)
        mine = slice(0, 2) if rank == 0 else slice(2, 6)
        metric.update(pairs[0, mine], pairs[1, mine])
        torch.save(metric.compute(), f"{results}/{reduction}{rank}.pt")
    torch.distributed.barrier()  # older PyTorch hangs where one process leaves early
    torch.distributed.destroy_process_group()


@pytest.mark.slow
def test_it_syncs_over_processes(pairs, expected, tmp_path):
    torch.multiprocessing.spawn(_one_of_two, (str(tmp_path / "rendezvous"), pairs, str(tmp_path)), nprocs=2)
    for reduction, reduce in REDUCTIONS.items():
        for rank in (0, 1):
            got = torch.load(tmp_path / f"{reduction}{rank}.pt")
            torch.testing.assert_close(got, reduce(expected), atol=1e-6, rtol=0)


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_a_metric_can_be_left_out_of_checkpoints(reduction, pairs, expected):
    metric = PerceptualDistance(load("mini", in_state_dict=False), reduction)
    metric.persistent(True)
    metric.update(*pairs)
    held = metric.state_dict()
    assert set(held) == ({"distances"} if reduction == "none" else {"total", "pairs"})
    other = torch.nn.ModuleDict({"validation": PerceptualDistance(load("mini", in_state_dict=False), reduction)})
    other["validation"].persistent(True)
    other.load_state_dict({f"validation.{name}": value for name, value in held.items()})
    other["validation"]._update_count = 1  # else torchmetrics says that nothing was added
    assert torch.equal(other["validation"].compute(), metric.compute())
