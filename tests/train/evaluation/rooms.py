"""Labeled rooms as a source of frames; some cannot be read, some have no labels."""

import dataclasses
import time

from tests.train.conftest import _room
from train.core.errors import UserError

CLASSES = ("floor", "wall", "ball", "nothing")


class Rooms:
    """Rooms by name, or by number, "room/0"; it counts how often one was read."""

    skipped_unlabeled = 0

    def __init__(self, names, broken=(), unlabeled=(), seconds=0.0):
        self.names, self.broken, self.unlabeled = (
            [f"room/{each}" if isinstance(each, int) else each for each in some]
            for some in (names, broken, unlabeled)
        )
        self.seconds, self.reads = seconds, 0

    def __len__(self):
        return len(self.names)

    def __getitem__(self, index):
        name = self.names[index]
        self.reads += 1
        time.sleep(self.seconds)
        if name in self.broken:
            raise UserError(f"{name}: is damaged")
        room = _room(sum(name.encode()), None)
        segment = None if name in self.unlabeled else room.segment
        return dataclasses.replace(room, segment=segment, name=name)
