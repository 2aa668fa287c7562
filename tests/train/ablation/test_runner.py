"""An ablation from its command line to its page: paired, resumable, refused in words."""

import dataclasses
import json
import shutil

import pytest
import torch

from tests.train.toy_runs import kitti_metadata
from train import ablate
from train.ablation import runner
from train.ablation.launch import FOLDER
from train.ablation.records import RECORDS_NAME, SUFFIX, add_records, read_file, read_records
from train.ablation.runner import mean_terms
from train.core.interrupts import Interrupted
from train.data.semantickitti import CLASS_NAMES
from train.engine.train_step import Stepper
from train.networks.ptv3 import build_segmentor
from train.networks.weights import checksum, load_model, save_model
from train.simulation.semantickitti import simulate_semantickitti

GRID = """
[variants.ce]
method = "none"
[variants.nothing]
method = "kd"
distillation = 0.0
[variants.edges]
method = "topology-gradient"
diagram-distance = "edges"
normalization = "rms"
sampling = "random"
topology-balance = 0.3
num-samples = 32
[[comparisons]]
variant = "edges"
baseline = "ce"
primary = true
"""


@pytest.fixture(scope="module")
def frames(tmp_path_factory):
    root = tmp_path_factory.mktemp("frames") / "semantickitti"
    simulate_semantickitti(root, num_frames=4, num_validation_frames=2, azimuth_steps=60)
    return root


def write_teacher(path, class_names=CLASS_NAMES):
    torch.manual_seed(7)
    teacher = build_segmentor("tiny-teacher", len(class_names), 4)
    save_model(teacher, kitti_metadata(teacher, class_names=tuple(class_names)), path)
    return path


@pytest.fixture(scope="module")
def teacher_file(tmp_path_factory):
    return write_teacher(tmp_path_factory.mktemp("teacher") / "teacher.pt")


@pytest.fixture(scope="module")
def grid_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("grid") / "small.toml"
    path.write_text(GRID)
    return path


def command(frames, teacher, grid, output, *more):
    return [
        *("--dataset", "semantickitti", "--model", "tiny", "--device", "cpu"),
        *("--data-root", str(frames), "--grid", str(grid), "--output", str(output)),
        *("--data.train-sequences", "00", "--data.validation-sequences", "08"),
        *("--data.grid-size-m", "0.2", "--data.max-voxels", "1200", "--data.batch-size", "2"),
        *("--optim.student-epochs", "2", "--keep", "2", "--seeds", "2"),
        *("--teacher-checkpoint", str(teacher)),
        *more,
    ]


@pytest.fixture
def flags(frames, teacher_file, grid_file, tmp_path):
    """Return a function that makes a command line; the grid is a name, a path, or a file's text."""

    def make(output, *more, grid=grid_file, teacher=teacher_file):
        if "[" in str(grid):
            text, grid = grid, tmp_path / "other.toml"
            grid.write_text(text)
        return command(frames, teacher, grid, output, *more)

    return make


@pytest.fixture(scope="module")
def finished(frames, teacher_file, grid_file, tmp_path_factory):
    """The folder of an ablation that was never stopped."""
    output = tmp_path_factory.mktemp("finished")
    assert ablate.main(command(frames, teacher_file, grid_file, output)) == 0
    return output


def runs_of(output):
    records = read_records([output]).runs
    return {(run.variant, run.seed): run for run in records}


def test_runs_of_another_grid_with_the_same_options_are_taken(
    finished, flags, tmp_path, monkeypatch, caplog
):
    output = tmp_path / "ablation"
    shutil.copytree(finished, output)
    other = (
        '[variants.labels]\nmethod = "none"\n[variants.softened]\nmethod = "kd"\n'
        '[[comparisons]]\nvariant = "softened"\nbaseline = "labels"\n'
    )
    asked = []

    def train(self, seed, name):
        asked.append((seed, name))
        raise KeyboardInterrupt

    monkeypatch.setattr(runner.Runner, "_train", train)
    assert ablate.main(flags(output, grid=other)) == 130
    # "nothing" has softened logits with another weight.
    assert asked == [(0, "softened")]
    runs = {(r.grid, r.variant, r.seed): r for r in read_records([output]).runs}
    for seed in (0, 1):
        taken = runs["other", "labels", seed]
        assert taken == dataclasses.replace(
            runs["small", "ce", seed], grid="other", variant="labels"
        )


def test_every_student_is_kept_as_a_checkpoint(finished):
    names = {
        f"small--{variant}--{seed}.pt"
        for variant, seed in runs_of(finished)
        if variant != "teacher"
    }
    assert {path.name for path in (finished / "students").iterdir()} == names
    student, metadata = load_model(finished / "students" / "small--edges--1.pt")
    assert (metadata.dataset, metadata.size) == ("semantickitti", "tiny-student")
    assert metadata.trained_on == ("00",)
    others = [
        load_model(finished / "students" / f"small--{name}--1.pt")[0] for name in ("ce", "nothing")
    ]
    assert checksum(others[0]) == checksum(others[1]) != checksum(student)


