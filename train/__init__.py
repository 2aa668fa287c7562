"""The use: train a PTv3 teacher on LiDAR frames and distil it into a student."""

import os

# Before torch loads OpenMP: its threads would spin while they wait for each other, and beside any
# other busy process a step then takes ten times as long. Where the machine is idle it costs little.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
