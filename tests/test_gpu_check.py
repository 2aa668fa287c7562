"""gpu_check.sh and its parts: what they answer without a GPU, and that each part runs at all."""

import importlib
import json
import os
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import pytest
import torch

from benchmarks import gpu_parts, machine
from benchmarks.gpu_parts import NO_DEVICE, STOPPED, Part, run_part
from train.core import provenance

ROOT = Path(__file__).parents[1]
SCRIPT = ROOT / "benchmarks" / "gpu_check.sh"
PARTS = ("gpu_ablation", "gpu_loss", "gpu_network", "gpu_sanitize", "gpu_train")


def run_script(*arguments, **variables):
    return subprocess.run(
        ["bash", str(SCRIPT), *map(str, arguments)],
        env=os.environ | {"CUDA_VISIBLE_DEVICES": "", "PYTHON": sys.executable} | variables,
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.mark.parametrize("arguments", [(), ("out", "nonsense"), ("out", "rows", "more")])
def test_a_wrong_call_says_what_there_is(tmp_path, arguments):
    run = run_script(*[tmp_path / "out" if word == "out" else word for word in arguments])
    assert run.returncode == 2
    assert "doctor kernels rows loss network train sanitize efficiency ablation" in run.stderr
    assert not (tmp_path / "out").exists()


def test_help_is_no_mistake():
    run = run_script("--help")
    assert run.returncode == 0
    assert "usage: benchmarks/gpu_check.sh DIR [PART...]" in run.stderr


@pytest.mark.parametrize("part", [(), ("train",)])
def test_without_a_gpu_nothing_is_run(tmp_path, part):
    run = run_script(tmp_path / "out", *part)
    assert run.returncode == 3
    assert "torch sees no CUDA device" in run.stdout
    assert "nothing was run" in run.stderr
    assert list((tmp_path / "out").iterdir()) == []


def test_the_doctor_says_in_five_lines_what_would_be_run():
    run = run_script("doctor")
    assert run.returncode == 0
    python, cuda, device, kernels, plan = run.stdout.splitlines()
    assert f"torch {torch.__version__}" in python
    assert "tqdm" not in python
    assert "compute-sanitizer" in cuda
    assert device.endswith("torch sees no CUDA device")
    assert kernels.endswith("kernels were not tried")
    assert "would run kernels rows loss network train sanitize efficiency ablation" in plan


def test_the_doctor_names_the_packages_that_parts_lack(tmp_path):
    bare = tmp_path / "python"
    bare.write_text(
        "#!/bin/sh\n"
        "shift\n"
        'sed \'s/^needed = {/needed = {"no_such": "rows",/\' | '
        f'{sys.executable} - "$@"\n'
    )
    bare.chmod(0o755)
    run = run_script("doctor", PYTHON=str(bare))
    assert "missing: no_such (rows)" in run.stdout.splitlines()[0]


@pytest.fixture
def stand_in(tmp_path, monkeypatch):
    """A Python that finds a GPU, and in whose place each part says what it is given, and waits.

    What it finds is its exit code: 0 a GPU, 4 one without kernels.
    """
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    program = tmp_path / "part.py"
    program.write_text(
        "import os, sys, time\n"
        "print('given', *sys.argv[1:], os.environ['NUMBA_CACHE_DIR'], flush=True)\n"
        "if 'benchmarks.gpu_train' not in sys.argv: sys.exit(0)\n"
        "try: time.sleep(60)\n"
        "except KeyboardInterrupt: print('has kept what there is'); sys.exit(130)\n"
    )

    def make(found=0):
        stub = tmp_path / "python"
        stub.write_text(
            f'#!/bin/sh\n[ "$1" = - ] && exit {found}\nexec {sys.executable} {program} "$@"\n'
        )
        stub.chmod(0o755)
        return str(stub)

    return make


def packed(folder):
    """The texts of the archive, by name."""
    with tarfile.open(folder / "gpu_check.tar.gz") as archive:
        files = [each for each in archive if each.isfile()]
        return {Path(each.name).name: archive.extractfile(each).read().decode() for each in files}


def test_a_part_is_interrupted_at_its_limit_and_has_time_to_write(tmp_path, stand_in):
    run = run_script(tmp_path / "out", "train", PYTHON=stand_in(), GPU_CHECK_SECONDS="2")
    assert run.returncode == 1
    log = packed(tmp_path / "out")["gpu_train.log"]
    assert f"given -m benchmarks.gpu_train --out {tmp_path / 'out' / 'parts'}" in log
    assert "has kept what there is" in log
    assert "gpu_check: train exit 1" in run.stdout
    assert log in (tmp_path / "out" / "gpu_check.log").read_text()


def test_what_is_there_is_packed_before_the_machine_goes(tmp_path, stand_in):
    out = tmp_path / "out"
    script = subprocess.Popen(
        ["bash", str(SCRIPT), str(out), "loss", "train"],
        env=os.environ | {"PYTHON": stand_in(), "GPU_CHECK_PACK_SECONDS": "0.2"},
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            if (out / "gpu_check.tar.gz").exists() and "gpu_train" in packed(out).get(
                "gpu_train.log", ""
            ):
                break
            time.sleep(0.1)
    finally:
        os.killpg(script.pid, signal.SIGKILL)
        script.wait()
    assert packed(out).keys() == {"gpu_loss.log", "gpu_train.log"}


def test_the_budget_ends_all_parts_and_names_those_not_begun(tmp_path, stand_in):
    out = tmp_path / "out"
    run = run_script(out, "train", "loss", PYTHON=stand_in(), GPU_CHECK_BUDGET="7")
    assert run.returncode == 1
    assert "has kept what there is" in packed(out)["gpu_train.log"]
    assert "the budget of 7 s is used; loss was not run" in run.stdout


def test_parts_that_need_no_kernel_run_where_there_are_none(tmp_path, stand_in):
    out = tmp_path / "out"
    run = run_script(out, "rows", "network", PYTHON=stand_in(found=4))
    assert run.returncode == 4
    assert "rows needs the kernels; not run" in run.stdout
    assert packed(out).keys() == {"gpu_network.log"}


def test_compiled_kernels_are_found_again(tmp_path, stand_in):
    caches = set()
    for number in range(2):
        folder = tmp_path / f"{number}"
        assert run_script(folder, "loss", PYTHON=stand_in()).returncode == 0
        caches.add(packed(folder)["gpu_loss.log"].split()[-1])
    (cache,) = caches
    assert Path(cache).is_dir()
    assert Path(cache).parents[1] == tmp_path / "cache"


@pytest.mark.thorough
@pytest.mark.parametrize("parts", ["kernels rows sanitize", "efficiency"])
def test_parts_run_dry_on_a_cpu(tmp_path, parts):
    run = run_script(tmp_path / "out", *parts.split(), GPU_CHECK_DRY="1")
    assert run.returncode == 0, run.stdout
    assert all(f"gpu_check: {part} exit 0" in run.stdout for part in parts.split())
    assert len(packed(tmp_path / "out")) >= len(parts.split())


@pytest.mark.parametrize("name", PARTS)
def test_each_part_has_a_help_and_refuses_to_run_without_a_gpu(tmp_path, name, monkeypatch, capsys):
    module = importlib.import_module(f"benchmarks.{name}")
    with pytest.raises(SystemExit) as ended:
        module.main(["--help"])
    assert ended.value.code == 0
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert module.main(["--out", str(tmp_path / "out")]) == NO_DEVICE
    assert "torch sees no CUDA device" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "name", ["gpu_sanitize", *(pytest.param(n, marks=pytest.mark.slow) for n in PARTS[:3])]
)
def test_the_part_runs_on_a_cpu_at_tiny_sizes(tmp_path, name):
    module = importlib.import_module(f"benchmarks.{name}")
    assert module.main(["--out", str(tmp_path), "--device", "cpu", "--small"]) == 0
    record = json.loads((tmp_path / f"{name}.json").read_text())
    assert record["finished"]
    assert record["cases"]
    assert {case["state"] for case in record["cases"]} <= {"passed", "measured"}


@pytest.mark.thorough
def test_the_steps_of_training_run_on_a_cpu_at_tiny_sizes(tmp_path, monkeypatch):
    module = importlib.import_module("benchmarks.gpu_train")
    killed = []  # three more processes, which tests/train/test_resume.py stands for
    monkeypatch.setattr(module, "kill_and_resume", lambda part: killed.append(part.name))
    assert module.main(["--out", str(tmp_path), "--device", "cpu", "--small"]) == 0
    cases = {
        each["case"]: each
        for each in json.loads((tmp_path / "gpu_train.json").read_text())["cases"]
    }
    parts = cases["student steps"]["by_part"]
    assert parts["step"] > parts["topology"] + parts["saliency"] > 0
    assert "convolution" in (tmp_path / "gpu_train_student_profile.txt").read_text()
    assert killed == ["gpu_train"]


def part_of(tmp_path, body):
    status = run_part("gpu_x", body, "", ["--out", str(tmp_path), "--device", "cpu"])
    return status, json.loads((tmp_path / "gpu_x.json").read_text())


def test_a_case_that_fails_or_raises_fails_the_part_and_the_others_go_on(tmp_path):
    def body(part: Part):
        with part.case("first"):
            raise RuntimeError("no memory")
        part.check("second", False, error=2.0)
        part.check("third", True)

    status, record = part_of(tmp_path, body)
    assert status == 1
    states = [(case["case"], case["state"]) for case in record["cases"]]
    assert states == [("first", "error"), ("second", "failed"), ("third", "passed")]
    assert record["cases"][0]["error"] == "RuntimeError: no memory"


def test_a_part_that_is_stopped_keeps_what_it_has(tmp_path):
    def body(part: Part):
        with part.case("first"):
            part.keep("first", seconds=1.0)
            raise KeyboardInterrupt

    status, record = part_of(tmp_path, body)
    assert status == STOPPED
    assert not record["finished"]
    assert [case["case"] for case in record["cases"]] == ["first"]


def test_errors_are_relative_to_the_whole_tensor():
    want = torch.tensor([3.0, 4.0])
    assert gpu_parts.error_of(want * 1.1, want) == pytest.approx(0.1)
    assert gpu_parts.error_of(torch.tensor(1e-3), torch.tensor(0.0), floor=1.0) == pytest.approx(
        1e-3
    )


def test_a_copied_folder_says_its_commit(tmp_path, monkeypatch):
    commit = "0123456789" * 4
    assert provenance.carried_commit(tmp_path) is None
    (tmp_path / ".commit").write_text(f"{commit}\n")
    assert provenance.carried_commit(tmp_path) == commit
    (tmp_path / ".commit").write_text("not a commit\n")
    assert provenance.carried_commit(tmp_path) is None
    folder = tmp_path / "train" / "core"
    folder.mkdir(parents=True)
    (tmp_path / ".commit").write_text(commit)
    monkeypatch.setattr(provenance, "__file__", str(folder / "provenance.py"))
    assert provenance.commit() == {"commit": commit, "dirty": None}


def test_memory_that_may_not_be_measured_is_not_known(monkeypatch):
    class Forbidden:
        def write_text(self, text):
            raise PermissionError("sandbox")

    monkeypatch.setattr(machine, "_CLEAR", Forbidden())
    assert machine.with_peak(lambda: 5) == (5, None)


def test_memory_of_a_gpu_is_what_torch_gave_out(monkeypatch):
    for name, value in (("memory_allocated", 100), ("max_memory_allocated", 1100)):
        monkeypatch.setattr(torch.cuda, name, lambda value=value: value)
    for name in ("synchronize", "reset_peak_memory_stats"):
        monkeypatch.setattr(torch.cuda, name, lambda: None)
    assert machine.with_device_peak(lambda: 5) == (5, 1000)
