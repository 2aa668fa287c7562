"""SemanticKITTI: its reader, classes and submissions."""

from typing import Final

from train.data.dataset_spec import SEMANTICKITTI_RULE, DatasetSpec
from train.data.readers.bare_points import MAX_COORDINATE_M
from train.data.semantickitti.classes import (
    CLASS_MAP,
    CLASS_NAMES,
    TEST_SEQUENCES,
    TRAIN_SEQUENCES,
    VALIDATION_SEQUENCES,
)
from train.data.semantickitti.reader import FILES, SemanticKitti, list_sequences
from train.data.semantickitti.submission import SemanticKittiSubmission

__all__ = [
    "CLASS_MAP",
    "CLASS_NAMES",
    "FILES",
    "MAX_COORDINATE_M",
    "SPEC",
    "TEST_SEQUENCES",
    "TRAIN_SEQUENCES",
    "VALIDATION_SEQUENCES",
    "SemanticKitti",
    "SemanticKittiSubmission",
    "list_sequences",
]

SPEC: Final = DatasetSpec(
    name="semantickitti",
    class_names=CLASS_NAMES,
    sequence_word="sequence",
    reader=SemanticKitti,
    list_sequences=list_sequences,
    benchmark_rule=SEMANTICKITTI_RULE,
    simulator="train.simulation.semantickitti:simulate_semantickitti",
    submission=lambda output, source, _: SemanticKittiSubmission(output, source),
    submission_suffix=".zip",
    has_cameras=True,
    class_map=CLASS_MAP,
    ground_z_m=-1.73,  # the HDL-64E is mounted so high
)
