"""Nearest neighbours and pairs below a distance: a sorted matrix is the oracle."""

import itertools

import networkx
import pytest
import torch

from dreamsim_metric.distances import compare_all
from dreamsim_metric.scale import neighbours
from dreamsim_metric.scale.neighbours import find_nearest, find_within, group_pairs


@pytest.fixture(scope="module")
def units():
    """Clusters, copies and near copies, as collections of pictures have them."""
    generator = torch.Generator().manual_seed(0)
    centres = torch.randn(20, 48, generator=generator)
    vectors = centres[torch.randint(20, (400,), generator=generator)] + 0.4 * torch.randn(400, 48, generator=generator)
    vectors[50:60] = vectors[0]
    vectors[60:70] = vectors[0] + 1e-3 * torch.randn(10, 48, generator=generator)
    return torch.nn.functional.normalize(vectors)


@pytest.fixture(params=[(7, 33), (2048, 8192)], ids=["small blocks", "one block"])
def _blocks(request, monkeypatch):
    monkeypatch.setattr(neighbours, "_ROWS", request.param[0])
    monkeypatch.setattr(neighbours, "_COLUMNS", request.param[1])


def exact_distances(u, v):
    return (u.double()[:, None] - v.double()).square().sum(-1) / 2


@pytest.mark.usefixtures("_blocks")
@pytest.mark.parametrize("k", [1, 5, 400, 1000])
def test_the_nearest_are_those_of_the_sorted_matrix(units, k):
    queries = units[:90]
    d, rows = find_nearest(queries, units, k)
    reference = exact_distances(queries, units)
    assert d.shape == rows.shape == (90, min(k, 400))
    expected = reference.sort(dim=1).values[:, :k]
    torch.testing.assert_close(d.double(), expected, atol=1e-6, rtol=0)
    torch.testing.assert_close(reference.gather(1, rows), expected, atol=1e-6, rtol=0)
    assert all(len(set(row)) == len(row) for row in rows.tolist())


@pytest.mark.usefixtures("_blocks")
def test_a_copy_is_at_zero_and_copies_come_in_their_order(units):
    d, rows = find_nearest(units[:1], units, 8)
    assert d[0].tolist() == [0.0] * 8
    assert rows[0].tolist() == sorted(rows[0].tolist())
    d, rows = find_nearest(units[:1], units, 30)
    assert rows[0, :11].tolist() == [0, *range(50, 60)]
    assert set(rows[0, 11:21].tolist()) == set(range(60, 70))
    assert (d[0, 11:21] > 0).all()


@pytest.mark.usefixtures("_blocks")
@pytest.mark.parametrize("below", [1e-7, 1e-4, 0.1, 0.5, 3.0])
def test_pairs_below_are_those_of_the_matrix(units, below):
    pairs, d = find_within(units, below)
    reference = compare_all(units, units)
    expected = [(i, j) for i, j in itertools.combinations(range(400), 2) if reference[i, j] < below]
    assert [tuple(pair) for pair in pairs.tolist()] == expected
    torch.testing.assert_close(d, reference[pairs[:, 0], pairs[:, 1]], atol=1e-6, rtol=0)
    assert (d < below).all()


@pytest.mark.usefixtures("_blocks")
def test_approximate_search_finds_most_and_its_distances_are_right(units):
    pytest.importorskip("faiss")
    d, rows = find_nearest(units, units, 6)
    near, found = find_nearest(units, units, 6, approximate=True)
    assert (found[:, :, None] == rows[:, None, :]).any(1).float().mean() > 0.9  # the share of the nearest
    torch.testing.assert_close(near.double(), exact_distances(units, units).gather(1, found), atol=1e-6, rtol=0)
    assert (near >= d - 1e-6).all()
    assert (near[:, 0] == 0).all()
    pairs, d = find_within(units, 0.2, approximate=True)
    all_pairs, all_d = find_within(units, 0.2)
    right = dict(zip(map(tuple, all_pairs.tolist()), all_d.tolist(), strict=True))
    got = dict(zip(map(tuple, pairs.tolist()), d.tolist(), strict=True))
    assert len(got) == len(pairs) > 0.9 * len(right)
    assert all(value == pytest.approx(right[pair], abs=1e-6) for pair, value in got.items())


def test_fewer_than_asked_for_is_said(units, monkeypatch):
    pytest.importorskip("faiss")
    monkeypatch.setattr(neighbours, "_SEARCHED", 1)
    monkeypatch.setattr(neighbours, "_TRAINED", 5)
    d, rows = find_nearest(units, units, 100, approximate=True)
    missing = rows < 0
    assert missing.any()
    assert d[missing].isinf().all()
    assert d[~missing].isfinite().all()


@pytest.mark.parametrize("seed", range(5))
def test_groups_are_the_connected_components(seed):
    generator = torch.Generator().manual_seed(seed)
    pairs = torch.randint(40, (30, 2), generator=generator)
    graph = networkx.Graph()
    graph.add_nodes_from(range(40))
    graph.add_edges_from(pairs.tolist())
    expected = {member: min(part) for part in networkx.connected_components(graph) for member in part}
    assert group_pairs(40, pairs) == [expected[i] for i in range(40)]


BAD = {
    "k": (lambda u: find_nearest(u, u, 0), "got k 0; expected 1 or more"),
    "nothing to search": (lambda u: find_nearest(u, u[:0], 1), "got nothing to search in"),
    "zero": (lambda u: find_within(u, 0), "got below=0; expected a distance above 0"),
    "negative": (lambda u: find_within(u, -1), "got below=-1"),
    "no number": (lambda u: find_within(u, float("nan")), "got below=nan"),
    "infinity": (lambda u: find_within(u, float("inf")), "got below=inf"),
}


@pytest.mark.parametrize(("call", "message"), BAD.values(), ids=BAD)
def test_bad_calls_say_what_is_wrong(units, call, message):
    with pytest.raises(ValueError, match=message):
        call(units)


def test_too_many_pairs_are_an_error_and_not_a_full_memory(units, monkeypatch):
    monkeypatch.setattr(neighbours, "_MOST", 1000)
    with pytest.raises(ValueError, match=r"more than 1,000 pairs are nearer than 3; choose a smaller threshold"):
        find_within(units, 3.0)
    assert len(find_within(units[:1], 3.0)[0]) == 0
