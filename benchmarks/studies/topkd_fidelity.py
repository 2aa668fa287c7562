"""The command that says how far RipsNet can be trusted on a run's student, and what the run got.

python -m benchmarks.studies topkd-fidelity --run runs/topkd

Shape letters: K clouds, M points of a cloud, C channels, P pixels.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final

import torch
from torch import Tensor
from torch.nn.functional import mse_loss
from tyro.conf import arg

from benchmarks.studies.figures.networks import (
    FLAGS,
    TEACHER,
    Trained,
    checkpoints_of_run,
    load,
    open_frames_of_run,
    spread,
)
from benchmarks.studies.study_page import command, refuse_below, write_json
from fast.options import SamplingOptions
from train.core.atomic_write import check_writable
from train.core.command import Device, Paths
from train.core.console import Progress, logger
from train.core.device import resolve_device
from train.core.errors import UserError
from train.data.batch import collate
from train.evaluation.feature_agreement import own_other
from train.evaluation.training_overlap import sequence_of
from train.methods.sampled_points import SampledPoints
from train.methods.topkd.artifacts import (
    RIPSNET_NAME,
    ImageMaker,
    Targets,
    load_maker,
    load_targets,
    refuse_other,
)
from train.methods.topkd.clouds import CloudChoice, refuse_small_frame
from train.methods.topkd.diagnostics import fidelity
from train.methods.topkd.oracle import fit_distance_regression
from train.methods.topkd.regions import Regions, positions
from train.methods.topkd.targets import exact_images
from train.networks.protocol import Network, NetworkOutput
from train.networks.weights import checksum

CLOUDS_PER_FRAME: Final = 32
_CHUNK: Final = 1024  # clouds that RipsNet looks at together
_DRAWS: Final = 2000


def own_other_images(
    maker: ImageMaker,
    teachers: Sequence[Tensor],
    students: Sequence[Tensor],
    groups: Sequence[str] | None = None,
) -> dict[str, float | None]:
    """Return the own/other ratio of the image term, with RipsNet's images and with exact ones.

    Parameters
    ----------
    maker
        With a RipsNet, on the clouds' device.
    teachers, students
        K clouds (M, C) each: the same points, the student's of the teacher's width.
    groups
        As of `own_other`.

    Returns
    -------
    dict
        "ripsnet" and "exact": see `OwnOther.ratio`.

    Raises
    ------
    ValueError
        If there is no RipsNet, or as `own_other`.
    """
    ripsnet, card = maker.ripsnet, maker.card
    if ripsnet is None:
        raise ValueError("own_other_images: the maker has no RipsNet; fit one without --exact")
    images: dict[str, Callable[[Tensor], Tensor]] = {
        "ripsnet": lambda cloud: ripsnet(cloud[None]),
        "exact": lambda cloud: exact_images(cloud[None], card.scale, card.dims),
    }

    def ratio(of: Callable[[Tensor], Tensor]) -> float | None:
        def term(teacher: Tensor, student: Tensor) -> Tensor:
            return mse_loss(of(student), of(teacher))

        return own_other(term, teachers, students, groups=groups).ratio

    with torch.no_grad():
        return {name: ratio(of) for name, of in images.items()}


def predictors(
    maker: ImageMaker, targets: Targets, clouds: Tensor, groups: Sequence[str] = ()
) -> dict[str, Any]:
    """Return how well RipsNet does beside what knows less of the clouds, and what knows distances.

    Parameters
    ----------
    maker
        With a RipsNet, on the clouds' device.
    targets
        The clouds that it was fitted to, with their images.
    clouds
        (K, M, C) of the teacher, that none of the three was fitted to.
    groups
        Of each of the clouds, its scene: what differs from group to group is what an interval is
        of. Without groups, or with one alone, there is no interval.

    Returns
    -------
    dict
        "validation" and "teacher": of the quarter of the targets that RipsNet and the regression
        were chosen by, and of `clouds`. In each "errors", mean squared ones: "constant", of the
        mean image of the targets; "ripsnet"; and "distances", of `fit_distance_regression`; and
        "gains": the constant's over each of the others. In "teacher" also "intervals", the gains'
        lowest and highest in 95 % of 2,000 draws of as many groups.

    Raises
    ------
    ValueError
        If there is no RipsNet.
    """
    if maker.ripsnet is None:
        raise ValueError("predictors: the maker has no RipsNet; fit one without --exact")
    with torch.no_grad():
        exact = exact_images(clouds, maker.card.scale, maker.card.dims)
        regression = fit_distance_regression(targets.clouds, targets.images)
        guesses = {
            "constant": targets.images.double().mean(dim=0).to(exact.device),
            "ripsnet": torch.cat([maker.ripsnet(some) for some in torch.split(clouds, _CHUNK)]),
            "distances": regression(clouds.cpu()).to(exact.device),
        }
        errors = {
            name: (exact.double() - guess).square().mean(dim=1).cpu()
            for name, guess in guesses.items()
        }
    losses = dict(maker.losses)
    validation = {
        "constant": losses.pop("constant"),
        "ripsnet": min(losses.values()),
        "distances": regression.validation_error,
    }
    teacher = _with_gains({name: float(each.mean()) for name, each in errors.items()})
    if len(set(groups)) > 1:
        teacher["intervals"] = _intervals(errors, groups)
    return {"validation": _with_gains(validation), "teacher": teacher}


def _with_gains(errors: Mapping[str, float]) -> dict[str, Any]:
    gains = {name: errors["constant"] / errors[name] for name in ("ripsnet", "distances")}
    return {"errors": dict(errors), "gains": gains}


def _intervals(errors: Mapping[str, Tensor], groups: Sequence[str]) -> dict[str, list[float]]:
    """Return the gains' 95 % intervals, by a bootstrap over groups of clouds."""
    names = sorted(set(groups))
    places = torch.tensor([names.index(group) for group in groups])
    sums = {
        name: torch.zeros(len(names), dtype=torch.float64).index_add(0, places, each)
        for name, each in errors.items()
    }
    drawn = torch.randint(
        len(names), (_DRAWS, len(names)), generator=torch.Generator().manual_seed(0)
    )
    constant = sums["constant"][drawn].sum(dim=1)
    levels = torch.tensor([0.025, 0.975], dtype=torch.float64)
    return {
        name: torch.quantile(constant / sums[name][drawn].sum(dim=1), levels).tolist()
        for name in ("ripsnet", "distances")
    }


