"""What is said about the frames of a run while they are opened."""

import dataclasses

import pytest

from train.config import DataConfig, RunConfig
from train.data.registry import dataset_spec
from train.engine.run_data import open_data


class Source(list):
    """Two frames, and five that were left out."""

    skipped_unlabeled = 5

    def __init__(self, names):
        super().__init__(names)
        self.unreadable = {}

    @property
    def names(self):
        return list(self)


@pytest.mark.parametrize(
    ("count", "said"),
    [
        (1, "sequences s0: 5 sweeps without labels left out"),
        (3, "sequences s0, s1, s2: 5 sweeps without labels left out"),
        (40, "sequences s0, s1, s2 and 37 more: 5 sweeps without labels left out"),
    ],
)
def test_a_long_list_of_sequences_is_not_written_out(tmp_path, capsys, count, said):
    spec = dataclasses.replace(
        dataset_spec("semantickitti"), open=lambda *_, **__: Source(["s0/0", "s0/1"])
    )
    names = tuple(f"s{number}" for number in range(count))
    data = DataConfig(train_sequences=names, validation_sequences=names)
    open_data(RunConfig(dataset="semantickitti", data_root=tmp_path, data=data), spec)
    assert capsys.readouterr().err == f"{tmp_path}, {said}\n"
