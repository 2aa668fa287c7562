"""The options of the topological loss: declared, explained and checked here, once.

`fast.topological_loss` and `fast.TopologicalLoss` take them as arguments; a frozen dataclass of a
caller's own may inherit them.
"""

from dataclasses import dataclass, fields
from typing import Any, Final, Literal, get_args

from fast.chamfer import PrecisionWeight
from fast.checks import as_choice, as_integer, as_nonnegative, as_positive, as_weights
from fast.normalisation import Normalisation
from fast.sampling import Sampling

SampleOn = Literal["teacher", "student", "concat"]
DiagramLoss = Literal["pwcd", "sinkhorn", "edges", "wasserstein"]

ARGUMENTS: Final = {"normalization": "normalisation", "diagram_distance": "loss"}
"""Options whose argument of the public functions has another name."""


@dataclass(frozen=True, kw_only=True)
class SamplingOptions:
    """Which points of a cloud are compared.

    Raises
    ------
    ValueError
        If an option is out of range.
    """

    num_samples: int = 1024
    """Points of a cloud that are compared (Algorithm 1); a smaller cloud keeps all of its own."""
    normalization: Normalisation = "l2"
    """How features are normalized before sampling and distances (Algorithm 1, step 1)."""
    sampling: Sampling = "farthest"
    """How points are sampled: farthest-point (Algorithm 1), uniformly, or half by each."""

    def __post_init__(self) -> None:
        function = type(self).__name__
        self._set("num_samples", as_integer(function, "num_samples", self.num_samples, least=1))
        self._refuse_others(normalization=Normalisation, sampling=Sampling)

    def _refuse_others(self, **choices: Any) -> None:
        for name, known in choices.items():
            as_choice(type(self).__name__, name, getattr(self, name), get_args(known))

    def _set(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)  # frozen from here on


@dataclass(frozen=True, kw_only=True)
class TopologyOptions(SamplingOptions):
    """How the topology of two networks' features is compared.

    Raises
    ------
    ValueError
        If an option is out of range.
    """

    sample_on: SampleOn = "teacher"
    """Whose features choose the sampled points (Algorithm 1 takes the teacher's)."""
    diagram_distance: DiagramLoss = "pwcd"
    """What is compared: the diagrams by the paper's distance, by entropic transport (Table 11) or
    by exact Wasserstein-2 (H0 alone), or the distances at their critical edges."""
    sinkhorn_eps: float = 0.1
    """Weight of the entropy with sinkhorn, in squared units of the distances."""
    sinkhorn_relative: bool = False
    """Take the weight of the entropy as a share of the largest cost of each pair of diagrams."""
    dim_weights: tuple[float, ...] = (1.0, 1.0)
    """Weights of H0 and of H1; the paper adds them evenly. One weight leaves H1 out."""
    cost_scale: float = 1.0
    """Factor of the squared distance between two pairs; 0.5 reads Algorithm 2 to the letter."""
    eps: float = 1e-8
    """Stabilizer of the sum of the pairs' weights (Eq. 2)."""
    precision_weight: PrecisionWeight = "uniform"
    """Weight of a student's pair: 1/K (Eq. 3), or by persistence as the teacher's."""
    min_persistence: float = 0.0
    """Teacher pairs of smaller persistence do not count."""

    def __post_init__(self) -> None:
        super().__post_init__()
        function, weights = type(self).__name__, self.dim_weights
        self._set("dim_weights", tuple(as_weights(function, "dim_weights", weights, None)))
        for name in ("eps", "cost_scale", "sinkhorn_eps"):
            self._set(name, as_positive(function, name, getattr(self, name)))
        least = as_nonnegative(function, "min_persistence", self.min_persistence)
        self._set("min_persistence", least)
        self._refuse_others(
            sample_on=SampleOn, diagram_distance=DiagramLoss, precision_weight=PrecisionWeight
        )
        if self.diagram_distance == "wasserstein" and any(self.dim_weights[1:]):
            raise ValueError(
                f"{function}: dim_weights is {self.dim_weights}; 'wasserstein' is defined for "
                "dimension 0 alone, pass (w, 0.0) or one weight"
            )

    def arguments(self) -> dict[str, Any]:
        """Return the options as keyword arguments of `fast.TopologicalLoss`."""
        names = [field.name for field in fields(TopologyOptions)]
        return {ARGUMENTS.get(name, name): getattr(self, name) for name in names}


def options_of(function: str, **arguments: Any) -> TopologyOptions:
    """Return the options that a public function was given; errors name it and its arguments."""
    of_argument = {argument: name for name, argument in ARGUMENTS.items()}
    try:
        return TopologyOptions(**{of_argument.get(n, n): value for n, value in arguments.items()})
    except ValueError as error:
        name, _, told = str(error).removeprefix("TopologyOptions: ").partition(" ")
        raise ValueError(f"{function}: {ARGUMENTS.get(name, name)} {told}") from None
