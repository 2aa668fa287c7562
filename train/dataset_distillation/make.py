"""One distilled set from beginning to end: real clouds in, a folder out.

FOLDER/objects.json, train.npz   the distilled clouds, read like any other set
FOLDER/generator.safetensors     of DD3D: the clouds at any resolution
FOLDER/distill.json              with which options, the distances, the numbers stored
FOLDER/clouds.png                beside real ones
FOLDER/state.pt                  where a stopped distillation is
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from train.core import provenance
from train.core.atomic_write import atomic_write
from train.core.distributed import is_first_process
from train.core.errors import UserError
from train.dataset_distillation.chance import generator_for
from train.dataset_distillation.coresets import coreset
from train.dataset_distillation.distill import (
    Distillation,
    Distilled,
    build_rotator,
)
from train.dataset_distillation.evaluate import (
    Draw,
    EvaluationOptions,
    Score,
    embed,
    train_and_score,
)
from train.dataset_distillation.evaluate_parts import (
    PartOptions,
    PartScore,
    train_and_score_parts,
)
from train.dataset_distillation.generator import (
    PointGenerator,
    generate,
    load_generator,
    pays_from,
    save_generator,
)
from train.dataset_distillation.networks.build import SMALL_POINTNET
from train.dataset_distillation.objects.clouds import ObjectClouds
from train.dataset_distillation.objects.folder import write_folder
from train.dataset_distillation.options import LEARNED, DistillOptions, RotatorOptions
from train.dataset_distillation.pictures import draw_clouds
from train.dataset_distillation.real_clouds import Prepared, canonical
from train.dataset_distillation.rotator import Rotator
from train.dataset_distillation.synthetic import FreeClouds, GeneratedClouds

GENERATOR_NAME: Final = "generator.safetensors"
STATE_NAME: Final = "state.pt"
REPORT_NAME: Final = "distill.json"
PICTURE_NAME: Final = "clouds.png"
SIGNS_ONCE_FROM: Final = 10
"""Clouds per class from which on a cloud's signs are decided once, as a real cloud's are. With
fewer, they are decided again for every draw, as in the authors' code: where a cloud does not decide
a sign, networks see it mirrored now and then, which helps where there are few clouds."""
_FEATURE_EPOCHS: Final = 20
_REDRAWN: Final = 103


def features_of(
    train: ObjectClouds,
    seed: int,
    device: torch.device,
    *,
    network: str = SMALL_POINTNET,
    epochs: int | None = None,
) -> NDArray[np.float64]:
    """Return the features (B, C) that herding and k-center look at, of a PointNet trained on all.

    Parameters
    ----------
    train
        Canonical.
    seed
        Of its weights.
    device
        Where to compute.
    network
        A PointNet of `NETWORKS`.
    epochs
        Of its training; None for `_FEATURE_EPOCHS`.
    """
    epochs = _FEATURE_EPOCHS if epochs is None else epochs
    options = EvaluationOptions(
        network=network, epochs=epochs, batch_size=32, test_every=epochs, seed=seed
    )
    points, labels = torch.from_numpy(train.points), torch.from_numpy(train.labels)
    _, trained = train_and_score(lambda epoch: (points, labels), train, options, device)
    return embed(trained, train, device)


def first_points(clouds: ObjectClouds, number: int) -> ObjectClouds:
    """Return clouds of `number` points, the first ones of each; all where there are fewer.

    Points of a cloud are in no order: the first ones are a draw.
    """
    if clouds.num_points <= number:
        return clouds
    parts = None if clouds.parts is None else clouds.parts[:, :number]
    return replace(clouds, points=clouds.points[:, :number], parts=parts)


@dataclass(frozen=True, eq=False)
class Made:
    """A small set, and how to draw from it.

    Attributes
    ----------
    clouds
        Canonical, as written.
    generator
        Of DD3D.
    rotator
        Trained with it, where it has weights.
    losses
        Of what was learned; empty for what was chosen.
    seconds
        Of learning or choosing.
    redrawn
        Whether `draw` treats clouds without a generator as a generator's: every epoch sees other
        points of them.
    """

    clouds: ObjectClouds
    generator: PointGenerator | None
    rotator: Rotator
    losses: tuple[float, ...]
    seconds: float
    redrawn: bool = False

    def draw(self, points: int, seed: int, *, resample: bool) -> Draw:
        """Return what gives an epoch's clouds.

        Parameters
        ----------
        points
            Of each cloud; free coordinates and real clouds may have fewer.
        seed
            Of the noise.
        resample
            Resample a generator's noise in every epoch, which is the paper's choice.
        """
        labels = torch.from_numpy(self.clouds.labels)
        if not resample or (self.generator is None and not self.redrawn):
            fixed = torch.from_numpy(first_points(self.clouds, points).points)
            return lambda epoch: (fixed, labels)
        number = self.clouds.num_points
        signs: torch.Tensor | None = None
        if self.rotator.mode == "none" or len(labels) >= SIGNS_ONCE_FROM * len(self.clouds.classes):
            with torch.no_grad():
                signs = self.rotator.canonical(self._points(number, None), align=False).signs

        def drawn(epoch: int) -> tuple[torch.Tensor, torch.Tensor]:
            words = seed * 100_003 + epoch
            if signs is not None:
                return self._points(points, words) * signs[:, None], labels
            # A draw of as many points as a real cloud has decides: few decide by chance.
            made = self._points(max(points, number), words)
            with torch.no_grad():
                return self.rotator(made, align=False)[:, :points], labels

        return drawn

    def _points(self, number: int, seed: int | None) -> torch.Tensor:
        """Return points of all clouds, each drawn by itself; spread evenly without a seed."""
        if self.generator is not None:
            return generate(self.generator, number, seed)[0].cpu()
        clouds = torch.from_numpy(self.clouds.points)
        if seed is None:
            return clouds
        chosen = torch.randint(
            clouds.shape[1], (len(clouds), number), generator=generator_for(seed, _REDRAWN)
        )
        return clouds.gather(1, chosen[:, :, None].expand(-1, -1, 3))


def make(
    real: Prepared,
    options: DistillOptions,
    device: torch.device,
    *,
    points: int,
    state: Path | None = None,
    resume: bool = False,
    features: NDArray[np.float64] | None = None,
    match: bool = True,
) -> Made:
    """Make a small set by any method.

    Parameters
    ----------
    real
        What it stands for.
    options
        How.
    device
        Where to compute.
    points
        Of a generator's clouds; others have as many as they were learned with, or were given.
    state, resume
        See `Distillation.run`.
    features
        What `features_of` gave; made where it is needed and None.
    match
        False leaves what would be learned as it starts: to see what the matching of gradients adds.

    Raises
    ------
    UserError
        See `Distillation`.
    """
    if points < 1:
        raise UserError(f"--points {points}: at least 1")
    learns = options.method in LEARNED
    choice = options.begins_as if learns else options.method
    rows = None
    goes_on = learns and resume and state is not None and state.exists()
    if choice != "noise" and not goes_on:
        if features is None:
            features = np.zeros((len(real.train), 1))
            if choice != "random":
                seen = first_points(canonical(real.train, real.rotator), options.points)
                features = features_of(seen, options.seed, device)
        rows = coreset(choice, real.train, features, options.clouds_per_class, options.seed)
    if learns:
        distillation = Distillation(real.train, options, device, rows)
        found = distillation.run(state, resume=resume) if match else distillation.unmatched()
        return learned(found, real.train, points, options.seed)
    assert rows is not None
    return Made(canonical(real.train.take(rows), real.rotator), None, real.rotator, (), 0.0)


def learned(found: Distilled, real: ObjectClouds, points: int, seed: int) -> Made:
    """Return the set that a distillation has learned; a generator's clouds have `points`."""
    rotator = found.rotator.cpu()
    generator: PointGenerator | None = None
    if isinstance(found.synthetic, GeneratedClouds):
        generator = found.synthetic.generator.cpu()
        clouds = sampled(generator, rotator, points, seed)
    else:
        assert isinstance(found.synthetic, FreeClouds)
        learned = found.synthetic.points.detach().cpu()
        if rotator.trained:  # else they have kept the signs that they started with
            with torch.no_grad():
                learned = rotator(learned, align=False)
        labels = np.arange(len(learned)) // found.synthetic.clouds_per_class
        parts = found.synthetic.parts
        clouds = ObjectClouds(
            learned.numpy(),
            labels.astype(np.int64),
            real.classes,
            None if parts is None else parts.cpu().numpy(),
            () if parts is None else real.part_names,
        )
    return Made(clouds, generator, rotator, found.losses, found.seconds)


