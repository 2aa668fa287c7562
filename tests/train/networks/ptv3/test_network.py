"""The whole network against its slow twin, what must hold for any weights, and what is refused."""

import pytest
import torch

from tests.train.networks.ptv3.plain_ptv3 import PlainPTv3, as_voxels
from train.networks.ptv3 import build_hierarchy, build_segmentor
from train.networks.ptv3.block import MLP, PointDropPath

PATCH_SIZE = 8


@pytest.mark.parametrize("cpe_input", ["main", "v1.5.1"])
@pytest.mark.parametrize("shuffle", [False, True], ids=["in-order", "shuffled"])
@pytest.mark.parametrize("sizes", [[70], [40, 5, 33]], ids=["one-cloud", "three-clouds"])
def test_it_equals_the_slow_twin(make_batch, make_network, cpe_input, shuffle, sizes):
    batch = make_batch(sizes)
    model = make_network(
        cpe_input=cpe_input, patch_size=PATCH_SIZE, enc_depths=(2, 1, 1, 5, 1),
        dec_depths=(2, 1, 1, 1),
    ).eval()  # fmt: skip
    generator = torch.Generator().manual_seed(5)
    hierarchy = build_hierarchy(batch, shuffle_orders=shuffle, generator=generator)
    generator.manual_seed(5)
    shuffles = [
        torch.randperm(4, generator=generator).tolist() if shuffle else range(4) for _ in range(5)
    ]
    with torch.no_grad():
        got = model(batch, hierarchy).logits
        twin = PlainPTv3(model.state_dict(), model.config, as_voxels(batch), shuffles)
        want = twin.logits(batch["feat"])
    assert want.std() > 0.1, "the logits must vary, or agreeing is easy"
    torch.testing.assert_close(got, want, rtol=1e-9, atol=1e-9)


def test_the_teacher_s_layout_equals_the_slow_twin_too(make_batch, make_network):
    batch = make_batch([50])
    model = make_network("tiny-teacher", patch_size=16).eval()
    with torch.no_grad():
        twin = PlainPTv3(model.state_dict(), model.config, as_voxels(batch), [range(4)] * 5)
        torch.testing.assert_close(
            model(batch).logits, twin.logits(batch["feat"]), rtol=1e-9, atol=1e-9
        )


def test_spconv_in_16_bit_stays_close(make_batch, make_network):
    pytest.importorskip("spconv.pytorch", reason="spconv, a peer, is not installed")
    batch = make_batch([120], dtype=torch.float32)
    exact = (
        make_network(patch_size=16, cpe_input="v1.5.1", enc_depths=(2, 1, 1, 1, 1)).float().eval()
    )
    model = make_network(
        patch_size=16, cpe_input="v1.5.1", enc_depths=(2, 1, 1, 1, 1), convolution="spconv"
    ).float().eval()  # fmt: skip
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rounded = model(batch).logits
    assert (rounded.argmax(1) == exact(batch).logits.argmax(1)).float().mean() > 0.85


def test_the_two_cpe_inputs_are_different_functions_of_the_same_weights(make_batch, make_network):
    batch = make_batch([80])
    logits = [
        make_network(cpe_input=choice, enc_depths=(2, 1, 1, 1, 1)).eval()(batch).logits
        for choice in ("main", "v1.5.1")
    ]
    assert (logits[0] - logits[1]).abs().max() > 1e-3


def test_evaluation_is_deterministic_unless_asked_otherwise(make_batch, make_network):
    batch = make_batch([150])
    model = make_network(patch_size=16).eval()
    assert torch.equal(model(batch).logits, model(batch).logits)
    official = make_network(patch_size=16, shuffle_orders="always").eval()
    torch.manual_seed(0)
    draws = [official(batch).logits for _ in range(4)]
    assert any(not torch.allclose(draws[0], other) for other in draws[1:])


def test_training_shuffles_unless_told_not_to(make_batch, make_network):
    batch = make_batch([150])
    model = make_network().train()
    torch.manual_seed(0)
    shuffled = {str(model.prepare(batch).levels[1].code.tolist()) for _ in range(4)}
    assert len(shuffled) > 1
    still = make_network(shuffle_orders="never").train()
    assert len({str(still.prepare(batch).levels[1].code.tolist()) for _ in range(4)}) == 1


def test_one_point_and_clouds_smaller_than_a_patch_have_finite_logits(make_batch, make_network):
    model = make_network().eval()
    for sizes in ([1], [1, 1, 1], [2, 120, 1]):
        assert model(make_batch(sizes)).logits.isfinite().all()


