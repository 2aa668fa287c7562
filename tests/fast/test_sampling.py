"""fast.topology_preserving_sampling and covering_radius against the definition."""

from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import fast
import reference
from fast import sampling
from fast.kernels.distances import squares
from fast.kernels.sampling import sampling_cpu


@st.composite
def lattice_points(draw):
    """Small integers: exact in float32, many equal distances, many duplicates."""
    n, channels = draw(st.integers(1, 12)), draw(st.integers(0, 3))
    values = st.lists(st.integers(-2, 3), min_size=n * channels, max_size=n * channels)
    return np.array(draw(values), dtype=np.float64).reshape(n, channels)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@given(points=lattice_points(), data=st.data())
def test_it_equals_the_definition(dtype, points, data):
    num_samples = data.draw(st.integers(1, len(points)))
    start = data.draw(st.integers(0, len(points) - 1))
    want = reference.topology_preserving_sampling(points, num_samples, start)
    got = fast.topology_preserving_sampling(torch.tensor(points, dtype=dtype), num_samples, start)
    np.testing.assert_array_equal(got[0], want[0])
    np.testing.assert_array_equal(got[1], torch.tensor(want[1], dtype=dtype))


@pytest.mark.parametrize("family", ["cube", "gaussian", "features", "circle", "grid"])
def test_it_equals_the_definition_on_clouds(make_cloud, family):
    points = make_cloud(family, 2000)
    want = reference.topology_preserving_sampling(points, 150, 7)
    got = fast.topology_preserving_sampling(torch.tensor(points), 150, 7)
    np.testing.assert_array_equal(got[0], want[0])
    np.testing.assert_allclose(got[1], want[1], rtol=1e-14)


def without_skipping(points, num_samples):
    """Return what one pass over all points a pick gives, in the points' own precision."""
    unit = points.dtype.type(2.0 ** np.frexp(np.abs(points).max())[1])
    points = points / unit  # exact, and no square overflows
    nearest = np.full(len(points), np.inf, points.dtype)
    picked, radii = [0], []
    while True:
        squares = np.zeros_like(nearest)
        for channel in points.T:
            squares += (channel - channel[picked[-1]]) ** 2
        nearest = np.minimum(nearest, squares)
        radii.append(np.sqrt(nearest.max()) * unit)
        if len(picked) == num_samples or radii[-1] == 0:
            return np.array(picked), np.array(radii)
        picked.append(int(nearest.argmax()))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("family", "scale", "shift"),
    [
        ("cube", 1, 0),
        ("gaussian", 1, 0),
        ("features", 1, 0),
        ("circle", 1, 0),
        ("grid", 1, 0),
        ("line", 1, 1000),  # the triangle inequality is an equality, and much is rounded
        ("cube", 3e-22, 0),  # squares underflow in float32
        ("cube", 3e19, 0),  # and overflow
        ("cube", 3e18, 0),  # some of them
        ("gaussian", 1e37, 0),
    ],
)
def test_skipping_points_changes_no_bit(make_cloud, family, scale, shift, dtype):
    cloud = make_cloud("cube", 3000)[:, :1] if family == "line" else make_cloud(family, 3000)
    points = (scale * cloud + shift).astype(dtype)
    want = without_skipping(points, 450)
    got = fast.topology_preserving_sampling(torch.tensor(points), 450)
    for mine, expected in zip(got, want, strict=True):
        np.testing.assert_array_equal(mine, expected)
    assert fast.covering_radius(torch.tensor(points), got[0]) == got[1][-1]


@pytest.mark.parametrize("scale", [1e-44, 1e-38, 3e18, 3e38])
def test_points_of_any_size_are_sampled_as_the_definition_says(scale):
    points = np.array([[0.0, 0.0], [0.1, 0.0], [1.0, 0.0], [0.4, 0.3]]).astype(np.float32)
    points *= np.float32(scale)
    want = reference.topology_preserving_sampling(points.astype(float), 4)
    got = fast.topology_preserving_sampling(torch.tensor(points), 4)
    np.testing.assert_array_equal(got[0], want[0])
    np.testing.assert_allclose(got[1], want[1], rtol=2e-7, atol=3e-45)  # subnormal: few digits


