"""The definition: topological distillation in plain numpy, float64, one cloud at a time.

Written to be read beside the paper; `reference/README.md` says where each formula is. Everything
faster is judged by what these functions return.
"""

from reference.chamfer import persistence_weighted_chamfer, persistence_weighted_chamfer_grad
from reference.critical_edges import critical_edge_matching, critical_edge_matching_grad
from reference.diagram import Diagram
from reference.distances import enclosing_radius, pairwise_distances
from reference.distillation import kl_distillation, topological_loss, total_loss
from reference.image_scale import ImageScale
from reference.normalisation import normalise, normalise_grad, normalize, normalize_grad
from reference.persistence_curves import (
    betti_curve,
    betti_curve_grad,
    default_grid,
    persistence_landscape,
    persistence_landscape_grad,
)
from reference.persistence_image import (
    fit_persistence_image,
    persistence_image,
    persistence_image_grad,
)
from reference.persistence_summaries import (
    persistent_entropy,
    persistent_entropy_grad,
    total_persistence,
    total_persistence_grad,
)
from reference.rips import representative_cycles, rips_persistence
from reference.routing import route_to_distances, route_to_points
from reference.saliency import channel_weights, saliency_loss, saliency_map
from reference.sampling import covering_radius, sample_points, topology_preserving_sampling
from reference.signature_loss import signature_loss, signature_loss_grad
from reference.sliced_wasserstein import sliced_wasserstein, sliced_wasserstein_grad
from reference.transport import (
    Transport,
    entropic_transport,
    entropic_transport_grad,
    gradient_entropy,
)
from reference.wasserstein import sorted_wasserstein, sorted_wasserstein_grad
from reference.wasserstein_distance import (
    bottleneck_distance,
    bottleneck_distance_grad,
    wasserstein_distance,
    wasserstein_distance_grad,
    wasserstein_matching,
)

__all__ = [
    "Diagram",
    "ImageScale",
    "Transport",
    "betti_curve",
    "betti_curve_grad",
    "bottleneck_distance",
    "bottleneck_distance_grad",
    "channel_weights",
    "covering_radius",
    "critical_edge_matching",
    "critical_edge_matching_grad",
    "default_grid",
    "enclosing_radius",
    "entropic_transport",
    "entropic_transport_grad",
    "fit_persistence_image",
    "gradient_entropy",
    "kl_distillation",
    "normalise",
    "normalise_grad",
    "normalize",
    "normalize_grad",
    "pairwise_distances",
    "persistence_image",
    "persistence_image_grad",
    "persistence_landscape",
    "persistence_landscape_grad",
    "persistence_weighted_chamfer",
    "persistence_weighted_chamfer_grad",
    "persistent_entropy",
    "persistent_entropy_grad",
    "representative_cycles",
    "rips_persistence",
    "route_to_distances",
    "route_to_points",
    "saliency_loss",
    "saliency_map",
    "sample_points",
    "signature_loss",
    "signature_loss_grad",
    "sliced_wasserstein",
    "sliced_wasserstein_grad",
    "sorted_wasserstein",
    "sorted_wasserstein_grad",
    "topological_loss",
    "topology_preserving_sampling",
    "total_loss",
    "total_persistence",
    "total_persistence_grad",
    "wasserstein_distance",
    "wasserstein_distance_grad",
    "wasserstein_matching",
]
