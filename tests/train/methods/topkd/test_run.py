"""TopKD by the commands: in one run, in three steps, and as a variant of an ablation."""

import json

import pytest
import torch

from tests.train.toy_runs import checkpoint_of, flags, log_of, refused
from train import ablate
from train.ablation.records import read_records
from train.engine import topkd_targets
from train.methods.topkd import command as topkd_fit
from train.methods.topkd import method as method_module
from train.methods.topkd.artifacts import load_maker
from train.networks.weights import checksum, load_model
from train.run import main

pytestmark = pytest.mark.usefixtures("toys_registered")

SMALL = [
    *("--method.num-points", "16", "--method.num-clouds", "24"),
    *("--method.clouds-per-frame", "8"),
]
FIT = ["--method.fit-epochs", "2"]
TINY_FIT = ["--lr", "0.003", "--schedule", "cosine", "--standardize"]
TOYS = ["--teacher", "toy:wide", "--student", "toy:small"]


@pytest.fixture(scope="module")
def finished(toy_frames, tmp_path_factory):
    """The folder of a run that did everything itself."""
    from tests.train.toys import TOY_NETWORK
    from train.networks.registry import NETWORKS

    output = tmp_path_factory.mktemp("runs") / "topkd"
    before = dict(NETWORKS)
    NETWORKS.update(TOY_NETWORK)
    try:
        assert main(flags(toy_frames, output, *TOYS, "--method", "topkd", *SMALL, *FIT)) == 0
    finally:
        NETWORKS.clear()
        NETWORKS.update(before)
    return output


def test_a_run_makes_what_it_needs_and_trains_by_it(finished):
    maker = load_maker(finished / "topkd.safetensors")
    assert maker.card.teacher == checksum(load_model(finished / "teacher.pt")[0])
    assert (maker.card.channels, maker.card.choice.num_points) == (10, 16)
    for step in log_of(finished):
        parts = step["segmentation"] + 2 * step["distillation"] + 5 * step["image"]
        assert step["total"] == pytest.approx(parts)
        assert step["image"] > 0
    assert checkpoint_of(finished)["method"].keys() == {
        "adapter.weight",
        "adapter.bias",
        "regions.calls",
        "sampled_points.sampling_calls",
    }
    student = load_model(finished / "student.pt")[0]
    assert not [name for name in student.state_dict() if "adapter" in name]
    recorded = json.loads((finished / "config.json").read_text())["config"]["options"]
    assert (recorded["num_points"], recorded["artifacts"]) == (16, None)
    assert recorded["region"] == maker.card.choice.region == 256


def test_three_steps_are_the_one_run(finished, toy_frames, tmp_path):
    targets, fitted = tmp_path / "targets.safetensors", tmp_path / "topkd.safetensors"
    data = flags(toy_frames, targets, *TOYS, *SMALL)
    teacher = ["--teacher-checkpoint", str(finished / "teacher.pt")]
    assert topkd_targets.main([*data, *teacher]) == 0
    words = ["--targets", str(targets), "--output", str(fitted), "--epochs", "2", *TINY_FIT]
    assert topkd_fit.main([*words, "--device", "cpu"]) == 0
    found, want = load_maker(fitted), load_maker(finished / "topkd.safetensors")
    assert (found.card, found.losses) == (want.card, want.losses)
    for name, weight in want.ripsnet.weights().items():
        assert torch.equal(found.ripsnet.weights()[name], weight)
    output = tmp_path / "run"
    more = ["--method", "topkd", *SMALL, "--method.artifacts", str(fitted), "--stage", "student"]
    assert main(flags(toy_frames, output, *TOYS, *teacher, *more)) == 0
    assert not (output / "topkd.safetensors").exists()
    for name in ("segmentation", "image"):
        one, other = ([step[name] for step in log_of(run)] for run in (output, finished))
        assert one == other


def test_artifacts_that_do_not_fit_are_refused_before_anything_is_written(
    finished, toy_frames, tmp_path, capsys
):
    path = finished / "topkd.safetensors"
    output = tmp_path / "run"
    given = ["--method", "topkd", "--method.artifacts", str(path)]
    line = refused(flags(toy_frames, output, *TOYS, *given), capsys, output)
    assert "made with --method.num-points 16, and here it is 64" in line
    half = tmp_path / "half.safetensors"
    half.write_bytes(path.read_bytes()[:-9])
    given = ["--method", "topkd", *SMALL, "--method.artifacts", str(half)]
    assert "damaged" in refused(flags(toy_frames, output, *TOYS, *given), capsys, output)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--method", "kd"], "takes neither --method nor"),
        (["--output", "targets.pt"], "end the name in .safetensors"),
        ([], "--teacher-checkpoint is missing: no trained teacher comes for this data"),
    ],
)
def test_the_first_steps_mistakes_are_one_line(toy_frames, tmp_path, capsys, more, message):
    output = tmp_path / "targets.safetensors"
    assert topkd_targets.main(flags(toy_frames, output, *TOYS, *more)) == 2
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error:")]
    assert len(errors) == 1
    assert message in errors[0]
    assert not output.exists()


def test_the_first_step_warns_of_few_points(finished, toy_frames, tmp_path, capsys):
    teacher = ["--teacher-checkpoint", str(finished / "teacher.pt")]
    small = ["--method.num-points", "15", *SMALL[2:]]
    output = tmp_path / "targets.safetensors"
    assert topkd_targets.main(flags(toy_frames, output, *TOYS, *teacher, *small)) == 0
    captured = capsys.readouterr()
    assert "--method.num-points 15: below 16 the paper's" in captured.out + captured.err


GRID = """
[variants.ce]
method = "none"
[variants.topkd]
method = "topkd"
num-points = 16
num-clouds = 24
clouds-per-frame = 8
fit-epochs = 2
[variants.exact]
method = "topkd"
exact = true
num-points = 16
num-clouds = 24
clouds-per-frame = 8
"""


@pytest.mark.parametrize("keep", ["2", "0"])
def test_an_ablation_prepares_once_for_each_teacher(
    finished, toy_frames, tmp_path, monkeypatch, keep
):
    """Also from kept outputs, which need networks that share a geometry: equal toys do not."""
    made = []
    make = method_module.make_targets

    def counted(*given, **options):
        made.append(given)
        return make(*given, **options)

    monkeypatch.setattr(method_module, "make_targets", counted)
    if keep != "0":
        monkeypatch.setattr("tests.train.toys.Toy.geometry_key", "toy", raising=False)
    grid = tmp_path / "topkd.toml"
    grid.write_text(GRID)
    words = [
        *flags(toy_frames, tmp_path / "ablation", *TOYS),
        *("--grid", str(grid), "--seeds", "2", "--keep", keep, "--score-every", "1"),
        *("--teacher-checkpoint", str(finished / "teacher.pt")),
    ]
    assert ablate.main(words) == 0
    assert len(made) == 2  # for RipsNet and for exact images, not once a seed
    runs = {(run.variant, run.seed): run for run in read_records([tmp_path / "ablation"]).runs}
    for variant in ("topkd", "exact"):
        for seed in (0, 1):
            assert runs[variant, seed].stats["last"]["image"] > 0
            assert runs[variant, seed].options["artifacts"] is None