def spread_cloud(dtype):
    """Return 91 points over all magnitudes of a type: five lie where float squares are lost."""
    rng = np.random.default_rng(0)
    large, tiny = (1e17, 1e-17) if dtype == np.float32 else (1e140, 1e-160)
    far = large * (1 + rng.integers(1, 1000, size=(85, 2)))
    near = tiny * np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 5.0], [2.5, 1.0], [1e-3, 0.0]])
    points = np.concatenate([far, near, near[:1]]).astype(dtype)
    return points[rng.permutation(len(points))]


def sampled_exactly(points, num_samples):
    """Return farthest points of rows of floats and the squares of their radii, in fractions."""
    rows = [[Fraction(float(x)) for x in row] for row in points]

    def squares_to(pick):
        return [sum((x - y) ** 2 for x, y in zip(row, rows[pick], strict=True)) for row in rows]

    picked, nearest = [0], squares_to(0)
    radii = [max(nearest)]
    while len(picked) < num_samples and radii[-1] > 0:
        picked.append(nearest.index(radii[-1]))
        nearest = list(map(min, nearest, squares_to(picked[-1])))
        radii.append(max(nearest))
    return picked, radii


@pytest.mark.parametrize("num_samples", [86, 88, 91])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_points_of_any_magnitude_are_told_apart(dtype, num_samples):
    points = spread_cloud(dtype)
    want, squares_of_radii = sampled_exactly(points, num_samples)
    assert len(want) == min(num_samples, 90)  # the last is a copy
    cloud = torch.tensor(points)
    indices, radii = fast.topology_preserving_sampling(cloud, num_samples)
    assert indices.tolist() == want
    allowed = 5 * Fraction(torch.finfo(cloud.dtype).eps)
    for got, square in zip(radii.tolist(), squares_of_radii, strict=True):
        assert abs(Fraction(got) ** 2 - square) <= allowed * square
    assert fast.covering_radius(cloud, indices) == radii[-1]


@pytest.mark.parametrize(
    ("family", "least", "most"), [("cube", 0.1, 0.4), ("circle", 0.1, 0.4), ("gaussian", 1, 1.01)]
)
def test_points_are_skipped_where_there_is_something_to_skip(make_cloud, family, least, most):
    cloud = torch.tensor(make_cloud(family, 3000)).float()
    visited, _, _ = sampling_cpu.sample(
        *sampling_cpu.sampling_call(cloud, 0, torch.zeros(450, dtype=torch.int64), torch.zeros(450))
    )
    assert least <= visited / (3000 * 450) <= most


def _farthest_of_highest_index(clouds, num_samples, start):
    indices, radii = [], []
    for cloud, count in zip(clouds, num_samples, strict=True):
        picked, covered = [start], []
        cloud = cloud.numpy()
        while True:
            gaps = np.linalg.norm(cloud[:, None] - cloud[picked], axis=2).min(axis=1)
            covered.append(gaps.max())
            if len(picked) == count or covered[-1] == 0:
                break
            picked.append(len(gaps) - 1 - int(gaps[::-1].argmax()))
        pad = count - len(picked)
        indices.append(torch.tensor(picked + [-1] * pad))
        radii.append(torch.tensor(np.array(covered + [0.0] * pad).astype(cloud.dtype)))
    return indices, radii


def test_the_wrong_rule_at_ties_is_caught(monkeypatch):
    monkeypatch.setattr(sampling, "kernel", lambda *_: _farthest_of_highest_index)
    with pytest.raises(AssertionError):
        test_it_equals_the_definition(torch.float64)


