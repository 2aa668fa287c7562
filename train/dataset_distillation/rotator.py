"""The rotator: brings a cloud to a canonical orientation, whatever its rotation (Section 4.1).

The paper's text: PCA gives axes up to eight sign flips; odd functions of the coordinates, averaged
over the points, have the flips' signs, so that multiplying by these signs undoes the flips
(Eq. 4-6). What the authors run has no parameters: the sign of the mean of sin(x). The sign has no
gradient, so the learned weights of the text are never trained by it; `straight-through`, which is
ours, passes the gradient of tanh.

Shape letters: B clouds, N points, T periods of the Fourier features.
"""

from typing import Final, Literal, NamedTuple, get_args

import torch
from torch import Tensor, nn

Mode = Literal["none", "pca", "frozen", "straight-through"]
"""Leave clouds as they are; PCA alone; signs without parameters; signs with learned weights."""
MODES: Final = get_args(Mode)

EIGENVALUE_GAP: Final = 1e-3
"""Two eigenvalues nearer than this share of the largest one leave their axes undefined."""
CLEAR_SCORE: Final = 2.0
"""Standard errors below which a score does not decide its sign: another sample of the same shape
might turn it over."""


class Axes(NamedTuple):
    """Principal axes of clouds.

    Attributes
    ----------
    vectors
        (B, 3, 3): columns are axes, by falling variance. About z alone: the third is z itself.
    degenerate
        (B,) bool: two of the axes are interchangeable, so that PCA says nothing about them.
    """

    vectors: Tensor
    degenerate: Tensor


class Canonical(NamedTuple):
    """Clouds in canonical orientation.

    Attributes
    ----------
    points
        (B, N, 3).
    signs
        (B, 3) of +1 and -1, what PCA's coordinates were multiplied with.
    degenerate
        (B,) bool: equal eigenvalues. Two rotations of such a cloud may end differently.
    ambiguous
        (B,) bool: a sign that the cloud's points do not decide, because it is symmetric along that
        axis. A cloud without noise still ends in one orientation; another sample of the shape may
        end in another.
    """

    points: Tensor
    signs: Tensor
    degenerate: Tensor
    ambiguous: Tensor


def principal_axes(points: Tensor, *, upright: bool = False, proper: bool = False) -> Axes:
    """Return the eigenvectors of the clouds' covariances; no gradient flows through them.

    Parameters
    ----------
    points
        (B, N, 3), finite, of any mean.
    upright
        Look at x and y alone and leave z where it is: for LiDAR, where gravity is known.
    proper
        Turn the last axis but z over where the axes would mirror the cloud.
    """
    with torch.no_grad():
        centered = (points - points.mean(dim=1, keepdim=True)).double()
        width = 2 if upright else 3
        flat = centered[..., :width]
        covariance = flat.transpose(1, 2) @ flat / flat.shape[1]
        values, vectors = torch.linalg.eigh(covariance)
        values, vectors = values.flip(-1), vectors.flip(-1)
        gaps = (values[:, :-1] - values[:, 1:]).amin(dim=1)
        degenerate = gaps <= EIGENVALUE_GAP * values[:, 0].clamp_min(1e-30)
        if upright:
            whole = torch.zeros(len(points), 3, 3, dtype=vectors.dtype, device=vectors.device)
            whole[:, :2, :2], whole[:, 2, 2] = vectors, 1.0
            vectors = whole
        if proper:
            mirrors = torch.linalg.det(vectors) < 0
            vectors[mirrors, :, 1 if upright else 2] *= -1.0
        return Axes(vectors.to(points.dtype), degenerate)


