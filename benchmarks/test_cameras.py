"""Camera images: rendered from a scene, and paired with the points of a frame.

A case's N is the pixels of a view.
"""

import numpy as np
import pytest

from benchmarks.harness import SMOKE_POINTS, Case, Job, Measure
from train.simulation.camera_images import street_looks
from train.simulation.simulator.camera import NOTHING, Rendering, nuscenes_cameras, pinhole, render
from train.simulation.simulator.drive import drive
from train.simulation.simulator.raycast import cast

VIEW_PIXELS = 320 * 160


def rendering_case(num_pixels: int, threads: int) -> Case:
    """Six views of a scene, as nuScenes' cameras have them; one small one for a smoke test."""

    def build() -> Job:
        stop = next(iter(drive(1, (3, 0))))
        frame = stop.street.sensor_frame(stop.along_m)
        pose = np.eye(4)
        cos, sin = np.cos(frame.yaw), np.sin(frame.yaw)
        pose[:2, :2], pose[:3, 3] = [[cos, -sin], [sin, cos]], (frame.x, frame.y, frame.z)
        looks, cameras = street_looks((3, 0)), nuscenes_cameras()
        if num_pixels == SMOKE_POINTS:
            height = max(8, round((num_pixels / 2) ** 0.5))
            cameras = (
                pinhole("C", (1.7, 0, 1.5), 0.0, view_deg=70, width=2 * height, height=height),
            )

        def run() -> list[Rendering]:
            return [
                render(camera, stop.scene, pose, looks, np.random.default_rng(1), threads=threads)
                for camera in cameras
            ]

        def check(output: list[Rendering]) -> None:
            assert len(output) == len(cameras)
            for camera, taken in zip(cameras, output, strict=True):
                assert taken.pixels.shape == (camera.height, camera.width, 3)
                assert np.mean(taken.kind != NOTHING) > 0
                # A few rays alone, from the same place: solid things are where the image says.
                world = pose @ camera.mount
                for row, column in ((camera.height - 1, camera.width // 2), (camera.height - 1, 0)):
                    ray = world[:3, :3] @ camera.rays[column, row]
                    one = cast(
                        stop.scene, world[:3, 3], ray[None, None], reach_m=180.0, seed=0, threads=1
                    )
                    if one.hit[0, 0] == -1:
                        depth = one.range_m[0, 0] * camera.rays[column, row, 2]
                        np.testing.assert_allclose(taken.depth_m[row, column], depth)

        return Job(run, check)

    views = 1 if num_pixels == SMOKE_POINTS else len(nuscenes_cameras())
    return Case(
        suite="rendering", op="render views", implementation="ours", yields="images",
        build=build, num_points=num_pixels, threads=threads, data="nuscenes cameras", channels=3,
        batch=views,
    )  # fmt: skip


@pytest.mark.sizes(VIEW_PIXELS)
def test_rendering(num_points: int, threads: int, measure: Measure) -> None:
    """Rays, light, color, exposure: views a second are the batch over the time."""
    measure(lambda n: rendering_case(n, threads), num_points)
