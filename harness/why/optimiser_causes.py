"""Why a run is not at its family's best: step size, stopping rule, limit, noise, basin."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from harness.judge.notes import LARGE_STEP
from harness.records import Cause, Estimate, RunResult
from harness.records.text import number
from harness.why.family_causes import COUNTS, SHARE, figure

SHRINKS = 0.8
"""The later half of the looks at the ELBO is still nearing its best if its distance is under
this share of the earlier half's."""

LOOKS = 10
"""Looks at the ELBO, the last ones, of which that is asked; of long runs it is the last half."""

FAR = 0.125
"""Nats from which a run with a large step has run away: a mean 0.5 sd off, the wrong limit."""

FEWEST = 4

LEFT = 2.0
"""Nats from which a runaway has left the posterior: a mean 2 sd off."""


class Basin(NamedTuple):
    """Where climbing on from q leads, if it is another optimum than q*."""

    below: Estimate
    """ELBO(q*) − ELBO(there), nats."""


class Distance(NamedTuple):
    """How far from its best a run's ELBO was, by the run's own estimates, nats."""

    earlier: float
    later: float
    shrinking: bool


def optimiser_causes(
    run: RunResult,
    gap: Estimate,
    best: float,
    basin: Basin | None = None,
    lost: float = 0.0,
) -> tuple[Cause, ...]:
    """Name the causes of an optimiser gap, the largest first.

    Parameters
    ----------
    gap
        ELBO(q*) − ELBO(q), nats; infinite where some of q's draws have no density.
    best
        ELBO(q*), nats.
    basin
        Where climbing on from q leads.
    lost
        The share of q's draws without a density.
    """
    if math.isinf(gap.value) and gap.value > 0:
        return (_rest(run, gap.value, best, lost),)
    if not gap.value - 2 * gap.mcse > COUNTS:
        return ()
    found: list[Cause] = []
    rest = gap.value
    if basin is not None and basin.below.value > max(COUNTS, SHARE * gap.value):
        nats = min(basin.below.value, gap.value)
        words = (
            f"climbing on from its q leads to another optimum of the ELBO, "
            f"{figure(basin.below)} nats lower"
        )
        found.append(Cause("optimiser", "other basin", nats, words))
        rest -= nats
    if rest > max(COUNTS + 2 * (gap.mcse if math.isfinite(gap.mcse) else 0.0), SHARE * gap.value):
        found.append(_rest(run, rest, best, lost))
    return tuple(sorted(found, key=lambda c: -c.nats))


def _rest(run: RunResult, nats: float, best: float, lost: float) -> Cause:
    eta = run.diagnostics.get("eta", math.nan)
    if eta >= LARGE_STEP and nats > FAR:
        words = f"with the step size {eta:g} that its adaptation chose, "
        words += "it left the posterior" if nats > LEFT else "its last steps are too coarse"
        return Cause("optimiser", "runaway", nats, f"{words}{_lost_words(lost)}")
    if lost > 0:
        words = f"{number(100 * lost)}% of its draws have no density"
        if "tol_rel_obj" in run.spec.options:
            words += "; CmdStan drops such evaluations from its ELBO, which then looks better"
        return Cause("optimiser", "dropped evaluations", nats, words)
    special = _SPECIAL.get(run.spec.method)
    if special is not None:
        return Cause("optimiser", special[0], nats, special[1])
    looks = distance(run, best)
    if looks is not None and looks.later < nats / 2:
        # It was nearer before it ended: that is no way that was still being made.
        looks = looks._replace(shrinking=False)
    if "tol_rel_obj" in run.spec.options:
        return _cmdstan(run, nats, best, looks)
    return _loop(run, nats, looks)


def _loop(run: RunResult, nats: float, looks: Distance | None) -> Cause:
    """Say what kept one of the harness's own loops from its best."""
    options, iterations = run.spec.options, run.diagnostics.get("iterations", math.nan)
    if math.isnan(iterations):
        return Cause("optimiser", "not known", nats, "its run kept no record of its steps")
    if iterations < _limit(run) and run.status == "ok" and options.get("stop", "none") != "none":
        words = f"its stopping rule ended it at iteration {iterations:.0f}{_looks_words(looks)}"
        return Cause("optimiser", "stopped early", nats, words)
    if looks is not None and looks.shrinking:
        words = f"after all {iterations:.0f} iterations it was still nearing its family's best"
        return Cause("optimiser", "iteration limit", nats, f"{words}{_looks_words(looks)}")
    if "still rising" in run.message:
        words = (
            f"by its own account the ELBO was still rising after all {iterations:.0f} iterations"
        )
        return Cause("optimiser", "iteration limit", nats, words)
    return Cause("optimiser", "noisy steps", nats, _noise_words(run, looks, nats))


