"""The weight of a term that holds its gradient at a stated share of the other terms' gradient."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from train.core.distributed import sum_over_processes
from train.methods.protocol import LossTerm
from train.networks.protocol import Network

EVERY = 10
"""Steps from one measurement to the next; each costs two more passes back through the student."""

MEMORY = 0.9
"""How much of the running means one measurement leaves."""


class GradientBalance(nn.Module):
    """Sets a term's weight by the norms of gradients at the student's parameters.

    The norms of the term's gradient and of that of all others together are measured every `EVERY`
    calls; the weight is `share` times the ratio of their exponential means. Both means are part of
    the module's state, so that a run that goes on has the same weights.

    Parameters
    ----------
    share
        Norm of the weighted term's gradient over that of the sum of the other terms, above 0.

    Notes
    -----
    In the spirit of GradNorm (Chen et al., ICML 2018, "GradNorm: Gradient Normalization for
    Adaptive Loss Balancing in Deep Multitask Networks"), with the share given and nothing learned.
    """

    calls: Tensor
    norms: Tensor

    def __init__(self, share: float) -> None:
        super().__init__()
        if not 0 < share < float("inf"):
            raise ValueError(f"GradientBalance: share is {share}; pass a finite number above 0")
        self.share = share
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))
        # Running sums of the two norms; their common factor cancels in the ratio.
        self.register_buffer("norms", torch.zeros(2, dtype=torch.float64))
        self._measured: Tensor | None = None

    def extra_repr(self) -> str:
        """Return the share, for the module's repr."""
        return f"share={self.share}"

    def weighted(self, terms: Mapping[str, LossTerm], name: str, student: Network) -> LossTerm:
        """Return a term with the weight that balances it against the others.

        Parameters
        ----------
        terms
            All terms of the step; the weight that `name` has is not looked at.
        name
            The term to be weighted.
        student
            Its parameters are where gradients are measured.
        """
        term = terms[name]
        norms = self.norms
        if torch.is_grad_enabled() and int(self.calls) % EVERY == 0:
            others = torch.stack([t.weight * t.value.sum() for n, t in terms.items() if n != name])
            parameters = [p for p in student.parameters() if p.requires_grad]
            self._measured = torch.stack(
                [_gradient_norm(value, parameters) for value in (term.value.sum(), others.sum())]
            ).double()
            if not bool(norms.any()):  # nothing to go by but this very step
                norms = self._measured
        of_term, of_others = norms.tolist()
        # A term without a gradient has nothing to be weighted.
        weight = self.share * of_others / of_term if of_term > 0 else 0.0
        stats = {**term.stats, "weight": term.value.detach().new_tensor(weight)}
        return LossTerm(term.value, weight, term.unit, count=term.count, stats=stats)

    def synchronize(self) -> None:
        """Take the step's measurement into the running means; called by all processes.

        The norms are means over processes of those of each one's own part of the batch.
        """
        if int(self.calls) % EVERY == 0:
            measured = self._measured
            own = torch.zeros(3, dtype=torch.float64)
            if measured is not None:
                own = torch.cat([measured.cpu(), torch.ones(1, dtype=torch.float64)])
            *norms, count = sum_over_processes(own).tolist()
            if count > 0:
                mean = self.norms.new_tensor(norms) / count
                self.norms.mul_(MEMORY).add_(mean)
        self._measured = None
        self.calls += 1


def _gradient_norm(value: Tensor, parameters: list[nn.Parameter]) -> Tensor:
    gradients = torch.autograd.grad(value, parameters, retain_graph=True, allow_unused=True)
    return torch.nn.utils.get_total_norm([g for g in gradients if g is not None])
