"""The geometry that teacher and student share: levels, order of rows, shuffles, limits."""

import itertools

import numpy as np
import pytest
import torch

from train.networks.ptv3 import build_hierarchy, build_segmentor
from train.networks.ptv3.pooling import Pooling


def test_levels_hold_the_halved_voxels_of_each_cloud(make_batch):
    batch = make_batch([150, 7, 90])
    hierarchy = build_hierarchy(batch)
    assert len(hierarchy.levels) == 5
    fine_cells = list(
        zip(hierarchy.levels[0].batch.tolist(), batch["grid_coord"].tolist(), strict=True)
    )
    for stage, level in enumerate(hierarchy.levels):
        want = {(cloud, tuple(axis >> stage for axis in voxel)) for cloud, voxel in fine_cells}
        got = list(zip(level.batch.tolist(), map(tuple, level.grid_coord.tolist()), strict=True))
        assert len(got) == len(set(got)), "a voxel is listed twice"
        assert set(got) == want
        assert level.counts == tuple(sum(c == cloud for c, _ in want) for cloud in range(3))
        assert level.offset.tolist() == torch.tensor(level.counts).cumsum(0).tolist()
        assert (level.batch.diff() >= 0).all()
        if level.cluster is not None:
            finer = hierarchy.levels[stage - 1]
            assert torch.equal(level.grid_coord[level.cluster], finer.grid_coord >> 1)
            assert torch.equal(level.batch[level.cluster], finer.batch)
            mean = torch.stack(
                [finer.coord[level.cluster == row].mean(0) for row in range(level.num_voxels)]
            )
            torch.testing.assert_close(level.coord, mean)


def test_the_rows_of_stage_0_are_the_batch_s(make_batch):
    batch = make_batch([60, 30])
    hierarchy = build_hierarchy(batch, shuffle_orders=True)
    assert torch.equal(hierarchy.levels[0].grid_coord, batch["grid_coord"])
    assert torch.equal(hierarchy.stage_offset("dec0"), batch["offset"])


def test_order_sorts_the_codes_and_inverse_undoes_it(make_batch):
    for level in build_hierarchy(make_batch([80, 40]), shuffle_orders=True).levels:
        for code, order, inverse in zip(level.code, level.order, level.inverse, strict=True):
            assert (code[order].diff() > 0).all()
            assert torch.equal(order[inverse], torch.arange(level.num_voxels))


def test_pooled_rows_follow_the_first_curve_of_the_finer_stage(make_batch):
    hierarchy = build_hierarchy(
        make_batch([200]), shuffle_orders=True, generator=torch.Generator().manual_seed(3)
    )
    for fine, coarse in zip(hierarchy.levels, hierarchy.levels[1:], strict=False):
        assert (coarse.cluster[fine.order[0]].diff() >= 0).all()


def test_shuffles_are_one_cpu_draw_at_the_input_and_one_at_each_pooling(make_batch):
    batch = make_batch([120])
    torch.manual_seed(11)
    shuffled = build_hierarchy(batch, shuffle_orders=True)
    state_after = torch.get_rng_state()
    torch.manual_seed(11)
    draws = [torch.randperm(4) for _ in range(5)]
    assert torch.equal(state_after, torch.get_rng_state()), "the official code draws five times"

    names = ["z", "z-trans", "hilbert", "hilbert-trans"]
    by_name = {
        name: build_hierarchy(batch, orders=(name,), num_stages=1).levels[0].code[0]
        for name in names
    }
    member = torch.arange(120)
    for stage, (level, draw) in enumerate(zip(shuffled.levels, draws, strict=True)):
        names = [names[k] for k in draw.tolist()]
        if level.cluster is not None:
            last = torch.empty(level.num_voxels, dtype=torch.long)
            last[level.cluster] = member
            member = last
        for row, name in enumerate(names):
            assert torch.equal(level.code[row], by_name[name][member] >> (3 * stage)), (stage, name)


def test_without_shuffling_no_random_number_is_drawn(make_batch):
    before = torch.get_rng_state()
    build_hierarchy(make_batch([40]))
    assert torch.equal(before, torch.get_rng_state())


def test_two_hierarchies_disagree_where_one_shared_hierarchy_cannot(make_batch, make_network):
    batch = make_batch([300])
    draws = torch.Generator().manual_seed(0)
    separate = [build_hierarchy(batch, shuffle_orders=True, generator=draws) for _ in range(6)]
    orders = {str(hierarchy.levels[1].grid_coord.tolist()) for hierarchy in separate}
    assert len(orders) > 1, "the danger that sharing removes is gone: this test proves nothing"

    # A network whose pooled features are the voxel's own indices shows the order of its rows.
    shared = separate[0]
    for channels in (8, 16):  # a student's and a teacher's width
        seen = shared.levels[0].grid_coord.double()
        for level in shared.levels[1:]:
            pool = Pooling(3, channels).double()
            with torch.no_grad():
                pool.proj.weight.zero_()
                pool.proj.weight[:3].copy_(torch.eye(3))
                pool.proj.bias.zero_()
            pool.norm, pool.act = torch.nn.Identity(), torch.nn.Identity()
            seen = pool(seen, level.cluster, level.num_voxels)[:, :3] // 2
            assert torch.equal(seen.long(), level.grid_coord)


