"""Records of an ablation, made up, as `train.ablate` writes them."""

from train.ablation.records import RunRecord, add_records


def write_runs(file, scores, networks=("ptv3:tiny-teacher", "ptv3:tiny-student"), grid="main"):
    """Write a run for each score; `scores` is variant -> mIoU by seed, as shares."""
    settings = {
        "dataset": "waymo",
        "simulated": True,
        "pair": "tiny",
        "networks": dict(zip(("teacher", "student"), networks, strict=True)),
    }
    file.parent.mkdir(parents=True, exist_ok=True)
    add_records(
        file,
        [
            RunRecord(
                grid=grid,
                variant=variant,
                seed=seed,
                setup="0" * 12,
                setup_settings=settings,
                teacher="1" * 12,
                options={"variant": variant},
                role="teacher" if variant == "teacher" else "student",
                device="cpu",
                utc="2026-11-22T00:00:00+00:00",
                scores={"miou": value},
                scenes={"a": {}},
            )
            for variant, values in scores.items()
            for seed, value in enumerate(values)
        ],
    )
    return file
