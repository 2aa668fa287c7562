"""The runs of the experiment on digits: teachers with their RipsNets, then every variant of a seed.

Shape letters: B images, K clouds, M points of a cloud, C channels, P pixels.
"""

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple

import torch
from torch import Tensor

from benchmarks.studies.topkd_digits.data import Digits, Images, load_digits
from benchmarks.studies.topkd_digits.pair import Schedule, Training, build, train_network
from benchmarks.studies.topkd_fidelity import own_other_images
from train.ablation.grids import TEACHER, Variant
from train.ablation.records import Outcome, Records
from train.ablation.study import Study
from train.methods.none import CrossEntropy
from train.methods.registry import method_class
from train.methods.topkd.artifacts import ImageMaker, save_maker
from train.methods.topkd.diagnostics import fidelity
from train.methods.topkd.fit import fit_ripsnet
from train.methods.topkd.options import TopKDConfig
from train.methods.topkd.targets import distinct_pixels, exact_images, make_targets
from train.networks.image_classifier import EMBEDDING, image_batch
from train.networks.protocol import Network, NetworkOutput
from train.networks.weights import checksum

GRID: Final = "topkd-digits"
FORMAT: Final = 1
"""Raised whenever the same settings give other runs than before."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What all variants share.

    Attributes
    ----------
    num_training
        Images to learn from; the other ones of 1,797 are held out.
    schedule
        Of teachers and students.
    num_teachers
        Seed s learns from number s modulo that.
    num_clouds, fit_epochs, fit_lr
        Of RipsNet's fit. The rate is four times the paper's, for so few epochs.
    """

    num_training: int = 1000
    schedule: Schedule = field(default_factory=Schedule)
    num_teachers: int = 5
    num_clouds: int = 4000
    fit_epochs: int = 50
    fit_lr: float = 2e-3

    def plain(self) -> dict[str, Any]:
        """Return plain values, with what the records' readers look for."""
        shared = {
            "format": FORMAT,
            "dataset": "digits",
            "simulated": False,
            "pair": "convolutional",
        }
        return shared | dataclasses.asdict(self)


def variants(settings: Settings) -> dict[str, Variant]:
    """Return the variants: TopKD's loss without its terms one by one, with exact images, and with
    other dimensions of homology (the paper's Tables 5 and 6).
    """
    clouds: dict[str, Any] = {
        "region": 0,
        "num_points": settings.schedule.batch_size,
        "num_clouds": settings.num_clouds,
        "clouds_per_frame": settings.num_clouds,
        "fit_epochs": settings.fit_epochs,
    }
    return {
        "ce": Variant("none", {}, "cross-entropy alone"),
        "kd": Variant(
            "kd", {"distillation": 2.0, "temperature": 4.0}, "and softened logits, weight 2"
        ),
        "topkd": Variant("topkd", clouds, "and RipsNet's images, weight 5"),
        "exact": Variant("topkd", clouds | {"exact": True}, "the same with exact images"),
        "images": Variant("topkd", clouds | {"distillation": 0.0}, "without softened logits"),
        "topkd-h1": Variant("topkd", clouds | {"dims": (1,)}, "images of H1 in place of H0"),
        "topkd-h01": Variant("topkd", clouds | {"dims": (0, 1)}, "images of H0 and H1"),
    }


@dataclass(frozen=True, eq=False)
class Taught:
    """A trained teacher and what was made from it.

    Attributes
    ----------
    network
        Frozen.
    name
        Checksum of its weights.
    artifacts
        The file of each variant that has one.
    maker
        With the RipsNet fitted to images of dimension 0.
    mean_image
        (P,) of the clouds that RipsNet was fitted to: what a constant predicts.
    took
        The teacher's training.
    """

    network: Network
    name: str
    artifacts: Mapping[str, Path]
    maker: ImageMaker
    mean_image: Tensor
    took: Training


class Run(NamedTuple):
    """One run."""

    grid: str
    variant: str
    """A variant, or `TEACHER`."""
    seed: int
    """The number of a teacher."""


