"""The generator: exactly as many points as noises, conditioned, small, and kept in a file."""

import json

import pytest
import torch

from train.core.errors import UserError
from train.dataset_distillation.chance import generator_for
from train.dataset_distillation.generator import (
    GeneratorSpec,
    build_generator,
    draw_noise,
    generate,
    load_generator,
    part_of_noise,
    pays_from,
    save_generator,
    stored_numbers,
)

SPEC = GeneratorSpec(classes=("cat", "dog", "hat"), clouds_per_class=2, width=16, w0=20.0)


@pytest.fixture(scope="module")
def generator():
    return build_generator(SPEC, seed=3)


@pytest.mark.parametrize("points", [1, 2, 7, 256, 1023, 4096])
def test_any_number_of_points_is_exact(generator, points):
    clouds, labels, parts = generate(generator, points, seed=0)
    assert clouds.shape == (6, points, 3)
    assert labels.tolist() == [0, 0, 1, 1, 2, 2]
    assert parts is None
    assert clouds.abs().max() <= 1.0


def test_clouds_of_classes_and_indices_differ(generator):
    noise = draw_noise(1, 50, generator_for(0)).expand(6, -1)
    clouds = generator(noise, torch.arange(6))
    for a in range(6):
        for b in range(a):
            assert (clouds[a] - clouds[b]).abs().max() > 1e-2


def test_points_are_made_one_by_one(generator):
    """A point depends on its own noise alone: any resolution samples the same shape."""
    noise = draw_noise(6, 64, generator_for(1))
    index = torch.arange(6)
    whole = generator(noise, index)
    torch.testing.assert_close(generator(noise[:, 10:20], index), whole[:, 10:20])


def test_the_formula_of_the_paper_by_hand(generator):
    """Eq. 7-9 written out for one noise, with the frequency on the first layer alone."""
    z, row = 0.37, 4
    psi = torch.relu(generator.modulator_input.weight[row])
    first, second = generator.siren
    h = torch.sin(20.0 * (first.weight[:, 0] * z + first.bias)) * psi
    psi = torch.relu(generator.modulator[0].weight @ psi + generator.modulator[0].bias)
    h = torch.sin(second.weight @ h + second.bias) * psi
    want = torch.tanh(generator.decoder.weight @ h)
    got = generator(torch.tensor([[z]]), torch.tensor([row]))[0, 0]
    torch.testing.assert_close(got, want)


def test_the_seed_decides_the_weights():
    a, b, c = (build_generator(SPEC, seed).decoder.weight for seed in (1, 1, 2))
    assert torch.equal(a, b)
    assert not torch.equal(a, c)


@pytest.mark.parametrize("points", [64, 256, 1024])
def test_the_generator_is_smaller_than_coordinates_from_the_stated_number_on(points):
    spec = GeneratorSpec(classes=tuple(map(str, range(12))), clouds_per_class=1)
    assert stored_numbers(spec) == build_generator(spec, 0).num_parameters()
    least = pays_from(spec, points)
    if points == 64:
        assert least is None
        return
    for number, smaller in ((least, True), (least - 1, False)):
        if number == 0:
            continue
        sized = GeneratorSpec(classes=spec.classes, clouds_per_class=number)
        assert (stored_numbers(sized) < 12 * number * points * 3) is smaller


def test_the_papers_memory_at_ten_clouds_per_class_of_modelnet40():
    """ "Nearly 4 times smaller" (Section 5.5)."""
    spec = GeneratorSpec(classes=tuple(map(str, range(40))), clouds_per_class=10)
    assert 3.5 < 400 * 1024 * 3 / stored_numbers(spec) < 5.5


def test_noise_is_parted_by_intervals():
    spec = GeneratorSpec(
        classes=("a", "b"),
        clouds_per_class=1,
        part_names=("p", "q", "r"),
        intervals=(((0, 0.0, 0.45), (1, 0.45, 1.0)), ((2, 0.0, 1.0),)),
    )
    noise = torch.tensor([[0.1, 0.449, 0.45, 0.9], [0.0, 0.3, 0.6, 0.99]])
    assert part_of_noise(spec, noise, torch.tensor([0, 1])).tolist() == [[0, 0, 1, 1], [2] * 4]


def test_a_file_gives_the_generator_back(generator, tmp_path):
    path = tmp_path / "generator.safetensors"
    save_generator(path, generator, {"data": "here"})
    back, more = load_generator(path)
    assert back.spec == SPEC
    assert more == {"data": "here"}
    assert torch.equal(generate(back, 10, 5)[0], generate(generator, 10, 5)[0])


def _with_header(path, **changed):
    from safetensors import safe_open
    from safetensors.torch import load_file, save_file

    with safe_open(path, framework="pt") as file:
        header = dict(file.metadata())
    save_file(load_file(path), path, metadata={**header, **changed})


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"format": "topodistill-generator-9"}, "topodistill-generator-9"),
        ({"spec": json.dumps({"classes": ["a"], "clouds_per_class": 1})}, "do not fit"),
        ({"spec": json.dumps({"what": 1})}, "do not fit"),
    ],
)
def test_a_file_of_another_version_is_refused_in_one_line(generator, tmp_path, changed, words):
    path = tmp_path / "generator.safetensors"
    save_generator(path, generator, {})
    _with_header(path, **changed)
    with pytest.raises(UserError, match=words) as caught:
        load_generator(path)
    assert "\n" not in str(caught.value)


def test_no_points_are_refused(generator):
    with pytest.raises(ValueError, match="points is 0"):
        draw_noise(2, 0, generator_for(0))
    with pytest.raises(ValueError, match="at least one point"):
        generator(torch.zeros(1, 0), torch.zeros(1, dtype=torch.int64))
