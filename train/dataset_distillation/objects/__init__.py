"""Sets of labeled object clouds: one record, our own folder, and the layouts of public sets."""

from train.dataset_distillation.clouds import PointClouds
from train.dataset_distillation.objects.folder import read_folder, write_folder
from train.dataset_distillation.objects.read import LAYOUTS, read_objects

__all__ = ["LAYOUTS", "PointClouds", "read_folder", "read_objects", "write_folder"]
