"""Stages that an option of a method names, and whether two networks' rows there are the same."""

from collections.abc import Sequence

from torch import Tensor

from train.core.errors import UserError
from train.networks.protocol import Network


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


def one_stage(option: str, name: str, network: Network) -> str:
    """Return the stage that an option names, which must be a single one; else as `stages`."""
    chosen = stages(option, (name,), network)
    if len(chosen) > 1:
        raise UserError(
            f"--method.{option} {name}: names {len(chosen)} stages of {type(network).__name__} "
            f"({', '.join(chosen)}); choose one of them, or last"
        )
    return chosen[0]


def refuse_other_rows(option: str, stage: str, student: Tensor, teacher: Tensor) -> None:
    """Raise a `UserError` if a stage of the student has not as many rows as the teacher's."""
    if len(student) != len(teacher):
        raise UserError(
            f"--method.{option}: stage {stage} has {len(student)} rows in the student and "
            f"{len(teacher)} in the teacher, so they are not the same voxels; choose last"
        )
