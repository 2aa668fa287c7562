"""What the host is told during a forward pass: the sizes that pooling needs, and nothing else.

Two proofs that need no GPU: the network runs where tensors have no values at all, and every call
that makes the host wait is counted.
"""

import dataclasses
from collections import Counter

import pytest
import torch
from torch.overrides import TorchFunctionMode, resolve_name

from train.networks.ptv3 import Hierarchy, build_hierarchy, build_segmentor
from train.networks.ptv3.neighbors import neighbor_table

# Whatever lets Python see a value of a tensor, or makes a tensor whose size depends on values.
WAITING = {
    "item", "tolist", "numpy", "cpu", "__bool__", "__int__", "__float__", "__index__",
    "__contains__", "nonzero", "argwhere", "unique", "unique_consecutive", "masked_select",
    "bincount", "histc", "equal", "allclose", "is_nonzero",
}  # fmt: skip


class HostCopies(TorchFunctionMode):
    """Counts the calls that make the host wait for a GPU."""

    def __init__(self):
        super().__init__()
        self.seen = Counter()

    def __torch_function__(self, function, types, arguments=(), options=None):
        name = (resolve_name(function) or function.__name__).split(".")[-1]
        options = options or {}
        index = arguments[1] if name in ("__getitem__", "__setitem__") else ()
        parts = index if isinstance(index, tuple) else (index,)
        masks = any(isinstance(part, torch.Tensor) and part.dtype == torch.bool for part in parts)
        counts_on_device = (
            name == "repeat_interleave"
            and isinstance(arguments[-1], torch.Tensor)
            and "output_size" not in options
        )
        if (
            name in WAITING
            or masks
            or counts_on_device
            or (name == "where" and len(arguments) == 1)
        ):
            self.seen["mask" if masks else name] += 1
        return function(*arguments, **options)


def without_values(value):
    """Return a tensor, or all tensors of a level of a hierarchy, on torch's device without memory.

    It takes the way that a GPU takes, and whatever would look at a value there is an error.
    """
    if isinstance(value, torch.Tensor):
        return value.to("meta")
    if dataclasses.is_dataclass(value):
        fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        return type(value)(**{name: without_values(part) for name, part in fields.items()})
    return value


@pytest.fixture
def no_values(make_batch):
    """A batch of three clouds and its hierarchy, without values."""
    batch = make_batch([300, 7, 120], dtype=torch.float32)
    hierarchy = build_hierarchy(batch, shuffle_orders=True)
    levels = tuple(without_values(level) for level in hierarchy.levels)
    batch = {key: without_values(value) for key, value in batch.items()}
    return batch | {"grid_coord": levels[0].grid_coord}, Hierarchy(levels, hierarchy.depth_rule)


@pytest.mark.parametrize("size", ["tiny-student", "tiny-teacher"])
def test_the_network_and_its_gradients_copy_nothing_to_the_host(no_values, size):
    batch, hierarchy = no_values
    with torch.device("meta"):
        model = build_segmentor(size, 5, patch_size=16).train()
    logits = model(batch, hierarchy).logits
    assert (logits.device.type, tuple(logits.shape)) == ("meta", (427, 5))
    logits.square().mean().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_off_the_cpu_no_gradient_is_a_sum_of_many_rows_in_the_order_of_arrival(no_values):
    """`index_select` adds atomically there; attention's adds at most two rows, in either order."""
    batch, hierarchy = no_values
    with torch.device("meta"):
        model = build_segmentor("tiny-student", 5, patch_size=16).train()
    waiting, seen, found = [model(batch, hierarchy).logits.grad_fn], set(), Counter()
    while waiting:
        node = waiting.pop()
        if node is not None and node not in seen:
            seen.add(node)
            found[node.name()] += 1
            waiting += [each for each, _ in node.next_functions]
    attentions = sum("Attention" in type(module).__name__ for module in model.modules())
    assert found["IndexSelectBackward0"] == 2 * attentions
    assert found["IndexBackward0"] == len(model.decoder_stages)


LOOKS = [
    lambda t: t.max().item(),
    lambda t: t.tolist(),
    lambda t: t[t > 0],
    lambda t: t.nonzero(),
    lambda t: bool((t > 0).any()),
]


@pytest.mark.parametrize("look", LOOKS)
def test_a_look_at_a_value_is_an_error_there(no_values, look):
    with pytest.raises((RuntimeError, NotImplementedError), match="meta"):
        look(no_values[0]["feat"])


@pytest.mark.parametrize("num_stages", [1, 3, 5])
def test_serialization_copies_the_batch_s_facts_and_the_sizes_of_each_pooling(
    make_batch, num_stages
):
    batch = make_batch([300, 7, 120])
    with HostCopies() as copies:
        build_hierarchy(batch, num_stages=num_stages, shuffle_orders=True)
    # The clouds' numbers go the other way: counts that the host has are made a tensor there.
    made_on_the_host = Counter(repeat_interleave=1)
    assert copies.seen - made_on_the_host == Counter(tolist=1 + (num_stages - 1))


@pytest.mark.parametrize("dtype", [torch.int64, torch.int32])
def test_a_whole_pass_copies_no_more_than_serialization_does(
    make_batch, make_network, as_on_a_gpu, dtype
):
    as_on_a_gpu()
    batch, model = make_batch([300, 7, 120]), make_network().eval()
    batch["grid_coord"] = batch["grid_coord"].to(dtype)
    with torch.no_grad(), HostCopies() as copies:
        model(batch)
    assert copies.seen - Counter(repeat_interleave=1) == Counter(tolist=5)


def test_the_neighbor_search_of_a_gpu_copies_nothing(make_batch, as_on_a_gpu):
    as_on_a_gpu()
    level = build_hierarchy(make_batch([300, 7])).levels[0]
    with HostCopies() as copies:
        neighbor_table(level.grid_coord, level.batch, 5)
    assert not copies.seen


@pytest.mark.parametrize(
    "look",
    [
        *LOOKS,
        lambda t: t.unique(),
        lambda t: torch.repeat_interleave(t, t.abs().long()),
        lambda t: torch.bincount(t.abs().long()),
        lambda t: torch.where(t > 0),
    ],
)
def test_the_counter_sees_every_kind_of_copy(look):
    with HostCopies() as copies:
        look(torch.tensor([1.0, -2.0, 3.0]))
    assert copies.seen
