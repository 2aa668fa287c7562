"""The weight of a term that holds its gradient at a stated share of the other terms' gradient."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from train.config import MethodConfig, method_flag, require
from train.core.distributed import sum_over_processes
from train.methods.terms import LossTerm
from train.networks.protocol import Network

EVERY = 10
"""Steps from one measurement to the next; each costs two more passes back through the student."""

MEMORY = 0.5
"""How much of the running mean one measurement leaves.

Norms fall by an order of magnitude within a hundred steps, each term's differently: with a long
memory, or with a mean of the norms themselves, which their large first values govern, shares of 0.5
and 1.2 came out where 0.3 was asked for.
"""


def check_balance(config: MethodConfig, balance: str, weight: str | None) -> None:
    """Refuse a share that is none, and a weight that was given beside it.

    Parameters
    ----------
    config
        The options of a method.
    balance, weight
        Their fields; no weight for a term that has none of its own.

    Raises
    ------
    UserError
        If they do not fit.
    """
    share, flag = getattr(config, balance), method_flag(balance)
    hint = "0 for a fixed weight, or a share above 0, 0.25 for example"
    require(0 <= share < math.inf, flag, share, hint)
    if weight is not None and share > 0:
        given, usual = getattr(config, weight), getattr(type(config), weight)
        hint = f"--{flag} sets the weight; leave one of them out"
        require(given == usual, method_flag(weight), given, hint)


class GradientBalance(nn.Module):
    """Sets a term's weight by the norms of gradients at the student's parameters.

    The norms of the term's gradient and of that of all others together are measured every `EVERY`
    calls; the weight is `share` times the exponential geometric mean of their ratio, which is part
    of the module's state, so that a run that goes on has the same weights.

    Parameters
    ----------
    share
        Norm of the weighted term's gradient over that of the sum of the other terms, above 0.

    Notes
    -----
    In the spirit of GradNorm (Chen et al., ICML 2018, "GradNorm: Gradient Normalization for
    Adaptive Loss Balancing in Deep Multitask Networks"), with the share given and nothing learned.
    """

    def __init__(self, share: float) -> None:
        super().__init__()
        if not 0 < share < float("inf"):
            raise ValueError(f"GradientBalance: share is {share}; pass a finite number above 0")
        self.share = share
        # No buffers: on a GPU the weight, which is the host's, would wait for them at every step.
        self._calls = 0
        # Running sums of the logarithm of the ratio (others over term) and of its measurements.
        self._log_ratio, self._count = 0.0, 0.0
        self._measured: list[float] | None = None

    def extra_repr(self) -> str:
        """Return the share, for the module's repr."""
        return f"share={self.share}"

    def get_extra_state(self) -> Tensor:
        """Return (3,) float64: the number of calls, the sums of log ratios and of measurements."""
        return torch.tensor([self._calls, self._log_ratio, self._count], dtype=torch.float64)

    def set_extra_state(self, state: Tensor) -> None:
        """Go on from what `get_extra_state` returned."""
        calls, self._log_ratio, self._count = state.tolist()
        self._calls = int(calls)

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
        if torch.is_grad_enabled() and self._calls % EVERY == 0:
            others = torch.stack([t.weight * t.value.sum() for n, t in terms.items() if n != name])
            parameters = [p for p in student.parameters() if p.requires_grad]
            both = [_gradient_norm(value, parameters) for value in (term.value.sum(), others.sum())]
            self._measured = torch.stack(both).tolist()
        # A term without a gradient has nothing to be weighted.
        weight = 0.0
        if self._count > 0:
            weight = self.share * math.exp(self._log_ratio / self._count)
        elif self._measured is not None and self._measured[0] > 0:  # nothing else to go by yet
            weight = self.share * self._measured[1] / self._measured[0]
        stats = {**term.stats, "weight": term.value.detach().new_full((), weight)}
        return LossTerm(term.value, weight, term.unit, count=term.count, stats=stats)

    def synchronize(self) -> None:
        """Take the step's measurement into the running mean; called by all processes.

        The norms are means over processes of those of each one's own part of the batch. A
        measurement with a norm of 0 has no ratio and counts for nothing.
        """
        if self._calls % EVERY == 0:
            own = [0.0, 0.0] if self._measured is None else self._measured
            of_term, of_others = sum_over_processes(torch.tensor(own, dtype=torch.float64)).tolist()
            if of_term > 0 and of_others > 0:
                self._log_ratio = MEMORY * self._log_ratio + math.log(of_others / of_term)
                self._count = MEMORY * self._count + 1.0
        self._measured = None
        self._calls += 1


def _gradient_norm(value: Tensor, parameters: list[nn.Parameter]) -> Tensor:
    gradients = torch.autograd.grad(value, parameters, retain_graph=True, allow_unused=True)
    reached = [gradient for gradient in gradients if gradient is not None]
    return torch.nn.utils.get_total_norm(reached).to(value.device)
