"""What comes back along a ray that met something: range, intensity, second returns, or nothing.

Shape letters: A azimuth columns, B beams.
"""

from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from train.simulation.simulator.raycast import Hits
from train.simulation.simulator.surfaces import Kind, Material

_OPTICS: Final = np.array([material.optics for material in Material], dtype=np.float64)


class Echoes(NamedTuple):
    """One echo of each ray, all (A, B); where `seen` is false the rest means nothing."""

    range_m: NDArray[np.float64]
    intensity: NDArray[np.float64]
    elongation_m: NDArray[np.float64]
    kind: NDArray[np.int64]
    instance: NDArray[np.int64]
    seen: NDArray[np.bool_]

    def put(
        self,
        at: NDArray[np.bool_],
        range_m: NDArray[np.floating] | float,
        intensity: NDArray[np.floating] | float,
        kind: Kind,
    ) -> "Echoes":
        """Return echoes of which some (A, B) are others: seen, short, and of nothing counted."""
        new = (range_m, intensity, 0.0, int(kind), 0, True)
        return Echoes._make(np.where(at, one, other) for one, other in zip(new, self, strict=True))


@dataclass(frozen=True)
class EchoModel:
    """What a sensor makes of the light that comes back.

    Attributes
    ----------
    closest_m, reach_m
        The nearest and the furthest return.
    range_noise_m
        Deviation of a range.
    half_signal_m
        Where half of the returns of a surface that remits 0.25 get lost.
    fading_m
        Where echoes are reported half as strong as their surface is.
    intensity_scale, intensity_step, intensity_top
        A remission of 1 is reported as the scale; intensities are whole multiples of the step
        (any, if 0) and at most the top.
    blank_at
        The remission, faded by range, half of whose echoes are reported with intensity 0; 0 if
        none is. Weaker ones mostly are, ones twice as strong seldom.
    retro_gain
        How much stronger reflectors are reported than their remission, at the median.
    beam_spread
        Deviation of the beams' gains; the sensor's own and the same in every turn.
    stray_share
        Share of the rays at an object's edge that return from between it and what is behind.
    second_share
        Share of the rays at an object's edge that return twice, from it and from what is behind.
    separation_m
        How far apart two returns of a ray are at least.
    outlier_share
        Share of the rays that return from where nothing stands.
    footprint_rad
        How wide a beam opens: what it meets at a slant makes a long echo.
    """

    closest_m: float = 0.9
    reach_m: float = 80.0
    range_noise_m: float = 0.02
    half_signal_m: float = 75.0
    fading_m: float = 45.0
    intensity_scale: float = 1.0
    intensity_step: float = 0.0
    intensity_top: float = np.inf
    blank_at: float = 0.0
    retro_gain: float = 1.0
    beam_spread: float = 0.0
    stray_share: float = 0.0
    second_share: float = 0.0
    separation_m: float = 0.8
    outlier_share: float = 0.0
    footprint_rad: float = 0.003

    def of(
        self,
        hits: Hits,
        gains: NDArray[np.float64],
        hidden: NDArray[np.bool_],
        rng: np.random.Generator,
    ) -> list[Echoes]:
        """Return each ray's first echo, and its second one if the sensor records two.

        Parameters
        ----------
        hits
            What the rays met.
        gains
            (B,) the beams' own.
        hidden
            (A, B) rays that never leave the vehicle.
        rng
            All chance.
        """
        first = self._measure(hits, np.ones(hits.range_m.shape), gains, rng)
        first = first._replace(range_m=self._stray(first.range_m, rng))
        first = self._add_outliers(first, rng)
        first = first._replace(seen=first.seen & ~hidden & self._in_reach(first.range_m))
        if self.second_share == 0.0:
            return [first]
        return [first, self._second(hits, first, gains, rng)]

    def _measure(
        self,
        hits: Hits,
        light: NDArray[np.float64],
        gains: NDArray[np.float64],
        rng: np.random.Generator,
    ) -> Echoes:
        """Return what is measured of surfaces that get a share of each ray's light."""
        base, spread, falloff, dropout, rough = _OPTICS[hits.material].transpose(2, 0, 1)
        range_m, shape = hits.range_m, hits.range_m.shape
        cosine = np.clip(hits.cosine, 0.02, 1.0)
        # Weak echoes are reported weaker than their surface: with range, the more so at grazing
        # incidence. Fitted to a real frame's medians of road, buildings and vegetation.
        faint = 1.0 + (np.minimum(range_m, self.reach_m) / (self.fading_m * cosine**0.2)) ** 4
        remission = gains * light * base * cosine**falloff / faint
        remission *= np.clip(1.0 + spread * rng.normal(size=shape), 0.0, 3.0)
        if self.retro_gain != 1.0:
            bright = self.retro_gain * np.exp(0.8 * rng.normal(size=shape))
            remission *= np.where(hits.material == Material.REFLECTOR, bright, 1.0)
        if self.blank_at > 0.0:
            blank = rng.random(shape) < 1.0 / (1.0 + (remission / self.blank_at) ** 4)
            remission = np.where(blank, 0.0, remission)
        intensity = np.clip(self.intensity_scale * remission, 0.0, self.intensity_top)
        if self.intensity_step > 0.0:
            intensity = np.round(intensity / self.intensity_step) * self.intensity_step
        measured = range_m + self.range_noise_m * rng.normal(size=shape)
        measured += rough * rng.normal(size=shape)
        with np.errstate(invalid="ignore"):
            signal = np.maximum(light * base * np.sqrt(hits.cosine), 0.002) / 0.25
            lost = 1.0 - 1.0 / (1.0 + (range_m / (self.half_signal_m * np.sqrt(signal))) ** 6)
            long = self.footprint_rad * range_m * np.sqrt(1.0 / cosine**2 - 1.0) + 2.0 * rough
        chance = rng.random((2, *shape))
        return Echoes(
            range_m=measured,
            intensity=intensity,
            elongation_m=long * rng.random(shape),
            kind=hits.kind,
            instance=hits.instance,
            seen=np.isfinite(range_m) & (chance[0] >= dropout) & (chance[1] >= lost),
        )

    def _second(
        self, hits: Hits, first: Echoes, gains: NDArray[np.float64], rng: np.random.Generator
    ) -> Echoes:
        """Return what rays at an edge see behind it: what a ray beside them meets."""
        shape = hits.range_m.shape
        rays = np.arange(hits.range_m.size).reshape(shape)
        # The furthest of the four rays around it; at a grid's top and bottom, of three.
        behind_at, furthest = rays, hits.range_m
        for beside in (
            np.roll(rays, 1, axis=0),
            np.roll(rays, -1, axis=0),
            np.concatenate([rays[:, :1], rays[:, :-1]], axis=1),
            np.concatenate([rays[:, 1:], rays[:, -1:]], axis=1),
        ):
            range_m = hits.range_m.reshape(-1)[beside]
            further = np.isfinite(range_m) & (range_m > furthest)
            behind_at = np.where(further, beside, behind_at)
            furthest = np.where(further, range_m, furthest)
        behind = Hits._make(cells.reshape(-1)[behind_at] for cells in hits)
        light = rng.uniform(0.15, 0.6, size=shape)
        second = self._measure(behind, light, gains, rng)
        with np.errstate(invalid="ignore"):
            apart = second.range_m - first.range_m > self.separation_m
        # A wall seen at a slant is no edge, however far apart two of its columns are; nor is the
        # ground, on which what stands behind it begins where it ends.
        apart &= (behind.hit != hits.hit) | (hits.material == Material.FOLIAGE)
        apart &= hits.hit >= 0
        chosen = rng.random(shape) < self.second_share
        seen = second.seen & first.seen & apart & chosen & self._in_reach(second.range_m)
        return second._replace(seen=seen)

    def _stray(self, range_m: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
        """Return ranges of which some, just before a step back, come from further behind.

        A beam that is half on an edge returns one echo from somewhere in between.
        """
        behind = np.roll(range_m, -1, axis=0)
        with np.errstate(invalid="ignore"):
            step = behind - range_m
        edge = np.isfinite(step) & (step > 0.3) & (step < 4.0)
        edge &= rng.random(range_m.shape) < self.stray_share
        within = np.where(edge, step, 0.0) * rng.random(range_m.shape)
        return np.where(edge, range_m + within, range_m)

    def _add_outliers(self, echoes: Echoes, rng: np.random.Generator) -> Echoes:
        """Let a few rays return from nothing, before they meet anything."""
        shape = echoes.range_m.shape
        out = rng.random(shape) < self.outlier_share
        most = np.minimum(np.where(np.isfinite(echoes.range_m), echoes.range_m, 40.0), 40.0)
        range_m = self.closest_m + (most - self.closest_m) * rng.random(shape)
        return echoes.put(out, range_m, self.intensity_step, Kind.OUTLIER)

    def _in_reach(self, range_m: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Return which ranges the sensor reports."""
        return (range_m > self.closest_m) & (range_m < self.reach_m)