@dataclass(frozen=True, kw_only=True)
class Options:
    """What the command is asked."""

    run: Annotated[Path, arg(metavar="DIR")]
    """a finished run of --method topkd"""
    artifacts: Paths = ()
    """what topkd-fit wrote for its teacher, once or more; without it, that in the run"""
    targets: Paths = ()
    """what topkd-targets wrote, the clouds that each RipsNet was fitted to, in the same order; with
    them RipsNet is compared with their mean image and with a regression on distances"""
    data_root: Annotated[Path | None, arg(metavar="DIR")] = None
    """of the dataset; without it, the run's"""
    frames: int = 16
    """look at N frames, evenly spread"""
    output: Annotated[Path | None, arg(metavar="FILE")] = None
    """write the numbers as JSON too"""
    device: Device = "auto"


@dataclass(frozen=True)
class _Clouds:
    """Clouds that one maker is looked at with.

    Attributes
    ----------
    names
        Each cloud's frame.
    of_students
        By student, the teacher's clouds (M, C) and its own.
    """

    names: list[str]
    of_students: dict[str, tuple[list[Tensor], list[Tensor]]]


def run(options: Options) -> None:
    """Look at the clouds, say what is found, and write it if asked.

    Raises
    ------
    UserError
        If a file is missing, damaged or of another teacher.
    """
    refuse_below(1, frames=options.frames)
    if options.output is not None:
        check_writable(options.output.parent, "--output")
    paths = options.artifacts or (options.run / RIPSNET_NAME,)
    if options.targets and len(options.targets) != len(paths):
        raise UserError(
            f"--targets: {len(options.targets)} files for {len(paths)} of --artifacts; give one "
            "for each, in the same order"
        )
    checkpoints = checkpoints_of_run(options.run)
    makers = [load_maker(path) for path in paths]
    for path, maker in zip(paths, makers, strict=True):
        if maker.ripsnet is None:
            raise UserError(f"{path}: was made for exact images and holds no RipsNet; fit one")
    device = resolve_device(options.device)
    spec, source = open_frames_of_run(options.run, None, options.data_root, ())
    trained = load(checkpoints, spec, source, device)
    for path, maker in zip(paths, makers, strict=True):
        _refuse_unfit(path, maker, trained.networks)
    targets: list[Targets | None] = [None] * len(makers)
    if options.targets:
        targets = [_targets(*each) for each in zip(options.targets, makers, strict=True)]
    clouds = _collect(trained, makers, options.frames, device)
    found: dict[str, Any] = {
        "frames": len(set(clouds[0].names)),
        "scenes": len({sequence_of(name) for name in clouds[0].names}),
        "fits": [],
    }
    for maker, made, drawn in zip(makers, targets, clouds, strict=True):
        assert maker.ripsnet is not None
        maker.ripsnet.to(device)
        found["fits"].append(_look_at(maker, made, drawn))
    if options.output is not None:
        write_json(options.output, found)
        logger.info(f"done: {options.output}")


