"""Sets of labeled object clouds: our own folder, the layouts of public sets, and simulated ones."""

from train.dataset_distillation.clouds import PointClouds
from train.dataset_distillation.objects.read import LAYOUTS, read_folder, read_objects, write_folder

__all__ = ["LAYOUTS", "PointClouds", "read_folder", "read_objects", "write_folder"]
