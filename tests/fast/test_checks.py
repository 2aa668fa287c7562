"""What no function of fast/ can compute with, refused in its own words."""

import pytest
import torch

import fast

_FEATURES = torch.rand(6, 2, generator=torch.Generator().manual_seed(0))
_DEATHS = _FEATURES[:, 0]
_PAIRS = _FEATURES.sort(dim=-1).values
_DISTANCES = fast.pairwise_distances(_FEATURES)

# Every public function of one tensor, and that tensor's name.
CALLS = {
    "pairwise_distances": (fast.pairwise_distances, _FEATURES, "points"),
    "rips_persistence": (fast.rips_persistence, _DISTANCES, "distances"),
    "rips_persistence_of_points": (fast.rips_persistence_of_points, _FEATURES, "points"),
    "normalise": (fast.normalise, _FEATURES, "features"),
    "topology_preserving_sampling": (
        lambda points: fast.topology_preserving_sampling(points, 3)[1],
        _FEATURES,
        "points",
    ),
    "covering_radius": (
        lambda points: fast.covering_radius(points, torch.tensor([0])),
        _FEATURES,
        "points",
    ),
    "persistence_weighted_chamfer": (
        lambda pairs: fast.persistence_weighted_chamfer(_PAIRS, pairs),
        _PAIRS,
        "student",
    ),
    "sorted_wasserstein": (
        lambda deaths: fast.sorted_wasserstein(_DEATHS, deaths),
        _DEATHS,
        "student",
    ),
    "entropic_transport": (
        lambda pairs: fast.entropic_transport(_PAIRS, pairs).value,
        _PAIRS,
        "student",
    ),
    "topological_loss": (
        lambda features: fast.topological_loss(_FEATURES, features),
        _FEATURES,
        "student_features",
    ),
}
call_of_one_tensor = pytest.mark.parametrize(
    ("name", "function", "tensor", "argument"),
    [(name, *call) for name, call in CALLS.items()],
    ids=list(CALLS),
)


@call_of_one_tensor
def test_a_sparse_tensor_is_refused(name, function, tensor, argument):
    with pytest.raises(ValueError, match=rf"{name}: \w+ has layout torch.sparse_coo; pass .*dense"):
        function(tensor.to_sparse())


@call_of_one_tensor
@pytest.mark.parametrize("transform", [torch.func.grad, torch.vmap])
def test_a_transform_of_torch_is_refused_with_what_to_do_instead(
    name, function, tensor, argument, transform
):
    tensor = tensor[None] if transform is torch.vmap else tensor
    with pytest.raises(RuntimeError, match=rf"{name}: \w+ is inside torch.vmap .*autograd.grad"):
        transform(function)(tensor)


def test_what_calls_no_kernel_takes_the_transforms():
    teacher, student = torch.rand(2, 3, 5, 4, generator=torch.Generator().manual_seed(0))

    def total(logits):
        return fast.kl_distillation(teacher, logits)

    leaf = student.clone().requires_grad_()
    (want,) = torch.autograd.grad(total(leaf), leaf)
    torch.testing.assert_close(torch.func.grad(total)(student), want)
    each = torch.vmap(fast.kl_distillation)(teacher, student)
    torch.testing.assert_close(each.mean(), total(student))
    maps = torch.vmap(fast.saliency_map)(teacher, student)
    torch.testing.assert_close(maps[1], fast.saliency_map(teacher[1], student[1]))


@pytest.mark.parametrize("function", [fast.persistence_weighted_chamfer, fast.entropic_transport])
@pytest.mark.parametrize(
    ("dtype", "size", "limit"), [(torch.float32, 1e19, "1e18"), (torch.float64, 1e151, "1e150")]
)
def test_diagrams_whose_squares_overflow_are_refused(function, dtype, size, limit):
    pairs = torch.tensor([[0.0, size], [0.0, 1.0]], dtype=dtype)
    message = rf"has an entry of size 1.0e\+\d+, whose square .* at most {limit[:2]}\+{limit[2:]}"
    with pytest.raises(ValueError, match=f"{function.__name__}: student {message}"):
        function(torch.zeros(1, 2, dtype=dtype), pairs)
    options = {"relative": True} if function is fast.entropic_transport else {}
    function(torch.zeros(1, 2, dtype=dtype), pairs / 10, **options)


def test_a_loss_of_huge_points_without_normalization_is_no_longer_0():
    points = 1e30 * _FEATURES
    with pytest.raises(ValueError, match=r"has an entry of size .*e\+29, whose square"):
        fast.topological_loss(points, 2 * points, normalisation="none")
    assert fast.topological_loss(points, 2 * points, normalisation="diameter") < 1e-10


def test_distances_of_cdist_are_refused_with_the_function_to_use():
    points = 100 + torch.rand(60, 9, generator=torch.Generator().manual_seed(0))
    distances = torch.cdist(points, points)
    assert distances.diagonal().max() > 0
    with pytest.raises(ValueError, match=r"itself must be 0, .*pairwise_distances\(points\)"):
        fast.rips_persistence(distances)