class Rotator(nn.Module):
    """Turns clouds to a canonical orientation.

    Parameters
    ----------
    mode
        See `Mode`.
    proper
        Use the four sign flips that are rotations, and never mirror a cloud: where the product of
        axes and signs would mirror, the sign that the cloud decides least is turned over.
    upright
        Turn about z alone.
    periods
        T, of `straight-through`: the features are sin(x), ..., sin(T x) (Eq. 5).
    w0
        Of `frozen`: the score is the mean of sin(w0 x).

    Notes
    -----
    The weights of `straight-through` start with the first at 1 and the others at 0, so that it
    begins as `frozen`. They have no bias, and neither has anything else here: the score must be an
    odd function of the coordinates, or the product would depend on the flips. SIREN layers, which
    the paper's listing uses here, have biases.
    """

    def __init__(
        self,
        mode: Mode = "frozen",
        *,
        proper: bool = False,
        upright: bool = False,
        periods: int = 16,
        w0: float = 1.0,
    ) -> None:
        super().__init__()
        if mode not in MODES:
            raise ValueError(f"mode is {mode!r}; give one of {', '.join(MODES)}")
        if periods < 1:
            raise ValueError(f"periods is {periods}; give at least 1")
        self.mode, self.proper, self.upright, self.w0 = mode, proper, upright, w0
        self.weights: nn.Parameter | None = None
        if mode == "straight-through":
            start = torch.zeros(periods)
            start[0] = 1.0
            self.weights = nn.Parameter(start)

    @property
    def trained(self) -> bool:
        """Whether it has weights."""
        return self.weights is not None

    def forward(self, points: Tensor, *, align: bool = True) -> Tensor:
        """Return clouds (B, N, 3) in canonical orientation; see `canonical`."""
        return self.canonical(points, align=align).points

    def canonical(self, points: Tensor, *, align: bool = True) -> Canonical:
        """Return clouds in canonical orientation, and where that is undefined.

        Parameters
        ----------
        points
            (B, N, 3).
        align
            Center the clouds and project them on their principal axes first. Clouds that were
            aligned before, and generated ones, are given their signs alone, as the authors do.
        """
        batch = len(points)
        no = torch.zeros(batch, dtype=torch.bool, device=points.device)
        if self.mode == "none":
            return Canonical(points, points.new_ones(batch, 3), no, no)
        degenerate = no
        if align:
            axes, degenerate = principal_axes(points, upright=self.upright, proper=self.proper)
            points = (points - points.mean(dim=1, keepdim=True)) @ axes
        if self.mode == "pca":
            return Canonical(points, points.new_ones(batch, 3), degenerate, no)
        scores = self._scores(points)
        decided = self._decided(points.detach(), scores.detach())
        if self.upright:  # z keeps its sign, whatever its score
            decided = torch.cat([decided[:, :2], torch.full_like(decided[:, 2:], torch.inf)], dim=1)
        signs = self._signs(scores)
        if self.upright:
            signs = torch.cat([signs[:, :2], torch.ones_like(signs[:, 2:])], dim=1)
        if self.proper:
            # The axes do not mirror, so the signs alone decide.
            mirrors = signs.detach().prod(dim=1) < 0
            turn = torch.ones_like(signs)
            turn.scatter_(1, decided.argmin(dim=1, keepdim=True), -1.0)
            signs = torch.where(mirrors[:, None], signs * turn, signs)
        ambiguous = decided.amin(dim=1) <= CLEAR_SCORE
        return Canonical(points * signs[:, None], signs, degenerate, ambiguous)

    def _scores(self, points: Tensor) -> Tensor:
        """Return (B, 3), an odd function of each coordinate."""
        frequencies, weights = self._series(points)
        return torch.sin(points[..., None] * frequencies).mean(dim=1) @ weights

    def _series(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Return frequencies and weights (T,) of the odd function; one each without weights."""
        if self.weights is None:
            return points.new_tensor([self.w0]), points.new_ones(1)
        periods = torch.arange(1, len(self.weights) + 1, dtype=points.dtype, device=points.device)
        return periods, self.weights.to(points.dtype)

    @torch.no_grad()
    def _decided(self, points: Tensor, scores: Tensor) -> Tensor:
        """Return (B, 3) how many standard errors the scores are away from 0.

        Clouds are centered on the mean of their own points, which takes a share of the noise away:
        what is left of a point's is f(x) - x mean(f'), f the odd function.
        """
        frequencies, weights = self._series(points)
        angles = points[..., None] * frequencies
        slopes = (torch.cos(angles) * frequencies @ weights).mean(dim=1, keepdim=True)
        left = torch.sin(angles) @ weights - points * slopes
        errors = left.std(dim=1) / points.shape[1] ** 0.5
        errors = errors.clamp_min(torch.finfo(points.dtype).tiny)
        return torch.div(scores.abs(), errors)

    def _signs(self, scores: Tensor) -> Tensor:
        """Return +1 and -1; 0 counts as +1, so that nothing vanishes."""
        signs = torch.where(scores >= 0, 1.0, -1.0).to(scores.dtype)
        if not self.trained:
            return signs
        soft = torch.tanh(scores)
        return signs + (soft - soft.detach())  # exactly a sign: the parenthesis is 0
