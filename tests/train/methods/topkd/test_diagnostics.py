"""How far RipsNet and a student are from the truth, against GUDHI and by hand."""

import gudhi
import numpy as np
import pytest
import torch

from train.methods.topkd.artifacts import ImageMaker, load_maker
from train.methods.topkd.diagnostics import component_bottleneck, fidelity
from train.methods.topkd.targets import exact_images


@pytest.mark.oracle
def test_the_bottleneck_of_components_is_gudhis():
    rng = np.random.default_rng(0)
    for _ in range(200):
        one, other = (
            rng.exponential(1.0, rng.integers(0, 7)).round(int(rng.integers(1, 4))) + 0.001
            for _ in range(2)
        )
        want = gudhi.bottleneck_distance(*(np.c_[0 * d, d] for d in (one, other)))
        found = component_bottleneck(torch.tensor(one), torch.tensor(other))
        assert float(found) == pytest.approx(want, abs=1e-9)


def test_equal_clouds_are_at_no_distance_and_moved_ones_are(prepared):
    _, path = prepared()
    maker = load_maker(path)
    torch.manual_seed(0)
    clouds = torch.rand(5, 16, 10)
    same = fidelity(maker, clouds, clouds)
    assert (same.image_distance, same.bottleneck) == (0, 0)
    assert same.teacher_error == same.student_error
    exact = exact_images(clouds, maker.card.scale, (0,))
    want = (maker.ripsnet(clouds) - exact).square().mean().item()
    assert same.teacher_error == pytest.approx(want, rel=1e-5)
    other = fidelity(maker, clouds, 3 * clouds)
    assert other.teacher_error == same.teacher_error
    assert other.student_error != same.student_error
    assert min(other.image_distance, other.bottleneck) > 0


def test_what_cannot_be_compared_is_refused(prepared):
    _, path = prepared()
    maker = load_maker(path)
    clouds = torch.rand(2, 16, 10)
    with pytest.raises(ValueError, match="pass the same points of both networks"):
        fidelity(maker, clouds, clouds[:, :15])
    with pytest.raises(ValueError, match="no RipsNet"):
        fidelity(ImageMaker(card=maker.card, ripsnet=None), clouds, clouds)
