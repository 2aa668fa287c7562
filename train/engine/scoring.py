"""The scores of a run's networks on its validation frames: metrics.json and evaluation.json."""

import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from train.config import RunConfig
from train.core.distributed import is_first_process
from train.data.batch import SkippedFrames
from train.data.cameras import CAMERA_FIELDS
from train.data.loader import EvaluationFrames
from train.engine.run_data import RunData
from train.engine.run_folder import RunFolder
from train.engine.run_log import read_log, seconds_by_stage
from train.evaluation.agreement import FeatureSampler, agreement
from train.evaluation.evaluate import Visit, evaluate
from train.networks.protocol import Network


@dataclass(frozen=True)
class Scorer:
    """How networks are scored in a run.

    Attributes
    ----------
    config, data, device
        The run's.
    skipped
        Collects the frames that could not be read.
    """

    config: RunConfig
    data: RunData
    device: torch.device
    skipped: SkippedFrames

    def score(
        self,
        model: nn.Module,
        title: str,
        tta: str = "none",
        visit: Visit | None = None,
        fields: Collection[str] = (),
    ) -> dict[str, Any]:
        """Return the scores of a network; to be called by all processes.

        `visit` sees the outputs of single passes; `fields` of the batch come from cameras.
        """
        frames = EvaluationFrames(
            self.data.validation,
            self.config.data.grid_size_m,
            clip_range_m=self.config.data.clip_range_m,
            on_bad_frame=self.config.on_bad_frame,
            fields=fields,
        )
        return evaluate(
            model,
            frames,
            self.data.spec.class_names,
            self.data.spec.benchmark_rule,
            self.device,
            title=title,
            num_workers=self.config.data.num_workers,
            skipped=self.skipped,
            precision=self.config.precision,
            visit=visit,
            augmentation=None if tta == "none" else tta,
        )


def write_metrics(
    folder: RunFolder,
    config: RunConfig,
    data: RunData,
    scorer: Scorer,
    networks: Mapping[str, Network],
    untrained: Network | None,
    with_images: nn.Module | None = None,
) -> dict[str, Any]:
    """Score the networks as they were read from their files; write metrics.json.

    What is long goes to evaluation.json: confusion counts, each frame's mIoU, and how far the
    students' features agree with the teacher's.

    Parameters
    ----------
    folder, config, data, scorer
        The run's.
    networks
        By role.
    untrained
        A student before its training, scored too; None to leave it out.
    with_images
        The student with images at test time, scored beside the student alone; None for none.

    Returns
    -------
    dict
        What is in the file.
    """
    started = time.monotonic()
    metrics: dict[str, Any] = {
        "dataset": config.dataset,
        "simulated": config.simulate,
        "method": config.method,
        "train_frames": len(data.training),
        "validation_frames": len(data.validation),
    }
    if data.labeled is not None:
        metrics["labeled_frames"] = len(data.labeled)
    if data.scored_by_teacher:
        metrics["scored_against"] = "the teacher's predictions"
    details: dict[str, Any] = {"agreement": {}}
    sampler = FeatureSampler(data.validation.names)
    for role, model in networks.items():
        visit = sampler.visit(role, model)
        scores = scorer.score(model, f"{role} evaluation", visit=visit)
        details[role] = _take_details(scores)
        if config.tta != "none":
            title = f"{role} evaluation, {config.tta}"
            scores["tta"] = scorer.score(model, title, config.tta)
            _take_details(scores["tta"])
        count = sum(parameter.numel() for parameter in model.parameters())
        metrics[role] = {"parameters": count, **scores}
    if untrained is not None and "student" in metrics:
        scores = scorer.score(untrained, "untrained student evaluation")
        metrics["student"]["miou_untrained"] = scores["miou"]
    if with_images is not None:
        title = "student evaluation with images"
        scores = scorer.score(with_images, title, fields=CAMERA_FIELDS)
        details["student_with_images"] = _take_details(scores)
        metrics["student"]["with_images"] = scores
    difference = student_minus_baseline(metrics)
    if difference is not None:
        metrics["difference"] = difference
    metrics["skipped_frames"] = scorer.skipped.messages
    features = sampler.gathered()
    if is_first_process():
        for role in networks:
            if "teacher" in networks and role != "teacher":
                details["agreement"][role] = agreement(features["teacher"], features[role])
        folder.write_json(folder.evaluation, details)
        seconds = seconds_by_stage(read_log(folder.log))
        metrics["seconds"] = {**seconds, "evaluation": time.monotonic() - started}
        folder.write_json(folder.metrics, metrics)
    return metrics


def student_minus_baseline(metrics: Mapping[str, Any]) -> float | None:
    """Return by how many points of mIoU the student is above its baseline; None without scores."""
    scores = [metrics.get(role, {}).get("miou") for role in ("student", "baseline")]
    return None if None in scores else 100 * (scores[0] - scores[1])


def score_lines(metrics: Mapping[str, Any]) -> list[str]:
    """Return what a run ends with, for people: the scores, and what distilling gave.

    Parameters
    ----------
    metrics
        The content of metrics.json.
    """
    called = {
        "teacher": "teacher",
        "student": "student",
        "baseline": "the same student trained alone",
    }
    found = {role: metrics[role] for role in called if role in metrics}

    def line(title: str, name: str, scores: Mapping[str, Mapping[str, Any]]) -> str:
        shares = ((called[role], of.get(name)) for role, of in scores.items())
        shown = (f"{who} {'-' if share is None else f'{100 * share:.1f}'}" for who, share in shares)
        return f"{title}: {', '.join(shown)}"

    against = f", against {metrics['scored_against']}" if "scored_against" in metrics else ""
    lines = [
        line(f"mIoU on {metrics['validation_frames']} validation frames{against}", "miou", found)
    ]
    if any("benchmark_miou" in of for of in found.values()):
        lines.append(line("mIoU as the benchmark takes it", "benchmark_miou", found))
    augmented = {role: of["tta"] for role, of in found.items() if "tta" in of}
    for name in dict.fromkeys(of["augmentation"] for of in augmented.values()):
        of_name = {role: of for role, of in augmented.items() if of["augmentation"] == name}
        lines.append(line(f"mIoU, test-time augmentation {name}", "miou", of_name))
    fused = {role: of["with_images"] for role, of in found.items() if "with_images" in of}
    if fused:
        lines.append(line("mIoU with images at test time (fusion)", "miou", fused))
    if "difference" in metrics:
        lines.append(
            f"distilling gave {round(metrics['difference'], 1) + 0.0:+.1f} points; one seed is no "
            "evidence: topodistill ablate takes several"
        )
    return lines


def _take_details(scores: dict[str, Any]) -> dict[str, Any]:
    """Remove from a network's scores what is long, and return it."""
    return {name: scores.pop(name) for name in ("confusion", "by_frame")}
