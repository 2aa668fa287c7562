"""Files in the layouts of Pointcept and LitePT, made of our own networks."""

import numpy as np
import torch

from train.networks.official.ptv3 import to_pointcept_keys


def write_official(path, network, *, wrapped=True, change=lambda state: state, **more):
    """Write a file as Pointcept's trainer does, keys with the prefix of a wrapped network."""
    content = {
        "epoch": 50,
        "state_dict": change(to_pointcept_keys(network.state_dict(), wrapped=wrapped)),
        "optimizer": {"state": {}, "param_groups": [{"lr": 0.002}]},
        "scheduler": {"last_epoch": 7},
        "scaler": None,
        "best_metric_value": np.float64(0.783),
    } | more
    torch.save(content, path)
    return path


class Bomb:
    """Unpickling this would create a file."""

    def __init__(self, mark):
        self.mark = str(mark)

    def __reduce__(self):
        return (open, (self.mark, "w"))
