"""SemanticKITTI: its reader, its classes, its simulation."""

from train.data.semantickitti.classes import CLASS_NAMES
from train.data.semantickitti.reader import (
    MAX_COORDINATE_M,
    TEST_SEQUENCES,
    TRAIN_SEQUENCES,
    VALIDATION_SEQUENCES,
    SemanticKitti,
    list_sequences,
    read_points,
    read_segment,
)
from train.data.semantickitti.simulated import simulate_semantickitti
from train.data.semantickitti.submission import SemanticKittiSubmission, read_submission

__all__ = [
    "CLASS_NAMES",
    "MAX_COORDINATE_M",
    "TEST_SEQUENCES",
    "TRAIN_SEQUENCES",
    "VALIDATION_SEQUENCES",
    "SemanticKitti",
    "SemanticKittiSubmission",
    "list_sequences",
    "read_points",
    "read_segment",
    "read_submission",
    "simulate_semantickitti",
]
