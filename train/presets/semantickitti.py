"""The SemanticKITTI runs: the paper's schedule, and one that a CPU does in minutes."""

from dataclasses import replace

from train.config import DataConfig, LossConfig, OptimConfig, RunConfig


def preset(model: str) -> RunConfig:
    """Return the default run for the pair `model`, "paper" or "tiny"."""
    data = DataConfig()
    if model == "paper":
        return RunConfig(dataset="semantickitti", precision="bf16", data=data)
    return RunConfig(
        dataset="semantickitti",
        evaluate_untrained=True,
        # Two cores: many steps on small crops teach more in a minute than few on whole sweeps, and
        # a short schedule wants one rate for all layers and a longer rise than 50 epochs do.
        data=replace(data, max_voxels=8_000, batch_size=2, num_workers=0),
        optim=OptimConfig(
            teacher_epochs=30,
            student_epochs=30,
            block_lr=2e-3,
            warmup_fraction=0.1,
            max_grad_norm=1.0,
        ),
        loss=LossConfig(num_samples=512),
    )
