"""Student's t, held against scipy and against values worked out by hand."""

import math

import pytest

from train.experiments.t_distribution import quantile, upper_tail


@pytest.mark.oracle
@pytest.mark.parametrize("degrees", [1, 1.1, 1.7, 2, 4, 11, 19, 30.5, 400])
def test_tails_and_quantiles_are_scipys(degrees):
    from scipy.stats import t as oracle

    for t in (-3.0, 0.0, 0.2, 1.0, 2.8, 12.0, 50.0):
        assert upper_tail(t, degrees) == pytest.approx(oracle.sf(t, degrees), rel=1e-5)
    for probability in (0.6, 0.8, 0.95, 0.975, 0.999):
        expected = oracle.ppf(probability, degrees)
        assert quantile(probability, degrees) == pytest.approx(expected, rel=1e-5)


def test_one_degree_is_cauchys_distribution():
    assert upper_tail(1.0, 1) == pytest.approx(0.25)  # 1/2 - arctan(1) / pi
    assert quantile(0.75, 1) == pytest.approx(1.0)


def test_the_ends():
    assert upper_tail(math.inf, 4) == 0
    assert upper_tail(-math.inf, 4) == 1
    assert upper_tail(0.0, 4) == pytest.approx(0.5)


def test_what_has_no_answer_is_refused():
    with pytest.raises(ValueError, match="t is nan"):
        upper_tail(math.nan, 4)
    with pytest.raises(ValueError, match=r"degrees 0\.5"):
        upper_tail(1.0, 0.5)
    with pytest.raises(ValueError, match=r"probability is 0\.4"):
        quantile(0.4, 4)
