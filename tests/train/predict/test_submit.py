"""What a submission needs before anything is trained."""

import pytest

from train.config import RunConfig
from train.core.errors import UserError
from train.data.dataset_spec import dataset_spec
from train.predict.submit import check_submission


def config(tmp_path, dataset, **options):
    return RunConfig(dataset=dataset, output=tmp_path, submit=True, **options)


@pytest.mark.parametrize("account", ["", "me"])
def test_waymo_s_server_wants_an_account(tmp_path, account):
    asked = config(tmp_path, "waymo", submit_account=account)
    with pytest.raises(UserError, match="add --submit-account NAME@HOST"):
        check_submission(asked, dataset_spec("waymo"), [])


def test_simulated_frames_go_to_no_server(tmp_path):
    planned = check_submission(config(tmp_path, "waymo", simulate=True), dataset_spec("waymo"), [])
    assert planned.path == tmp_path / "submission.bin"


def test_without_a_submission_nothing_is_wanted(tmp_path):
    asked = RunConfig(dataset="waymo", output=tmp_path)
    assert check_submission(asked, dataset_spec("waymo"), []) is None


@pytest.mark.parametrize("dataset", ["semantickitti", "nuscenes"])
def test_other_servers_take_a_file_from_anyone(tmp_path, dataset):
    # What is missing is the data.
    asked = config(tmp_path, dataset, data_root=tmp_path / "no")
    with pytest.raises(UserError, match="no such folder"):
        check_submission(asked, dataset_spec(dataset), [])