class Experiment:
    """Does the runs that have no record yet, on one thread of the CPU.

    Parameters
    ----------
    settings
        What all variants share.
    work
        Folder for what teachers leave to their students; nothing reads it later.

    Raises
    ------
    UserError
        If scikit-learn is not there.
    """

    def __init__(self, settings: Settings, work: Path) -> None:
        self.settings, self.work = settings, work
        self.digits: Digits = load_digits(settings.num_training)
        self.variants = variants(settings)
        self._taught: dict[int, Taught] = {}

    def study(self, seeds: int, records: Path, page: Callable[[Records], None]) -> Study[Run]:
        """Return the study of seeds 0, 1, ... and of their teachers."""
        teachers = range(min(seeds, self.settings.num_teachers))
        return Study(
            settings=self.settings.plain(),
            runs=[
                *(Run(GRID, TEACHER, place) for place in teachers),
                *(Run(GRID, name, seed) for seed in range(seeds) for name in self.variants),
            ],
            run_one=self._run,
            page=page,
            records=records,
            device=torch.device("cpu"),
        )

    def _run(self, run: Run) -> dict[str, Outcome]:
        place = run.seed % self.settings.num_teachers
        if place not in self._taught:
            self._taught[place] = self._teach(place, self.work / str(place))
        taught = self._taught[place]
        if run.variant == TEACHER:
            return {run.variant: self._score_teacher(taught)}
        return {run.variant: self._student(run, taught)}

    def _teach(self, place: int, folder: Path) -> Taught:
        """Train a teacher and make, once, what both variants with images need of it."""
        folder.mkdir()
        network = build("teacher", 2 * place)
        method = CrossEntropy(Variant("none").config("paper"), network, None)
        training = self.digits.training
        took = train_network(
            network, method, None, training, self.settings.schedule, seed=2 * place
        )
        network.requires_grad_(requires_grad=False)
        makers: dict[tuple[int, ...], tuple[ImageMaker, Tensor]] = {}
        artifacts = {}
        for name, variant in self.variants.items():
            config = variant.config("paper")
            if not isinstance(config, TopKDConfig):
                continue
            if config.dims not in makers:
                makers[config.dims] = self._fit(network, config)
            maker, _ = makers[config.dims]
            artifacts[name] = folder / f"{name}.safetensors"
            save_maker(
                dataclasses.replace(maker, ripsnet=None) if config.exact else maker, artifacts[name]
            )
        maker, mean_image = makers[0,]
        return Taught(network, checksum(network), artifacts, maker, mean_image, took)

    def _fit(self, network: Network, config: TopKDConfig) -> tuple[ImageMaker, Tensor]:
        """Return what makes images of the dimensions asked for, and the mean one of the fit."""
        training = self.digits.training
        targets = make_targets(
            network,
            [image_batch(training.images, training.labels)],
            config.choice(network),
            dims=config.dims,
            birth_margin=config.birth_margin,
            per_frame=config.clouds_per_frame,
            at_most=config.num_clouds,
        )
        options = dataclasses.replace(config.fit_options(), lr=self.settings.fit_lr)
        maker = fit_ripsnet(targets, options, device=torch.device("cpu"))
        return maker, targets.images.mean(dim=0)

    def _score_teacher(self, taught: Taught) -> Outcome:
        """Return what the teacher gave, with how good its RipsNet is."""
        output = _look(taught.network, self.digits.held_out)
        clouds = self._clouds(output)
        card = taught.maker.card
        exact = exact_images(clouds, card.scale, card.dims)
        scores = {f"ripsnet_{name}": value for name, value in taught.maker.losses.items()}
        scores["ripsnet_error"] = fidelity(taught.maker, clouds, clouds).teacher_error
        scores["constant_error"] = float((exact - taught.mean_image).square().mean())
        scores["distinct_pixels"] = float(distinct_pixels(exact))
        return self._outcome(TEACHER, taught, output, taught.took, scores)

    def _student(self, run: Run, taught: Taught) -> Outcome:
        """Train and score one student."""
        name, seed = run.variant, run.seed
        variant = self.variants[name]
        cls = method_class(variant.method)
        student = build("student", 2 * seed + 1)
        teacher = taught.network if cls.needs_teacher else None
        method = cls(
            variant.config("paper"), student, teacher, artifacts=taught.artifacts.get(name)
        )
        took = train_network(
            student,
            method,
            teacher,
            self.digits.training,
            self.settings.schedule,
            seed=2 * seed + 1,
        )
        output = _look(student, self.digits.held_out)
        teachers = self._clouds(_look(taught.network, self.digits.held_out))
        students = self._clouds(output)
        found = fidelity(taught.maker, teachers, students)
        scores = {
            "ripsnet_error": found.student_error,
            "image_distance": found.image_distance,
            "bottleneck": found.bottleneck,
        }
        for kind, ratio in own_other_images(taught.maker, list(teachers), list(students)).items():
            if ratio is not None:
                scores[f"own_other_{kind}"] = ratio
        return self._outcome(name, taught, output, took, scores)

    def _clouds(self, output: NetworkOutput) -> Tensor:
        """Return the held-out embeddings in disjoint clouds (K, M, C), the same in all networks."""
        points = self.settings.schedule.batch_size
        embeddings = output.features[EMBEDDING]
        number = len(embeddings) // points
        return embeddings[: number * points].reshape(number, points, -1)

    def _outcome(
        self,
        variant: str,
        taught: Taught,
        output: NetworkOutput,
        took: Training,
        scores: Mapping[str, float],
    ) -> Outcome:
        right = output.logits.argmax(dim=1) == self.digits.held_out.labels
        groups = {
            name: {
                "right": int(right[self.digits.groups == number].sum()),
                "images": int((self.digits.groups == number).sum()),
            }
            for number, name in enumerate(self.digits.group_names)
        }
        options: dict[str, Any] = {}
        if variant != TEACHER:
            options = {"method": self.variants[variant].method, **self.variants[variant].options}
        return Outcome(
            teacher=taught.name,
            options=options,
            role="teacher" if variant == TEACHER else "student",
            steps=took.steps,
            seconds=took.seconds,
            scores={"accuracy": float(right.double().mean()), **scores},
            scenes=groups,
            stats={"last": took.terms},
        )


def _look(network: Network, images: Images) -> NetworkOutput:
    with torch.no_grad():
        output: NetworkOutput = network(image_batch(images.images, images.labels))
    return output
