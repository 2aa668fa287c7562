"""Which training frames keep their labels: all, none, a share or a number of them."""

from collections.abc import Collection, Sequence

import numpy as np
import torch

from train.core.bounded import whole_number
from train.core.errors import UserError
from train.core.streams import Stream
from train.data.batch import Batch
from train.data.frame import IGNORE_INDEX

ALL, NONE = "all", "none"


def check_labels(labels: str) -> None:
    """Refuse what is neither "all", "none", a share between 0 and 1 nor a number of frames.

    Raises
    ------
    UserError
        If it is not; names the option, the value and what there is to give.
    """
    if labels in (ALL, NONE):
        return
    try:
        number = whole_number(labels)
        fits = 0 < float(labels) < 1 if number is None else number >= 1
    except ValueError:
        fits = False
    if not fits:
        raise UserError(
            f"--data.labels {labels}: give all, none, a share of the frames between 0 and 1, 0.05 "
            "for example, or how many, 8"
        )


def labeled_frames(names: Sequence[str], labels: str, seed: int) -> frozenset[str]:
    """Return the names of the frames that keep their labels.

    Whole sequences are drawn while they fit; the rest are frames of one sequence more, drawn too.

    Parameters
    ----------
    names
        Of the frames, "sequence/frame"; a name without a slash is a sequence of its own.
    labels
        "all", "none", a share between 0 and 1, or a number of frames.
    seed
        Of the draw.

    Raises
    ------
    UserError
        If there are fewer frames than asked for, or a share of them is less than half a frame.
    """
    check_labels(labels)
    if labels == ALL:
        return frozenset(names)
    if labels == NONE:
        return frozenset()
    number = whole_number(labels)
    wanted = round(float(labels) * len(names)) if number is None else number
    if not 1 <= wanted <= len(names):
        more = f"a number from 1 to {len(names)}, or all"
        raise UserError(
            f"--data.labels {labels}: that is {wanted} of {len(names)} frames; give {more}"
        )
    rng = np.random.default_rng([seed, Stream.LABELED_FRAMES])
    sequences: dict[str, list[str]] = {}
    for name in names:
        sequences.setdefault(name.rpartition("/")[0] or name, []).append(name)
    drawn = [list(sequences.values())[place] for place in rng.permutation(len(sequences))]
    found: list[str] = []
    too_long: list[list[str]] = []
    for frames in drawn:
        if len(found) + len(frames) <= wanted:
            found += frames
        else:
            too_long.append(frames)
    if len(found) < wanted:
        rest = too_long[0]
        places = rng.permutation(len(rest))[: wanted - len(found)]
        found += [rest[place] for place in sorted(places)]
    return frozenset(found)


def hide_labels(batch: Batch, labeled: Collection[str]) -> Batch:
    """Return a batch whose frames have labels only if they are among those named.

    Parameters
    ----------
    batch
        From `train.data.batch.collate`, with labels or without; one name for each cloud.
    labeled
        Names of frames.

    Returns
    -------
    Batch
        With `segment`, `IGNORE_INDEX` wherever a frame is not among the labeled ones.
    """
    if not batch.names:
        return batch
    segment = batch.get("segment")
    if segment is None:
        unknown = torch.full_like(batch["grid_coord"][:, 0], IGNORE_INDEX)
        return batch.with_tensors(segment=unknown)
    segment = segment.clone()
    begin = 0
    for name, end in zip(batch.names, batch["offset"].tolist(), strict=True):
        if name not in labeled:
            segment[begin:end] = IGNORE_INDEX
        begin = end
    return batch.with_tensors(segment=segment)