def test_watch_replaces_what_the_network_goes_on_with(make_batch, make_network):
    batch = make_batch([60])
    model = make_network().eval()
    seen = []

    def zero_the_middle(name, out):
        seen.append(name)
        return torch.zeros_like(out) if name == "enc4" else out

    output = model(batch, stage_hook=zero_the_middle)
    logits, stages = output.logits, output.features
    assert seen == list(stages)
    assert seen == ["stem", *(f"enc{s}" for s in range(5)), "dec3", "dec2", "dec1", "dec0"]
    assert model.decoder_stages == ("dec3", "dec2", "dec1", "dec0")
    assert not stages["enc4"].any()
    assert not torch.allclose(logits, model(batch).logits)


@pytest.mark.parametrize("training", [False, True])
def test_the_features_of_a_stage_are_tensors_that_nothing_later_changes(
    make_batch, make_network, training
):
    """The official code's stages share objects that later layers write to."""
    left = {}

    def keep_a_copy(name, out):
        left[name] = out.detach().clone()
        return out

    model = make_network("tiny-teacher").train(training)
    output = model(make_batch([120, 60]), stage_hook=keep_a_copy)
    stages = output.features
    assert list(stages) == list(left)
    for name, feat in stages.items():
        assert type(feat) is torch.Tensor
        assert torch.equal(feat, left[name]), name


def test_a_frozen_teacher_has_gradients_at_its_decoder_stages_and_in_no_parameter(
    make_batch, make_network
):
    batch = make_batch([120])
    teacher = make_network("tiny-teacher").eval().requires_grad_(False)

    def start_graph_at_dec3(name, out):
        return out.detach().requires_grad_() if name == "dec3" else out

    output = teacher(batch, stage_hook=start_graph_at_dec3)
    logits, stages = output.logits, output.features
    assert not stages["enc4"].requires_grad, "the encoder must build no graph"
    decoded = [stages[name] for name in teacher.decoder_stages]
    gradients = torch.autograd.grad(logits.logsumexp(1).sum(), decoded)
    for gradient, feat in zip(gradients, decoded, strict=True):
        assert gradient.shape == feat.shape
        assert gradient.abs().max() > 0
    assert all(parameter.grad is None for parameter in teacher.parameters())
    torch.testing.assert_close(logits, teacher(batch).logits, rtol=1e-12, atol=1e-12)


def test_every_weight_of_the_student_gets_a_gradient_from_the_logits(make_batch, make_network):
    """All but biases that shift every row alike straight before a batch norm removes the mean."""
    batch = make_batch([250, 200])
    student = make_network(patch_size=32, drop_path=0.0).train()
    student(batch).logits.square().mean().backward()
    without = {
        name
        for name, parameter in student.backbone.named_parameters()
        if parameter.grad is None or parameter.grad.abs().max() < 1e-12
    }
    pooled = {f"enc.enc{s}.down.proj.bias" for s in range(1, 5)}
    unpooled = {
        f"dec.dec{s}.up.{branch}.0.bias" for s in range(4) for branch in ("proj", "proj_skip")
    }
    # The last thing a stage adds goes through linear maps alone into the next stage's batch norm;
    # with drop path it is not the same in every row and does get a gradient.
    last_added = {
        f"{stage}.block0.mlp.0.fc2.bias"
        for stage in [f"enc.enc{s}" for s in range(5)] + [f"dec.dec{s}" for s in range(1, 4)]
    }
    assert without == pooled | unpooled | last_added


@pytest.mark.parametrize("size", ["tiny-student", "tiny-teacher"])
def test_gradients_of_the_whole_network_agree_with_finite_differences(
    make_batch, make_network, size
):
    batch = make_batch([60, 30])
    model = make_network(size, patch_size=16, drop_path=0.0, shuffle_orders="never").train()
    slope = torch.randn(90, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    hierarchy = build_hierarchy(batch)
    names = [name for name, _ in model.named_parameters()]
    values = [parameter.detach() for parameter in model.parameters()]
    buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}

    def loss(feat, *parameters):
        state = dict(zip(names, parameters, strict=True)) | {
            name: buffer.clone() for name, buffer in buffers.items()
        }
        output = torch.func.functional_call(model, state, (batch | {"feat": feat}, hierarchy))
        return (output.logits * slope).sum()

    start = [batch["feat"], *values]
    leaves = [tensor.clone().requires_grad_() for tensor in start]
    gradients = torch.autograd.grad(loss(*leaves), leaves)
    generator = torch.Generator().manual_seed(2)
    step = 1e-6
    for index in [0, *range(1, len(start), 7)]:  # the input, and a seventh of the parameters
        way = torch.zeros_like(start[index]).normal_(generator=generator)
        ahead, behind = list(start), list(start)
        ahead[index], behind[index] = start[index] + step * way, start[index] - step * way
        with torch.no_grad():
            numeric = (loss(*ahead) - loss(*behind)) / (2 * step)
        exact = (gradients[index] * way).sum()
        torch.testing.assert_close(
            exact, numeric, rtol=2e-6, atol=2e-7, msg=["feat", *names][index]
        )


