"""Records of small experiments of known effect."""

import numpy as np
import pytest

from train.ablation.records import RunRecord, hash_of
from train.ablation.statistics import StreetBootstrap

SETTINGS = {"dataset": "waymo", "simulated": True, "pair": "tiny", "data": {"streets": 4}}
TEACHER = "0123456789ab"


@pytest.fixture
def make_record():
    """A function that returns a record; its scores are those of its streets."""

    def make(arm="ce", seed=0, shares=(0.3, 0.4, 0.5, 0.6), **changes):
        settings = changes.pop("assay_settings", SETTINGS)
        streets = {f"street-{i}": {"hit": share, "total": 1.0} for i, share in enumerate(shares)}
        values = {
            "grid": "methods",
            "arm": arm,
            "seed": seed,
            "assay": hash_of(settings),
            "assay_settings": settings,
            "teacher": TEACHER,
            "options": {"method": arm},
            "steps": 100,
            "seconds": 50.0,
            "versions": {"torch": "2.13.0"},
            "commit": "abc",
            "device": "cpu",
            "utc": "2026-11-22T10:00:00+00:00",
            "scores": street_score(sum(map(read_street, streets.values()))),
            "streets": streets,
        }
        return RunRecord(**{**values, **changes})

    return make


@pytest.fixture
def bootstrap():
    """A function that returns the drawing of such streets."""
    return lambda draws=50: StreetBootstrap(read_street, street_score, draws)


def read_street(street):
    return np.array([street["hit"], street["total"]])


def street_score(counts):
    """Hits over totals, as intersections over unions are."""
    share = float(counts[0] / counts[1])
    return {"miou": share, "fragmentation": 1 - share}


@pytest.fixture
def experiment(make_record):
    """A function that returns runs of arms whose true mIoU is known, in points."""

    def make(effects, *, seeds=6, noise=0.3, base=30.0, teacher=None, streets=8, rng_seed=0):
        rng = np.random.default_rng(rng_seed)
        street = rng.normal(0, 4, streets)
        per_seed = rng.normal(0, 2, 64)
        runs = []
        for arm, effect in effects.items():
            for seed in range(seeds):
                points = base + effect + per_seed[seed] + rng.normal(0, noise) + street
                runs.append(make_record(arm, seed, tuple(points / 100)))
        if teacher is not None:
            shares = tuple((base + teacher + street) / 100)
            runs.append(make_record("teacher", 0, shares, role="teacher", options={}))
        return runs

    return make
