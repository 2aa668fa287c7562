"""Writes a run's report.html: when it ends, with what it has at hand, or later, from its files."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from train.config import usual_data_root
from train.core.atomic_write import atomic_write
from train.core.errors import UserError
from train.data.dataset_spec import DatasetSpec, dataset_spec
from train.data.frame import FrameSource
from train.engine.run_folder import ROLES, RunFolder
from train.networks.protocol import Network
from train.networks.weights import load_model
from train.report.gather import Opened, gather_report
from train.report.records import Records, read_run, records_of_this_version


def write_run_report(
    folder: Path, validation: FrameSource, networks: Mapping[str, Network]
) -> Path:
    """Write the report of a run that has just ended, beside its other files; return its path.

    The networks predict three frames each. Of several processes, one calls this.

    Parameters
    ----------
    folder
        The run's; its metrics are written.
    validation
        The frames that were scored.
    networks
        Those that were scored, by role.

    Raises
    ------
    UserError
        If the records cannot be read, or the page cannot be written.
    """
    return _write(read_run(folder), RunFolder(folder).report, (validation, networks))


def report_from_files(
    records: Records, page: Path | None = None, data_root: Path | None = None
) -> Path:
    """Write the report of a finished run from its files; return the page's path.

    Parameters
    ----------
    records
        The run's.
    page
        Where to; None for `report.html` in the folder.
    data_root
        Where the data is now; None for where it was.

    Raises
    ------
    UserError
        If the records are not those of this version, or the page cannot be written. Data or
        networks that are not there any more are no error: the page says so, and has no pictures of
        frames.
    """
    with records_of_this_version(records.folder):
        try:
            opened: Opened | str = _open(records, records.config["config"], data_root)
        except UserError as error:
            opened = f"No frames are drawn: {error}."
    return _write(records, page or RunFolder(records.folder).report, opened)


def _write(records: Records, page: Path, opened: Opened | str) -> Path:
    from train.report.page import html_page  # draws: matplotlib is loaded when a page is made

    text = html_page(gather_report(records, opened))
    with atomic_write(page) as unfinished:
        unfinished.write_text(text, encoding="utf-8")
    return page


def _open(records: Records, run: Mapping[str, Any], data_root: Path | None) -> Opened:
    """Return a run's validation frames and its networks."""
    spec = dataset_spec(run["dataset"], run["data"])
    source = validation_frames(spec, run, data_root, strict=False)
    networks: dict[str, Network] = {}
    for role in ROLES:
        if role not in records.metrics:
            continue
        path = RunFolder(records.folder).weights_of(role)
        if role == "teacher" and run["teacher_checkpoint"] is not None:
            path = Path(run["teacher_checkpoint"])
        networks[role] = load_model(path)[0]
    return source, networks


def validation_frames(
    spec: DatasetSpec,
    run: Mapping[str, Any],
    data_root: Path | None,
    sequences: Sequence[str] = (),
    *,
    strict: bool = True,
) -> FrameSource:
    """Open the frames that a run has scored, or those of other sequences; writes no data.

    `run` is its recorded configuration; UserError if its data is not there any more.
    """
    data = run["data"]
    usual = usual_data_root(run["dataset"], data if run["simulate"] else None)
    root = data_root or Path(run["data_root"] or usual)
    if not (root.is_dir() and any(root.iterdir())):
        raise UserError(f"{root} holds no data any more; give its place with --data-root")
    chosen = tuple(sequences) or tuple(data["validation_sequences"])
    if run["simulate"] and not sequences:
        # The folder holds something: this finds the same simulation or refuses another, and
        # simulates nothing.
        chosen = spec.simulate(
            root,
            num_frames=data["simulated_frames"],
            num_validation_frames=data["simulated_validation_frames"],
            azimuth_steps=data["simulated_azimuth_steps"],
            seed=data["simulated_seed"],
        ).validation_sequences
    cache_dir = None if data["cache_dir"] is None else Path(data["cache_dir"])
    return spec.open(root, "validation", sequences=chosen, cache_dir=cache_dir, strict=strict)
