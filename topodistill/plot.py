"""Pictures of diagrams, barcodes, critical edges and matchings: `fast.plot` under the front door.

Needs matplotlib (`pip install 'topodistill[plot]'`), which is loaded when a picture is drawn.
"""

from topodistill.shadowing import refuse_shadowed

refuse_shadowed("fast", "reference")

from fast.plot import (  # noqa: E402  (only once it is known to be ours)
    plot_barcode,
    plot_critical_edges,
    plot_diagram,
    plot_matching,
)

__all__ = ["plot_barcode", "plot_critical_edges", "plot_diagram", "plot_matching"]
