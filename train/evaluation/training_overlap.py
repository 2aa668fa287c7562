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


def count_trained(
    frame_names: Sequence[str],
    trained_on: Sequence[str],
    *,
    trained_seed: int | None = None,
    seed: int | None = None,
) -> int:
    """Return how many of the frames lie in sequences that a network was trained on.

    Parameters
    ----------
    frame_names
        Of the frames that are scored.
    trained_on
        The sequences that the network was trained on.
    trained_seed
        If these are simulated, the seed of their scenes; None for recorded frames, and where
        nobody wrote it down.
    seed
        The same of the frames that are scored. Scenes of two seeds, and simulated and recorded
        ones, can have equal names and are never the same.
    """
    if trained_seed is not None and seed != trained_seed:
        return 0
    known = frozenset(trained_on)
    return sum(sequence_of(name) in known for name in frame_names)
