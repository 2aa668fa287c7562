"""Small sets of frames by every method: strengths, units, turns about z alone, and the folder."""

import dataclasses
import json

import numpy as np
import pytest
import torch

from tests.train.dataset_distillation.frames.toy_scenes import CLASSES, TAKE, scenes
from train.core.errors import UserError
from train.data.dataset_spec import dataset_spec
from train.dataset_distillation.folder import sample_again, write_made
from train.dataset_distillation.frames.folder import DISTILLED, write_frame_folder
from train.dataset_distillation.generator import load_generator, save_generator
from train.dataset_distillation.make import (
    QUANTILES,
    draw_strengths,
    make,
    sampled,
    score,
    strength_table,
)
from train.dataset_distillation.networks.segmenters import HEIGHT
from train.dataset_distillation.options import DistillOptions, RotatorOptions
from train.dataset_distillation.prepare import canonical, prepare
from train.dataset_distillation.start import StartOptions
from train.dataset_distillation.training import FrameTraining

CPU = torch.device("cpu")
OPTIONS = DistillOptions(
    task="parts",
    clouds_per_class=2,
    points=60,
    iterations=2,
    outer=2,
    inner=1,
    real_batch=3,
    width=16,
    widths=(8, 16, 32),
)


@pytest.fixture(scope="module")
def real():
    return prepare(scenes(5), scenes(2, first=70), OPTIONS)


@pytest.fixture(scope="module")
def made(real):
    return make(real, OPTIONS, CPU, points=90)


def test_generated_frames_have_every_class_in_its_share(made, real):
    assert made.clouds.points.shape == (2, 90, 3)
    assert made.clouds.meters == 10.0
    assert made.clouds.part_names == real.train.part_names
    assert len(made.losses) == 2
    many = sampled(made.generator, made.rotator, 4000, 0, made.strengths, made.clouds.meters)
    counts, wanted = many.part_counts(), real.train.part_counts()
    np.testing.assert_allclose(counts / counts.sum(), wanted / wanted.sum(), atol=0.02)
    assert (many.parts >= 0).all()
    assert counts[3] == 0


def test_generated_points_have_strengths_of_their_class(made, real):
    for number in range(3):
        own = made.clouds.strength[made.clouds.parts == number]
        seen = real.train.strength[real.train.parts == number]
        assert seen.min() <= own.min()
        assert own.max() <= seen.max()


def test_an_epoch_draws_other_points_and_chosen_frames_stay(made, real):
    draw = made.draw(50, seed=1)
    first, second, again = draw(0), draw(1), made.draw(50, seed=1)(0)
    assert first[0].shape == (2, 50, 3)
    assert not torch.equal(first[0], second[0])
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    fixed = dataclasses.replace(made, generator=None).draw(50, seed=1)
    assert torch.equal(fixed(0)[0], fixed(1)[0])


def test_random_takes_real_frames_as_they_are(real):
    options = dataclasses.replace(OPTIONS, method="random", seed=4)
    chosen = make(real, options, CPU, points=90)
    rows = [real.train.names.index(name) for name in chosen.clouds.names]
    assert len(set(rows)) == 2
    wanted = real.train.take(rows)
    assert np.array_equal(chosen.clouds.points, wanted.points)
    assert np.array_equal(chosen.clouds.strength, wanted.strength)
    assert np.array_equal(chosen.clouds.parts, wanted.parts)
    assert chosen.numbers_stored == 2 * 120 * 5
    others = [
        make(real, dataclasses.replace(options, seed=seed), CPU, points=90).clouds.names
        for seed in range(6)
    ]
    assert len(set(others)) > 1


@pytest.mark.parametrize("method", ["herding", "k-center"])
def test_coresets_look_at_features_of_frames(real, method):
    options = dataclasses.replace(OPTIONS, method=method)
    chosen = make(real, options, CPU, points=90)
    assert set(chosen.clouds.names) <= set(real.train.names)
    # Frames whose features are known: k-center takes the two that lie apart.
    features = np.array([[0.0], [0.1], [0.0], [5.0], [0.2]])
    chosen = make(real, options, CPU, points=90, features=features)
    if method == "k-center":
        assert "toy/000003" in chosen.clouds.names


def test_free_coordinates_keep_classes_and_get_strengths(real):
    options = dataclasses.replace(OPTIONS, method="gradient-matching", points=120)
    learned = make(real, options, CPU, points=90)
    assert learned.clouds.points.shape == (2, 120, 3)
    assert (learned.clouds.parts == -1).any()
    assert not learned.clouds.strength[learned.clouds.parts == -1].any()
    assert learned.generator is None


