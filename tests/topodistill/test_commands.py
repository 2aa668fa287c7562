"""`topodistill NAME` starts in any folder and in every way, and says in a line what is wrong."""

import os
import re
import runpy
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import torch

from tests.train.processes import run_bare
from topodistill import commands
from topodistill.commands import COMMANDS, MAIN, RESEARCH, TRAIN_EXTRA, Command, main

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

# Names that our packages have and users' files have too.
CLASHES = ("train.py", "fast.py", "reference.py")

# A command that loads little, and a mistake that its own code finds.
MISSING_RUN = ("report", "--run", "no-such-run", "--output", "page.html")
NO_SUCH_RUN = "error: --run no-such-run: no metrics.json"


@pytest.fixture
def crowded(tmp_path):
    """A folder whose files have our packages' names; importing one of them ends the process."""
    folder = tmp_path / "crowded"
    folder.mkdir()
    for name in CLASHES:
        (folder / name).write_text("raise SystemExit('the wrong file was imported')\n")
    return folder


@pytest.fixture
def script(tmp_path):
    """The console script as pip writes it, for the entry point that pyproject.toml declares."""
    module, _, function = PROJECT["scripts"]["topodistill"].partition(":")
    path = tmp_path / "bin" / "topodistill"
    path.parent.mkdir()
    path.write_text(
        f"import sys\nfrom {module} import {function}\n"
        f"if __name__ == '__main__':\n    sys.exit({function}())\n"
    )
    return path


def started(words, folder, **variables):
    """Run a command in a folder, with our sources on the path."""
    return subprocess.run(
        [sys.executable, *map(str, words)], cwd=folder, text=True, capture_output=True, check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT), **variables},
    )  # fmt: skip


@pytest.mark.parametrize("way", ["script", "module"])
def test_a_command_works_in_a_folder_with_clashing_files(way, script, crowded):
    start = [script] if way == "script" else ["-m", "topodistill"]
    done = started([*start, *MISSING_RUN], crowded)
    assert done.returncode == 2
    assert NO_SUCH_RUN in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


# What an editable install does: packages are found by name, after everything on the path.
EDITABLE = """
import importlib.machinery, importlib.util, sys

class Finder:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name in ("fast", "reference", "topodistill", "train"):
            return importlib.util.spec_from_file_location(name, f"{root}/{{name}}/__init__.py")

sys.meta_path.insert(sys.meta_path.index(importlib.machinery.PathFinder) + 1, Finder)
"""


def test_a_folder_of_frames_called_train_is_in_nobodys_way(tmp_path):
    (tmp_path / "train").mkdir()
    site = tmp_path / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(EDITABLE.format(root=ROOT))
    done = started(["-m", "topodistill", *MISSING_RUN], tmp_path, PYTHONPATH=str(site))
    assert done.returncode == 2
    assert NO_SUCH_RUN in done.stdout + done.stderr


def test_the_checkout_itself_is_no_folder_to_avoid():
    done = started(["-m", "topodistill", *MISSING_RUN], ROOT, PYTHONPATH="")
    assert NO_SUCH_RUN in done.stdout + done.stderr


def test_a_clash_that_the_path_asks_for_is_one_line(crowded):
    done = started(["-m", "topodistill", "run"], crowded, PYTHONPATH=f"{crowded}:{ROOT}")
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"error: `import train` finds {crowded.resolve() / 'train.py'}")
    assert "rename" in line


