"""Brings a generator near real clouds before it is distilled: a start that the paper does not have.

"A major drawback is that the generator cannot take original data as initialization" (Section 4.4).
It can: a walk through a cloud's points, each to the nearest one that was not visited, makes of the
cloud a curve over [0, 1], and noise is a place on it. The generator learns the curves by squared
distance, without any network.

Shape letters: S clouds, N points.
"""

import torch
from torch import Tensor

from train.dataset_distillation.chance import generator_for
from train.dataset_distillation.generator import PointGenerator, draw_noise

RATE = 2e-3
_DRAWS = 5
_PLACES = 3072
"""Places on all curves together that a step looks at, and the fewest on one."""
_FEWEST = 16


def fit_to(
    generator: PointGenerator,
    clouds: Tensor,
    seed: int,
    *,
    steps: int,
    rate: float = RATE,
) -> float:
    """Train a generator to make given clouds; return the mean squared distance at the end.

    Parameters
    ----------
    generator
        Of as many clouds; is trained in place.
    clouds
        (S, N, 3), of its classes in order.
    seed
        Of the draws.
    steps, rate
        Of Adam; the rate falls to a tenth at three quarters.

    Raises
    ------
    ValueError
        If there are not as many clouds as the generator makes.
    """
    if len(clouds) != generator.spec.num_clouds:
        raise ValueError(
            f"clouds are {len(clouds)}; give {generator.spec.num_clouds}, one for each that the "
            "generator makes"
        )
    device = generator.decoder.weight.device
    curves = torch.stack([cloud[walk(cloud)] for cloud in clouds]).to(device)
    index = torch.arange(len(clouds), device=device)
    optimizer = torch.optim.Adam(generator.parameters(), lr=rate)
    chance = generator_for(seed, _DRAWS)
    places = max(_FEWEST, _PLACES // len(clouds))
    error = torch.zeros((), device=device)
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = rate * (0.1 if 4 * step >= 3 * steps else 1.0)
        noise = draw_noise(len(clouds), places, chance).to(device)
        error = (generator(noise, index) - at(curves, noise)).square().sum(dim=-1).mean()
        optimizer.zero_grad(set_to_none=True)
        error.backward()
        optimizer.step()
    return float(error.detach())


def walk(cloud: Tensor) -> Tensor:
    """Return an order (N,) of a cloud's points: from the lowest, always to the nearest one left."""
    apart = torch.cdist(cloud, cloud)
    order = [int(cloud[:, 2].argmin())]
    for _ in range(len(cloud) - 1):
        apart[:, order[-1]] = torch.inf
        order.append(int(apart[order[-1]].argmin()))
    return torch.tensor(order)


def at(curves: Tensor, places: Tensor) -> Tensor:
    """Return the points (S, M, 3) at places (S, M) between 0 and 1 of curves (S, N, 3)."""
    last = curves.shape[1] - 1
    where = places * last
    begin = where.floor().clamp(0, max(last - 1, 0)).long()
    share = (where - begin)[..., None]
    first, second = (
        curves.gather(1, rows.clamp_max(last)[..., None].expand(-1, -1, 3))
        for rows in (begin, begin + 1)
    )
    return first + share * (second - first)
