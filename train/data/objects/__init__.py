"""Sets of labeled object clouds: one record, our own folder, and the layouts of public sets."""

from train.data.objects.clouds import ObjectClouds
from train.data.objects.folder import read_folder, write_folder
from train.data.objects.read import LAYOUTS, read_objects

__all__ = ["LAYOUTS", "ObjectClouds", "read_folder", "read_objects", "write_folder"]