def test_a_network_is_trained_and_scored(made, real):
    options = FrameTraining(network="pointnet", epochs=2, test_every=1)
    found = score(made, real, options, CPU, points=60)
    assert set(found.found) == set(real.test.names)
    assert 0 <= found.last <= found.best <= 1


ROTATED = dataclasses.replace(OPTIONS, rotator=RotatorOptions(mode="frozen", upright=True))


def turned(frames, degrees):
    angle = np.deg2rad(degrees)
    cos, sin = np.cos(angle), np.sin(angle)
    turn = np.array([[cos, sin, 0], [-sin, cos, 0], [0, 0, 1]])
    return frames.with_points(frames.points @ turn)


@pytest.mark.parametrize("degrees", [10, 90, 200, 355])
def test_the_rotator_undoes_a_turn_about_z_and_keeps_origin_and_height(degrees):
    frames = scenes(4)
    found = [
        canonical(prepare(each, None, ROTATED).train, ROTATED_ROTATOR)
        for each in (frames, turned(frames, degrees))
    ]
    np.testing.assert_allclose(found[0].points, found[1].points, atol=1e-5)
    points = found[0].points
    assert np.array_equal(points[..., 2], frames.points[..., 2])
    np.testing.assert_allclose(
        np.linalg.norm(points, axis=2), np.linalg.norm(frames.points, axis=2), atol=1e-6
    )


ROTATED_ROTATOR = prepare(scenes(2), None, ROTATED).rotator


def test_mistakes_are_named(real):
    tilted = dataclasses.replace(OPTIONS, rotator=RotatorOptions(mode="frozen"))
    with pytest.raises(UserError, match="give --upright"):
        prepare(scenes(2), None, tilted)
    other = scenes(2, take=dataclasses.replace(TAKE, range_m=12.0))
    with pytest.raises(UserError, match="other classes or another range"):
        prepare(scenes(2), other, OPTIONS)
    for changed, words in (
        ({"clouds_per_class": 6}, "--cpc 6: there are 5 frames"),
        ({"points": 500}, "--distill-points 500"),
    ):
        with pytest.raises(UserError, match=words):
            make(real, dataclasses.replace(OPTIONS, **changed), CPU, points=90)
    with pytest.raises(UserError, match="no test clouds to score on"):
        score(
            make(real, dataclasses.replace(OPTIONS, method="random"), CPU, points=90),
            dataclasses.replace(real, test=None),
            FrameTraining(),
            CPU,
            points=60,
        )


def test_heights_come_back_in_meters(real):
    """The generator's are stretched: started from real points, its ground is where theirs is."""
    options = dataclasses.replace(OPTIONS, width=32, w0=60.0)
    start = StartOptions(steps=150, points=128, lr=5e-3)
    found = make(real, options, CPU, points=500, start=start, match=False)
    assert found.losses == ()
    height = found.clouds.coord_m[..., 2][found.clouds.parts == 0]
    assert np.abs(height.mean() + 1.7) < 0.3
    assert np.abs(found.clouds.coord_m[..., 2]).max() <= 10.0 / HEIGHT


def test_learned_coordinates_start_at_the_real_ones(real):
    options = dataclasses.replace(
        OPTIONS, method="gradient-matching", points=120, coordinate_lr=1e-9
    )
    learned = make(real, options, CPU, points=90).clouds
    for cloud in learned.points:
        apart = [np.abs(np.sort(cloud, 0) - np.sort(own, 0)).max() for own in real.train.points]
        assert min(apart) < 1e-5


