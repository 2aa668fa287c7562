"""The note on the training data's terms: known, given, or demanded."""

import pytest

from train.core.errors import UserError
from train.data.dataset_spec import DATASETS
from train.data.terms import DATA_TERMS, SIMULATED_NOTE, data_license


def test_every_dataset_of_the_package_has_its_terms():
    assert set(DATA_TERMS) == set(DATASETS) - {"kitti-layout"}  # whose frames are anybody's
    for dataset in DATA_TERMS:
        assert data_license(dataset, simulated=False) == DATA_TERMS[dataset]
        assert data_license(dataset, simulated=True) == SIMULATED_NOTE


def test_the_users_words_come_first():
    assert data_license("own", simulated=False, given=" CC BY 4.0. ") == "CC BY 4.0."
    assert data_license("waymo", simulated=True, given="Ours.") == "Ours."


@pytest.mark.parametrize(("given", "message"), [(None, "frames of own"), ("  ", "is empty")])
def test_terms_that_nobody_said_are_demanded_in_one_line(given, message):
    with pytest.raises(UserError, match=message) as raised:
        data_license("own", simulated=False, given=given)
    assert "--data-license" in str(raised.value)
    assert "\n" not in str(raised.value)
