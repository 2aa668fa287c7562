"""Optimiser groups, and batches that depend on the seed and the step alone."""

import pytest
import torch

from train.config import OptimConfig
from train.loop import make_optimizer


def test_blocks_have_a_rate_of_their_own(student):
    optimizer, _ = make_optimizer(student, OptimConfig(lr=2e-3, block_lr=2e-4), 100)
    rest, blocks = optimizer.param_groups
    names = {id(p): name for name, p in student.named_parameters()}
    assert all(".block" in names[id(p)] for p in blocks["params"])
    assert not any(".block" in names[id(p)] for p in rest["params"])
    assert len(rest["params"]) + len(blocks["params"]) == len(names)
    assert rest["lr"] == pytest.approx(2e-4)  # a tenth of the peak at the first step
    assert blocks["lr"] == pytest.approx(2e-5)


def test_one_cycle_rises_to_the_peak_and_falls_to_a_thousandth(student):
    optimizer, scheduler = make_optimizer(student, OptimConfig(warmup_fraction=0.25), 101)
    rates = [optimizer.param_groups[0]["lr"]]
    for _ in range(100):
        optimizer.step()
        scheduler.step()
        rates.append(optimizer.param_groups[0]["lr"])
    assert max(rates) == pytest.approx(2e-3, rel=1e-3)
    assert rates.index(max(rates)) == pytest.approx(25, abs=1)
    assert rates[-1] == pytest.approx(2e-6)
    assert torch.optim.AdamW is type(optimizer)