def test_the_table_runs_from_the_least_to_the_greatest_of_each_class():
    frames = scenes(3)
    table = strength_table(frames)
    assert table.shape == (4, QUANTILES)
    own = frames.strength[frames.parts == 1]
    assert table[1, 0] == own.min()
    assert table[1, -1] == own.max()
    np.testing.assert_allclose(table[1, QUANTILES // 2], np.median(own), rtol=1e-6)
    assert not table[3].any()


def test_draws_are_distributed_as_the_class_is():
    rng = np.random.default_rng(0)
    table = np.quantile(rng.beta(2, 5, 20_000), np.linspace(0, 1, QUANTILES))
    table = np.stack([table, np.full(QUANTILES, 0.7)]).astype(np.float32)
    drawn = draw_strengths(table, np.zeros((1, 20_000), np.int64), 3)
    for share in (0.1, 0.25, 0.5, 0.75, 0.9):
        wanted = np.interp(share, np.linspace(0, 1, QUANTILES), table[0])
        assert abs(np.quantile(drawn, share) - wanted) < 0.01
    segment = np.array([[1, 1, -1]])
    np.testing.assert_allclose(draw_strengths(table, segment, 0), [[0.7, 0.7, 0.0]], rtol=1e-6)


def test_draws_depend_on_the_words_alone():
    table = np.linspace(0, 1, QUANTILES, dtype=np.float32)[None]
    segment = np.zeros((2, 30), np.int64)
    first, again, other = (draw_strengths(table, segment, *w) for w in ((1, 2), (1, 2), (1, 3)))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.fixture(scope="module")
def written(made, real, tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    write_made(folder, made, real, OPTIONS, "toys")
    return folder, made


def opened(folder, split):
    spec = dataset_spec("kitti-layout", {"class_map": folder / "class_map.yaml"})
    return spec, spec.open(folder, split)


def test_the_layouts_own_source_reads_the_frames(written, real):
    folder, made = written
    spec, source = opened(folder, "training")
    assert spec.class_names == CLASSES
    assert list(source.names) == ["distilled/000000", "distilled/000001"]
    for row in range(2):
        frame = source[row]
        assert np.array_equal(frame.coord, made.clouds.coord_m[row])
        assert np.array_equal(frame.segment, made.clouds.parts[row])
        np.testing.assert_allclose(frame.strength[:, 0], made.clouds.strength[row])
    _, held_out = opened(folder, "validation")
    assert len(held_out) == 2
    assert np.array_equal(held_out[1].segment, real.test.parts[1])  # -1 comes back as -1
    assert (held_out[1].segment == -1).any()


def test_the_report_says_what_was_stored(written):
    folder, made = written
    report = json.loads((folder / "distill.json").read_text())
    assert report["numbers_stored"] == made.generator.num_parameters() + made.strengths.size
    assert (report["frames"], report["points"], report["range_m"]) == (2, 90, 10.0)
    assert report["points_by_class"]["nowhere"] == 0
    assert (folder / "frames.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("points", [2, 90, 700])
def test_a_generators_file_gives_frames_of_any_resolution(written, tmp_path, points):
    folder, made = written
    sample_again(folder / "generator.safetensors", tmp_path, points, OPTIONS.seed)
    _, source = opened(tmp_path, "training")
    assert source[0].coord.shape == (points, 3)
    assert np.abs(source[0].coord).max() <= 10.0
    if points == 90:
        assert np.array_equal(source[1].coord, made.clouds.coord_m[1])
        np.testing.assert_allclose(source[1].strength[:, 0], made.clouds.strength[1])


def test_fewer_frames_over_an_earlier_set_leave_none_of_it(written, tmp_path):
    folder, made = written
    generator = folder / "generator.safetensors"
    sample_again(generator, tmp_path, 20, 0)
    one = made.clouds.take([0])
    write_frame_folder(tmp_path, {DISTILLED: one})
    assert len(opened(tmp_path, "training")[1]) == 1


def test_frames_of_others_are_not_written_over(written, tmp_path):
    _, made = written
    strange = tmp_path / "sequences/distilled/velodyne"
    strange.mkdir(parents=True)
    (strange / "000000.bin").write_bytes(b"mine")
    with pytest.raises(UserError, match="did not write"):
        write_frame_folder(tmp_path, {DISTILLED: made.clouds})
    assert (strange / "000000.bin").read_bytes() == b"mine"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"version": 2}, "of version 2 with heights times 4.0, this version reads 1 with 4"),
        ({"height": 2.0}, "of version 1 with heights times 2.0, this version reads 1 with 4"),
        ({"strengths": [[0.0, 1.0]]}, "strengths of shape"),
        ({"meters": None}, "does not say what its clouds need"),
    ],
)
def test_a_generator_of_another_version_is_refused(written, tmp_path, change, words):
    folder, _ = written
    generator, made_from = load_generator(folder / "generator.safetensors")
    facts = made_from["frames"] | change
    file = tmp_path / "g.safetensors"
    save_generator(file, generator, made_from | {"frames": facts})
    with pytest.raises(UserError, match=words):
        sample_again(file, tmp_path, 20, 0)
    assert not (tmp_path / "sequences").exists()
