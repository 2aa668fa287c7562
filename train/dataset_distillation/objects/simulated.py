"""A set of labeled object clouds made from the simulator, written in our own layout.

From its models: what the scenes are furnished with, one by one, sampled on the surface. From its
scans: what a simulated HDL-64E sees of the things in a scene, partial and sparse.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import numpy as np
from numpy.typing import NDArray
from tyro.conf import arg

from train.core.errors import UserError
from train.dataset_distillation.clouds import NO_PART, PointClouds, resample, unit_sphere
from train.dataset_distillation.objects.read import INDEX_NAME, read_index, write_folder
from train.dataset_distillation.objects.surface_points import sample_surface
from train.dataset_distillation.options import refuse_below
from train.simulation.simulator import objects, people, vehicles
from train.simulation.simulator.ground import Ground
from train.simulation.simulator.parts import Spot
from train.simulation.simulator.scene import Frame, SceneBuilder
from train.simulation.simulator.surfaces import Kind, Material

Source = Literal["models", "scenes"]
Draw = Callable[[Spot], object]

FORMAT: Final = 1
"""Raised whenever the same settings give other clouds than before."""
_ORIGIN: Final = Frame(0.0, 0.0, 0.0, 0.0)
_AZIMUTH_STEPS: Final = 1000
_MIN_RETURNS: Final = 48
"""Returns that a thing in a scan must have at least to become a cloud."""
_MOST_STOPS: Final = 2000


def _cyclist(spot: Spot) -> None:
    phase = float(spot.rng.uniform(0.0, 2 * np.pi))
    people.add_rider(spot, Kind.BICYCLIST, phase=phase)


def _walker(spot: Spot) -> None:
    people.add_person(spot, phase=float(spot.rng.uniform(0.0, 2 * np.pi)))


MODELS: Final[Mapping[str, Draw]] = {
    "car": vehicles.add_car,
    "truck": vehicles.add_truck,
    "bus": vehicles.add_bus,
    "trailer": vehicles.add_trailer,
    "bicycle": people.add_bicycle,
    "motorcycle": people.add_motorcycle,
    "cyclist": _cyclist,
    "person": _walker,
    "wheelchair": people.add_wheelchair,
    "tree": objects.add_tree,
    "lamp": objects.add_lamp,
    "traffic light": objects.add_traffic_light,
}
"""Class -> what draws one."""

IN_SCENES: Final[Mapping[str, tuple[Kind, ...]]] = {
    "car": (Kind.CAR, Kind.MOVING_CAR, Kind.POLICE_CAR, Kind.AMBULANCE),
    "truck": (Kind.TRUCK, Kind.MOVING_TRUCK),
    "bus": (Kind.BUS, Kind.MOVING_BUS),
    "trailer": (Kind.TRAILER, Kind.MOVING_TRAILER),
    "bicycle": (Kind.BICYCLE,),
    "motorcycle": (Kind.MOTORCYCLE,),
    "cyclist": (Kind.BICYCLIST, Kind.MOVING_BICYCLIST),
    "person": (Kind.PERSON, Kind.MOVING_PERSON, Kind.CHILD, Kind.MOVING_CHILD),
}
"""Class -> the kinds of things that are cut out of scans; what is no thing has no instance."""

_PARTS: Final[Mapping[str, tuple[Material, ...]]] = {
    "paint": (
        Material.PAINT,
        Material.BRIGHT_PAINT,
        Material.DARK_PAINT,
        Material.SILVER_PAINT,
        Material.BLACK_PAINT,
    ),
    "glass": (Material.GLASS, Material.TINTED_GLASS),
    "rubber": (Material.RUBBER,),
    "metal": (Material.METAL, Material.STEEL),
    "cloth": (Material.CLOTH, Material.DARK_CLOTH, Material.HIGH_VISIBILITY),
    "skin": (Material.SKIN,),
    "wood": (Material.WOOD, Material.BARK),
    "foliage": (Material.FOLIAGE,),
    "plastic": (Material.PLASTIC, Material.REFLECTOR),
}
PART_NAMES: Final = tuple(_PARTS)
"""The parts of the models: what they are made of."""


@dataclass(frozen=True, kw_only=True)
class SimulationFlags:
    """Simulated objects."""

    # Models are sampled on the surface, in 12 classes with parts; 8 classes without are cut out of
    # scans. Test clouds are of other models, or of other scenes.
    source: Source = "models"
    """the simulator's models, or things cut out of scans of its scenes"""
    train_per_class: Annotated[int, arg(metavar="B")] = 60
    """clouds"""
    test_per_class: Annotated[int, arg(metavar="B")] = 30
    """clouds"""

    def __post_init__(self) -> None:
        """Refuse what cannot be simulated."""
        counts = {
            "--train-per-class": self.train_per_class,
            "--test-per-class": self.test_per_class,
        }
        refuse_below(1, counts)


