"""Benchmark records are strict, their pages say what they say, and a wrong result is not timed."""

import copy
import json
import re
import shutil
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
import torch

import reference
from benchmarks import conftest, harness, schema
from benchmarks.harness import Job, StoppedError
from benchmarks.imports import EVERY_NAME
from benchmarks.machine import ROOT, describe_machine, machine_slug, with_peak
from benchmarks.naive import naive_rips
from benchmarks.outputs import Diagram, assert_rips, wrong_edges
from benchmarks.peers_page import losses, peers_page
from benchmarks.selection import exponent, geometric_mean, newest
from benchmarks.table import BLOCK, main
from benchmarks.targets import Target, targets
from tests.benchmark_results import case, record_of, timed
from tests.pages import repaint
from tests.train.processes import run_code

RESULTS = ROOT / "benchmarks" / "results"

BENCHMARK = """
import os, sys, pytest
for name in [name for name in os.environ if name.startswith("PYTEST_XDIST")]:
    del os.environ[name]  # it is no worker, also where this one is
# The server that this is forked from has imported what pytest would rewrite.
words = ["-W", "ignore:Module already imported:pytest.PytestAssertRewriteWarning"]
words += ["-p", "no:cacheprovider", "--benchmark", "--noisy"]
sys.exit(pytest.main(words + sys.argv[1:]))
"""


def some_results():
    families = ("cube", "gaussian", "features", "circle")
    results = [timed(0.02, data=family) for family in families]
    results += [
        timed(1.0, data=family, implementation="ripser.py", yields="values", threads=1)
        for family in families
    ]
    for family in ("torus", "mixture", "cube8", "relu"):
        results.append(timed(0.01, suite="families", data=family))
        results.append(timed(0.8, suite="families", data=family, implementation="ripser.py"))
    results += [timed(0.5e-3, num_points=30), timed(1e-4, num_points=30, implementation="GUDHI")]
    results += [timed(1e-9 * n**2, suite="scaling", num_points=n) for n in (128, 256, 512)]
    for name, seconds in (("naive torch", 3.0), ("fast", 1e-3)):
        for direction in ("forward", "backward"):
            results.append(
                timed(
                    seconds, suite="table6", implementation=name, num_points=100,
                    direction=direction, op="rips_of_points",
                )
            )  # fmt: skip
    stopped = case(suite="table6", implementation="naive torch", num_points=200)
    results.append(harness.result_of(stopped, "stopped", error="stopped after 60 s"))
    return results


@pytest.fixture(scope="module")
def generated(tmp_path_factory):
    """A folder with one record, its generated pages, and a README with the markers."""
    folder = tmp_path_factory.mktemp("generated")
    (folder / "README.md").write_text(
        f"# title\n\n<!-- {BLOCK}:begin -->\n<!-- {BLOCK}:end -->\n\nthe rest\n"
    )
    schema.write(record_of(some_results()), folder / "results", "a-machine")
    assert table(folder) == 0
    return folder


@pytest.fixture
def project(generated, tmp_path):
    """A copy of `generated` to break."""
    return Path(shutil.copytree(generated, tmp_path / "project"))


def table(folder, *more):
    return main(
        ["--results", str(folder / "results"), "--docs", str(folder / "docs"),
         "--readme", str(folder / "README.md"), *more]
    )  # fmt: skip


# What is committed


def test_the_committed_pages_say_what_the_committed_records_say():
    assert main(["--check"]) == 0


def test_committed_records_are_valid_and_name_no_place_on_a_machine():
    for path in RESULTS.glob("*.json"):
        schema.read(path)
        assert not re.search(r'["= ](/|~|[A-Z]:\\)', path.read_text())


# The schema


def test_a_record_survives_its_file(tmp_path):
    record = record_of(some_results())
    path = schema.write(record, tmp_path, "a-machine")
    assert path.name == "2026-01-31--a-machine--1a2b3c4d5e.json"
    assert schema.read(path) == record


def test_a_second_run_of_a_day_gets_its_own_file(tmp_path):
    first = schema.write(record_of(some_results()), tmp_path, "a-machine")
    text = first.read_text()
    second = schema.write(record_of(some_results()[:1]), tmp_path, "a-machine")
    assert second.name == "2026-01-31--a-machine--1a2b3c4d5e--2.json"
    assert first.read_text() == text
    schema.read(second)


