"""Which of the frames that are scored a network has seen in training."""

from collections.abc import Iterable, Sequence


def sequence_of(frame_name: str) -> str:
    """Return the sequence of a frame: "00" for "00/000123".

    A name without a slash, nuScenes' token, is a sequence of its own.
    """
    return frame_name.rpartition("/")[0] or frame_name


def training_sequences(frame_names: Iterable[str]) -> tuple[str, ...]:
    """Return the sequences of the frames, sorted, each once: what a checkpoint records."""
    return tuple(sorted({sequence_of(name) for name in frame_names}))


def count_trained(frame_names: Sequence[str], trained_on: Sequence[str]) -> int:
    """Return how many of the frames lie in sequences that a network was trained on."""
    known = frozenset(trained_on)
    return sum(sequence_of(name) in known for name in frame_names)
