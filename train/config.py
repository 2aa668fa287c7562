"""A run as one frozen value: every option with its unit, its default and its check."""

import dataclasses
import json
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import UnionType
from typing import (
    TYPE_CHECKING,
    Any,
    ClassVar,
    Literal,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

from train.core.errors import UserError
from train.core.user_file import short_name

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

T = TypeVar("T", bound="DataclassInstance")


def require(condition: bool, option: str, value: object, hint: str) -> None:
    """Raise a `UserError` that names option, value and hint, unless a condition holds."""
    if not condition:
        raise UserError(f"--{option} is {value}: {hint}")


def require_at_least(config: object, group: str, least: int, hint: str, *names: str) -> None:
    """Raise a `UserError` for the first of some fields that is below `least` or not finite."""
    for name in names:
        value = getattr(config, name)
        option = f"{group}.{name}".lstrip(".").replace("_", "-")
        require(math.isfinite(value) and value >= least, option, value, hint)


@contextmanager
def refused_as_flags(group: str) -> Iterator[None]:
    """Turn a `ValueError` about a field, "CLASS: FIELD is VALUE; HINT", into one about its flag."""
    try:
        yield
    except ValueError as error:
        name, _, told = str(error).partition(": ")[2].partition(" ")
        raise UserError(f"--{group}.{name.replace('_', '-')} {told}") from error


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Which frames are read and how they become batches."""

    train_sequences: tuple[str, ...] = ()
    """Sequences (nuScenes: scenes, Waymo: segments) to train on; none for the official split."""
    labels: str = "all"
    """Which training frames have labels: all, none, a share (0.05) or a number (8) of them, drawn
    by --seed, whole sequences first; the others teach a student by its teacher alone."""
    validation_sequences: tuple[str, ...] = ()
    """Sequences to evaluate on; none for the official split."""
    grid_size_m: float = 0.05
    """Edge of a voxel, meters (appendix C.3)."""
    max_voxels: int = 0
    """Crop a training frame to this many voxels around a random one; 0 keeps whole frames."""
    batch_size: int = 12
    """Frames in a training step at most, over all processes (appendix C.2)."""
    max_batch_voxels: int = 0
    """Voxels in a step of one process at most, which bounds its memory; 0 for no bound."""
    repeats: int = 1
    """Passes over the frames per epoch, each augmented differently; for a few frames."""
    num_workers: int = 4
    """Processes that read frames beside the training; 0 reads in the training process."""
    clip_range_m: tuple[float, float, float, float, float, float] | None = None
    """Move points beyond this box (lower x y z, upper x y z) onto its faces; none for no box."""
    cache_dir: Path | None = None
    """Folder for indices and decoded frames [.topodistill-index in the data root]."""
    cache_decoded: bool = False
    """Keep every frame on disk as it is in memory, for formats that are slow to decode."""
    augment: bool = True
    """Rotation, scaling, flips and jitter of appendix C.3 on training frames."""
    simulated_frames: int = 16
    """With --simulate: how many frames to make for training."""
    simulated_validation_frames: int = 16
    """With --simulate: how many frames to make for validation, in other scenes, four in each."""
    simulated_azimuth_steps: int = 600
    """With --simulate: columns in a turn of the sensor; a real one has about 2,000."""
    simulated_seed: int = 0
    """With --simulate: seed of the scenes; apart from --seed, so that runs can share the data."""
    class_map: Path | None = None
    """With --dataset kitti-layout: file that says what labels mean (SemanticKITTI's YAML keys)."""
    point_columns: str | None = None
    """With --dataset kitti-layout: columns of .bin files [x,y,z,remission]; with a type behind a
    colon where it is not float32, for example x,y,z,intensity,ring:u2."""
    strength_scale: float | None = None
    """With --dataset kitti-layout: divide strengths by this, 255 for example [1; .las: 65535]."""
    origin: tuple[float, float, float] | None = None
    """With --dataset kitti-layout: the sensor's place in the files' coordinates (x y z, meters),
    where these are those of a map [0 0 0]."""
    label_type: Literal["uint8", "uint16", "uint32"] | None = None
    """With --dataset kitti-layout: numbers in .label files [uint32; upper 16 bits: instance]."""

    def __post_init__(self) -> None:
        # Beyond these a coarse stage can be left with a single voxel, on which batch normalization
        # cannot train.
        require(
            0 < self.grid_size_m <= 1,
            "data.grid-size-m",
            self.grid_size_m,
            "the edge of a voxel is above 0 and at most 1 meter, 0.05 for example",
        )
        if self.clip_range_m is not None:
            lower, upper = self.clip_range_m[:3], self.clip_range_m[3:]
            require(
                all(math.isfinite(value) for value in self.clip_range_m)
                and all(low < high for low, high in zip(lower, upper, strict=True)),
                "data.clip-range-m",
                self.clip_range_m,
                "lower x y z, then upper x y z, meters, each lower below its upper",
            )
        for name, limit in (("max_voxels", "limit"), ("max_batch_voxels", "bound")):
            if getattr(self, name) != 0:
                require_at_least(self, "data", 1000, f"0 for no {limit}, or at least 1000", name)
        require_at_least(self, "data", 1, "at least 1 frame a step", "batch_size")
        require_at_least(self, "data", 1, "at least 1", "repeats")
        require_at_least(self, "data", 0, "0 or more processes", "num_workers")
        frames = ("simulated_frames", "simulated_validation_frames")
        require_at_least(self, "data", 1, "at least 1 frame", *frames)
        require_at_least(self, "data", 0, "0 or more", "simulated_seed")
        require_at_least(self, "data", 16, "at least 16 columns a turn", "simulated_azimuth_steps")
        require(
            self.strength_scale is None
            or (math.isfinite(self.strength_scale) and self.strength_scale > 0),
            "data.strength-scale",
            self.strength_scale,
            "above 0, 255 for strengths of 0 to 255",
        )
        require(
            self.origin is None or all(map(math.isfinite, self.origin)),
            "data.origin",
            self.origin,
            "three numbers of meters",
        )


@dataclass(frozen=True, kw_only=True)
class OptimConfig:
    """AdamW and OneCycle (appendix C.2; what the paper leaves open is PTv3's official recipe)."""

    teacher_epochs: int = 50
    """Passes over the training frames for the teacher."""
    student_epochs: int = 50
    """Passes over the training frames for the student."""
    lr: float = 2e-3
    """Peak learning rate of stem, pooling, unpooling and head."""
    block_lr: float = 2e-4
    """Peak learning rate of the transformer blocks; PTv3's recipe has a tenth of the other."""
    weight_decay: float = 5e-3
    """Decoupled weight decay, on all parameters."""
    warmup_fraction: float = 0.04
    """Share of the steps in which the learning rate rises."""
    max_grad_norm: float = 0.0
    """Clip the gradient to this norm; 0 never clips, as in PTv3's recipe."""
    accumulate: int = 1
    """Compute a step in this many parts, one after the other, so that it needs less memory."""

    def __post_init__(self) -> None:
        require_at_least(self, "optim", 1, "at least 1 pass", "teacher_epochs", "student_epochs")
        require_at_least(self, "optim", 1, "at least 1 part", "accumulate")
        for name in ("lr", "block_lr"):
            value = getattr(self, name)
            require(
                math.isfinite(value) and value > 0,
                f"optim.{name.replace('_', '-')}",
                value,
                "a learning rate is above 0, 0.002 for example",
            )
        require_at_least(self, "optim", 0, "0 or more", "weight_decay")
        require(
            0 < self.warmup_fraction < 1,
            "optim.warmup-fraction",
            self.warmup_fraction,
            "between 0 and 1, 0.04 for example",
        )
        require_at_least(self, "optim", 0, "0 for no clipping, or more", "max_grad_norm")


@dataclass(frozen=True, kw_only=True)
class MethodConfig:
    """Options that every method has; a method's own are fields of a subclass, beside the method.

    Attributes
    ----------
    weights, counts
        Names of fields that are weights of terms, 0 or above, and of those that are at least 1.
    positive
        Names of fields that are finite and above 0, with what to say of another value.

    Raises
    ------
    UserError
        If such a field has another value.
    """

    segmentation: Literal["ce", "ce+lovasz"] = "ce"
    """Loss against the labels, of teacher and student: the paper's cross-entropy, or PTv3's recipe
    with Lovász-softmax."""

    weights: ClassVar[tuple[str, ...]] = ()
    counts: ClassVar[tuple[str, ...]] = ()
    positive: ClassVar[Mapping[str, str]] = {}

    def __post_init__(self) -> None:
        for name in self.weights:
            value = getattr(self, name)
            require(0 <= value < math.inf, method_flag(name), value, "a weight is 0 or above")
        for name in self.counts:
            require(getattr(self, name) >= 1, method_flag(name), getattr(self, name), "at least 1")
        for name, hint in self.positive.items():
            value = getattr(self, name)
            require(0 < value < math.inf, method_flag(name), value, hint)


def method_flag(field_name: str) -> str:
    """Return the flag of a method's option, without the dashes before it."""
    return f"method.{field_name.replace('_', '-')}"


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """A whole run: teacher, student, evaluation."""

    dataset: str
    """Which dataset, or FILE.py:SPEC of your own."""
    data_root: Path | None = None
    """Folder of the dataset [data/DATASET; with --simulate data/DATASET-simulated-..., with the
    numbers of frames, the columns and the seed]."""
    simulate: bool = False
    """Make simulated frames in the dataset's own format under the data root and use them."""
    output: Path | None = None
    """Folder for everything the run writes [runs/DATASET]."""
    resume: bool = False
    """Go on from the last checkpoint under the output folder."""
    stage: Literal["all", "teacher", "student", "evaluate"] = "all"
    """Do one part of the run only; evaluate needs --resume."""
    teacher_checkpoint: Path | None = None
    """Use this trained teacher instead of training one: a teacher.pt, a checkpoint of Pointcept's
    PTv3 or of LitePT as downloaded, or waymo-simulated, which comes with the package."""
    teacher_form: Literal["main", "v1.5.1"] | None = None
    """For a PTv3 of Pointcept: v1.5.1 for the weights that were released and all that were trained
    before 2024-03-26, main for newer; the file cannot tell."""
    teacher_classes: str | None = None
    """For a teacher of others: its classes in its order, as a file (one name per line, or a YAML
    list) or a dataset's name [those of the dataset, if as many]."""
    teacher_check: Literal["auto", "stop", "warn", "skip"] = "auto"
    """Before training, a given teacher is scored on some training frames; near chance the run
    stops, or warns; auto stops for files of others and warns for ours."""
    initial_teacher: Path | None = None
    """Train the teacher from these weights on, instead of from fresh ones; files of the kinds
    that a given teacher has."""
    from_scratch: bool = False
    """Train a teacher also where one comes with the package (the tiny pair on simulated Waymo)."""
    method: str = "topology-gradient"
    """How the student is trained: topology-gradient (the paper), kd, rkd, affinity, feature, topkd,
    xmodel-kd, udakd, fskd (from camera images), none (no teacher), or FILE.py:CLASS of your own."""
    model: Literal["auto", "paper", "tiny"] = "auto"
    """Table 8's pair, or a tiny pair for CPUs; auto takes paper on a GPU and tiny on a CPU."""
    teacher: str | None = None
    """Another teacher than that of --model or of its file, as NETWORK:SIZE (ptv3:tiny-teacher,
    litept:S), or FILE.py:FUNCTION that builds one of your own."""
    student: str | None = None
    """Another student than that of --model, as NETWORK:SIZE, or FILE.py:FUNCTION."""
    baseline: bool = False
    """Beside the distilled student, train the same student alone, and say what distilling gave; on
    unless refused for the tiny pair with --simulate on a CPU."""
    device: str = "auto"
    """cpu, cuda, cuda:N; auto takes a GPU where there is one, and the run says which it took."""
    convolution: Literal["torch", "spconv"] = "torch"
    """Our own sparse convolution, or that of the package spconv."""
    attention: Literal["sdpa", "plain", "flash"] = "sdpa"
    """torch's scaled_dot_product_attention, a plain form to check it, or the package flash-attn."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """Arithmetic of the networks; the losses are float32 in either case."""
    seed: int = 0
    """Seed of weights, order of frames and augmentation."""
    on_bad_frame: Literal["stop", "skip"] = "stop"
    """A frame that cannot be read ends the run, or is left out, counted and listed at the end."""
    checkpoint_minutes: float = 10.0
    """A checkpoint is written this often, and after every epoch."""
    evaluate_every: int = 0
    """Score on the validation frames every so many epochs, and keep the best network beside the
    last; 0 scores at the end alone."""
    log_gradient_norms_every: int = 0
    """Log the norm of each loss term's gradient every so many steps; 0 never does."""
    sync_batch_norm: bool = False
    """On several processes: normalize with the statistics of the joint batch, not of each part."""
    tta: Literal["none", "rotations", "scales-flips", "scales", "mirrors"] = "none"
    """Also score the mean of several passes (test-time augmentation), apart from single passes;
    rotations is official on Waymo and SemanticKITTI, scales-flips on nuScenes; scales and mirrors
    are milder."""
    submit: bool = False
    """Write predictions of the test split as the benchmark's server takes them; with --simulate
    of the validation frames. The student predicts, or the teacher where it is alone."""
    submit_account: str = ""
    """E-mail address registered with the server; Waymo's wants it in the file."""
    data_license: str | None = None
    """The training data's terms, in a sentence, for the model card of RUN/student/ [those of a
    known dataset]."""
    data: DataConfig = field(default_factory=DataConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    options: MethodConfig = field(default_factory=MethodConfig)

    def __post_init__(self) -> None:
        require_at_least(self, "", 0, "0 or more", "seed")
        require(
            math.isfinite(self.checkpoint_minutes) and self.checkpoint_minutes > 0,
            "checkpoint-minutes",
            self.checkpoint_minutes,
            "more than 0",
        )
        if self.data_license is not None and not self.data_license.strip():
            raise UserError("--data-license is empty: say in a sentence which terms the data has")
        every = ("evaluate_every", "log_gradient_norms_every")
        require_at_least(self, "", 0, "0 for never, or more", *every)
        if self.stage == "evaluate" and not self.resume:
            raise UserError(
                "--stage evaluate reads teacher.pt and student.pt of a finished run: add --resume "
                "and give that run's --output"
            )
        if self.from_scratch and self.teacher_checkpoint is not None:
            raise UserError(
                "--from-scratch trains a teacher and --teacher-checkpoint gives one: leave one out"
            )

    @property
    def resolved_data_root(self) -> Path:
        """The data root, or its default for this dataset."""
        return self.data_root or usual_data_root(
            self.dataset, dataclasses.asdict(self.data) if self.simulate else None
        )

    @property
    def resolved_output(self) -> Path:
        """The output folder, or its default for this dataset."""
        return self.output or Path("runs") / short_name(self.dataset)


def usual_data_root(dataset: str, simulated: Mapping[str, Any] | None) -> Path:
    """Return where a dataset's frames are if no folder is given.

    Parameters
    ----------
    dataset
        Its name, or FILE.py:SPEC.
    simulated
        The run's `data` options by name, if its frames are simulated: each setting of these has a
        folder of its own, so that none is in another's way.
    """
    name = short_name(dataset)
    if simulated is None:
        return Path("data") / name
    names = ("frames", "validation_frames", "azimuth_steps", "seed")
    settings = "-".join(str(simulated[f"simulated_{name}"]) for name in names)
    return Path("data") / f"{name}-simulated-{settings}"


# What may differ between a run and its continuation: where and how it is done, not what it is.
FREE_ON_RESUME = frozenset(
    {
        "attention",
        "checkpoint_minutes",
        "convolution",
        "data.cache_decoded",
        "data.cache_dir",
        "data.num_workers",
        "data_license",
        "data_root",
        "device",
        "evaluate_every",
        "log_gradient_norms_every",
        "output",
        "resume",
        "stage",
        "submit",
        "submit_account",
        "teacher_check",
        "tta",
    }
)

# What may be given another value when a run goes on; the change is said and recorded.
CHANGEABLE_ON_RESUME = frozenset(
    {
        "baseline",
        "data.max_batch_voxels",
        "on_bad_frame",
        "optim.accumulate",
        "optim.block_lr",
        "optim.lr",
        "optim.max_grad_norm",
        "optim.student_epochs",
        "optim.teacher_epochs",
        "optim.weight_decay",
    }
)


def to_json(config: RunConfig | MethodConfig) -> dict[str, Any]:
    """Return the configuration as plain JSON values, nested as the dataclasses are."""
    plain: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(config), default=str))
    return plain


def from_json(values: dict[str, Any], default: T) -> T:
    """Return `default` with the values that `to_json` wrote.

    Parameters
    ----------
    values
        Of a dataclass of the type of `default`, nested as it is.
    default
        Gives the types.

    Raises
    ------
    UserError
        If a name is unknown or a value is refused: it was written by another version.
    """
    known = {field.name: field for field in dataclasses.fields(default)}
    unknown = sorted(values.keys() - known.keys())
    if unknown:
        raise UserError(f"option {unknown[0]} is unknown to this version")
    hints = get_type_hints(type(default))
    changed: dict[str, Any] = {}
    for name, value in values.items():
        now = getattr(default, name)
        if dataclasses.is_dataclass(now) and not isinstance(now, type):
            changed[name] = from_json(value, now)
        elif value is not None and Path in (hints[name], *get_args(hints[name])):
            changed[name] = Path(value)
        else:
            if not _fits(value, hints[name]):
                wanted = f"give a value of the kind of {json.dumps(now, default=str)}"
                if get_origin(hints[name]) is Literal:
                    wanted = f"choose one of {', '.join(map(str, get_args(hints[name])))}"
                raise UserError(f"option {name} is {value!r}; {wanted}")
            changed[name] = tuple(value) if isinstance(value, list) else value
    return dataclasses.replace(default, **changed)


def _fits(value: object, hint: Any) -> bool:
    """Return whether a value as JSON or TOML has it is of a field's type."""
    origin, kinds = get_origin(hint), get_args(hint)
    if origin is Literal:
        return value in kinds
    if origin in (Union, UnionType):
        return any(_fits(value, kind) for kind in kinds)
    if origin is tuple:
        if not isinstance(value, list | tuple):
            return False
        each = kinds[:1] * len(value) if kinds[1:] == (...,) else kinds
        return len(value) == len(each) and all(map(_fits, value, each))
    if hint in (int, float):
        return isinstance(value, int | hint) and not isinstance(value, bool)
    return not isinstance(hint, type) or isinstance(value, hint)


def flattened(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested settings as one table with dotted names."""
    found: dict[str, Any] = {}
    for name, value in settings.items():
        if isinstance(value, Mapping):
            found |= flattened(value, f"{prefix}{name}.")
        else:
            found[prefix + name] = value
    return found


def differences(before: dict[str, Any], after: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Return the fields in which two configurations (as from `to_json`) differ.

    Returns
    -------
    dict[str, tuple]
        Dotted field name -> value before and after; without those of `FREE_ON_RESUME`.
    """
    old, new = flattened(before), flattened(after)
    names = sorted((old.keys() | new.keys()) - FREE_ON_RESUME)
    both = {name: (old.get(name), new.get(name)) for name in names}
    return {name: values for name, values in both.items() if values[0] != values[1]}
