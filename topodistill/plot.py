"""Pictures of diagrams and of what is made of them: `fast.plot` under the front door.

Needs matplotlib (`pip install 'topodistill[plot]'`), which is loaded when a picture is drawn.
"""

from topodistill.shadowing import refuse_shadowed

refuse_shadowed("fast", "reference")

from fast.plot import *  # noqa: E402, F403  (only once it is known to be ours)
from fast.plot import __all__ as __all__  # noqa: E402
