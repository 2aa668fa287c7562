"""Pictures of diagrams and of what is made of them: `fast.plot` under the front door.

Needs matplotlib (`pip install 'topodistill[plot]'`), which is loaded when a picture is drawn.
"""

from topodistill.shadowing import refuse_shadowed

refuse_shadowed("fast", "reference")

from fast.plot import (  # noqa: E402  (only once it is known to be ours)
    plot_barcode,
    plot_critical_edges,
    plot_curves,
    plot_diagram,
    plot_image,
    plot_matching,
)

__all__ = [
    "plot_barcode",
    "plot_critical_edges",
    "plot_curves",
    "plot_diagram",
    "plot_image",
    "plot_matching",
]
