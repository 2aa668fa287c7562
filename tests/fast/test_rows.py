"""Rows by index: the same sums on every run, on every device."""

import pytest
import torch

from fast import rows
from fast.chamfer import persistence_weighted_chamfer
from fast.distances import edge_lengths
from fast.rows import select_rows, select_rows_of_clouds, sum_rows


@pytest.fixture(params=["cpu", "cuda"])
def way(request, monkeypatch, set_threads):
    """Each device's way, both on the CPU with one thread, where both add in order."""
    if request.param == "cuda":
        monkeypatch.setattr(rows, "_adds_in_order", lambda tensor: False)
    set_threads(1)
    return request.param


def test_rows_and_their_gradients_are_those_of_a_loop(way):
    torch.manual_seed(0)
    table, index = torch.randn(5, 3, requires_grad=True), torch.tensor([4, 0, 0, 2, 4, 4])
    slope = torch.randn(6, 3)
    out = select_rows(table, index)
    (grad,) = torch.autograd.grad(out, table, slope)
    want = torch.zeros(5, 3)
    for place, row in enumerate(index.tolist()):
        assert torch.equal(out[place], table[row])
        want[row] += slope[place]
    assert torch.equal(grad, want)
    assert torch.equal(sum_rows(slope, index, 5), want)


def test_each_cloud_has_rows_of_its_own(way):
    table, index = torch.randn(3, 4, 2), torch.randint(4, (3, 7))
    want = torch.stack([cloud[picked] for cloud, picked in zip(table, index, strict=True)])
    assert torch.equal(select_rows_of_clouds(table, index), want)


@pytest.mark.parametrize(
    ("call", "shapes"),
    [
        (lambda index, table: select_rows(table, index), [(5, 3)]),
        (lambda index, table: select_rows_of_clouds(table, index[None]), [(1, 5, 3)]),
    ],
)
def test_off_the_cpu_gradients_are_sorted_before_they_are_added(call, shapes):
    """`index_select`, `gather` and `index_add` add on CUDA in the order of arrival."""
    tensors = [torch.zeros(shape, device="meta", requires_grad=True) for shape in shapes]
    names = _nodes(call(torch.zeros(6, dtype=torch.int64, device="meta"), *tensors).grad_fn)
    assert "IndexBackward0" in names
    assert not names & {"IndexSelectBackward0", "GatherBackward0"}


def test_sums_off_the_cpu_are_sorted_too():
    seen = []

    class Spy(torch.overrides.TorchFunctionMode):
        def __torch_function__(self, function, types, arguments=(), options=None):
            seen.append(function.__name__)
            return function(*arguments, **(options or {}))

    with Spy():
        sum_rows(
            torch.zeros(4, 3, device="meta"), torch.zeros(4, dtype=torch.int64, device="meta"), 2
        )
    assert "index_put" in seen
    assert "index_add" not in seen


def test_losses_go_this_way(monkeypatch):
    """Atomic sums in their backward would give other bits in each run on CUDA."""
    monkeypatch.setattr(rows, "_adds_in_order", lambda tensor: False)
    pairs = torch.rand(2, 6, 2, requires_grad=True)
    edges = torch.tensor([[0, 1], [2, 1]])
    for value in (
        persistence_weighted_chamfer(torch.rand(2, 5, 2), pairs).sum(),
        edge_lengths(pairs[0], edges).sum(),
    ):
        names = _nodes(value.grad_fn)
        assert "IndexBackward0" in names
        assert not names & {"IndexSelectBackward0", "GatherBackward0"}


def _nodes(node):
    """Return the names of all nodes of a graph."""
    names, waiting = set(), [node]
    while waiting:
        node = waiting.pop()
        if node is not None:
            names.add(node.name())
            waiting += [each for each, _ in node.next_functions]
    return names
