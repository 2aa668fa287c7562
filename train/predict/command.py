"""The command for one's own clouds: a class for every point of a cloud, a folder, or a sequence.

topodistill predict --checkpoint student.pt --input frame.bin --output frame.label
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Final, Literal

from tyro.conf import arg

from train.core.atomic_write import make_folder
from train.core.command import Command, Device, or_alone
from train.core.console import logger
from train.core.device import resolve_device
from train.core.errors import UserError
from train.data.class_map import ClassMap
from train.data.dataset_spec import DATASETS
from train.data.kitti_layout import class_map_of, frame_files
from train.data.layout_flags import LayoutFlags
from train.data.readers.frame_files import FrameFiles
from train.evaluation.load_network import LoadedNetwork, is_own_checkpoint, open_network
from train.evaluation.network_pass import TEST_TIME_AUGMENTATIONS, WHEN_IT_HELPS, Precision
from train.networks.official.checkpoint import Form
from train.predict.cloud_files import LabelIds, LabelWriter, read_cloud
from train.predict.drive import (
    Reading,
    class_summary,
    open_recording,
    predict_drive,
    predict_single,
)
from train.predict.frame_list import CloudToPredict, clouds_of_folder, single_cloud

EPILOG: Final = """\
input: a file, a folder of files, or a sequence (a folder with velodyne/ and perhaps labels/);
files by the ending of their names:
  .bin      SemanticKITTI: float32 x, y, z, remission; other columns by --data.point-columns
  .pcd.bin  nuScenes: float32 x, y, z, intensity 0..255, ring; strength = intensity / 255
  .tfrecord Waymo v1: a drive; --frame TIME chooses the frame. Strength = tanh(intensity)
  .parquet  Waymo v2: lidar/CONTEXT.parquet, the other tables beside it; --frame as well
  .npy      numbers (N, 3) or (N, 4): x, y, z, strength
  .ply      ascii or binary; x, y, z and strength, intensity or remission if there
  .pcd      ascii, binary or binary_compressed; the same names. Rows without a return (x, y, z are
            no numbers) keep their place and get the ignored class
  .las .laz x, y, z and intensity / 65535 (extra `las`)
Coordinates are meters in the sensor's frame (x forward, y left, z up). Strengths of .npy, .ply and
.pcd are taken as they are: give the scale of training (0..1 for SemanticKITTI and nuScenes, tanh of
the intensity for Waymo) by --data.strength-scale. Without a strength every point gets 0, and the
command says so.

output of a file, by the ending of its name; of a folder, a folder that gets the last of these that
is possible, else .label, else .npy:
  .npy      int64 train ids, 0 for the network's first class
  .label    ids of the class map (--data.class-map), or of SemanticKITTI (10 car, 11 bicycle, ...)
  .ply .pcd .las .laz  of an input of the same kind: the file itself with a property or field label,
            or with classifications, and everything else as it was

examples:
  topodistill predict --checkpoint runs/semantickitti/student.pt \\
      --input sequences/08/velodyne/000000.bin --output 000000.label
  topodistill predict --checkpoint student.pt --input cloud.ply --output labels.npy \\
      --probabilities probabilities.npy --tta
  topodistill predict --checkpoint student.pt --data.class-map classes.yaml \\
      --input my-data/02 --output predictions --rerun drive.rrd --teacher-checkpoint teacher.pt
  topodistill predict --checkpoint model_best.pth --form v1.5.1 \\
      --dataset nuscenes --input frame.pcd.bin --output labels.npy
  topodistill predict --checkpoint student.pt --input segment-NAME.tfrecord \\
      --frame 1515097199686241 --output labels.npy
"""


@dataclass(frozen=True, kw_only=True)
class DataFlags(LayoutFlags):
    """How clouds are read, spelled as for a run's frames."""

    grid_size_m: Annotated[float | None, arg(metavar="M", aliases=("--grid-size-m",))] = None
    """the voxels' edge in meters [that of training]"""
    origin: Annotated[
        tuple[float, float, float] | None, arg(metavar="X Y Z", aliases=("--origin",))
    ] = None
    """the sensor's place in the files' coordinates, meters, where these are those of a map [that of
    training]"""