def test_all_stages_of_both_networks_have_the_rows_of_the_shared_levels(make_batch, make_network):
    batch = make_batch([200, 60])
    hierarchy = build_hierarchy(batch, shuffle_orders=True)
    stages = {
        size: make_network(size).eval()(batch, hierarchy).features
        for size in ("tiny-teacher", "tiny-student")
    }
    assert list(stages["tiny-teacher"]) == list(stages["tiny-student"])
    for name, teacher in stages["tiny-teacher"].items():
        student = stages["tiny-student"][name]
        rows = hierarchy.stage_level(name).num_voxels
        assert teacher.shape[0] == student.shape[0] == rows == hierarchy.stage_offset(name)[-1]


def test_tables_are_made_once_and_shared_by_encoder_and_decoder(make_batch):
    hierarchy = build_hierarchy(make_batch([100]))
    assert hierarchy.table(0, 5) is hierarchy.table(0, 5)
    # The small kernel at stage 0 reuses the stem's search.
    assert torch.equal(hierarchy.table(0, 3).rows, hierarchy.table(0, 5).inner(3).rows)
    assert hierarchy.neighbors(0, 3, "torch") is hierarchy.table(0, 3)
    assert hierarchy.neighbors(0, 3, "spconv") is hierarchy.neighbors(0, 5, "spconv")
    assert hierarchy.patches(1, 0, 16) is hierarchy.patches(1, 0, 16)


@pytest.mark.parametrize(
    ("name", "stage"), [("stem", 0), ("enc0", 0), ("enc4", 4), ("dec3", 3), ("dec0", 0)]
)
def test_stages_have_offsets_by_name(make_batch, name, stage):
    hierarchy = build_hierarchy(make_batch([60, 50]))
    assert torch.equal(hierarchy.stage_offset(name), hierarchy.levels[stage].offset)


@pytest.mark.parametrize("name", ["enc5", "dec", "head", "enc-1", ""])
def test_unknown_stage_names_are_refused(make_batch, name):
    with pytest.raises(ValueError, match="no stage"):
        build_hierarchy(make_batch([10])).stage_offset(name)


def single_voxels(count):
    """Return a batch of clouds that each are the voxel at the origin."""
    return {
        "feat": torch.zeros(count, 4),
        "coord": torch.zeros(count, 3),
        "grid_coord": torch.zeros(count, 3, dtype=torch.long),
        "offset": torch.arange(1, count + 1),
    }


@pytest.mark.parametrize("rule", ["main", "v1.5.1"])
@pytest.mark.parametrize("count", [1, 3])
def test_single_voxels_make_five_levels_and_clouds_are_never_pooled_together(count, rule):
    levels = build_hierarchy(single_voxels(count), depth_rule=rule).levels
    assert [level.counts for level in levels] == [(1,) * count] * 5


@pytest.mark.parametrize(("rule", "largest"), [("main", 65534), ("v1.5.1", 65535)])
def test_the_depth_limit_names_the_value_and_the_grid_that_would_fit(make_batch, rule, largest):
    batch = make_batch([20])
    batch["grid_coord"][3, 0] = largest
    build_hierarchy(batch, depth_rule=rule)
    batch["grid_coord"][3, 0] = largest + 1
    batch["coord"][3, 0] = 6553.4
    with pytest.raises(
        ValueError, match=rf"reaches {largest + 1}, .* end at {largest}; .* at least 0\.1 m"
    ):
        build_hierarchy(batch, depth_rule=rule)


# ---- a real frame, against sets of voxels --------------------------------------------------------


FRAME = "semantickitti/dev/sequences/00/velodyne/000000.bin"


@pytest.fixture(scope="module")
def frame(real_data):
    """Return the frame at 5 cm, one point a voxel, as the network takes it."""
    points = np.fromfile(real_data / FRAME, np.float32).reshape(-1, 4)
    grid = np.floor(points[:, :3] / np.float32(0.05)).astype(np.int64)
    _, first = np.unique(grid, axis=0, return_index=True)
    grid = grid[first] - grid[first].min(0)
    return {
        "feat": torch.from_numpy(points[first]),
        "coord": torch.from_numpy(points[first, :3]),
        "grid_coord": torch.from_numpy(grid),
        "offset": torch.tensor([len(first)]),
    }


@pytest.mark.real_data
def test_neighbors_of_a_real_frame_are_those_of_a_set_of_voxels(frame):
    table = build_hierarchy(frame).table(0, 3)
    row_of = {voxel: row for row, voxel in enumerate(map(tuple, frame["grid_coord"].tolist()))}
    for row in range(0, len(row_of), 97):
        x, y, z = frame["grid_coord"][row].tolist()
        cube = itertools.product((x - 1, x, x + 1), (y - 1, y, y + 1), (z - 1, z, z + 1))
        want = sorted(row_of[voxel] for voxel in cube if voxel in row_of)
        found = [there for there in table.rows[:, row].tolist() if there < len(row_of)]
        assert sorted(found) == want


@pytest.mark.real_data
def test_the_tiny_student_labels_every_voxel_of_a_real_frame(frame):
    torch.manual_seed(0)
    model = build_segmentor("tiny-student", 19).eval()
    with torch.no_grad():
        output = model(frame)
        logits, stages = output.logits, output.features
    assert logits.shape == (len(frame["coord"]), 19)
    assert logits.isfinite().all()
    assert [len(stages[f"enc{s}"]) for s in range(5)] == sorted(
        (len(stages[f"enc{s}"]) for s in range(5)), reverse=True
    )