def _cmdstan(run: RunResult, nats: float, best: float, looks: Distance | None) -> Cause:
    """Name what CmdStan's relative rule, or its limit of iterations, has to do with a gap."""
    options, iterations = run.spec.options, run.diagnostics.get("iterations", math.nan)
    tolerance = float(options["tol_rel_obj"])
    allowed = tolerance * abs(best)
    if math.isnan(iterations):
        return Cause("optimiser", "not known", nats, "its run kept no record of its steps")
    shrinking = looks is not None and looks.shrinking
    if not iterations < float(options["iter"]):
        if looks is None:
            words = f"it ended at its limit of {iterations:.0f} iterations, after too few looks at "
            words += "the ELBO to tell whether it was still nearing"
            return Cause("optimiser", "iteration limit", nats, words)
        if shrinking:
            words = f"after all {iterations:.0f} iterations it was still nearing its family's best"
            return Cause("optimiser", "iteration limit", nats, f"{words}{_looks_words(looks)}")
        return Cause("optimiser", "noisy steps", nats, _noise_words(run, looks, nats))
    if shrinking or allowed > nats or looks is None:
        words = (
            f"CmdStan declared convergence at iteration {iterations:.0f}: its rule cannot see "
            f"changes under {tolerance:g} of the ELBO's level, here {number(allowed)} nats, and "
            f"the gap is {number(nats)}"
        )
        told = _looks_words(looks) if shrinking else ""
        return Cause("optimiser", "stopped early", nats, f"{words}{told}")
    return Cause("optimiser", "noisy steps", nats, _noise_words(run, looks, nats))


def _limit(run: RunResult) -> float:
    options = run.spec.options
    return float(options.get("iterations", math.inf)) + float(options.get("refine", 0))


def _lost_words(lost: float) -> str:
    return f"; {number(100 * lost)}% of its draws have no density at all" if lost > 0 else ""


def _looks_words(looks: Distance | None) -> str:
    if looks is None:
        return ""
    if looks.shrinking:
        return (
            f"; by its own looks at the ELBO the distance was still shrinking, from "
            f"{number(looks.earlier)} to {number(max(looks.later, 0.0))} nats"
        )
    return f"; its last looks at the ELBO were {number(looks.later)} nats below the best"


def _noise_words(run: RunResult, looks: Distance | None, nats: float) -> str:
    eta = run.diagnostics.get("eta", math.nan)
    step = f" of step size {eta:g}" if math.isfinite(eta) else ""
    draws = run.spec.options.get("grad_samples", run.spec.options.get("gradient_draws"))
    from_ = f", each from {draws} draw{'s' if int(draws) > 1 else ''}" if draws else ""
    # Looks that were nearer than the end say nothing of where it ended.
    told = _looks_words(looks) if looks is not None and looks.later > nats / 2 else ""
    return f"its steps{step}{from_} no longer come nearer: they wander{told}"


def distance(run: RunResult, best: float) -> Distance | None:
    """Return how far the run's last looks at the ELBO were from the best, earlier and later.

    None where it looked less than ``FEWEST`` times, or saw nothing finite.
    """
    if run.trace is None:
        return None
    elbo = np.asarray(run.trace.elbo, dtype=np.float64)
    elbo = elbo[-max(LOOKS, len(elbo) // 2) :]
    far = best - elbo[np.isfinite(elbo)]
    if len(far) < FEWEST:
        return None
    half = len(far) // 2
    earlier, later = far[:half], far[-half:]
    error = math.sqrt((np.var(earlier, ddof=1) + np.var(later, ddof=1)) / half)
    one, two = float(np.median(earlier)), float(np.median(later))
    # What both halves have in noise is no way that was made.
    return Distance(one, two, shrinking=two < SHRINKS * one and one - two > min(2 * error, one / 2))


_SPECIAL = {
    "dadvi_lr": (
        "linear response",
        "its covariance is linear response's, which is not the one of the largest ELBO",
    ),
    "quadrature_mse": (
        "other objective",
        "it minimises a weighted square of log q − log p and not KL(q ‖ p)",
    ),
    "dadvi": ("few base draws", "its ELBO stands on a fixed set of base draws"),
}
"""Methods whose optimum is another one by construction."""