def test_means_of_the_logged_steps():
    steps = [
        {"step": 1, "total": 2.0, "topology_stats": {"weight": 1.0, "gradient_entropies": [0, 1]}},
        {"step": 2, "total": 4.0, "topology_stats": {"weight": 3.0, "gradient_entropies": [1, 1]}},
    ]
    assert mean_terms(steps) == {
        "total": 3.0, "topology_weight": 2.0, "gradient_entropy_h0": 0.5, "gradient_entropy_h1": 1
    }  # fmt: skip
    assert mean_terms([]) == {}


def test_every_run_has_a_record_and_the_page_says_what_is_missing(finished):
    runs = runs_of(finished)
    students = {(variant, seed) for variant in ("ce", "nothing", "edges") for seed in (0, 1)}
    assert runs.keys() == students | {("teacher", 0)}
    for key in students:
        run = runs[key]
        assert run.steps == 4
        assert run.scores["miou"] is not None
        assert set(run.scenes) == {"08"}
    assert runs["edges", 0].options["topology_balance"] == 0.3
    assert runs["edges", 0].stats["last"]["topology_weight"] > 0
    page = (finished / "ablation.md").read_text()
    assert "not enough runs (2 of at least 5 seeds)" in page
    (first, *_) = json.loads((finished / "ablation.json").read_text())
    assert {"grid", "variant", "baseline", "metric", "difference", "low", "high", "seeds"} <= set(
        first
    )
    assert not list((finished / "unfinished").iterdir())
    assert not list((finished / "kept").iterdir())


def test_variants_of_a_seed_differ_in_their_loss_alone(finished):
    """A variant whose only further term has weight 0 is cross-entropy alone, to the last bit."""
    runs = runs_of(finished)
    for seed in (0, 1):
        assert runs["ce", seed].scenes == runs["nothing", seed].scenes
        assert (
            runs["ce", seed].stats["last"]["total"] == runs["nothing", seed].stats["last"]["total"]
        )
    assert runs["ce", 0].scenes != runs["ce", 1].scenes
    assert runs["ce", 0].stats["last"]["total"] != runs["edges", 0].stats["last"]["total"]


def test_a_second_call_does_nothing(finished, flags, capfd):
    before = (finished / RECORDS_NAME).stat().st_mtime_ns
    assert ablate.main(flags(finished)) == 0
    assert (finished / RECORDS_NAME).stat().st_mtime_ns == before
    assert "7 of 7 runs are done" in capfd.readouterr().err


@pytest.mark.slow
def test_stopped_in_two_runs_it_goes_on_and_ends_the_same(
    finished, flags, tmp_path, monkeypatch, capfd
):
    step = Stepper.step
    # Of four steps a run: within the first, and then within the second.
    for stop_at in (3, 6):
        left = iter(range(stop_at - 1))

        def counted(*arguments, left=left):
            if next(left, None) is None:
                raise KeyboardInterrupt
            return step(*arguments)

        monkeypatch.setattr(Stepper, "step", counted)
        assert ablate.main(flags(tmp_path)) == 130
        assert "goes on" in capfd.readouterr().err
    assert [key for key in runs_of(tmp_path) if key[0] != "teacher"] == [("ce", 0)]
    monkeypatch.setattr(Stepper, "step", step)
    assert ablate.main(flags(tmp_path)) == 0
    again, expected = runs_of(tmp_path), runs_of(finished)
    assert again.keys() == expected.keys()
    for key, run in again.items():
        assert run.scenes == expected[key].scenes, key
        assert run.scores == expected[key].scores, key


def test_live_targets_are_paired_too(flags, tmp_path):
    """With --keep 0 the teacher is asked in every step."""
    assert ablate.main(flags(tmp_path, "--keep", "0", "--seeds", "1")) == 0
    runs = runs_of(tmp_path)
    assert runs["ce", 0].steps == 4  # two passes over four frames in pairs
    assert runs["ce", 0].stats["first"]["total"] == runs["nothing", 0].stats["first"]["total"]


def test_records_of_two_machines_add_up(finished, grid_file, tmp_path):
    files = [tmp_path / f"{number}{SUFFIX}" for number in range(2)]
    runs = read_file(finished / RECORDS_NAME)
    for seed, file in enumerate(files):
        add_records(file, [run for run in runs if run.seed == seed])
    page = tmp_path / "page"
    command = ["--output", str(tmp_path), "--records", *map(str, files), "--page", str(page)]
    assert ablate.main(["--page-only", "--grid", str(grid_file), *command]) == 0
    text = page.with_suffix(".json").read_bytes()
    assert text == (finished / "ablation.json").read_bytes()