def _set(path, value):
    def change(data):
        *parents, last = path
        for key in parents:
            data = data[key]
        data[last] = value

    return change


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        pytest.param(lambda d: d.pop("machine"), "lacks .'machine'.", id="section-missing"),
        pytest.param(lambda d: d["run"].pop("commit"), "lacks .'commit'.", id="key-missing"),
        pytest.param(_set(["run", "host"], "x"), "unknown keys .'host'.", id="key-unknown"),
        pytest.param(_set(["run", "dirty"], 0), "dirty is 0", id="int-for-bool"),
        pytest.param(_set(["run", "threads"], True), "threads is True", id="bool-for-int"),
        pytest.param(_set(["run", "commit"], "main"), "want a git hash", id="no-commit"),
        pytest.param(_set(["run", "utc"], "2026-01-31T10:00:00"), "with its zone", id="no-zone"),
        pytest.param(_set(["results", 0, "p50_s"], None), "has times", id="time-missing"),
        pytest.param(_set(["results", 0, "p50_s"], 9.0), "out of order", id="percentiles"),
        pytest.param(_set(["results", 0, "p20_s"], -1.0), "has times", id="negative-time"),
        pytest.param(_set(["results", 0, "check"], "failed"), "its check", id="timed-but-wrong"),
        pytest.param(_set(["results", 0, "check"], "maybe"), "want one of", id="unknown-check"),
        pytest.param(_set(["results", 0, "error"], "oops"), "say otherwise", id="timed-with-error"),
        pytest.param(_set(["results", -1, "error"], None), "want no times", id="silent-stop"),
        pytest.param(_set(["results", -1, "p50_s"], 1.0), "want no times", id="stopped-but-timed"),
        pytest.param(_set(["results"], []), "is empty", id="no-results"),
        pytest.param(lambda d: d["results"].append(d["results"][0]), "second result", id="twice"),
        pytest.param(_set(["schema"], 2), "reads 1", id="other-schema"),
    ],
)  # fmt: skip
def test_a_broken_record_is_refused(change, complaint):
    data = json.loads(json.dumps(asdict(record_of(some_results()))))
    schema.parse(copy.deepcopy(data))
    change(data)
    with pytest.raises(ValueError, match=complaint):
        schema.parse(data)


def test_a_file_under_another_name_is_refused(tmp_path):
    path = schema.write(record_of(some_results()), tmp_path, "a-machine")
    renamed = path.rename(tmp_path / path.name.replace("2026-01-31", "2026-02-01"))
    with pytest.raises(ValueError, match="does not fit the record"):
        schema.read(renamed)


# The pages


def test_the_check_is_green_on_what_was_generated_and_touches_nothing(project):
    before = {path: path.read_bytes() for path in project.rglob("*") if path.is_file()}
    assert table(project, "--check") == 0
    assert table(project) == 0
    assert before == {path: path.read_bytes() for path in project.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", ["docs/table6.md", "docs/table6_peers.md", "docs/scaling.md"])
def test_a_changed_number_in_a_page_is_seen(project, capsys, name):
    path = project / name
    changed = re.sub(
        r"\d(?= [mµ]?s \|)", lambda digit: str((int(digit[0]) + 1) % 10), path.read_text()
    )
    assert changed != path.read_text()
    path.write_text(changed)
    assert table(project, "--check") == 1
    assert f"{path.name} disagrees" in capsys.readouterr().err


def test_a_changed_number_in_the_readme_is_seen(project, capsys):
    path = project / "README.md"
    path.write_text(path.read_text().replace("20.0 ms", "2.00 ms"))
    assert table(project, "--check") == 1
    assert "README.md disagrees" in capsys.readouterr().err


def test_text_around_the_readmes_markers_is_nobodys_business(project):
    path = project / "README.md"
    path.write_text(path.read_text().replace("the rest", "another rest"))
    assert table(project, "--check") == 0
    assert table(project) == 0
    assert path.read_text().startswith("# title")
    assert path.read_text().endswith("another rest\n")


def test_a_new_record_makes_old_pages_disagree(project, capsys):
    slower = [replace(r, p50_s=r.p50_s * 1.05) if r.p50_s else r for r in some_results()]
    schema.write(
        record_of(slower, utc="2026-02-01T00:00:00+00:00"), project / "results", "a-machine"
    )
    assert table(project, "--check") == 1
    told = capsys.readouterr().err
    for name in ("table6.md", "table6_peers.md", "scaling.md", "scaling.png", "README.md"):
        assert name in told


def test_a_repainted_plot_is_seen(project, capsys):
    repaint(project / "docs" / "scaling.png")
    assert table(project, "--check") == 1
    assert "scaling.png was changed after it was drawn" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["docs/figure8.md", "docs/scaling.png"])
