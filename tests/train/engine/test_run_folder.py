"""Whose folder it is: refusals before anything is written, a lock that ends with its process."""

import json
import os
import signal

import pytest

from tests.train.processes import start_code
from train.core.errors import UserError
from train.engine import run_folder
from train.engine.run_folder import LOCK, RunFolder


def names(folder):
    return sorted(entry.name for entry in folder.iterdir())


HOLDER = """
    import multiprocessing, sys, time
    from pathlib import Path
    from train.engine.run_folder import RunFolder

    folder = RunFolder(Path(sys.argv[1]))
    folder.check_new()
    with folder.hold(resume=False):
        reader = multiprocessing.get_context("fork").Process(target=time.sleep, args=(60,))
        reader.start()
        folder.write_json(folder.config, {"config": {}})
        print(reader.pid, flush=True)
        time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    """A process that holds a folder, and has a reading process of its own."""
    path = tmp_path / "run"
    process = start_code(HOLDER, path)
    reader = int(process.stdout.readline())
    yield process, path
    os.kill(reader, signal.SIGKILL)
    process.kill()
    process.communicate()


@pytest.fixture
def started(tmp_path):
    """A folder with a run that can go on."""
    folder = RunFolder(tmp_path / "run")
    folder.path.mkdir()
    folder.config.write_text(json.dumps({"config": {"seed": 1}, "device": "cpu"}))
    return folder


def test_a_second_run_is_refused_and_the_first_not_harmed(holder):
    process, path = holder
    before = {file: file.read_bytes() for file in path.iterdir()}
    folder = RunFolder(path)
    for check in (folder.check_new, folder.check_resume, lambda: hold(folder, resume=True)):
        with pytest.raises(UserError) as caught:
            check()
        assert str(caught.value).startswith(
            f"--output {path}: a run is writing there now (process {process.pid} on "
        )
    assert {file: file.read_bytes() for file in path.iterdir()} == before
    assert process.poll() is None


def test_a_killed_run_holds_nothing_even_while_its_readers_live(holder):
    process, path = holder
    process.kill()
    process.wait()
    folder = RunFolder(path)
    folder.check_resume()
    hold(folder, resume=True)


def hold(folder, *, resume):
    with folder.hold(resume=resume):
        return sorted(entry.name for entry in folder.path.iterdir())


def test_two_that_start_together_one_gets_the_folder(tmp_path):
    first, second = RunFolder(tmp_path / "run"), RunFolder(tmp_path / "run")
    first.check_new()
    second.check_new()
    with first.hold(resume=False):
        with pytest.raises(UserError, match="a run is writing there now"):
            hold(second, resume=False)
        first.write_json(first.config, {"config": {}})
    with pytest.raises(UserError, match="another run wrote there while this one was starting"):
        hold(second, resume=False)


def test_two_that_go_on_together_do_so_one_after_the_other(started):
    second = RunFolder(started.path)
    started.check_resume()
    second.check_resume()
    with started.hold(resume=True):
        started.checkpoint.write_bytes(b"step 2")
    with pytest.raises(UserError, match="while this one was starting; give the command again"):
        hold(second, resume=True)
    second.check_resume()
    hold(second, resume=True)


def test_checks_write_nothing_and_the_lock_leaves_nothing(tmp_path):
    folder = RunFolder(tmp_path / "a" / "run")
    folder.check_new()
    assert names(tmp_path) == []
    assert hold(folder, resume=False) == [LOCK]
    assert names(folder.path) == []
    folder.check_new()
    assert names(folder.path) == []


def test_a_run_killed_before_it_wrote_anything_leaves_a_new_folder(tmp_path):
    folder = RunFolder(tmp_path)
    (tmp_path / LOCK).touch()
    folder.check_new()
    hold(folder, resume=False)


def test_a_lock_file_that_is_removed_while_it_is_opened_is_not_taken(tmp_path, monkeypatch):
    path = tmp_path / LOCK
    taken = []

    def take(file, **options):
        if not taken:
            path.unlink()  # the holder before leaves now
        taken.append(file)
        return True

    monkeypatch.setattr(run_folder, "_try_lock", take)
    with RunFolder(tmp_path).hold(resume=False):
        assert len(taken) == 2
        assert path.exists()


def test_where_there_are_no_locks_it_says_so(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(run_folder, "_try_lock", lambda file, **options: None)
    hold(RunFolder(tmp_path), resume=False)
    assert "files cannot be locked here" in capsys.readouterr().err


def test_what_a_killed_run_left_half_written_is_removed(started):
    started.path.joinpath("checkpoint.pt.1-ab.unfinished").touch()
    started.check_resume()
    assert hold(started, resume=True) == [LOCK, "config.json"]


def test_refusals(tmp_path, started):
    (tmp_path / "file").touch()
    for check in ("check_new", "check_resume"):
        with pytest.raises(UserError, match="file: is a file; give a folder"):
            getattr(RunFolder(tmp_path / "file"), check)()
    with pytest.raises(UserError, match=r"cannot be made \(Not a directory\)"):
        hold(RunFolder(tmp_path / "file" / "run"), resume=False)
    with pytest.raises(UserError, match="holds another run or other files"):
        started.check_new()
    with pytest.raises(UserError, match=r"holds no run \(no config.json\)"):
        RunFolder(tmp_path / "none").check_resume()
    for damaged in ('{"config"', "{}", "[]", '{"config": 3}', "\xff"):
        started.config.write_text(damaged, encoding="latin-1")
        with pytest.raises(UserError, match=r"config.json is damaged \("):
            started.check_resume()


def test_a_folder_that_is_not_to_be_written_to(tmp_path, started, monkeypatch):
    def refuse(**options):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("train.core.atomic_write.tempfile.TemporaryFile", refuse)
    (tmp_path / "new").mkdir()
    for check in (RunFolder(tmp_path / "new").check_new, started.check_resume):
        with pytest.raises(UserError, match=r"cannot be written to \(Permission denied\)"):
            check()


def test_changes_are_kept(started):
    first = {"utc": "1", "step": 3, "field": "optim.lr", "before": 0.1, "after": 0.01}
    second = {**first, "utc": "2"}
    assert started.check_resume() == {"config": {"seed": 1}, "device": "cpu"}
    started.record_resume({"config": {"seed": 1}, "device": "cuda"}, [first])
    started.record_resume({"config": {"seed": 1}, "device": "cpu"})
    started.record_resume({"config": {"seed": 1}, "device": "cpu"}, [second])
    assert json.loads(started.config.read_text()) == {
        "config": {"seed": 1},
        "device": "cpu",
        "changes": [first, second],
    }


def test_the_files_have_their_names(tmp_path):
    folder = RunFolder(tmp_path)
    names = ("teacher.pt", "student.pt", "baseline.pt", "checkpoint.pt", "baseline_checkpoint.pt")
    for name in (*names, "config.json", "log.jsonl", "metrics.json", "skipped.json"):
        assert getattr(folder, name.partition(".")[0]) == tmp_path / name
    for role in ("teacher", "student", "baseline"):
        assert folder.weights_of(role) == getattr(folder, role)
        assert folder.best_of(role).name == f"{role}_best.pt"
    assert folder.checkpoint_of("teacher") == folder.checkpoint_of("student") == folder.checkpoint
    assert folder.checkpoint_of("baseline") == folder.baseline_checkpoint
    assert folder.submission(".zip") == tmp_path / "submission.zip"
