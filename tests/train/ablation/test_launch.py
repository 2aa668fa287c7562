"""Seeds side by side: what fails is said in a line, and nothing goes on behind it."""

import subprocess
import sys

import pytest

from train.ablation import launch as module
from train.ablation.launch import FOLDER, launch
from train.ablation.records import locked
from train.core.errors import UserError

WRONG = ["--grid", "nonsense"]


@pytest.mark.parametrize("launcher", ["local", "slurm"])
def test_a_seed_that_fails_is_named_with_its_last_words(tmp_path, launcher):
    with pytest.raises(UserError, match=r"seed 3: failed \(.*no such grid.*seed-S.log has all"):
        launch(launcher, {3: WRONG}, tmp_path, 2, {"timeout_min": 1}, cluster="local")
    with locked(tmp_path / FOLDER, wait=False):  # given back
        pass


@pytest.mark.skipif(sys.platform == "win32", reason="no folder can be locked there")
def test_a_second_launcher_in_a_folder_is_refused(tmp_path):
    (tmp_path / FOLDER).mkdir()
    with (
        locked(tmp_path / FOLDER),
        pytest.raises(UserError, match="another launcher is at work here; wait for it"),
    ):
        launch("local", {0: WRONG}, tmp_path, 1, {})


@pytest.mark.parametrize(
    ("slurm", "said"),
    [
        ({"slurm_partitions": "gpu"}, "slurm_partitions"),
        ({"timeout_min": "soon"}, "timeout_min"),
    ],
)
def test_parameters_that_submitit_does_not_know(tmp_path, slurm, said):
    with pytest.raises(UserError, match=f"--launcher slurm: .*{said}.*; check --slurm"):
        launch("slurm", {0: WRONG}, tmp_path, 1, slurm, cluster="local")


def test_slurm_where_there_is_none(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match=r"--launcher slurm: .*srun"):
        launch("slurm", {0: WRONG}, tmp_path, 1, {})
    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(
        UserError, match=r"submitit is not installed; pip install 'topodistill\[slurm\]'"
    ):
        launch("slurm", {0: WRONG}, tmp_path, 1, {})


def test_what_runs_is_stopped_when_the_launcher_is(tmp_path, monkeypatch):
    started = []

    def program(words):
        return [sys.executable, "-c", f"import time; time.sleep({words[0]})"]

    class Watched(subprocess.Popen):
        def __init__(self, *arguments, **options):
            super().__init__(*arguments, **options)
            started.append(self)

    def stop(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "_program", program)
    monkeypatch.setattr(module.subprocess, "Popen", Watched)
    monkeypatch.setattr(module.logger, "info", stop)  # the first seed has ended
    with pytest.raises(KeyboardInterrupt):
        launch("local", {0: ["0"], 1: ["60"], 2: ["60"]}, tmp_path, 2, {})
    assert [process.poll() for process in started] == [0, -15]
