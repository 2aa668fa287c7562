"""What a street looks like to a camera: colors, textures, sun and sky; none tells the class.

The color and the pattern of a surface come from one palette for all, drawn by a hash of the street,
the object and the material: a car, a tree and a wall have the same chance of being brown. The
ground has one color for each kind of surface in a street, and another in the next street. What is
left of the class in a color is the light (what faces the sky is brighter); the study `color-leak`
measures it.

Shape letters: R places on surfaces, C colors.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from train.simulation.simulator.scene import Scene

_PALETTE_SRGB: Final = (
    "#26282b #46484a #686a6a #8e8f8c #babab4 #e2e1da #5c4634 #8a6848 "
    "#b2926c #d0bc96 #7c3a2e #a85440 #b22c28 #3e4e2e #5c703e #8a945c "
    "#305c52 #2c426a #4e6e96 #84a6be #c8a43e #603e60"
)
"""Colors of streets, from asphalt gray to brick, leaf and car paint."""

_SRGB: Final = [list(bytes.fromhex(color[1:])) for color in _PALETTE_SRGB.split()]
PALETTE: Final = (np.array(_SRGB, dtype=np.float64) / 255.0) ** 2.2
"""(C, 3) the share of red, green and blue light that each sends back."""

_PLAIN, _CLOUDED, _STRIPED, _TILED = range(4)
_HAZE_SHARE: Final = 0.6


@dataclass(frozen=True)
class Appearance:
    """The looks of one street at one time of day.

    Attributes
    ----------
    seed
        Decides the color of everything.
    towards_sun
        (3,) unit vector in the world.
    sun, ambient
        (3,) red, green and blue of the light from the sun and from the sky.
    zenith, horizon
        (3,) the sky's colors.
    haze_m
        At this distance a part of the light is the horizon's.
    """

    seed: int
    towards_sun: NDArray[np.float64]
    sun: NDArray[np.float64]
    ambient: NDArray[np.float64]
    zenith: NDArray[np.float64]
    horizon: NDArray[np.float64]
    haze_m: float

    @classmethod
    def drawn(cls, rng: np.random.Generator) -> "Appearance":
        """Draw a time of day and the weather: sun high or low, clear or overcast."""
        elevation, azimuth = np.deg2rad(rng.uniform(18.0, 62.0)), rng.uniform(-np.pi, np.pi)
        level = np.cos(elevation)
        towards = np.array([level * np.cos(azimuth), level * np.sin(azimuth), np.sin(elevation)])
        clear = rng.uniform(0.15, 1.0)
        low = 1.0 - np.sin(elevation)
        warm = np.array([1.0, 1.0 - 0.15 * low, 1.0 - 0.4 * low])
        gray = rng.uniform(0.55, 0.95)
        blue = gray * np.array([0.42, 0.60, 0.95])
        # Any light from blue to pink at the horizon: the sky's color is no constant either.
        tint = 1.0 + 0.15 * rng.normal(size=3)
        zenith = (clear * blue + (1.0 - clear) * gray) * tint
        horizon = (0.5 * zenith + 0.5 * gray) * warm
        return cls(
            seed=int(rng.integers(1 << 62)),
            towards_sun=towards,
            sun=1.6 * clear * warm,
            ambient=0.35 * gray + 0.45 * zenith,
            zenith=np.clip(zenith, 0.05, 1.5),
            horizon=np.clip(horizon, 0.05, 1.5),
            haze_m=float(rng.uniform(120.0, 500.0)),
        )

    def sky(self, directions: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the color of the sky in directions (R, 3), (R, 3)."""
        height = np.sqrt(np.clip(directions[:, 2], 0.0, 1.0))[:, None]
        glow = np.clip(directions @ self.towards_sun, 0.0, 1.0)[:, None] ** 24
        return self.horizon + height * (self.zenith - self.horizon) + 0.6 * glow * self.sun

    def albedo(
        self,
        scene: Scene,
        hit: NDArray[np.int64],
        kind: NDArray[np.int64],
        material: NDArray[np.int64],
        places: NDArray[np.float64],
        footprint_m: NDArray[np.float64],
    ) -> NDArray[np.float64]:
        """Return the share of red, green and blue that surfaces send back, (R, 3).

        Parameters
        ----------
        scene
            Of the rays.
        hit, kind, material
            (R,) as in `raycast.Hits`; a kind only tells parts of the ground apart.
        places
            (R, 3) in the world.
        footprint_m
            (R,) how wide a pixel is there: finer patterns blur into one color.
        """
        on_ground = hit < 0
        solid = np.where(on_ground, 0, hit)
        if len(scene.shape):
            group = scene.group[solid]
            local = places - scene.center[solid]
            cos, sin = np.cos(scene.yaw[solid]), np.sin(scene.yaw[solid])
            x, y = local[:, 0], local[:, 1]
            local = np.stack([cos * x + sin * y, -sin * x + cos * y, local[:, 2]], axis=1)
        else:
            group, local = np.zeros_like(hit), np.zeros_like(places)
        level = places * np.array([1.0, 1.0, 0.0])
        local = np.where(on_ground[:, None], level, local)
        key = np.where(on_ground, 2 * kind + 1, 2 * group)
        words = mixed(self.seed, key, np.where(on_ground, 0, material))
        color = PALETTE[(words % np.uint64(len(PALETTE))).astype(np.int64)]
        gain = 0.75 + 0.5 * _share(words, 8) + self._texture(words, local, footprint_m)
        return np.clip(color * gain[:, None], 0.01, 0.95)

    def _texture(
        self,
        words: NDArray[np.uint64],
        local: NDArray[np.float64],
        footprint_m: NDArray[np.float64],
    ) -> NDArray[np.float64]:
        """Return how much brighter or darker each place (R,) is than its surface's color."""
        pattern = ((words >> np.uint64(16)) & np.uint64(3)).astype(np.int64)
        size_m = 0.12 * 12.0 ** _share(words, 24)
        contrast = np.where(pattern == _PLAIN, 0.05, 0.1 + 0.35 * _share(words, 32))
        # Two pixels a cell at least, or there is nothing to see of it.
        contrast *= np.clip(size_m / (2.0 * footprint_m), 0.0, 1.0)
        at = local / size_m[:, None]
        axis = ((words >> np.uint64(40)) % np.uint64(3)).astype(np.int64)
        along = np.take_along_axis(at, axis[:, None], axis=1)[:, 0]
        striped = np.where(np.floor(along).astype(np.int64) % 2 == 0, 1.0, -1.0)
        whole = np.floor(at).astype(np.int64)
        tiled = 2.0 * _share(_cells(whole, words), 11) - 1.0
        value = np.where(pattern == _STRIPED, striped, tiled)
        smooth = pattern <= _CLOUDED
        value[smooth] = _clouds(at[smooth], words[smooth])
        return contrast * value

    def lit(
        self,
        albedo: NDArray[np.float64],
        normals: NDArray[np.float64],
        light: NDArray[np.float64],
        directions: NDArray[np.float64],
        range_m: NDArray[np.float64],
    ) -> NDArray[np.float64]:
        """Return the light that surfaces send to the camera, (R, 3).

        Parameters
        ----------
        albedo, normals
            (R, 3).
        light
            (R,) the share of the sun that reaches them.
        directions, range_m
            (R, 3) and (R,) from the camera.
        """
        facing = np.clip(normals @ self.towards_sun, 0.0, None) * light
        from_sky = 0.65 + 0.35 * normals[:, 2]
        radiance = albedo * (facing[:, None] * self.sun + from_sky[:, None] * self.ambient)
        clear = np.exp(-_HAZE_SHARE * range_m / self.haze_m)[:, None]
        level = directions * np.array([1.0, 1.0, 0.0])
        return clear * radiance + (1.0 - clear) * self.sky(level)


