"""What the server of processes.py has loaded before it forks: all that runs and their tests need.

Nothing may start a thread here: those of a process that forks are gone in its children.
"""

import hypothesis  # noqa: F401
import pytest  # noqa: F401
import torch._dynamo  # noqa: F401
from numba.core.registry import cpu_target

import fast.kernels.distances.distances_cpu
import fast.kernels.distances.routing_cpu
import fast.kernels.rips.rips_cpu
import fast.kernels.sampling.sampling_cpu
import fast.kernels.transport.chamfer_cpu  # noqa: F401
import tests.train.conftest  # noqa: F401
import train.engine.event_file
import train.engine.stages
import train.report.write  # noqa: F401
from tests.train.toy_runs import flags
from train.engine.command_line import parse
from train.methods.registry import METHODS, method_class

# Numba loads what its own functions are made of with the first that it compiles or reads, tyro with
# the first command line.
cpu_target.typing_context.refresh()
cpu_target.target_context.refresh()
parse(flags("data", "run"))
for name in METHODS:
    method_class(name)
