"""Records of an ablation, made up, as `train.ablate` writes them."""

from train.ablation.records import RunRecord, write_record


def write_runs(folder, scores, networks=("ptv3:tiny-teacher", "ptv3:tiny-student"), grid="main"):
    """Write a run for each score; `scores` is arm -> mIoU by seed, as shares."""
    folder.mkdir(parents=True, exist_ok=True)
    for arm, values in scores.items():
        for seed, value in enumerate(values):
            record = RunRecord(
                grid=grid,
                arm=arm,
                seed=seed,
                assay="0" * 12,
                assay_settings={
                    "dataset": "waymo",
                    "simulated": True,
                    "pair": "tiny",
                    "networks": dict(zip(("teacher", "student"), networks, strict=True)),
                },
                teacher="1" * 12,
                options={"arm": arm},
                role="teacher" if arm == "teacher" else "student",
                steps=1,
                seconds=1.0,
                device="cpu",
                utc="2026-11-22T00:00:00+00:00",
                scores={"miou": value},
                streets={"a": {}},
            )
            write_record(folder, record)
    return folder