def mixed(*words: int | NDArray[np.integer]) -> NDArray[np.uint64]:
    """Return 64 well-mixed bits that depend on all words (splitmix64's steps), as arrays go."""
    state: NDArray[np.uint64] = np.zeros(1, dtype=np.uint64)
    for word in words:
        # A negative number becomes its two's complement.
        as_bits = np.atleast_1d(np.asarray(word, dtype=np.int64)).view(np.uint64)
        state = (state ^ as_bits) + np.uint64(0x9E3779B97F4A7C15)
        state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        state = state ^ (state >> np.uint64(31))
    return state


def _share(words: NDArray[np.uint64], shift: int) -> NDArray[np.float64]:
    """Return 12 of the bits as a number in [0, 1)."""
    return ((words >> np.uint64(shift)) & np.uint64(0xFFF)).astype(np.float64) / 4096.0


def _cells(whole: NDArray[np.int64], words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return bits for the cell (R, 3) of a surface."""
    place = np.bitwise_xor.reduce(whole * np.array([73856093, 19349663, 83492791]), axis=1)
    return mixed(place ^ words.view(np.int64))


def _clouds(at: NDArray[np.float64], words: NDArray[np.uint64]) -> NDArray[np.float64]:
    """Return smooth noise in [-1, 1] at places (R, 3): between the values of the cells' corners."""
    whole = np.floor(at).astype(np.int64)
    part = at - whole
    part = part * part * (3.0 - 2.0 * part)
    total = np.zeros(len(at))
    for corner in range(8):
        step = np.array([corner & 1, corner >> 1 & 1, corner >> 2 & 1])
        weight = np.where(step, part, 1.0 - part).prod(axis=1)
        total += weight * (2.0 * _share(_cells(whole + step, words), 11) - 1.0)
    return total
