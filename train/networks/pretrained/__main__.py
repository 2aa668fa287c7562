"""Turn a trained network into one that comes with the package, and write the page about them.

python -m train.networks.pretrained --checkpoint teacher.pt --config config.json --output FILE
topodistill evaluate --checkpoint FILE --data-root DIR --output scores.json
python -m train.networks.pretrained --checkpoint FILE --scores scores.json --output FILE
python -m train.networks.pretrained --page docs/results/pretrained.md
"""

import dataclasses
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final

import torch
from tyro.conf import arg

from train.core.atomic_write import atomic_write
from train.core.command import Command
from train.core.console import logger
from train.core.errors import UserError
from train.core.provenance import without_folders
from train.core.tensor_file import is_safetensors
from train.networks.pretrained import PRETRAINED, page, pretrained_path, read_card, save_pretrained
from train.networks.protocol import Network
from train.networks.weights import ModelMetadata, load_model

KEPT_SCORES: Final = ("frames", "points", "labeled_points", "miou", "accuracy", "iou", "versions")


@dataclass(frozen=True, kw_only=True)
class Options:
    """A network to write, a page to write, or both."""

    checkpoint: Annotated[Path | None, arg(metavar="FILE")] = None
    """a network of a run, or one with a card"""
    config: Annotated[Path | None, arg(metavar="FILE")] = None
    """the config.json of the run that made it; a network with a card has it already"""
    command: Annotated[str | None, arg(metavar="LINE")] = None
    """the command line that makes it in one go, where the run was stopped and went on"""
    scores: Annotated[Path | None, arg(metavar="FILE")] = None
    """what topodistill evaluate --output wrote about the checkpoint"""
    output: Annotated[Path | None, arg(metavar="FILE")] = None
    """the .safetensors to write"""
    page: Annotated[Path | None, arg(metavar="FILE")] = None
    """write the page about the package's networks"""

    def __post_init__(self) -> None:
        if (self.checkpoint is None) != (self.output is None):
            raise UserError("--checkpoint and --output belong together: give both")
        if self.checkpoint is None and self.page is None:
            raise UserError("give --checkpoint and --output, or --page")


def _run(options: Options) -> None:
    if options.checkpoint is not None and options.output is not None:
        convert(
            options.checkpoint,
            options.output,
            config=options.config,
            command=options.command,
            scores=options.scores,
        )
    if options.page is not None:
        paths = [pretrained_path(d, n, simulated=s) for d, n, s in PRETRAINED]
        text = page(path for path in paths if path is not None)
        with atomic_write(options.page) as unfinished:
            unfinished.write_text(text, encoding="utf-8")
        logger.info(f"wrote {options.page}")


def convert(
    checkpoint: Path,
    output: Path,
    *,
    config: Path | None = None,
    command: str | None = None,
    scores: Path | None = None,
) -> None:
    """Write a checkpoint as a network with a card; nothing is evaluated here.

    Parameters
    ----------
    checkpoint
        A file of `save_model`, or one with a card, which is kept then.
    output
        The file to write.
    config
        The `config.json` of the run that made the checkpoint; needed unless it has a card.
    command
        The command line for the card, in place of the one that is recorded.
    scores
        What `topodistill evaluate --output` wrote about this checkpoint. Float16 rounds: scores of
        the file itself are what a card should have.

    Raises
    ------
    UserError
        If a file is missing or damaged, the scores are of another checkpoint, or the rounded
        weights are not the ones that were scored.
    """
    model, metadata = load_model(checkpoint)
    made_by: Mapping[str, Any]
    known: Mapping[str, Any] = {}
    if config is not None:
        metadata, made_by = _from_config(_read_json(config, "--config"), config, metadata)
    elif is_safetensors(checkpoint):
        card = read_card(checkpoint)
        made_by, known = card.made_by, card.scores
    else:
        raise UserError(
            f"--checkpoint {checkpoint}: does not say how it was made; give --config with the "
            "config.json of its run"
        )
    if command is not None:
        made_by = {**made_by, "command": command}
    if scores is not None:
        known = _scores(_read_json(scores, "--scores"), scores, checkpoint, model)
    save_pretrained(model, metadata, output, made_by=made_by, scores=known)
    logger.info(
        f"wrote {output}: {output.stat().st_size / 1e6:.2f} MB"
        + ("" if known else f"; now score it: topodistill evaluate --checkpoint {output}")
    )


def _read_json(path: Path, flag: str) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{flag} {path}: cannot be read ({error})") from error
    if not isinstance(content, dict):
        raise UserError(f"{flag} {path}: holds no JSON object")
    return content


def _from_config(
    content: Mapping[str, Any], path: Path, metadata: ModelMetadata
) -> tuple[ModelMetadata, dict[str, Any]]:
    """Return the metadata with the scenes' seed, and how the network was made."""
    try:
        run, data = content["config"], content["config"]["data"]
        if run["simulate"]:
            metadata = dataclasses.replace(metadata, simulated_seed=data["simulated_seed"])
        made_by = {
            "command": without_folders(content["command"], run),
            "commit": content["commit"],
            "local_changes": content["dirty"],
            "versions": content["versions"],
            "device": content["device"],
            "seed": run["seed"],
            "data": {name: value for name, value in data.items() if name in _TOLD_OF_DATA},
            "optimization": run["optim"],
        }
        changes = content.get("changes", [])
        if changes:
            made_by["changed_on_the_way"] = "; ".join(
                f"{each['field']} from {each['before']} to {each['after']} after step "
                f"{each['step']}"
                for each in changes
            )
    except (KeyError, TypeError) as error:
        raise UserError(f"--config {path}: is not the config.json of a run (no {error})") from error
    return metadata, made_by


_TOLD_OF_DATA: Final = (
    "simulated_frames",
    "simulated_azimuth_steps",
    "simulated_seed",
    "max_voxels",
    "batch_size",
    "repeats",
    "augment",
)


def _scores(
    content: Mapping[str, Any], path: Path, checkpoint: Path, model: Network
) -> dict[str, Any]:
    """Return what a card keeps of scores; refuse those of other weights."""
    try:
        scored = Path(content["checkpoint"])
        kept = {"file": scored.name, "scored": content["scored"]}
        kept |= {name: content[name] for name in KEPT_SCORES}
    except (KeyError, TypeError) as error:
        raise UserError(
            f"--scores {path}: was not written by topodistill evaluate --output (no {error})"
        ) from error
    if scored.name != checkpoint.name:
        raise UserError(
            f"--scores {path}: are those of {scored.name}, not of {checkpoint.name}; evaluate that "
            "one"
        )
    if scored.is_file() and not _same_weights(load_model(scored)[0], model):
        raise UserError(
            f"--scores {path}: {scored} has other weights than {checkpoint}; evaluate that one"
        )
    return kept


def _same_weights(one: torch.nn.Module, other: torch.nn.Module) -> bool:
    theirs = other.state_dict()
    mine = one.state_dict()
    return mine.keys() == theirs.keys() and all(
        torch.equal(tensor, theirs[name]) for name, tensor in mine.items()
    )


COMMAND: Final = Command(
    "python -m train.networks.pretrained",
    Options,
    _run,
    "Turn a trained network into one that comes with the package, and write the page about them.",
    epilog=str(__doc__).partition("\n\n")[2],
)
main: Final = COMMAND.main

if __name__ == "__main__":
    sys.exit(main())