def test_without_gradients_the_mlp_gives_the_same_from_fewer_rows_at_once(monkeypatch):
    torch.manual_seed(0)
    mlp, feat = MLP(4, 4).double(), torch.randn(23, 4, dtype=torch.float64)
    whole = mlp(feat)
    monkeypatch.setattr("train.networks.ptv3.block.ROWS_AT_ONCE", 5)
    rows_seen = []
    mlp.act.register_forward_hook(lambda _, args, __: rows_seen.append(len(args[0])))
    with torch.no_grad():
        torch.testing.assert_close(mlp(feat), whole, rtol=1e-13, atol=1e-13)
    assert rows_seen == [5, 5, 5, 5, 3]
    mlp(feat)
    assert rows_seen[5:] == [23]


def test_drop_path_drops_rows_and_keeps_the_mean():
    torch.manual_seed(0)
    drop = PointDropPath(0.3).train()
    out = drop(torch.ones(20_000, 3))
    assert ((out == 0).all(1) | (out == out.max()).all(1)).all(), "a row is dropped as a whole"
    torch.testing.assert_close(out.max(), torch.tensor(1 / 0.7))
    # 20,000 draws of chance 0.3: five standard deviations are 0.016.
    assert abs((out[:, 0] == 0).float().mean().item() - 0.3) < 0.016
    assert torch.equal(drop.eval()(torch.ones(5, 1)), torch.ones(5, 1))


def test_drop_path_rates_rise_over_the_encoder_and_with_coarseness_over_the_decoder(make_network):
    model = make_network("tiny-teacher", drop_path=0.3, dec_depths=(2, 2, 2, 2),
                         enc_depths=(2, 2, 2, 6, 2))  # fmt: skip
    rates = [
        (name.split(".")[2], module.rate)
        for name, module in model.named_modules()
        if isinstance(module, PointDropPath)
    ]
    encoder = [rate for stage, rate in rates if stage.startswith("enc")]
    assert encoder == pytest.approx([0.3 * i / 13 for i in range(14)])
    decoder = {s: [round(rate, 3) for stage, rate in rates if stage == f"dec{s}"] for s in range(4)}
    assert decoder == {
        3: [0.3, 0.257], 2: [0.214, 0.171], 1: [0.129, 0.086], 0: [0.043, 0.0]
    }  # fmt: skip


@pytest.mark.parametrize(("size", "momentum"), [("student", 0.01), ("tiny-student", 0.1)])
def test_batch_norm_has_the_published_constants_and_a_quicker_mean_in_the_tiny_pair(
    make_network, size, momentum
):
    norms = [m for m in make_network(size).modules() if isinstance(m, torch.nn.BatchNorm1d)]
    assert len(norms) == 1 + 4 + 8
    assert {(norm.eps, norm.momentum) for norm in norms} == {(1e-3, momentum)}


# ---- the tiny pair, and batches that are refused -------------------------------------------------


def test_the_tiny_pair_relates_like_the_large_one():
    with torch.device("meta"):
        teacher, student = (build_segmentor(f"tiny-{s}", 19) for s in ("teacher", "student"))
    counts = [sum(p.numel() for p in model.parameters()) for model in (teacher, student)]
    assert 14 < counts[0] / counts[1] < 18
    assert teacher.decoder_stages == student.decoder_stages
    assert teacher.seg_head.in_features == student.seg_head.in_features


def broken(batch, key, change):
    return batch | {key: change(batch[key])}


def with_entry(value, at=(2, 1)):
    def change(tensor):
        tensor = tensor.clone()
        tensor[at] = value
        return tensor

    return change