def _look_at(maker: ImageMaker, targets: Targets | None, drawn: _Clouds) -> dict[str, Any]:
    """Return what is found of one RipsNet, and say it."""
    card = maker.card
    scenes = [sequence_of(name) for name in drawn.names]
    found: dict[str, Any] = {
        "choice": dataclasses.asdict(card.choice),
        "dims": list(card.dims),
        "fit": dict(maker.losses),
        "clouds": len(drawn.names),
        "students": {},
    }
    logger.info("fit: " + ", ".join(f"{name} {loss:.3g}" for name, loss in maker.losses.items()))
    if targets is not None:
        teachers, _ = next(iter(drawn.of_students.values()))
        found["fitted_to"] = len(targets.clouds)
        found |= predictors(maker, targets, torch.stack(teachers), scenes)
        for part in ("validation", "teacher"):
            _tell(part, found[part], card.dims)
    for role, (teachers, students) in drawn.of_students.items():
        seen = fidelity(maker, torch.stack(teachers), torch.stack(students))
        ratios: dict[str, float | None] = {}
        if len(set(scenes)) > 1:
            ratios = own_other_images(maker, teachers, students, scenes)
        found["students"][role] = dataclasses.asdict(seen) | {"own_other": ratios}
        told = ", ".join(
            f"{kind} {'none' if ratio is None else f'{ratio:.3f}'}"
            for kind, ratio in ratios.items()
        )
        logger.info(
            f"{role}: RipsNet's error {seen.student_error:.3g} on its clouds, "
            f"{seen.teacher_error:.3g} on the teacher's; exact images {seen.image_distance:.3g} "
            f"apart, diagrams {seen.bottleneck:.3g}; own/other {told or 'needs two scenes'}"
        )
    return found


def _targets(path: Path, maker: ImageMaker) -> Targets:
    """Return the clouds that a RipsNet was fitted to; refuse others."""
    targets = load_targets(path)
    if targets.card != maker.card:
        raise UserError(
            f"--targets {path}: the artifacts were not fitted to these clouds; give the file that "
            "topkd-fit was given, or fit again"
        )
    return targets