def sampled(generator: PointGenerator, rotator: Rotator, points: int, seed: int) -> ObjectClouds:
    """Return a generator's clouds at any resolution, from 2 points on."""
    if points < 2:
        raise UserError(f"--points {points}: a set's clouds have at least 2 points")
    made, labels, parts = generate(generator, points, seed)
    with torch.no_grad():
        turned = rotator(made, align=False)
    return ObjectClouds(
        turned.numpy(),
        labels.numpy(),
        generator.spec.classes,
        None if parts is None else parts.numpy(),
        generator.spec.part_names,
    )


def write_made(
    folder: Path, made: Made, real: Prepared, options: DistillOptions, data: str
) -> None:
    """Write a small set with its generator, report and picture; the first process does.

    Parameters
    ----------
    folder
        There already.
    made
        The set.
    real
        What it stands for.
    options
        How it was made.
    data
        What the user calls the real set.

    Raises
    ------
    UserError
        If a file cannot be written.
    """
    if not is_first_process():
        return
    plain = json.loads(json.dumps(asdict(options)))
    made_from = {"data": data, "options": plain}
    coordinates = made.clouds.points.size
    stored = coordinates if made.generator is None else made.generator.num_parameters()
    report: dict[str, Any] = {
        "made_from": made_from,
        "losses": list(made.losses),
        "seconds": round(made.seconds, 1),
        "numbers_stored": stored,
        "coordinates": coordinates,
        "versions": provenance.versions(),
        **provenance.commit(),
    }
    if made.generator is not None:
        report["smaller_from_clouds_per_class"] = pays_from(
            made.generator.spec, made.clouds.num_points
        )
        weights = made.rotator.weights
        made_from["rotator_weights"] = None if weights is None else weights.tolist()
        save_generator(folder / GENERATOR_NAME, made.generator, made_from)
    write_folder(folder, {"train": made.clouds}, made_from)
    with atomic_write(folder / REPORT_NAME) as unfinished:
        unfinished.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    columns = {"real": canonical(real.train, real.rotator), options.method: made.clouds}
    draw_clouds(folder / PICTURE_NAME, columns, each=2 if options.clouds_per_class > 1 else 1)