@dataclass(frozen=True, kw_only=True)
class SimulatedSet(SimulationFlags):
    """What is simulated: with `num_points` of each cloud, and a seed of at least 0."""

    num_points: int = 1024
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what cannot be simulated."""
        super().__post_init__()
        refuse_below(2, {"--points": self.num_points})
        refuse_below(0, {"--seed": self.seed})

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes."""
        return tuple(MODELS if self.source == "models" else IN_SCENES)


def simulate_objects(folder: Path, wanted: SimulatedSet) -> None:
    """Write a simulated set, or find that it is there already.

    UserError if the folder, which is there, holds another set or a file cannot be written.
    """
    made_from: dict[str, Any] = {"simulator": FORMAT, **asdict(wanted)}
    if (folder / INDEX_NAME).exists():
        found = read_index(folder).get("made_from")
        if found != made_from:
            raise UserError(
                f"{folder}: holds another set of objects (made from {found}); give another folder, "
                "or remove it"
            )
        return
    counts = {"train": wanted.train_per_class, "test": wanted.test_per_class}
    make = _from_models if wanted.source == "models" else _from_scenes
    write_folder(
        folder,
        {
            split: make(count, wanted.num_points, (wanted.seed, number))
            for number, (split, count) in enumerate(counts.items())
        },
        made_from,
    )


def _from_models(count: int, num_points: int, seed: tuple[int, int]) -> PointClouds:
    part_of = np.full(len(Material), NO_PART, dtype=np.int64)
    for number, materials in enumerate(_PARTS.values()):
        part_of[[int(material) for material in materials]] = number
    points, parts, labels = [], [], []
    for label, draw in enumerate(MODELS.values()):
        for index in range(count):
            rng = np.random.default_rng([*seed, label, index])
            builder = SceneBuilder()
            draw(Spot(builder, _ORIGIN, rng))
            scene = builder.build(Ground())
            cloud, primitive = sample_surface(scene, num_points, rng)
            points.append(unit_sphere(cloud))
            parts.append(part_of[scene.material[primitive]])
            labels.append(label)
    return PointClouds(
        np.stack(points), np.array(labels), tuple(MODELS), np.stack(parts), PART_NAMES
    )


def _from_scenes(count: int, num_points: int, seed: tuple[int, int]) -> PointClouds:
    """Drive until every class has as many things as are wanted; of one thing the first look."""
    # They load numba: not for --help.
    from train.simulation.simulator.drive import drive
    from train.simulation.simulator.models import hdl64

    lidar = hdl64(_AZIMUTH_STEPS)
    names = tuple(IN_SCENES)
    label_of = np.full(len(Kind), -1, dtype=np.int64)
    for label, kinds in enumerate(IN_SCENES.values()):
        label_of[[int(kind) for kind in kinds]] = label
    found: list[list[NDArray[np.float32]]] = [[] for _ in names]
    seen: set[int] = set()
    for stop in drive(_MOST_STOPS, seed, frames_a_street=2, spacing_m=20.0):
        returns = lidar.scan(stop.scene, stop.motion(lidar.period_s, tilt_deg=0.0), stop.rng)
        labels = label_of[returns.kind]
        for instance in np.unique(returns.instance[(labels >= 0) & (returns.instance > 0)]):
            own = (returns.instance == instance) & (labels >= 0)
            label = int(labels[own][0])
            if instance in seen or own.sum() < _MIN_RETURNS or len(found[label]) >= count:
                continue
            seen.add(int(instance))
            rows = resample(int(own.sum()), num_points, stop.rng)
            found[label].append(unit_sphere(returns.coord[own][rows]))
        if all(len(clouds) >= count for clouds in found):
            break
    for name, clouds in zip(names, found, strict=True):
        if len(clouds) < count:
            raise UserError(
                f"{_MOST_STOPS} scans hold {len(clouds)} of class {name}, fewer than the {count} "
                "asked for; ask for fewer"
            )
    return PointClouds(
        np.stack([cloud for clouds in found for cloud in clouds]),
        np.repeat(np.arange(len(names)), count),
        names,
    )