def test_a_refused_command_line_says_what_to_do(finished, flags, tmp_path, capfd):
    wrong_teacher = write_teacher(tmp_path / "wrong.pt", ["a", "b"])
    changed = tmp_path / "small.toml"  # of the same name
    changed.write_text(GRID.replace("0.3", "0.6"))
    cases = [
        (flags(tmp_path, "--seeds", "0"), "--seeds 0: at least 1"),
        (flags(tmp_path, "--keep", "-1"), "--keep -1"),
        (flags(tmp_path, "--method", "kd"), "--method: not here; the variants of --grid say it"),
        (flags(tmp_path, "--seed", "4"), "--seed: not here"),
        (flags(tmp_path, "--score-every", "0"), "--score-every 0: at least 1"),
        (flags(tmp_path, grid="nothing"), "--grid nothing: no such grid"),
        (flags(tmp_path, teacher=tmp_path / "none.pt"), "no such file"),
        (flags(tmp_path, teacher=wrong_teacher), "was trained on the 2 classes"),
        (flags(finished, "--optim.lr", "0.01"), "another configuration (optim.lr 0.002, now 0.01)"),
        (
            flags(finished, grid=changed),
            "variant edges had other options then (topology_balance 0.3, now 0.6)",
        ),
        (["--page-only", "--output", str(tmp_path / "none")], "no records"),
    ]
    for words, message in cases:
        assert ablate.main(words) == 2, words
        said = capfd.readouterr().err
        assert message in said, said
        assert "Traceback" not in said


def test_a_placebo_needs_two_frames_in_a_batch(flags, tmp_path, capfd):
    grid = '[variants.one]\nmethod = "topology-gradient"\ntopology-target = "other"\n'
    assert ablate.main(flags(tmp_path, "--data.batch-size", "1", grid=grid)) == 2
    assert "takes the target of another cloud" in capfd.readouterr().err


def test_an_interrupted_run_is_no_record(flags, tmp_path, monkeypatch):
    def stopped(*_, **__):
        raise Interrupted(15, after="training, step 1", checkpoint=tmp_path / "checkpoint.pt")

    monkeypatch.setattr(runner, "fit", stopped)
    assert ablate.main(flags(tmp_path)) == 143
    assert runs_of(tmp_path).keys() == {("teacher", 0)}


LABELS = """
[variants.all]
method = "kd"
[variants.none]
method = "kd"
labels = "none"
[variants.few]
method = "kd"
labels = "1"
[variants.few-alone]
method = "none"
labels = "0.25"
"""


def test_variants_can_lack_labels(flags, tmp_path):
    """None: the loss against labels is 0. Few, alone: the one frame that has them, as often."""
    assert ablate.main(flags(tmp_path / "ablation", "--seeds", "1", grid=LABELS)) == 0
    runs = {variant: run for (variant, _), run in runs_of(tmp_path / "ablation").items()}
    variants = ("all", "none", "few", "few-alone")
    segmentation = {variant: runs[variant].stats["first"]["segmentation"] for variant in variants}
    assert segmentation["none"] == 0
    assert min(segmentation[variant] for variant in ("all", "few", "few-alone")) > 0
    assert len(set(segmentation.values())) == 4
    assert {run.steps for variant, run in runs.items() if variant != "teacher"} == {4}
    assert "labels" not in runs["all"].options
    assert [runs[variant].options["labels"] for variant in variants[1:]] == ["none", "1", "0.25"]


@pytest.mark.parametrize(
    ("variant", "message"),
    [
        (
            'method = "udakd"',
            "variant one: --method udakd needs images, point_pixel, which the batches of an",
        ),
        ('method = "none"\nlabels = "none"', "method learns from labels alone"),
        ('method = "dkd"\nlabels = "none"', "method learns from labels alone"),
        ('method = "topology-gradient"\nlabels = "0.5"', "--method.saliency is 1.0: its maps need"),
        ('method = "kd"\nlabels = "many"', "--data.labels many: give all, none, a share"),
        ('method = "kd"\nlabels = "5"', "--data.labels 5: that is 5 of 4 frames"),
    ],
)
def test_a_variant_that_cannot_be_run_is_one_line(flags, tmp_path, capsys, variant, message):
    grid = f"[variants.one]\n{variant}\n"
    assert ablate.main(flags(tmp_path / "ablation", grid=grid)) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "error" in line]
    assert message in line
    assert not (tmp_path / "ablation").exists()


def test_two_workers_give_the_records_of_one_process(finished, flags, tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # other numbers of threads round otherwise
    output = tmp_path / "launched"
    assert ablate.main(flags(output, "--launcher", "local", "--workers", "2")) == 0
    assert (output / "ablation.md").is_file()
    expected, found = (
        {
            key: (run.scores, run.scenes, run.options, run.steps)
            for key, run in runs_of(each).items()
        }
        for each in (finished, output)
    )
    assert found == expected
    assert len(list((output / FOLDER).glob("seed-*.log"))) == 2
    # A second time nothing is missing, and no process starts.
    assert ablate.main(flags(output, "--launcher", "local")) == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--slurm", "gpu"], "--slurm gpu: give NAME=VALUE, as in timeout_min=600"),
        (["--workers", "0"], "--workers 0: at least 1"),
    ],
)
def test_options_that_mean_nothing(flags, tmp_path, capsys, words, said):
    assert ablate.main(flags(tmp_path, "--launcher", "local", *words)) == 2
    assert said in capsys.readouterr().err