BAD_BATCHES = {
    "nan-feat": ("feat", with_entry(float("nan")), "feat has a NaN"),
    "infinite-coord": ("coord", with_entry(float("inf")), "coord has a NaN or infinite"),
    "short-feat": ("feat", lambda t: t[:-1], "feat has shape"),
    "short-coord": ("coord", lambda t: t[:-1], "coord has shape"),
    "flat-grid": ("grid_coord", lambda t: t[:, :2], "grid_coord has shape"),
    "fractional-grid": ("grid_coord", lambda t: t.float(), "whole numbers"),
    "negative-grid": ("grid_coord", with_entry(-4), "negative entry -4"),
    "too-few-channels": ("feat", lambda t: t[:, :3], "feat has 3 channels"),
    "offset-too-short": ("offset", lambda t: t[:-1], "offset ends at 30"),
    "offset-too-far": ("offset", with_entry(99, at=-1), "offset ends at 99"),
    "offset-decreases": ("offset", lambda t: t.flip(0), "decreases"),
    "offset-with-zero": ("offset", lambda t: torch.cat([t[:1] * 0, t]), "cloud 0 .* is empty"),
    "offset-repeats": ("offset", lambda t: t[[0, 0, 1]], "cloud 1 .* is empty"),
    "offset-of-two-axes": ("offset", lambda t: t[None], "one"),
    "no-cloud": ("offset", lambda t: t[:0], "empty"),
    "batch-unsorted": ("batch", lambda t: t.flip(0), "not sorted"),
    "batch-disagrees": ("batch", with_entry(1, at=29), "disagrees with offset"),
    "batch-short": ("batch", lambda t: t[:-1], "cloud of each of the 50 voxels"),
    "batch-fractional": ("batch", lambda t: t.float(), "in whole numbers"),
}


@pytest.mark.parametrize("case", list(BAD_BATCHES))
def test_a_malformed_batch_is_refused_by_name(make_batch, make_network, case):
    key, change, message = BAD_BATCHES[case]
    batch = make_batch([30, 20]) | {
        "batch": torch.arange(2).repeat_interleave(torch.tensor([30, 20]))
    }
    model = make_network().eval()
    model(batch)
    with pytest.raises(ValueError, match=message):
        model(broken(batch, key, change))


def test_an_empty_batch_and_a_missing_key_are_refused(make_batch, make_network):
    model = make_network().eval()
    empty = {key: value[:0] for key, value in make_batch([5]).items()}
    with pytest.raises(ValueError, match="empty"):
        model(empty)
    batch = make_batch([5])
    with pytest.raises(TypeError, match="batch is a Tensor; pass a mapping with feat, coord, gri"):
        model(batch["feat"])
    del batch["coord"]
    with pytest.raises(ValueError, match="'coord'"):
        model(batch)


def test_a_hierarchy_of_another_batch_or_network_is_refused(make_batch, make_network):
    batch, model = make_batch([30, 20]), make_network().eval()
    for other, message in (
        (build_hierarchy(make_batch([30, 21])), "voxels 51, needs 50"),
        (build_hierarchy(make_batch([50])), "clouds 1, needs 2"),
        (build_hierarchy(batch, num_stages=4), "stages 4, needs 5"),
        (build_hierarchy(batch, orders=("z", "hilbert")), "curves 2, needs 4"),
        (build_hierarchy(batch, depth_rule="v1.5.1"), "depth rule v1.5.1, needs main"),
    ):
        with pytest.raises(ValueError, match=message):
            model(batch, other)


def test_a_hierarchy_of_other_voxels_is_refused_though_all_its_sizes_fit(make_batch, make_network):
    batch, model = make_batch([30, 20]), make_network().eval()
    moved = batch | {"grid_coord": batch["grid_coord"].clone()}
    want = model(batch).logits
    assert torch.equal(model(batch, build_hierarchy(moved)).logits, want), "the same voxels, copied"
    moved["grid_coord"][7, 2] += 1
    with pytest.raises(ValueError, match="built from other voxels"):
        model(batch, build_hierarchy(moved))


def test_it_says_what_it_is_and_which_implementations_it_took():
    line = build_segmentor("student", 16, cpe_input="v1.5.1").describe()
    for word in (
        "2,777,344 parameters", "16 classes", "convolution: our own",
        "attention: torch's scaled_dot_product_attention", "cpe_input=v1.5.1", "depth_rule=main",
    ):  # fmt: skip
        assert word in line
    assert "attention: plain" in build_segmentor("student", 16, attention="plain").describe()


def test_training_on_a_stage_of_one_voxel_is_refused_and_evaluating_is_not(
    make_batch, make_network
):
    batch = make_batch([20], side=8)
    model = make_network()
    assert build_hierarchy(batch).levels[4].num_voxels == 1
    with pytest.raises(ValueError, match="single voxel"):
        model.train()(batch)
    assert model.eval()(batch).logits.isfinite().all()
