"""What chains say of themselves: the figures that an ensemble is judged by."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from harness.vi.short_chains import nested, regions
from harness.vi.short_chains.checks import FAR, doubts
from harness.vi.short_chains.coordinates import located
from harness.vi.short_chains.hmc import Chains
from harness.vi.short_chains.home import FEWEST, travel
from harness.vi.short_chains.kept import kept

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from harness.records import FloatArray
    from harness.vi.short_chains.home import Home
    from harness.vi.short_chains.kept import Kept
    from harness.vi.target import Clock, Target

SUPERCHAIN = 32
"""Chains that start side by side: with fewer, the noise of their mean comes near the limit."""

COMPARED = 64
"""Arrived far chains that are compared with the ensemble, twice as many where that leaves a doubt:
their mean is known to a fraction of the difference that the limit allows."""

FAR_DRAWS = 10
"""Transitions of arrived chains with the common step that are thrown away, and that are kept."""

FEW = 20
"""Chains in a region that are enough for an acceptance of its own; where no region has them, it is
that of all."""

UNSURE = 1.25
"""Factor of the error of tails where there are necks. Few chains have been there and tell it, and
where they are fewer than should be, it is too small."""

Look = Literal["starts", "regions", "whole"]
"""Where a draw counts as: where its chain started, in the region where it is, or in one of all."""


class Frame:
    """Coordinates in which draws are looked at: those of their regions, centred there.

    Where regions are told apart, their shares are the weights', not the chains', and everything
    must mix within a region. In the whole everything must mix, and shares are the chains'.
    """

    def __init__(self, home: Home, look: Look, made: Kept) -> None:
        """Take what chains did as the centre."""
        self.home, self.look = home, look
        x = self._located(made.z, made.value, made.start.part)
        region = self.regions(made.z, made.start.part)
        self.centres = np.zeros((len(home.maps), x.shape[2]))
        for k in np.unique(region):
            self.centres[k] = x[region == k].mean(axis=0)
        self.own = x - self.centres[region]
        """What chains did: centred coordinates and log p, ``(chain, draw, d + 1)``."""

    def regions(self, z: FloatArray, kernel: NDArray[np.intp]) -> NDArray[np.intp]:
        """Return the region of each draw, ``(chain, draw)``."""
        n, draws, d = z.shape
        if self.look == "regions":
            return self.home.parts.nearest(z.reshape(-1, d)).reshape(n, draws)
        own = np.zeros_like(kernel) if self.look == "whole" else kernel
        return np.repeat(own[:, None], draws, axis=1)

    def columns(self, z: FloatArray, value: FloatArray, kernel: NDArray[np.intp]) -> FloatArray:
        """Return centred coordinates and log p, ``(chain, draw, d + 1)``."""
        return self._located(z, value, kernel) - self.centres[self.regions(z, kernel)]

    def _located(self, z: FloatArray, value: FloatArray, kernel: NDArray[np.intp]) -> FloatArray:
        n, draws, d = z.shape
        u = located(self.home.maps, self.regions(z, kernel).ravel(), z.reshape(-1, d))
        return np.concatenate([u.reshape(n, draws, d), value[:, :, None]], axis=2)


class View(NamedTuple):
    """What chains say of themselves in a frame."""

    frame: Frame
    figures: dict[str, float]
    slowest: int | None  # the parameter along whose direction they mix worst


def looked(home: Home, made: Kept, looks: Sequence[Look]) -> list[View]:
    """Return what chains say in each frame."""
    frames = [Frame(home, look, made) for look in looks]
    return [View(frame, *own_figures(frame, made)) for frame in frames]


def own_figures(frame: Frame, made: Kept) -> tuple[dict[str, float], int | None]:
    """Return what chains say of themselves, and the slowest parameter."""
    home, kernel = frame.home, made.start.part
    x = frame.own
    first = frame.columns(made.start.z[:, None], made.start.value[:, None], kernel)[:, 0]
    scores, middle = nested.scores_of(x)
    start = np.concatenate([first, np.abs(first - middle)], axis=1)
    memory = np.abs(nested.rank_correlation(start, scores[:, -1]))
    rhat = nested.rhat_by_start(scores, start, len(start) // SUPERCHAIN)
    apart = frame.look != "whole"
    region = frame.regions(made.z, kernel)
    where = region if apart else home.parts.nearest(made.z.reshape(-1, made.z.shape[2]))
    fit_there = made.kernel == where.reshape(region.shape)
    acceptance = [
        float(made.chance[own].mean())
        for k in range(len(home.maps))
        for own in [fit_there & (made.kernel == k)]
        if np.count_nonzero(own) >= FEW * made.z.shape[1]
    ]
    tail = float(np.max(nested.tail_error(made.z, region[:, 0])))
    figures = {
        "other_mass": home.left,
        "share_error": home.weights.share_error(len(home.maps)) if apart else 0.0,
        "balance": balance(kernel, region[:, -1]) if apart else 0.0,
        "stuck": float(np.mean(~made.moved)),
        "acceptance": min(acceptance, default=float(made.chance.mean())),
        "nested_rhat": float(np.max(rhat)),
        "memory": float(np.max(memory)),
        "weight_share": home.share,
        # Not of log p, which keeps half of its deviation whatever the path: momenta bring the rest.
        "ess": float(np.min(np.delete(nested.effective(scores), [x.shape[2] - 1, -1]))),
        "tail_error": tail * (UNSURE if home.necks else 1.0),
    }
    return figures, _slowest(home, made, np.where(np.isnan(rhat), np.inf, rhat))


def balance(start: NDArray[np.intp], end: NDArray[np.intp]) -> float:
    """Return by how many standard errors chains have left a region more often than come to it.

    If all regions have their shares at the start, as many come as go. Chains move independently,
    so that the difference has the variance of the sum.
    """
    most = 0.0
    for k in np.union1d(start, end):
        gone = int(np.count_nonzero((start == k) & (end != k)))
        come = int(np.count_nonzero((start != k) & (end == k)))
        most = max(most, abs(come - gone) / math.sqrt(come + gone or 1))
    return most


def _slowest(home: Home, made: Kept, rhat: FloatArray) -> int | None:
    """Return the parameter that the coordinate of the largest nested R-hat moves most, in sds."""
    d = made.z.shape[2]
    worst = int(np.argmax(rhat)) % (d + 1)
    if worst == d:
        return None
    unit = np.zeros((1, d))
    unit[0, worst] = 1.0
    sd = made.z.reshape(-1, d).std(axis=0)
    return int(np.argmax(np.abs(home.maps[0].push(unit)[0]) / np.maximum(sd, 1e-300)))


def far_figures(
    target: Target,
    frame: Frame,
    made: Kept,
    far: Chains,
    started: int,
    rng: np.random.Generator,
    clock: Clock,
    *,
    thin: int,
    refused: bool,
) -> tuple[dict[str, float], FloatArray]:
    """Return what far starts say, and a point of each region apart that they found.

    An ensemble that is ``refused`` anyway is not compared with them again, and one of each region
    apart is enough; else with chains that are as long as its own draws, of ``thin`` transitions
    each.
    """

    def arrived(at: Chains) -> NDArray[np.intp]:
        return np.flatnonzero(at.value >= regions.level_of(made.value))

    share = len(arrived(far)) / started
    if refused:
        some = rng.permutation(arrived(far))[:COMPARED]
        far = far.take(np.union1d(some, frame.home.apart(target, made.end, far)))
    figures, at, other = _far_once(target, frame, made, far, arrived(far), COMPARED, rng, clock)
    figures["arrived"] = share
    if FAR.isdisjoint(c.id for c in doubts(figures)) or (refused and not len(other)):
        return figures, at.z[other]
    # Chains may still be on their way, or where the common step is too long for them: in many
    # dimensions also near a mode, where log p is higher than anywhere at home.
    late = regions.away(frame.home.parts, made.end, at)
    late |= at.value < regions.level_of(made.value)
    late |= at.value > made.value.max()
    at = at.put(late, travel(target, frame.home, at.take(late), rng, clock))
    share = share if refused else len(arrived(at)) / started
    figures, at, other = _far_once(
        target, frame, made, at, arrived(at), 2 * COMPARED, rng, clock, thin
    )
    return figures | {"arrived": share}, at.z[other]


def _far_once(
    target: Target,
    frame: Frame,
    made: Kept,
    far: Chains,
    run: NDArray[np.intp],
    compared: int,
    rng: np.random.Generator,
    clock: Clock,
    thin: int = 1,
) -> tuple[dict[str, float], Chains, NDArray[np.intp]]:
    """Run far chains that have arrived; return figures, all chains, and one of each region apart.

    All of them run if some seem to be in a region apart, which they may leave; else those do that
    are compared with the ensemble.
    """
    home = frame.home
    figures = {"far_rhat": math.nan}
    other = home.apart(target, made.end, far)
    if not len(other):
        run = np.sort(rng.permutation(run)[:compared])
    if len(run) >= FEWEST:
        at = far.take(run)
        begin = Chains(at.z, at.value, at.slope, home.parts.nearest(at.z))
        roam = frame.look != "starts"
        ran = kept(target, home, begin, FAR_DRAWS, rng, clock, burn=FAR_DRAWS, roam=roam, thin=thin)
        far = far.put(run, ran.end)
        figures["far_rhat"] = _agreement(frame, ran)
        if len(other):
            other = home.apart(target, made.end, far)
    figures["other_regions"] = float(len(other))
    return figures, far, other


def _agreement(frame: Frame, far: Kept) -> float:
    """Return the largest nested R-hat of two superchains, the ensemble's and the far chains."""
    here = frame.own[:, -FAR_DRAWS:]
    there = frame.columns(far.z, far.value, far.start.part)
    n = min(len(here), len(there))
    scores, _ = nested.scores_of(np.concatenate([here[:n], there[:n]]))
    return float(np.max(nested.nested_rhat(scores.reshape(2, n, *scores.shape[1:]))))