def test_a_batch_is_padded_once_only_duplicates_are_left():
    few = torch.tensor([[0.0], [2.0], [2.0], [0.0]])
    many = torch.tensor([[0.0], [1.0], [2.0], [4.0]])
    indices, radii = fast.topology_preserving_sampling(torch.stack([few, many])[None], 4)
    assert indices.tolist() == [[[0, 1, -1, -1], [0, 3, 2, 1]]]
    assert radii.tolist() == [[[2.0, 0.0, 0.0, 0.0], [4.0, 2.0, 1.0, 0.0]]]
    indices, radii = fast.topology_preserving_sampling(few, 4)
    assert indices.tolist() == [0, 1]
    assert radii.tolist() == [2.0, 0.0]


def test_the_last_radius_is_the_covering_radius(make_cloud):
    points = torch.tensor(make_cloud("features", 5000))
    indices, radii = fast.topology_preserving_sampling(points, 64)
    assert (radii.diff() <= 0).all()
    got = fast.covering_radius(points, indices)
    assert got.item() == pytest.approx(radii[-1].item(), rel=1e-13)
    few = indices[:20]
    want = reference.covering_radius(points.numpy(), few.numpy())
    assert fast.covering_radius(points, few).item() == pytest.approx(want, rel=1e-13)
    assert fast.covering_radius(points, torch.arange(5000)).item() == 0


def test_the_diagrams_of_the_sample_are_within_twice_the_radius(make_cloud):
    points = torch.tensor(make_cloud("circle", 300))
    indices, radii = fast.topology_preserving_sampling(points, 60)
    (whole,), (part,) = (
        fast.rips_persistence_of_points(cloud)[1].pairs for cloud in (points, points[indices])
    )
    # The circle's loop is far above the rest in both, so it is matched with itself.
    longest = [pairs[(pairs[:, 1] - pairs[:, 0]).argmax()] for pairs in (whole, part)]
    assert (longest[0] - longest[1]).abs().max() <= 2 * radii[-1]  # Proposition 1


def test_low_precision_features_are_sampled_in_float32(make_cloud):
    points = torch.tensor(make_cloud("features", 100)).bfloat16()
    indices, radii = fast.topology_preserving_sampling(points, 30)
    want = fast.topology_preserving_sampling(points.float(), 30)
    assert torch.equal(indices, want[0])
    assert radii.dtype == torch.float32


def splitmix64(seed, count):
    """Return the first numbers of SplitMix64, in Python's integers."""
    full = 2**64 - 1
    numbers = []
    for _ in range(count):
        seed = (seed + 0x9E3779B97F4A7C15) & full
        z = seed
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & full
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & full
        numbers.append(z ^ (z >> 31))
    return numbers


def test_the_numbers_are_those_of_splitmix64():
    # For this seed, from other implementations.
    known = [6457827717110365317, 3203168211198807973, 9817491932198370423]
    assert splitmix64(1234567, 3) == known
    for seed in (0, 1234567, 2**63 - 1):
        state = torch.tensor(seed) + torch.arange(1, 51) * sampling._STEP
        got = sampling._mixed(state).tolist()
        assert [number % 2**64 for number in got] == splitmix64(seed, 50)


@given(
    key=st.integers(-(2**63), 2**63 - 1),
    sizes=st.lists(st.integers(1, 40), min_size=1, max_size=4),
    data=st.data(),
)
def test_the_rows_of_the_smallest_numbers_are_drawn(key, sizes, data):
    counts = [data.draw(st.integers(1, size)) for size in sizes]
    drawn = sampling.draw_points(torch.tensor(key), sizes, counts)
    for cloud, (size, count, got) in enumerate(zip(sizes, counts, drawn, strict=True)):
        stream = sampling._mixed(torch.tensor(key) + cloud).item()
        signed = [(each + 2**63) % 2**64 for each in splitmix64(stream % 2**64, size)]
        want = sorted(range(size), key=signed.__getitem__)[:count]
        assert got.tolist() == want


