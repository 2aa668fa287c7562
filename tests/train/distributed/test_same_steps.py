"""Processes with parts of each joint batch take, up to rounding, the steps of one with all of it.

Not compared are weights that change nothing: the biases that a batch norm subtracts again, and the
bias of the attention's keys, which shifts all scores of a query alike. Their gradients are rounding
errors, which AdamW scales up to steps of its own.
"""

import dataclasses

import pytest
import torch

from tests.train.distributed.small_fit import Fit, Rooms, trained
from tests.train.processes import run_processes, values_of

NOTHING = 1e-12  # of the whole gradient's norm, in float64

# The paper's method, everything at once: batches of ragged clouds that end at the bound on voxels,
# one of nine rooms replaced by the next, augmentation, synchronized batch norm.
PAPER = Fit(epochs=7, batch_size=4, max_batch_voxels=2440, bad=(2,), norms_every=5)
IN_SINGLE = dataclasses.replace(PAPER, double=False, lr=2e-4)
# A network without batch norm, whose last joint batch has one cloud; in parts, one after the other.
LAST_IS_ONE = Fit(network="per-point", epochs=3, batch_size=4, synchronized=False)
IN_PARTS = Fit(
    network="per-point",
    epochs=4,
    batch_size=5,
    accumulate=2,
    options={"num_samples": 48, "saliency": 0.0, "temperature": 2.0},
)
ALONE = {
    "paper": PAPER,
    "single": IN_SINGLE,
    "last": LAST_IS_ONE,
    "parts": IN_PARTS,
    "whole": dataclasses.replace(IN_PARTS, accumulate=1),
}


def halved(fit, size):
    """Return the same run for processes: what bounds one's batch bounds their sum."""
    return dataclasses.replace(fit, max_batch_voxels=fit.max_batch_voxels // size)


def trained_all(fits):
    return {name: trained(fit) for name, fit in fits.items()}


@pytest.fixture(scope="module")
def alone():
    return trained_all(ALONE)


@pytest.fixture(scope="module")
def together():
    """Return what each of two processes trained."""
    fits = {name: halved(fit, 2) for name, fit in ALONE.items() if name != "whole"}
    return values_of(run_processes(2, trained_all, fits, limit_s=400, timeout_s=100))


@pytest.fixture(scope="module")
def without_effect(alone):
    """Return which elements of the PTv3's weights change nothing."""
    gradients = alone["paper"].gradients
    norm = torch.cat([gradient.flatten() for gradient in gradients.values()]).norm()
    found = {name: gradient.abs() < NOTHING * norm for name, gradient in gradients.items()}
    names = {name.split("block0.")[-1] for name, chosen in found.items() if chosen.any()}
    assert all(name.endswith(".bias") for name in names)
    for name, chosen in found.items():
        thirds = chosen.chunk(3)
        if name.endswith("qkv.bias"):
            assert thirds[1].all(), "of query, key and value the key"
            assert not thirds[0].any()
            assert not thirds[2].any()
    total = sum(int(chosen.sum()) for chosen in found.values())
    assert 0 < total < 0.01 * sum(gradient.numel() for gradient in gradients.values())
    return found


def numbers_of(record):
    """Return a record's numbers by name; times apart."""
    flat = {}
    for name, value in record.items():
        if name in ("stage", "step", "seconds", "frames"):
            continue
        for key, number in (value if isinstance(value, dict) else {"": value}).items():
            flat[f"{name} {key}".strip()] = torch.tensor(number, dtype=torch.float64)
    return flat


def assert_same_records(found, want, tolerance):
    assert len(found) == len(want)
    for one, other in zip(found, want, strict=True):
        ours, theirs = numbers_of(one), numbers_of(other)
        assert list(ours) == list(theirs)
        for name, value in theirs.items():
            torch.testing.assert_close(
                ours[name],
                value,
                rtol=tolerance,
                atol=tolerance * float(value.abs().max()),
                msg=lambda m, what=(other["step"], name): f"{what}: {m}",
            )


def joint_batches(run):
    """Return the samples of each joint batch, whoever takes them."""
    return [sorted(index for part in batch for index in part) for batch in run.joint_batches]


def assert_same_batches(found, want, bad=()):
    assert joint_batches(found) == joint_batches(want)
    for batch, record in zip(found.joint_batches, found.records, strict=True):
        read = [index + (index in bad) for part in batch for index in part]
        assert record["frames"] == [Rooms.names[index] for index in read]


def assert_same_weights(found, want, tolerance, without_effect):
    """Compare each tensor by its largest weight."""
    for name, weight in want.weights.items():
        chosen = ~without_effect.get(name, torch.zeros_like(weight, dtype=torch.bool))
        torch.testing.assert_close(
            found.weights[name][chosen],
            weight[chosen],
            rtol=0.0,
            atol=tolerance * float(weight.abs().max()),
            msg=lambda m, name=name: f"{name}: {m}",
        )


@pytest.mark.slow
def test_the_same_bits_on_all_processes(together):
    first, second = together
    for name, run in first.items():
        assert second[name].records == []
        for parameter, weight in run.weights.items():
            assert second[name].weights[parameter].equal(weight), (name, parameter)
        for buffer, value in run.buffers.items():
            assert second[name].buffers[buffer].equal(value), (name, buffer)
        assert second[name].skipped == run.skipped


def test_twenty_steps_of_the_paper_in_float64(alone, together, without_effect):
    found, want = together[0]["paper"], alone["paper"]
    assert len(want.records) >= 20
    sizes = [len(batch) for batch in joint_batches(want)]
    assert sizes[:6] == [4, 3, 2, 3, 4, 2], "the bound ends some, which are four otherwise"
    assert found.skipped == want.skipped == {"room/2": "2.bin: is damaged"}
    assert found.cropped == want.cropped == 0
    assert_same_batches(found, want, PAPER.bad)
    assert_same_records(found.records, want.records, 1e-12)
    assert "gradient_norms" in want.records[4]
    assert_same_weights(found, want, 1e-12, without_effect)
    norms = [record["gradient_norm"] for record in want.records]
    assert min(norms) > 0


def test_twenty_steps_of_the_paper_in_float32(alone, together, without_effect):
    found, want = together[0]["single"], alone["single"]
    assert len(want.records) >= 20
    assert want.weights["seg_head.weight"].dtype == torch.float32
    assert_same_records(found.records, want.records, 1e-4)
    differences, weights = [], []
    for name, weight in want.weights.items():
        chosen = ~without_effect[name]
        differences.append((found.weights[name] - weight)[chosen].double())
        weights.append(weight[chosen].double())
    assert torch.cat(differences).norm() < 1e-5 * torch.cat(weights).norm()


def test_a_last_joint_batch_with_fewer_clouds_than_processes(alone, together):
    want = alone["last"]
    assert [len(batch) for batch in joint_batches(want)] == [4, 4, 1] * 3
    for size in (2, 3):
        found = (
            together[0]["last"]
            if size == 2
            else values_of(run_processes(3, trained, LAST_IS_ONE, timeout_s=60))[0]
        )
        assert any([] in batch for batch in found.joint_batches)
        assert_same_batches(found, want)
        assert_same_records(found.records, want.records, 1e-12)
        assert_same_weights(found, want, 1e-12, {})


def test_steps_in_parts(alone, together):
    want = alone["whole"]
    for found in (alone["parts"], together[0]["parts"]):
        assert_same_batches(found, want)
        assert_same_records(found.records, want.records, 1e-12)
        assert_same_weights(found, want, 1e-12, {})
