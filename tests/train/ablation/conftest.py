"""Records of small experiments of known effect."""

import numpy as np
import pytest

from train.ablation.records import RunRecord, hash_of
from train.ablation.statistics import SceneBootstrap

SETTINGS = {"dataset": "waymo", "simulated": True, "pair": "tiny", "data": {"scenes": 4}}
TEACHER = "0123456789ab"


@pytest.fixture
def make_record():
    """A function that returns a record; its scores are those of its scenes."""

    def make(variant="ce", seed=0, shares=(0.3, 0.4, 0.5, 0.6), **changes):
        settings = changes.pop("setup_settings", SETTINGS)
        scenes = {f"scene-{i}": {"hit": share, "total": 1.0} for i, share in enumerate(shares)}
        values = {
            "grid": "methods",
            "variant": variant,
            "seed": seed,
            "setup": hash_of(settings),
            "setup_settings": settings,
            "teacher": TEACHER,
            "options": {"method": variant},
            "steps": 100,
            "seconds": 50.0,
            "versions": {"torch": "2.13.0"},
            "commit": "abc",
            "device": "cpu",
            "utc": "2026-11-22T10:00:00+00:00",
            "scores": scene_score(sum(map(read_scene, scenes.values()))),
            "scenes": scenes,
        }
        return RunRecord(**{**values, **changes})

    return make


@pytest.fixture
def bootstrap():
    """A function that returns the drawing of such scenes."""
    return lambda draws=50: SceneBootstrap(read_scene, scene_score, draws)


def read_scene(scene):
    return np.array([scene["hit"], scene["total"]])


def scene_score(counts, run=None):
    """Hits over totals, as intersections over unions are."""
    share = float(counts[0] / counts[1])
    return {"miou": share, "fragmentation": 1 - share}


@pytest.fixture
def experiment(make_record):
    """A function that returns runs of variants whose true mIoU is known, in points."""

    def make(effects, *, seeds=6, noise=0.3, base=30.0, teacher=None, scenes=8, rng_seed=0):
        rng = np.random.default_rng(rng_seed)
        scene = rng.normal(0, 4, scenes)
        per_seed = rng.normal(0, 2, 64)
        runs = []
        for variant, effect in effects.items():
            for seed in range(seeds):
                points = base + effect + per_seed[seed] + rng.normal(0, noise) + scene
                runs.append(make_record(variant, seed, tuple(points / 100)))
        if teacher is not None:
            shares = tuple((base + teacher + scene) / 100)
            runs.append(make_record("teacher", 0, shares, role="teacher", options={}))
        return runs

    return make