def test_a_missing_file_is_seen(project, capsys, name):
    (project / name).unlink()
    assert table(project, "--check") == 1
    assert f"{Path(name).name} is missing" in capsys.readouterr().err


def test_a_readme_without_markers_is_an_error_and_nothing_is_written(project, capsys):
    (project / "README.md").write_text("# title\n")
    (project / "docs" / "table6.md").unlink()
    assert table(project) == 2
    assert "needs one <!-- benchmark:begin -->" in capsys.readouterr().err
    assert not (project / "docs" / "table6.md").exists()


def test_no_record_is_an_error(project, capsys):
    for path in (project / "results").iterdir():
        path.unlink()
    assert table(project, "--check") == 2
    assert "no record in results/" in capsys.readouterr().err


def test_ratios_in_the_pages_are_those_of_the_record(project):
    page = (project / "docs" / "table6_peers.md").read_text()
    assert re.search(r"ripser\.py .*\| 50\.0x \| 50\.0x \|", page)  # 1 s over 20 ms, every family
    assert "| 100 | 3.00 s | 3.00 s |" in (project / "docs" / "table6.md").read_text()
    assert "| 3,000x | 6,743x |" in (project / "docs" / "table6.md").read_text()
    assert "| 200 | stopped |" in (project / "docs" / "table6.md").read_text()
    assert re.search(r"\| 2\.00 \|$", (project / "docs" / "scaling.md").read_text(), re.MULTILINE)


def test_a_remark_of_a_check_reaches_the_page():
    remarked = replace(some_results()[0], implementation="giotto-ph", remark="2 edges are wrong")
    told = peers_page({"one": record_of([*some_results(), remarked])})
    assert "giotto-ph, 2 threads, cube, N = 1024: 2 edges are wrong" in told


def test_where_we_lose_is_said():
    records = {"one": record_of(some_results())}
    assert "GUDHI is 5.00x faster" in losses(records)
    assert "ripser.py" not in losses(records).splitlines()[0]
    winning = [r for r in some_results() if r.implementation != "GUDHI"]
    assert "In no case" in losses({"one": record_of(winning)})


def test_the_newest_run_counts_whatever_its_files_name():
    old, new = (record_of(some_results(), utc=f"2026-0{m}-01T00:00:00+00:00") for m in (1, 2))
    assert newest({"z": old, "a": new}, "peers").name == "a"  # records come oldest first
    assert newest({"z": old, "a": new}, "batch").results == ()


def test_a_target_is_met_only_if_it_is():
    assert Target("x", 60, 60.0, str).verdict == "yes"
    assert Target("x", 60, 59.99, str).verdict.startswith("no")
    assert Target("x", 1e-3, 1.1e-3, str, at_least=False).verdict.startswith("no")
    assert Target("x", 60, None, str).verdict == "not measured"
    measured = {t.what: t.measured for t in targets({"one": record_of(some_results())})}
    what = "N = 1024, eight families, times faster than"
    assert measured[f"{what} ripser.py, worst family"] == pytest.approx(50)
    assert measured[f"{what} ripser.py, geometric mean"] == pytest.approx((50 * 80) ** 0.5)
    assert measured[f"{what} giotto-ph, worst family"] is None


def test_a_mean_with_a_hole_is_no_mean():
    assert geometric_mean([2.0, 8.0]) == pytest.approx(4)
    assert geometric_mean([2.0, None]) is None
    assert geometric_mean([]) is None


def test_the_exponent_of_a_power_is_the_power():
    results = [timed(1e-9 * n**2.5, num_points=n) for n in (128, 512, 4096)]
    assert exponent(results) == pytest.approx(2.5)
    assert exponent(results[:1]) is None


# The measuring