@pytest.mark.slow
def test_torchrun_starts_a_command_from_any_folder(crowded):
    done = started(
        ["-m", "torch.distributed.run", "--nproc-per-node", "1", "-m", "topodistill", "run",
         "--dataset", "waymo", "--help"],
        crowded, OMP_NUM_THREADS="1",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "--teacher-checkpoint" in done.stdout


def test_help_lists_every_command_with_what_it_does(capsys):
    assert main(["--help"]) == 0
    told = capsys.readouterr().out
    for name, command in COMMANDS.items():
        assert re.search(rf"^  {name} +{re.escape(command.does)}$", told, re.MULTILINE)
    groups = [line for line in told.split("options of")[0].splitlines() if line.endswith(":")]
    assert groups == [f"{MAIN}:", f"{RESEARCH}:"]
    assert sum(command.group == MAIN for command in COMMANDS.values()) in (9, 10)


def test_python_m_starts_the_first_eight_too(capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["a command"])
    for name in list(COMMANDS)[:8]:
        package = ROOT / "train" / name
        place = f"{package}/__main__.py" if package.is_dir() else f"{package}.py"
        with pytest.raises(SystemExit) as stopped:
            runpy.run_path(place, run_name="__main__")
        assert stopped.value.code == 2  # what is missing on an empty line
        assert re.match(r"error: --\S+.* missing", capsys.readouterr().err)


def test_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"topodistill {PROJECT['version']}\n"


@pytest.mark.parametrize(
    ("words", "what"),
    [([], "no command given"), (["rnu"], "'rnu' is no command"), (["--dataset"], "'--dataset' is")],
)
def test_no_command_is_one_line_that_lists_them(words, what, capsys):
    assert main(words) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    (line,) = printed.err.splitlines()
    assert what in line
    assert all(name in line for name in COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_opens_and_says_how_it_is_used(name, capsys):
    with pytest.raises(SystemExit) as stopped:
        main([name, "--help"])
    assert stopped.value.code == 0
    assert "usage" in capsys.readouterr().out


class Recorder:
    """A module with a `main` that keeps what it was called with."""

    def main(self, arguments):
        self.arguments, self.process = arguments, list(sys.argv)
        return 7


@pytest.fixture
def recorder(monkeypatch):
    found = Recorder()
    monkeypatch.setitem(sys.modules, "a_command", found)
    monkeypatch.setitem(commands.COMMANDS, "test-command", Command("a_command", MAIN, "records"))
    return found


def test_a_command_gets_its_arguments_and_gives_its_exit_code(recorder):
    before = list(sys.argv)
    assert main(["test-command", "--a", "b c"]) == 7
    assert recorder.arguments == ["--a", "b c"]
    # A run writes down the arguments of its process, which must not hold the command's name.
    assert recorder.process[1:] == ["--a", "b c"]
    assert sys.argv == before


def test_the_process_gives_the_arguments_where_nobody_else_does(recorder, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["topodistill", "test-command", "x"])
    assert main() == 7
    assert recorder.arguments == ["x"]


@pytest.mark.parametrize("name", COMMANDS)
def test_help_loads_nothing_that_only_the_work_needs(name):
    """What takes tenths of a second: kernels, drawing, records, the tables of Waymo's files."""
    slow = ["matplotlib", "numba", "PIL", "scipy", "pyarrow", "google.protobuf", "yaml", "onnx"]
    code = (
        "import sys\nbefore = set(sys.modules)\nfrom topodistill.commands import main\n"
        f"try:\n    main([{name!r}, '--help'])\nexcept SystemExit:\n    pass\n"
        f"print([m for m in {slow} if m in sys.modules and m not in before], file=sys.stderr)"
    )
    ended = run_bare(code)
    assert ended.stderr.splitlines()[-1] == "[]"
    assert ended.returncode == 0


@pytest.mark.parametrize("package", TRAIN_EXTRA)
def test_a_missing_extra_is_one_line_that_installs_it(package, recorder, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, package, None)  # as if it were not installed
    assert main(["test-command"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert package in line
    assert line.endswith("pip install 'topodistill[train]'")
    assert not hasattr(recorder, "arguments")


def test_warming_up_needs_no_extra(monkeypatch, capsys):
    for package in TRAIN_EXTRA:
        monkeypatch.setitem(sys.modules, package, None)
    warmed = []
    monkeypatch.setattr("fast.compiler.warm_up", lambda: warmed.append(True))
    assert main(["warm-up"]) == 0
    assert warmed
    assert capsys.readouterr().out == "the kernels are compiled\n"


def test_the_extra_is_the_one_that_the_project_declares():
    extras = PROJECT["optional-dependencies"]
    assert "topodistill[plot]" in extras["train"]
    entries = [*extras["plot"], *(each for each in extras["train"] if each != "topodistill[plot]")]
    imported_as = {"PyYAML": "yaml", "google-crc32c": "google_crc32c"}
    named = [re.split(r"[<>=]", entry)[0] for entry in entries]
    assert sorted(imported_as.get(name, name) for name in named) == sorted(TRAIN_EXTRA)
    core = {re.split(r"[<>=]", entry)[0] for entry in PROJECT["dependencies"]}
    assert core == {"jaxtyping", "numba", "numpy", "torch"}


def test_a_command_that_is_broken_says_so_with_its_trace(monkeypatch, tmp_path):
    (tmp_path / "broken_command.py").write_text("import a_package_that_nobody_has\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(
        commands.COMMANDS, "test-command", Command("broken_command", MAIN, "is broken")
    )
    with pytest.raises(ModuleNotFoundError, match="a_package_that_nobody_has"):
        main(["test-command"])


def test_the_environment_has_what_a_report_of_a_fault_needs(capsys, monkeypatch):
    monkeypatch.setenv("NUMBA_CACHE_DIR", "elsewhere")
    assert main(["--environment"]) == 0
    said = dict(line.split(": ", 1) for line in capsys.readouterr().out.splitlines())
    assert said["torch"] == torch.__version__
    assert said["flash-attn"] == "not installed"
    assert said["processors"].endswith(f"{torch.get_num_threads()} threads of torch")
    assert said["CUDA"].endswith("no GPU") or torch.cuda.is_available()
    assert said["compiled kernels"] == "elsewhere"
