"""The options of the topological loss, checked in one place for the function and the module."""

from collections.abc import Sequence
from dataclasses import InitVar, dataclass
from typing import Literal, get_args

from fast.chamfer import PrecisionWeight
from fast.checks import as_choice, as_integer, as_nonnegative, as_positive, as_weights
from fast.normalisation import Normalisation
from fast.sampling import Sampling

SampleOn = Literal["teacher", "student", "concat"]
DiagramLoss = Literal["pwcd", "sinkhorn", "edges", "wasserstein"]


@dataclass(frozen=True, kw_only=True)
class TopologyOptions:
    """What `fast.topological_loss` and `fast.TopologicalLoss` have in common.

    Parameters
    ----------
    function
        Whose options these are: the name that errors begin with. Not kept.
    max_dim
        Highest homology dimension, 0 or 1; None if `dim_weights` says it.

    Attributes
    ----------
    num_samples
        Points of each cloud to keep for the diagrams; a smaller cloud keeps all of its own.
    normalisation
        See `fast.normalise`.
    dim_weights
        Weight of each dimension's loss, one per dimension from 0 to `max_dim`.
    eps, cost_scale, precision_weight, min_persistence
        See `fast.persistence_weighted_chamfer`; used if `loss` is "pwcd".
    sample_on
        Whose normalized features are sampled: "teacher", "student" or "concat".
    start
        Index of the first farthest sample of each cloud.
    backend
        Which kernels; None: those of the tensors' device.
    loss
        How diagrams are compared: "pwcd", "sinkhorn", "edges" or "wasserstein", which is
        defined for H0 alone and refuses a weight for H1.
    sinkhorn_eps, sinkhorn_relative
        `eps` and `relative` of `fast.entropic_transport`; used if `loss` is "sinkhorn".
    sampling
        How points are sampled: "farthest", "random" or "mixed", see `fast.sample_points`.

    Raises
    ------
    ValueError
        If an option is out of range.
    """

    function: InitVar[str]
    max_dim: InitVar[int | None] = None
    num_samples: int
    normalisation: Normalisation
    dim_weights: Sequence[float]
    eps: float
    cost_scale: float
    precision_weight: PrecisionWeight
    min_persistence: float
    sample_on: SampleOn
    start: int
    backend: str | None
    loss: DiagramLoss
    sinkhorn_eps: float
    sinkhorn_relative: bool
    sampling: Sampling

    def __post_init__(self, function: str, max_dim: int | None) -> None:
        if max_dim is not None:
            num_dims = as_integer(function, "max_dim", max_dim, least=0) + 1
            if num_dims > 2:
                raise ValueError(
                    f"{function}: max_dim is {max_dim}; pass 0 or 1 "
                    "(reference.topological_loss has no limit)"
                )
        else:
            num_dims = len(self.dim_weights)
            if num_dims not in (1, 2):
                raise ValueError(
                    f"{function}: dim_weights has {num_dims} entries; pass 1 (H0) or 2 (H0, H1)"
                )
        checked = {
            "num_samples": as_integer(function, "num_samples", self.num_samples, least=1),
            "dim_weights": tuple(as_weights(function, "dim_weights", self.dim_weights, num_dims)),
            "eps": as_positive(function, "eps", self.eps),
            "cost_scale": as_positive(function, "cost_scale", self.cost_scale),
            "min_persistence": as_nonnegative(function, "min_persistence", self.min_persistence),
            "start": as_integer(function, "start", self.start, least=0),
            "sinkhorn_eps": as_positive(function, "sinkhorn_eps", self.sinkhorn_eps),
        }
        for name, value in checked.items():
            object.__setattr__(self, name, value)  # frozen from here on
        for name, choices in {
            "normalisation": Normalisation,
            "precision_weight": PrecisionWeight,
            "sample_on": SampleOn,
            "loss": DiagramLoss,
            "sampling": Sampling,
        }.items():
            as_choice(function, name, getattr(self, name), get_args(choices))
        if self.loss == "wasserstein" and any(self.dim_weights[1:]):
            raise ValueError(
                f"{function}: dim_weights is {self.dim_weights}; loss 'wasserstein' is defined for "
                "dimension 0 alone, pass (w, 0.0) or one weight"
            )

    @property
    def num_dims(self) -> int:
        """How many homology dimensions count."""
        return len(self.dim_weights)