@pytest.mark.parametrize("clock", [None, float])
def test_a_wrong_result_is_not_timed(clock):
    outputs = []

    def check(output):
        assert output == 43, "not 43"

    def timer(call, rounds):
        raise RuntimeError("timed")

    job = Job(lambda: outputs.append(42) or 42, check, clock=clock)
    with pytest.raises(AssertionError, match="not 43"):
        harness.measure(case(lambda: job), timer, 60.0)
    assert set(outputs) == {42}
    assert len(outputs) == 1 or clock is None


def test_a_right_result_is_timed_and_kept():
    calls = []

    def timer(call, rounds):
        assert rounds == 200  # it takes microseconds
        return [0.1 * k for k in range(1, 12)]

    job = Job(lambda: calls.append(1) or 42, lambda output: None)
    result, output = harness.measure(case(lambda: job), timer, 60.0)
    assert output == 42
    assert (result.p20_s, result.p50_s, result.p80_s) == pytest.approx((0.3, 0.6, 0.9))
    assert result.repeats == 11
    assert len(calls) == 2  # the first call, and one for memory
    schema.parse(json.loads(json.dumps(asdict(record_of([result])))))


def test_a_job_with_a_clock_of_its_own_is_timed_by_it():
    ticks = iter([9.0, *(0.1 * k for k in range(1, 201))])
    job = Job(lambda: next(ticks), lambda output: None, clock=lambda output: output / 2)
    result, output = harness.measure(case(lambda: job), None, 60.0)
    assert output == 9.0
    assert result.first_call_s == 4.5
    assert (result.p50_s, result.repeats, result.peak_bytes) == (pytest.approx(5.025), 200, None)


def test_the_time_of_importing_is_held_to_its_target():
    def verdict(seconds):
        taken = timed(seconds, suite="import", op=EVERY_NAME, implementation="topodistill")
        record = record_of([*some_results(), taken])
        (target,) = [t for t in targets({"one": record}) if "import topodistill" in t.what]
        return target.verdict

    assert verdict(0.25) == "yes"
    assert verdict(0.6) == "no, short by 2.00x"


def test_a_case_beyond_the_time_limit_is_stopped():
    begin = time.monotonic()

    def endless():
        while True:
            time.sleep(0.01)

    with pytest.raises(StoppedError, match=r"after 0\.2 s"):
        harness.measure(case(lambda: Job(endless, lambda output: None)), None, 0.2)
    assert time.monotonic() - begin < 5


def test_slow_cases_are_repeated_less():
    assert harness.rounds_for(30.0) == 1
    assert harness.rounds_for(8.0) == 2
    assert harness.rounds_for(0.5) == 5
    assert harness.rounds_for(0.1) == 15


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the meter is Linux's")
def test_the_memory_meter_sees_what_is_freed_again():
    def hold(megabytes):
        block = np.ones((megabytes, 2**17))
        return float(block.sum())

    _, nothing = with_peak(lambda: None)
    _, fifty = with_peak(lambda: hold(50))
    assert nothing < 2**20
    assert 48 * 2**20 <= fifty < 55 * 2**20  # the kernel counts pages in batches


def test_a_machines_name_is_its_processors():
    machine = replace(describe_machine(), cpu="AMD EPYC(TM) 9", cores=2, gpu=None)
    assert machine_slug(machine) == "amd-epyc-tm-9-2-cores"
    assert machine_slug(replace(machine, gpu="NVIDIA H200")) == "nvidia-h200"


def test_nothing_is_timed_beside_other_workers(monkeypatch):
    given = Mock(getoption={"--benchmark": True}.get)
    monkeypatch.setenv("PYTEST_XDIST_WORKER", "gw0")
    with pytest.raises(pytest.UsageError, match="times in one process: leave out -n and --dist"):
        conftest.pytest_configure(given)


@pytest.mark.slow
def test_a_run_writes_a_record(tmp_path):
    words = ["benchmarks/test_table6.py", "--at-most", 30, "--record-to", tmp_path, "-k", "fast"]
    done = run_code(BENCHMARK, *words)
    assert done.returncode == 0, done.stdout
    (path,) = tmp_path.glob("*.json")
    record = schema.read(path)
    assert [r.direction for r in record.results] == ["forward", "backward"]
    assert all(r.state == "timed" and r.num_points == 30 for r in record.results)
    assert str(tmp_path) not in path.read_text()