def add_to_report(folder: Path, more: Mapping[str, Any]) -> None:
    """Add to the report that `write_made` wrote.

    Parameters
    ----------
    folder
        Of the set.
    more
        Plain values: scores, and how long all of it took.

    Raises
    ------
    UserError
        If the file cannot be written.
    """
    path = folder / REPORT_NAME
    report = json.loads(path.read_text(encoding="utf-8")) | dict(more)
    with atomic_write(path) as unfinished:
        unfinished.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


def sample_again(file: Path, folder: Path, points: int, seed: int) -> ObjectClouds:
    """Write the clouds of a generator's file at another resolution; return them.

    Parameters
    ----------
    file
        What `write_made` wrote.
    folder
        There already.
    points
        Of each cloud, at least 2.
    seed
        Of the noise.

    Raises
    ------
    UserError
        If the file is none of this version, or `points` is too small.
    """
    generator, made_from = load_generator(file)
    try:
        chosen = made_from["options"]["rotator"]
        rotator = build_rotator(DistillOptions(rotator=RotatorOptions(**chosen)))
        if rotator.weights is not None:
            with torch.no_grad():
                rotator.weights.copy_(torch.tensor(made_from["rotator_weights"]))
    except (KeyError, TypeError, RuntimeError) as error:
        raise UserError(
            f"{file}: does not say which rotator it needs ({error}); distill again"
        ) from error
    clouds = sampled(generator, rotator, points, seed)
    write_folder(folder, {"train": clouds}, {**made_from, "points": points, "seed": seed})
    return clouds


def score(
    made: Made,
    real: Prepared,
    options: EvaluationOptions,
    device: torch.device,
    *,
    points: int,
    resample: bool = True,
) -> Score:
    """Train a network on a small set from scratch and score it on the real set's test clouds.

    Parameters
    ----------
    made, real
        The set, and what it stands for.
    options
        How a network is trained.
    device
        Where to compute.
    points
        Of each cloud to learn from and to be scored on, the first ones of those there are.
    resample
        Resample a generator's noise in every epoch.

    Raises
    ------
    UserError
        If there are no test clouds.
    """
    if real.test is None:
        raise UserError("the data has no test clouds to score on")
    test = first_points(canonical(real.test, made.rotator), points)
    found, _ = train_and_score(
        made.draw(points, options.seed, resample=resample), test, options, device
    )
    return found


def score_parts(
    made: Made, real: Prepared, options: PartOptions, device: torch.device
) -> PartScore:
    """Train a segmenter on a small set from scratch and score it on the real set's test clouds.

    Raises
    ------
    UserError
        If there are no test clouds, or no parts.
    """
    if real.test is None:
        raise UserError("the data has no test clouds to score on")
    test = canonical(real.test, made.rotator)
    return train_and_score_parts(made.clouds, test, options, device)[0]
