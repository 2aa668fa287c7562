"""Files whole or not at all, on full disks and in folders that cannot be written to."""

import errno
import os
import re
import sys
import textwrap
from pathlib import Path

import pytest

from tests.train.processes import run_code
from train.core.atomic_write import (
    append_whole,
    atomic_write,
    check_writable,
    make_folder,
    remove_unfinished,
)
from train.core.errors import UserError


def names(folder):
    return sorted(entry.name for entry in folder.iterdir())


def limited(code, *arguments):
    """Run code in a process whose files can hold 100 kB: a full disk that needs no root."""
    limit = "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
    limit += "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
    return run_code(limit + textwrap.dedent(code), *arguments)


WRITERS = {
    "text": "unfinished.write_text('x' * 200_000)",
    "torch": "import torch; torch.save(torch.zeros(100_000), unfinished)",
    "torch through a file": "import torch\n        with unfinished.open('wb') as file:\n"
    "            torch.save(torch.zeros(100_000), file)",
    "numpy": "import numpy; numpy.save(unfinished.open('wb'), numpy.zeros(100_000))",
}


@pytest.mark.parametrize("how", WRITERS)
def test_a_full_disk_is_one_error_and_leaves_the_earlier_file_alone(how, tmp_path):
    path = tmp_path / "file.pt"
    path.write_text("earlier")
    done = limited(
        f"""
        import sys
        from pathlib import Path
        from train.core.atomic_write import atomic_write
        from train.core.command import run_command

        def body():
            with atomic_write(Path(sys.argv[1])) as unfinished:
                {WRITERS[how].replace(chr(10), chr(10) + " " * 8)}

        sys.exit(run_command(body))
        """,
        path,
    )
    assert done.returncode == 2, done.stderr
    lines = [line for line in done.stderr.splitlines() if "Exception ignored" not in line]
    assert lines[0].startswith(f"error: {path}: cannot be written (")
    assert "the earlier file is untouched; " in lines[0]
    assert "Traceback" not in lines[0]
    assert path.read_text() == "earlier"
    assert names(tmp_path) == ["file.pt"]


def test_no_space_left_says_so_and_what_to_do(tmp_path, monkeypatch):
    def full(file):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    path = tmp_path / "new.txt"
    with pytest.raises(UserError) as caught, atomic_write(path) as unfinished:
        unfinished.write_text("whole")
    assert str(caught.value) == (
        f"{path}: cannot be written (No space left on device); make room there, then give the "
        "command again (a training run: with --resume)"
    )
    assert names(tmp_path) == []


def test_torchs_own_words_for_a_full_disk(tmp_path):
    with pytest.raises(UserError, match="cannot be written"), atomic_write(tmp_path / "a.pt"):
        raise RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 704 vs 598")
    with pytest.raises(RuntimeError, match="size mismatch"), atomic_write(tmp_path / "a.pt"):
        raise RuntimeError("size mismatch")


def test_another_files_error_passes(tmp_path):
    with pytest.raises(FileNotFoundError), atomic_write(tmp_path / "a.txt"):
        (tmp_path / "other").read_text()


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_whatever_is_raised_leaves_nothing_behind(error, tmp_path):
    def fail():
        with atomic_write(tmp_path / "a.txt") as unfinished:
            unfinished.write_text("half")
            assert unfinished.exists()
            raise error

    with pytest.raises(error):
        fail()
    assert names(tmp_path) == []


def test_two_writers_do_not_share_a_file(tmp_path):
    path = tmp_path / "a.txt"
    with atomic_write(path) as first, atomic_write(path) as second:
        assert first != second
        assert {first.parent, second.parent} == {tmp_path}
        first.write_text("1")
        second.write_text("2")
    assert path.read_text() == "1"


def test_it_is_on_the_disk_before_it_replaces(tmp_path, monkeypatch):
    order = []
    fsync, replace = os.fsync, Path.replace
    monkeypatch.setattr(os, "fsync", lambda file: (order.append("fsync"), fsync(file)))
    monkeypatch.setattr(Path, "replace", lambda a, b: (order.append("replace"), replace(a, b)))
    with atomic_write(tmp_path / "a.txt") as unfinished:
        unfinished.write_text("whole")
    assert order == ["fsync", "replace"]


def test_what_a_killed_process_left_is_removed(tmp_path):
    (tmp_path / "checkpoint.pt.12-ab.unfinished").touch()
    (tmp_path / "checkpoint.pt").touch()
    remove_unfinished(tmp_path)
    assert names(tmp_path) == ["checkpoint.pt"]


def test_a_line_is_appended_whole_or_not_at_all(tmp_path):
    path = tmp_path / "log"
    path.write_bytes(b"x" * 99_990)
    done = limited(
        """
        import os, sys
        from train.core.atomic_write import append_whole
        file = os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND)
        append_whole(file, b"short")
        try:
            append_whole(file, b"longer than what is left")
        except OSError as error:
            print(error.errno)
        """,
        path,
    )
    assert done.stdout.strip() == str(errno.EFBIG), done.stderr
    assert path.read_bytes() == b"x" * 99_990 + b"short"


def test_a_partial_write_is_continued(tmp_path, monkeypatch):
    write = os.write
    monkeypatch.setattr(os, "write", lambda file, content: write(file, content[:3]))
    file = os.open(tmp_path / "log", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    append_whole(file, b"0123456789")
    os.close(file)
    assert (tmp_path / "log").read_bytes() == b"0123456789"


def test_folders_to_write_to(tmp_path):
    make_folder(tmp_path / "a" / "b", "--output")
    assert names(tmp_path / "a" / "b") == []
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"--output .*file: is a file; give a folder"):
        make_folder(tmp_path / "file", "--output")
    with pytest.raises(UserError, match="cannot be made"):
        make_folder(tmp_path / "file" / "below", "--output")


def test_a_folder_that_is_not_to_be_written_to():
    if not sys.platform.startswith("linux"):
        pytest.skip("needs a folder that root cannot write to either: Linux's /sys")
    with pytest.raises(UserError, match=r"^--output /sys: cannot be written to \(") as caught:
        check_writable(Path("/sys"), "--output")
    assert re.search("give another folder", str(caught.value))