@pytest.mark.slow
def test_a_wrong_implementation_fails_and_is_recorded_as_failed(tmp_path):
    """Our Rips forgets its last loop: the run must be red, and the record say why."""
    forget = """
import dataclasses
from benchmarks import peers
honest = peers.PEERS["fast"].read
def read(output):
    told = honest(output)
    return [told[0], dataclasses.replace(told[1], pairs=told[1].pairs[:-1])]
peers.PEERS["fast"] = dataclasses.replace(peers.PEERS["fast"], read=read)
"""
    words = ["benchmarks/test_scaling.py", "--at-most", 128, "--record-to", tmp_path]
    done = run_code(forget + BENCHMARK, *words, "-k", "cost_over and cube")
    assert done.returncode == 1, done.stdout + done.stderr
    (path,) = tmp_path.glob("*.json")
    (result,) = schema.read(path).results
    assert (result.check, result.p50_s) == ("failed", None)
    assert result.error.startswith("wrong result")


# The baseline and the checks


def lattice(n, seed):
    return np.random.default_rng(seed).integers(0, 3, size=(n, 2)).astype(np.float64)


@pytest.mark.parametrize("seed", range(5))
def test_the_naive_baseline_is_right_ties_included(seed):
    result = naive_rips(torch.from_numpy(lattice(9, seed)))
    want = reference.rips_persistence(result.distances.numpy())
    for got, truth in zip(result.diagrams, want, strict=True):
        order = np.argsort(_keys(got.death_simplices.numpy()), kind="stable")
        true_order = np.argsort(_keys(truth.death_simplices), kind="stable")
        for field in ("births", "deaths", "death_edges", "death_simplices"):
            np.testing.assert_array_equal(
                getattr(got, field).numpy()[order], getattr(truth, field)[true_order]
            )
    np.testing.assert_array_equal(
        np.sort(result.diagrams[1].birth_edges.numpy(), axis=0),
        np.sort(want[1].birth_edges, axis=0),
    )


def _keys(simplices):
    """One number a simplex: no two pairs of a dimension share a death simplex."""
    return simplices @ 100 ** np.arange(simplices.shape[1])


def true_diagrams(n):
    points = np.random.default_rng(0).normal(size=(n, 6))
    matrix = reference.pairwise_distances(points).astype(np.float32)
    return matrix, [
        Diagram(d.pairs, d.birth_edges if d.dim else None, d.death_edges, d.death_simplices)
        for d in reference.rips_persistence(matrix.astype(np.float64))
    ]


def _dropped(diagrams):
    return [diagrams[0], Diagram(diagrams[1].pairs[1:])]


def _nudged(diagrams):
    pairs = diagrams[1].pairs.copy()
    pairs[0, 1] = np.nextafter(np.float32(pairs[0, 1]), np.float32(2))
    return [diagrams[0], Diagram(pairs)]


def _wrong_edge(diagrams):
    edges = diagrams[1].death_edges.copy()
    edges[0] = diagrams[1].birth_edges[0]
    return [diagrams[0], replace(diagrams[1], death_edges=edges)]


def _wrong_triangle(diagrams):
    simplices = diagrams[1].death_simplices.copy()
    simplices[0, 2] = (simplices[0, 2] + 1) % 20
    return [diagrams[0], replace(diagrams[1], death_simplices=simplices)]


@pytest.mark.parametrize(
    ("num_points", "broken"),
    [(20, _dropped), (20, _nudged), (20, _wrong_edge), (20, _wrong_triangle),
     (60, _dropped), (60, _nudged)],
)  # fmt: skip
def test_a_broken_diagram_is_caught(num_points, broken):
    """A small one by the reference, a large one by the pairs of another library."""
    matrix, diagrams = true_diagrams(num_points)
    want = None if num_points == 20 else [d.pairs for d in diagrams]
    assert len(diagrams[1].pairs) > 1
    assert_rips(diagrams, matrix, want)
    with pytest.raises(AssertionError):
        assert_rips(broken(diagrams), matrix, want)


def test_wrong_edges_are_counted():
    matrix, diagrams = true_diagrams(20)
    assert wrong_edges(diagrams, matrix) is None
    count = len(diagrams[1].pairs)
    assert wrong_edges(_wrong_edge(diagrams), matrix) == f"1 of {count} death edges of H1 are wrong"


def test_a_large_cloud_without_another_opinion_is_an_error():
    matrix, diagrams = true_diagrams(60)
    with pytest.raises(ValueError, match="nothing to compare"):
        assert_rips(diagrams, matrix, None)