@dataclass(frozen=True, kw_only=True)
class Options:
    """What is predicted, by which network, and where the classes go."""

    checkpoint: Annotated[Path, arg(metavar="FILE")]
    """student.pt or teacher.pt of a run, a checkpoint of Pointcept's PTv3 or of LitePT, or
    waymo-simulated, which comes with the package"""
    input: Annotated[Path, arg(metavar="PATH")]
    """the cloud, or a folder of clouds, or a sequence"""
    output: Annotated[Path, arg(metavar="PATH")]
    """labels, one for each point in the input's order; a folder for the labels of a folder;
    folders are made"""
    frame: Annotated[int | None, arg(metavar="TIME")] = None
    """of a Waymo file: the frame's time in microseconds"""
    probabilities: Annotated[Path | None, arg(metavar="FILE")] = None
    """of a single cloud: also write [N, classes] float32 to this .npy file"""
    label_ids: LabelIds | None = None
    """write ids of the class map, or train ids, 0 for the network's first class [train in .npy;
    elsewhere raw where they are known]"""
    tta: Annotated[
        str | None,
        or_alone(tuple(TEST_TIME_AUGMENTATIONS), "rotations"),
        arg(
            help="test-time augmentation: average the probabilities of several passes. rotations "
            "(if nothing is said): 0, 90, 180, 270 degrees about z; scales-flips: scales 0.9 to "
            "1.1, each with and without x and y flipped, 10 passes. None is a single pass. "
            f"{WHEN_IT_HELPS}"
        ),
    ] = None
    device: Device = "auto"
    precision: Precision = "fp32"
    """arithmetic of the network"""
    on_bad_frame: Literal["stop", "skip"] = "stop"
    """a cloud of a folder that cannot be read ends the command, or is left out and listed"""
    overwrite: bool = False
    """replace output files that exist"""
    rerun: Annotated[Path | None, arg(metavar="FILE")] = None
    """also write this .rrd file for the Rerun viewer (extra `rerun`): points colored by student,
    teacher, truth and disagreement, frame by frame"""
    teacher_checkpoint: Annotated[Path | None, arg(metavar="FILE")] = None
    """with --rerun: a second network of the same classes, shown beside the first"""
    form: Form | None = None
    """of a PTv3 of Pointcept: v1.5.1 for the weights that were released, main for those trained
    with its code since 2024-03-26; a wrong choice ruins the prediction and nothing shows it"""
    classes: Annotated[str | None, arg(metavar="FILE")] = None
    """of a file of Pointcept or LitePT: its classes in its order, one name per line or a YAML list,
    or a dataset's name"""
    dataset: Annotated[
        str | None,
        arg(
            metavar="NAME",
            help="of a file of Pointcept or LitePT: whose classes it has "
            f"({', '.join(sorted(DATASETS))}); without it classes are numbers",
        ),
    ] = None
    data: DataFlags = field(default_factory=DataFlags)


def _run(options: Options) -> None:
    """Check all that can be checked, then predict and write, cloud by cloud."""
    folder = options.input.is_dir()
    if not folder:
        cloud = single_cloud(options.input, options.output)
        _check_files(options, [cloud])
    elif options.probabilities is not None:
        raise UserError("--probabilities: is for a single cloud; leave it out, or give one --input")
    if options.teacher_checkpoint is not None and options.rerun is None:
        raise UserError("--teacher-checkpoint: is shown by --rerun FILE.rrd; give both, or none")
    device = resolve_device(options.device)
    if folder and options.frame is not None:
        raise UserError("--frame: chooses a frame of a Waymo file, and --input is a folder")
    network = _open(options, frame_files(vars(options.data)).class_map)
    files = frame_files(options.data.over(network.layout))
    first = None
    if not folder:
        first = read_cloud(options.input, options.frame, files=files)
    class_map = _class_map(options, files, network)
    teacher = _open_teacher(options, network)
    if not folder and options.output.suffix.lower() == ".label" and class_map is None:
        raise UserError(
            f"--output {options.output}: .label files hold SemanticKITTI ids, or those of a "
            "--data.class-map, but the network's classes are others or unknown (a file of "
            "Pointcept needs --dataset semantickitti); end the name in .npy"
        )
    if options.label_ids == "raw" and class_map is None:
        raise UserError(
            "--label-ids raw: which ids the classes have is not known; give the class map that the "
            "network was trained with (--data.class-map)"
        )
    reading = Reading(
        network=network,
        grid_size_m=network.grid_size_m
        if options.data.grid_size_m is None
        else options.data.grid_size_m,
        device=device,
        precision=options.precision,
        tta=options.tta,
        writer=LabelWriter(files, class_map, options.label_ids),
        files=files,
    )
    reading.tell()
    if folder:
        clouds = clouds_of_folder(options.input, options.output, raw_ids=class_map is not None)
        _check_files(options, clouds)
        make_folder(options.output, "--output")
    else:
        clouds = [cloud]
        for flag, path in (
            ("--output", options.output),
            ("--probabilities", options.probabilities),
        ):
            if path is not None:
                make_folder(path.parent, flag)
    if options.rerun is not None:
        make_folder(options.rerun.parent, "--rerun")
    with open_recording(options.rerun, reading, teacher) as recording:
        if first is not None:
            counts = predict_single(reading, cloud, first, options.probabilities, recording)
        else:
            counts = predict_drive(
                reading, clouds, recording, skip_bad=options.on_bad_frame == "skip"
            )
    logger.info(f"classes: {class_summary(counts, network.class_names)}")
    written = (options.output, options.probabilities, options.rerun)
    for path in written:
        if path is not None:
            logger.info(f"wrote {path}")