def test_draws_are_uniform_over_keys_clouds_and_pairs():
    size, count, keys = 8, 3, 4000
    pairs = torch.zeros(2, size, size)
    together = torch.zeros(size, size)  # by the first cloud, by the second
    for call in range(keys):
        key = sampling.key_of_call(5, torch.tensor(call))
        one, other = sampling.draw_points(key, [size, size], [count, count])
        for table, drawn in zip(pairs, (one, other), strict=True):
            table[drawn[:, None], drawn] += 1
        together[one[:, None], other] += 1
    off_diagonal = ~torch.eye(size, dtype=torch.bool)
    for table in pairs:
        expected = keys * count / size
        assert (table.diagonal() - expected).abs().max() < 5 * expected**0.5
        expected = keys * count * (count - 1) / (size * (size - 1))
        assert (table[off_diagonal] - expected).abs().max() < 5 * expected**0.5
    expected = keys * count**2 / size**2  # clouds draw independently
    assert (together - expected).abs().max() < 5 * expected**0.5


@given(points=lattice_points(), seed=st.integers(0, 100), data=st.data())
def test_random_and_mixed_points(points, seed, data):
    cloud = torch.tensor(points)
    num_samples = data.draw(st.integers(1, len(points)))
    start = data.draw(st.integers(0, len(points) - 1))

    def picked(kind, of=cloud):
        generator = torch.Generator().manual_seed(seed)
        return fast.sample_points(of, num_samples, start, sampling=kind, generator=generator)

    random, mixed = picked("random").tolist(), picked("mixed").tolist()
    assert len(set(random)) == len(set(mixed)) == num_samples
    assert set(random) | set(mixed) <= set(range(len(points)))
    assert picked("random", of=cloud.flip(0) + 1).tolist() == random
    farthest, _ = reference.topology_preserving_sampling(points, (num_samples + 1) // 2, start)
    assert mixed[: len(farthest)] == farthest.tolist()
    new = [index for index in random if index not in farthest]
    assert mixed[len(farthest) :] == new[: num_samples - len(farthest)]
    want, _ = fast.topology_preserving_sampling(cloud, num_samples, start)
    assert torch.equal(fast.sample_points(cloud, num_samples, start), want)


def test_a_generator_goes_on_and_no_other_is_drawn_from():
    points, generator = torch.rand(50, 2), torch.Generator().manual_seed(0)
    before = torch.random.get_rng_state()
    first, second = (
        fast.sample_points(points, 20, sampling="random", generator=generator) for _ in range(2)
    )
    assert not torch.equal(first, second)
    generator.manual_seed(0)
    again = fast.sample_points(points, 20, sampling="random", generator=generator)
    assert torch.equal(first, again)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_the_draws_of_a_key_stay_as_they_are():
    """Experiments rely on them: a change here makes another experiment of the same seed."""
    key = sampling.key_of_call(3, torch.tensor(2))
    assert [each.tolist() for each in sampling.draw_points(key, [1000, 9], [4, 9])] == [
        [684, 581, 679, 298],
        [1, 8, 4, 7, 0, 3, 5, 2, 6],
    ]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("exponent", [-148, -126, -60, 0, 5, 127])
def test_the_scale_is_an_exact_power_of_two_on_every_device(dtype, exponent):
    values = torch.tensor([0.0, -(2.0**exponent), 1.75 * 2.0 ** (exponent - 1)], dtype=dtype)
    factor, unit = squares.scale_of(values)
    assert factor * unit == 1
    assert np.frexp(factor)[0] == 0.5
    limit = squares.safe_range(dtype).target
    assert (values * factor).abs().max() == min(limit, 2.0**exponent * limit**2)

    class Elsewhere(torch.Tensor):
        device = torch.device("cuda")

    there = squares.scale_of(values.as_subclass(Elsewhere))
    assert [float(each) for each in there] == [factor, unit]