def _tell(part: str, found: Mapping[str, Any], dims: Sequence[int]) -> None:
    errors, gains = found["errors"], found["gains"]
    told = ", ".join(
        f"{name} {errors[name]:.3g} ({gain:.2f} times less)" for name, gain in gains.items()
    )
    of = {"validation": "validation clouds", "teacher": "the teacher's held-out clouds"}[part]
    logger.info(
        f"{of}, H{' and H'.join(map(str, dims))}: squared error of the mean image "
        f"{errors['constant']:.3g}, {told}"
    )


def _refuse_unfit(path: Path, maker: ImageMaker, networks: Mapping[str, Network]) -> None:
    """Refuse artifacts of another teacher, and students whose width needs the lost adapter."""
    card, teacher = maker.card, networks[TEACHER]
    stage = card.choice.stage
    refuse_other(
        path,
        card,
        choice=card.choice,
        channels=teacher.stage_channels.get(stage, 0),
        dims=card.dims,
        birth_margin=card.birth_margin,
        teacher=checksum(teacher),
    )
    for role, network in networks.items():
        width = network.stage_channels.get(stage)
        if width != card.channels:
            raise UserError(
                f"{FLAGS[role]}: stage {stage} has {width} channels and the teacher's "
                f"{card.channels}; the adapter between them is no part of a checkpoint"
            )


@torch.no_grad()
def _collect(
    trained: Trained, makers: Sequence[ImageMaker], frames: int, device: torch.device
) -> list[_Clouds]:
    """Return the clouds of each maker; the networks look at a frame once."""
    roles = [role for role in trained.networks if role != TEACHER]
    found = [_Clouds([], {role: ([], []) for role in roles}) for _ in makers]
    draws = [_Draw(maker.card.choice, roles) for maker in makers]
    chosen = spread(len(trained.frames.source), frames)
    progress = Progress("looking at frames", len(chosen))
    for index in chosen:
        frame = trained.frames.source[index]
        batch = collate([trained.frames.voxelized(frame)]).to(device)
        outputs = {role: network(batch) for role, network in trained.networks.items()}
        for clouds, draw in zip(found, draws, strict=True):
            for _ in range(CLOUDS_PER_FRAME):
                for role, (teacher, student) in draw(batch, outputs).items():
                    teachers, students = clouds.of_students[role]
                    teachers.append(teacher)
                    students.append(student)
            clouds.names.extend([frame.name] * CLOUDS_PER_FRAME)
        progress.advance({})
    progress.close()
    return found


class _Draw:
    """Draws clouds as the method does, the same points of the teacher and of every student."""

    def __init__(self, choice: CloudChoice, roles: Sequence[str]) -> None:
        self.choice = choice
        self.regions = Regions(choice.region) if choice.region else None
        # Of its own for each student: the number of the call draws, so all get the same points.
        options = SamplingOptions(
            num_samples=choice.num_points,
            normalization=choice.normalization,
            sampling=choice.sampling,
        )
        self.samplers = {role: SampledPoints(options) for role in roles}

    def __call__(
        self, batch: Mapping[str, Any], outputs: Mapping[str, NetworkOutput]
    ) -> dict[str, tuple[Tensor, Tensor]]:
        """Return a cloud (M, C) of the teacher and of each student, of a batch of one frame."""
        stage = self.choice.stage
        offset = outputs[TEACHER].offsets[stage]
        features = {role: output.features[stage].float() for role, output in outputs.items()}
        target = features[TEACHER]
        if self.regions is not None:
            rows, offset = self.regions(positions(batch, len(target), stage), offset)
            features = {role: points[rows] for role, points in features.items()}
            target = features[TEACHER]
        refuse_small_frame(len(target), self.choice.num_points)
        drawn = {}
        for role, sampler in self.samplers.items():
            (drawn[role],) = sampler(target, features[role], offset)
        return drawn


COMMAND = command(
    "topkd-fidelity",
    Options,
    run,
    "Compare RipsNet's images with exact ones on the validation clouds of a run's teacher and "
    "students, and the true diagrams of the networks with each other.",
)
main = COMMAND.main