def _open(options: Options, class_map: ClassMap) -> LoadedNetwork:
    """Return the network, with the classes of the class map where a foreign file has none."""
    own_classes = options.dataset == "kitti-layout"
    if own_classes and (options.data.class_map is None or is_own_checkpoint(options.checkpoint)):
        raise UserError(
            "--dataset kitti-layout: says that a file of Pointcept or LitePT has the classes of "
            "--data.class-map, and needs that map; our own checkpoints say it themselves"
        )
    network = open_network(
        options.checkpoint,
        form=options.form,
        classes=options.classes,
        dataset=None if own_classes else options.dataset,
    )
    if own_classes:
        names = class_map.class_names
        if network.model.num_classes != len(names):
            raise UserError(
                f"{options.checkpoint}: has {network.model.num_classes} classes, "
                f"{class_map.source} has {len(names)}"
            )
        network = dataclasses.replace(network, class_names=names)
    return network


def _class_map(options: Options, files: FrameFiles, network: LoadedNetwork) -> ClassMap | None:
    """Return what the network's classes are on disk; None if that is not known."""
    if options.data.class_map is not None:
        if network.class_names is None:
            raise UserError(
                f"--data.class-map {options.data.class_map}: whose classes {options.checkpoint} "
                "has is not known; add --dataset kitti-layout if it has those of the class map"
            )
        files.class_map.check_classes(network.class_names, str(options.checkpoint))
        return files.class_map
    return class_map_of(network.layout, network.class_names)


def _open_teacher(options: Options, network: LoadedNetwork) -> LoadedNetwork | None:
    """Return the second network, if there is one."""
    if options.teacher_checkpoint is None:
        return None
    teacher = open_network(options.teacher_checkpoint)
    if teacher.class_names != network.class_names:
        raise UserError(
            f"--teacher-checkpoint {options.teacher_checkpoint}: its classes are not those of "
            f"{options.checkpoint}; what they disagree about cannot be shown"
        )
    return teacher


def _check_files(options: Options, clouds: Sequence[CloudToPredict]) -> None:
    """Refuse output files that cannot be meant, before anything is computed."""
    if options.probabilities is not None and options.probabilities.suffix != ".npy":
        raise UserError(f"--probabilities {options.probabilities}: end the name in .npy")
    if options.rerun is not None and options.rerun.suffix != ".rrd":
        raise UserError(f"--rerun {options.rerun}: end the name in .rrd")
    taken = {options.checkpoint.resolve(): "--checkpoint"}
    taken |= {cloud.points.resolve(): "--input" for cloud in clouds}
    outputs: list[tuple[str, Path | None]] = [("--output", cloud.output) for cloud in clouds]
    outputs += [("--probabilities", options.probabilities), ("--rerun", options.rerun)]
    for flag, path in outputs:
        if path is None:
            continue
        if path.resolve() in taken:
            raise UserError(f"{flag} {path}: is {taken[path.resolve()]} too; choose another name")
        if path.is_dir():
            raise UserError(f"{flag} {path}: is a folder; give a file name")
        if path.exists() and not options.overwrite:
            raise UserError(f"{flag} {path}: exists; choose another name, or give --overwrite")
        taken[path.resolve()] = flag


COMMAND: Final = Command(
    "topodistill predict",
    Options,
    _run,
    "Predict a class for every point of LiDAR clouds.",
    epilog=EPILOG,
    stopped="clouds that were done are written",
)
main: Final = COMMAND.main
