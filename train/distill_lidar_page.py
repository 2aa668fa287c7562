"""Distilled LiDAR frames against real points, a page: python -m train.distill_lidar_page --help."""

import sys

from train.experiments.distill_lidar.command import main

__all__ = ["main"]

if __name__ == "__main__":
    sys.exit(main())
