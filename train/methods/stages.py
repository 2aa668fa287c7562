"""Stages that an option of a method names, and in which pairs two networks have the same voxels."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from train.core.errors import UserError
from train.networks.protocol import Network, lists_same_voxels

StagePair = tuple[str, str]
"""A stage of the student and the stage of the teacher that is compared with it."""


def stages(option: str, names: Sequence[str], network: Network) -> tuple[str, ...]:
    """Return the stages that an option names, in the order in which they run.

    Parameters
    ----------
    option
        As on the command line, without ``--method.``; for the error.
    names
        Names of stages, or "last" (of the decoder), "decoder", "encoder".
    network
        Whose stages they are.

    Raises
    ------
    UserError
        If the network has no such stage.
    """
    groups = {
        "last": network.decoder_stages[-1:],
        "decoder": network.decoder_stages,
        "encoder": network.encoder_stages,
    }
    known = (*network.encoder_stages, *network.decoder_stages)
    chosen = [stage for name in names for stage in groups.get(name, (name,))]
    unknown = [stage for stage in chosen if stage not in known]
    if unknown or not chosen:
        raise UserError(
            f"--method.{option} {' '.join(names)}: {type(network).__name__} has no such stage; "
            f"choose among {', '.join(known)}"
        )
    return tuple(stage for stage in known if stage in chosen)


def stage_pairs(
    option: str, names: Sequence[str], student: Network, teacher: Network
) -> tuple[StagePair, ...]:
    """Return the pairs of stages with the same voxels that an option names, as the student runs.

    "encoder" and "decoder" stand for the stages of one name that list the same voxels in both
    networks; the last decoder stage of one is that of the other, for both are the batch's voxels.
    A stage that is named by itself must be in both.

    Parameters
    ----------
    option
        As on the command line, without ``--method.``; for the error.
    names
        Names of stages, or "last", "decoder", "encoder".
    student, teacher
        The networks.

    Raises
    ------
    UserError
        If a network has no such stage, or nothing is left to compare.
    """
    last = (student.decoder_stages[-1], teacher.decoder_stages[-1])
    of_student, of_teacher = (
        (*network.encoder_stages, *network.decoder_stages) for network in (student, teacher)
    )
    groups = {"encoder": student.encoder_stages, "decoder": student.decoder_stages}
    comparable = lists_same_voxels(student, teacher)
    found: list[StagePair] = []
    for name in names:
        if name == "last":
            found.append(last)
        elif name in groups:
            theirs = teacher.encoder_stages if name == "encoder" else teacher.decoder_stages
            if comparable:
                found += [(s, s) for s in groups[name] if s in theirs and s not in last]
            if name == "decoder":
                found.append(last)
        else:
            for network in (student, teacher):
                stages(option, names, network)
            found.append((name, name))
    if not found:
        raise UserError(
            f"--method.{option} {' '.join(names)}: {type(student).__name__} has "
            f"{', '.join(of_student)}, its teacher, a {type(teacher).__name__}, "
            f"{', '.join(of_teacher)}, and none of these stages is known to have the same voxels "
            "in both; choose last"
        )
    order = {stage: place for place, stage in enumerate(of_student)}
    return tuple(sorted(set(found), key=lambda pair: order[pair[0]]))


def one_pair(option: str, name: str, student: Network, teacher: Network) -> StagePair:
    """Return the pair of stages that an option names, a single one; else as `stage_pairs`."""
    for network in (student, teacher):
        if name != "last":
            one_stage(option, name, network)
    return stage_pairs(option, (name,), student, teacher)[0]


def one_stage(option: str, name: str, network: Network) -> str:
    """Return the stage that an option names, which must be a single one; else as `stages`."""
    chosen = stages(option, (name,), network)
    if len(chosen) > 1:
        raise UserError(
            f"--method.{option} {name}: names {len(chosen)} stages of {type(network).__name__} "
            f"({', '.join(chosen)}); choose one of them, or last"
        )
    return chosen[0]


def describe_pairs(pairs: Sequence[StagePair], student: Network, teacher: Network) -> str:
    """Return stages with their widths, student's and teacher's, for people."""
    return ", ".join(
        f"{own}{'' if own == other else f' with {other}'} "
        f"({student.stage_channels[own]} of {teacher.stage_channels[other]} channels)"
        for own, other in pairs
    )


def width_adapter(pair: StagePair, student: Network, teacher: Network) -> nn.Linear:
    """Return a linear map from the width of the student's stage to that of the teacher's."""
    widths = student.stage_channels[pair[0]], teacher.stage_channels[pair[1]]
    # The run's random numbers are those of a run without an adapter.
    with torch.random.fork_rng(devices=[]):
        return nn.Linear(*widths)


def refuse_other_rows(option: str, stage: str, student: Tensor, teacher: Tensor) -> None:
    """Raise a `UserError` if a stage of the student has not as many rows as the teacher's."""
    if len(student) != len(teacher):
        raise UserError(
            f"--method.{option}: stage {stage} has {len(student)} rows in the student and "
            f"{len(teacher)} in the teacher, so they are not the same voxels; choose last"
        )
