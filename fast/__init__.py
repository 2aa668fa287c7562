"""The losses and the topology behind them on torch tensors: batched, differentiable, fast."""

from fast.chamfer import persistence_weighted_chamfer
from fast.compiler import warm_up
from fast.critical_edges import critical_edge_matching
from fast.diagram import BatchedDiagram
from fast.diagram_layouts import (
    PersistenceInformation,
    diagrams_from_giotto,
    diagrams_from_gudhi,
    diagrams_from_torch_topological,
    diagrams_to_giotto,
    diagrams_to_gudhi,
    diagrams_to_torch_topological,
)
from fast.distances import pairwise_distances
from fast.distillation import kl_distillation, topological_loss
from fast.layers import (
    BettiCurveLayer,
    PersistenceImageLayer,
    PersistenceLandscapeLayer,
    RipsLayer,
)
from fast.modules import DistillationLoss, SaliencyLoss, TopologicalLoss, TopologyStats
from fast.normalisation import normalise, normalize
from fast.options import TopologyOptions
from fast.persistence_curves import betti_curve, default_grid, persistence_landscape
from fast.persistence_image import fit_persistence_image, persistence_image
from fast.persistence_summaries import persistent_entropy, total_persistence
from fast.representative_cycles import representative_cycles
from fast.rips import rips_persistence, rips_persistence_of_points
from fast.saliency import saliency_loss, saliency_map
from fast.sampling import covering_radius, sample_points, topology_preserving_sampling
from fast.signature_loss import signature_loss
from fast.sliced_wasserstein import sliced_wasserstein
from fast.transport import Transport, entropic_transport, gradient_entropy
from fast.wasserstein import sorted_wasserstein
from fast.wasserstein_distance import (
    bottleneck_distance,
    wasserstein_distance,
    wasserstein_matching,
)
from reference.image_scale import ImageScale

__all__ = [
    "BatchedDiagram",
    "BettiCurveLayer",
    "DistillationLoss",
    "ImageScale",
    "PersistenceImageLayer",
    "PersistenceInformation",
    "PersistenceLandscapeLayer",
    "RipsLayer",
    "SaliencyLoss",
    "TopologicalLoss",
    "TopologyOptions",
    "TopologyStats",
    "Transport",
    "betti_curve",
    "bottleneck_distance",
    "covering_radius",
    "critical_edge_matching",
    "default_grid",
    "diagrams_from_giotto",
    "diagrams_from_gudhi",
    "diagrams_from_torch_topological",
    "diagrams_to_giotto",
    "diagrams_to_gudhi",
    "diagrams_to_torch_topological",
    "entropic_transport",
    "fit_persistence_image",
    "gradient_entropy",
    "kl_distillation",
    "normalise",
    "normalize",
    "pairwise_distances",
    "persistence_image",
    "persistence_landscape",
    "persistence_weighted_chamfer",
    "persistent_entropy",
    "representative_cycles",
    "rips_persistence",
    "rips_persistence_of_points",
    "saliency_loss",
    "saliency_map",
    "sample_points",
    "signature_loss",
    "sliced_wasserstein",
    "sorted_wasserstein",
    "topological_loss",
    "topology_preserving_sampling",
    "total_persistence",
    "warm_up",
    "wasserstein_distance",
    "wasserstein_matching",
]
