"""Predictions of a test split in the form that a benchmark's server takes."""

from dataclasses import dataclass
from pathlib import Path

from train.config import RunConfig
from train.core.console import Progress, logger
from train.core.errors import UserError
from train.data.dataset_spec import DatasetSpec
from train.data.decoded import DecodedCache
from train.data.frame import FrameSource
from train.evaluation.network_pass import SINGLE_PASS, TEST_TIME_AUGMENTATIONS
from train.networks.protocol import Network
from train.networks.weights import ModelMetadata
from train.predict.cloud import predict_frame


@dataclass(frozen=True)
class PlannedSubmission:
    """What will be predicted, and the file that will hold it."""

    spec: DatasetSpec
    path: Path
    source: FrameSource


def check_submission(
    config: RunConfig, spec: DatasetSpec, validation: FrameSource
) -> PlannedSubmission | None:
    """Open the frames to predict if the run asks for a submission; writes nothing.

    Raises
    ------
    UserError
        If the dataset has no server, a submission is there already, there are no test frames, or
        the server wants an account that is not given; simulated frames go to no server.
    """
    if not config.submit:
        return None
    if spec.submission is None:
        raise UserError(f"--submit: {spec.name} has no benchmark server; leave it out")
    if spec.submission_needs_account and not config.simulate and "@" not in config.submit_account:
        raise UserError(
            f"--submit: {spec.name}'s server refuses a file without the e-mail address of your "
            "account: add --submit-account NAME@HOST"
        )
    path = config.resolved_output / f"submission{spec.submission_suffix}"
    if path.exists():
        raise UserError(f"--submit: {path} is there already; move it away to write another")
    if config.simulate:
        source = validation.source if isinstance(validation, DecodedCache) else validation
    else:
        source = spec.open(
            config.resolved_data_root,
            "test",
            require_labels=False,
            cache_dir=config.data.cache_dir,
        )
    return PlannedSubmission(spec, path, source)


def write_submission(
    planned: PlannedSubmission,
    model: Network,
    metadata: ModelMetadata,
    role: str,
    config: RunConfig,
) -> None:
    """Predict every point of the frames and write what the benchmark's server takes."""
    source = planned.source
    assert planned.spec.submission is not None
    submission = planned.spec.submission(planned.path, source, config.submit_account)
    transforms = TEST_TIME_AUGMENTATIONS.get(config.tta, SINGLE_PASS)
    progress = Progress(f"{role} predictions for the server", len(source))
    try:
        for index in range(len(source)):
            frame = source[index]
            prediction, _ = predict_frame(
                model,
                frame,
                metadata.grid_size_m,
                clip_range_m=metadata.clip_range_m,
                views=transforms,
                precision=config.precision,
            )
            submission.add(frame, prediction)
            progress.advance({})
    finally:
        progress.close()
    path = submission.finish()
    passes = "a single pass" if len(transforms) == 1 else f"mean of {len(transforms)} passes"
    logger.info(f"{role} predictions, {passes}: {path}")
