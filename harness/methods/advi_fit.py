"""How the rows of :mod:`harness.methods.advi` fit, from the pieces in :mod:`harness.vi`."""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from harness.methods.advi import AdviOptions
from harness.methods.bridged import RECORDED, Problem
from harness.records import FloatArray, Reason, Trace
from harness.records.text import count, integer, setting
from harness.vi import loop
from harness.vi.callbacks import DIFFS, CheckParametersConvergence, StopWhenSlow, Tracker
from harness.vi.families import FAMILIES, Family, FullRank
from harness.vi.optimisers import OPTIMISERS
from harness.vi.stationarity import restlessness
from harness.vi.target import Fitted

TRACKED = 20
"""Of how many unconstrained parameters the mean and sd of q are kept beside the ELBO."""

PARTS = 5
"""A run is at rest if its last fifth gained no more than the fifth before: see StopWhenSlow."""

BAD_SHARE = 0.1
"""Share of steps without a finite gradient from which a fit is not believed."""

REST = 0.1
"""The gain, in sds of a step's ELBO, under which a run is at rest.

A fifth must be 800 steps to show that, so a run 4000; a shorter one cannot tell.
"""


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class _Watched:
    """A fit with the callbacks that watched it."""

    fit: loop.Fit
    tracker: Tracker
    relative: CheckParametersConvergence
    absolute: CheckParametersConvergence
    slow: StopWhenSlow
    refined_from: int | None

    @property
    def gain(self) -> float:
        """What the last window of steps gained, in sds of a step's ELBO; NaN if unknown."""
        if not self.slow.gains:
            return math.nan
        last = max(self.slow.gains)
        # A window with bad steps has no gain, and the one before it says nothing of the end.
        late = self.fit.state.iteration - last < self.slow.window
        return self.slow.gains[last] if late else math.nan

    @property
    def level(self) -> float:
        """The mean of the finite ELBO estimates of the last fifth, nats; −inf if there is none."""
        elbo = self.fit.elbo[-max(len(self.fit.elbo) // PARTS, 1) :]
        finite = elbo[np.isfinite(elbo)]
        return float(finite.mean()) if len(finite) and self.fit.status == "ok" else -math.inf


def fit(problem: Problem[AdviOptions]) -> Fitted:
    """Fit as the options say and draw from q.

    ``not_converged`` if the ELBO was still rising when the iterations ran out, if they were too
    few to tell, or if the rule that was to stop the run never fired. The trace has the mean ELBO
    of each stretch of iterations, and as extras ``mean.<name>`` and ``sd.<name>``: q's mean and
    sd of the first 20 unconstrained parameters at the end of the stretch.
    """
    options = problem.options
    family = FAMILIES[options.family](problem.target.dimension)
    every = -(-(options.iterations + options.refine) // RECORDED)  # rounded up
    runs = []
    for _ in range(options.starts):
        runs.append(_run(problem, family, every))
        if runs[-1].fit.status == "timed_out":
            break
    best = max(runs, key=lambda run: run.level)
    ended = _end(best, options)
    if ended.status == "ok":
        ended = _doubt(problem, family, best.fit)
    z = log_q = None
    if ended.status != "timed_out":
        z, log_q = problem.drawn(family, best.fit.phi)
        if not (np.isfinite(z).all() and np.isfinite(log_q).all()):
            z = log_q = None
            words = f"q has no finite draws; {ended.message or 'try a smaller learning rate'}"
            ended = Fitted(None, status="failed", reason=Reason.NO_FINITE_DRAWS, message=words)
    return dataclasses.replace(
        ended,
        z=z,
        log_q=log_q,
        trace=_trace(problem, family, best, every),
        diagnostics=_diagnostics(best, runs),
        words=_words(best, options),
    )


def _run(problem: Problem[AdviOptions], family: Family, every: int) -> _Watched:
    """Take all steps from one start."""
    options = problem.options
    # A cosine that had come to its end would leave nothing to refine with.
    steps = options.iterations + options.refine
    optimiser = OPTIMISERS[options.optimiser](options.learning_rate, steps)
    mu = np.zeros(family.dimension)
    if options.start == "uniform":
        mu = problem.rng.uniform(-2, 2, family.dimension)
    phi = family.start(mu, math.log(options.start_sd))
    relative, absolute = (
        CheckParametersConvergence(
            options.check_every, options.tolerance, diff, stop=options.stop == diff
        )
        for diff in DIFFS
    )
    window = max(options.iterations // PARTS, 2)
    seen = max(REST, 1.001 * math.sqrt(8 / window))  # what so short a window can show
    slow = StopWhenSlow(window, seen, stop=options.stop == "slow")
    tracker = Tracker(
        every=every,
        mean=lambda phi: family.mean(phi)[:TRACKED],
        sd=lambda phi: family.sd(phi)[:TRACKED],
    )
    rules = (relative, absolute, slow)
    found = loop.fit(
        problem.target,
        family,
        optimiser,
        loop.start(optimiser, phi, problem.rng.spawn(1)[0]),
        options.iterations,
        draws=options.gradient_draws,
        callbacks=(tracker, *rules),
        clock=problem.clock,
        average_from=options.iterations // 2 if options.average else None,
    )
    refined_from = None
    if options.refine and found.status == "ok":
        refined_from = found.state.iteration
        for rule in rules:
            rule.stop = False  # more steps were asked for, whatever the rules say
        found = loop.refine(found, options.refine, clock=problem.clock)
    return _Watched(found, tracker, relative, absolute, slow, refined_from)


def _end(best: _Watched, options: AdviOptions) -> Fitted:
    """Judge the end of a run by its stopping rule, or by what its last fifth gained."""
    found = best.fit
    if found.status != "ok":
        return Fitted(None, status=found.status, reason=None, message=found.words)
    n = found.state.iteration
    if options.stop != "none":
        if getattr(best, options.stop).fired_at is not None:
            return Fitted(None)
        why = f"the rule {options.stop!r} never fired in {count(n, 'iteration')}"
        return Fitted(None, status="not_converged", reason=Reason.RULE_SILENT, message=why)
    if best.slow.tolerance > REST:
        why = f"{count(n, 'iteration')} are too few to tell whether the ELBO is level; use 4000"
        return Fitted(None, status="not_converged", reason=Reason.TOO_SHORT, message=why)
    if best.gain < REST:
        return Fitted(None)
    # The same words for every seed, so that seeds that ended alike are told together.
    why = f"the ELBO was still rising when the {count(n, 'iteration')} ran out"
    why += "; try more or a larger learning rate"
    return Fitted(None, status="not_converged", reason=Reason.STILL_RISING, message=why)


def _doubt(problem: Problem[AdviOptions], family: Family, found: loop.Fit) -> Fitted:
    """Look for lost steps, and for a gradient that says that q is not at the top of its ELBO."""
    steps, phi = found.state.iteration, found.phi
    if found.bad_steps > BAD_SHARE * steps:
        why = f"{integer(found.bad_steps)} of {count(steps, 'step')} had no finite gradient"
        return Fitted(None, status="not_converged", reason=Reason.LOST_STEPS, message=why)
    if problem.options.stop != "none":
        return Fitted(None)  # whoever names a rule is told whether it fired
    factor = family.factor(phi) if isinstance(family, FullRank) else family.sd(phi)
    # A generator of its own: looking must not change the draws.
    rest = restlessness(problem.target, family.mean(phi), factor, problem.rng.spawn(1)[0])
    if not rest.words:
        return Fitted(None)
    return Fitted(None, status="not_converged", reason=Reason.NOT_STATIONARY, message=rest.words)


def _diagnostics(best: _Watched, runs: list[_Watched]) -> dict[str, float]:
    fired = {rule: getattr(best, rule).fired_at for rule in ("relative", "absolute", "slow")}
    found = {
        "iterations": float(best.fit.state.iteration),
        "bad_steps": float(best.fit.bad_steps),
        "elbo": best.level if math.isfinite(best.level) else math.nan,
        **{f"{r}_fired_at": math.nan if at is None else float(at) for r, at in fired.items()},
        "elbo_gain": best.gain,
    }
    found["fired_apart"] = found["relative_fired_at"] - found["absolute_fired_at"]
    path, scale = best.tracker["mean"], best.tracker["sd"]
    if len(path):
        found["final_mean"], found["final_sd"] = float(path[-1, 0]), float(scale[-1, 0])
    found["wander"] = _wander(best)
    if best.refined_from is not None:
        found["refined_from"] = float(best.refined_from)
    if len(runs) > 1:
        found["starts"] = float(len(runs))
        worst = min(run.level for run in runs)
        found["elbo_of_worst_start"] = worst if math.isfinite(worst) else math.nan
    return found


def _wander(best: _Watched) -> float:
    """Return how far a mean of q still went once the ELBO was level, in sds of the final q.

    The largest range over the tracked parameters; NaN where the ELBO never was level.
    """
    if best.slow.fired_at is None:
        return math.nan
    later = np.asarray(best.tracker.iterations) >= best.slow.fired_at
    path, scale = best.tracker["mean"][later], best.tracker["sd"]
    return float(np.max(np.ptp(path, axis=0) / scale[-1])) if len(path) else math.nan


def _trace(problem: Problem[AdviOptions], family: Family, best: _Watched, every: int) -> Trace:
    """Return the ELBO in stretches, with q's means and sds at their ends."""
    found = best.fit
    short = found.state.iteration % every != 0  # the last stretch ends where nothing was tracked
    names = problem.model.unconstrained_names()[:TRACKED]
    extras: dict[str, FloatArray] = {}
    for kind, function in (("mean", family.mean), ("sd", family.sd)):
        path = best.tracker[kind].reshape(-1, len(names))
        if short:
            path = np.vstack([path, function(found.state.phi)[:TRACKED]])
        extras |= {f"{kind}.{name}": path[:, j].copy() for j, name in enumerate(names)}
    return loop.in_stretches(found.elbo, found.elapsed_s, every, extras)


def _words(best: _Watched, options: AdviOptions) -> str:
    """Say in sentences which rules fired, and what was refined."""

    def when(fired: int | None) -> str:
        return "never" if fired is None else f"first at iteration {integer(fired)}"

    every, under = count(options.check_every, "iteration"), setting(options.tolerance)
    said = [
        f"{name} change of the parameters over {every} was under {under}: "
        f"{when(getattr(best, name).fired_at)}"
        for name in ("relative", "absolute")
    ]
    said.append(f"the ELBO gained nothing that its noise would show: {when(best.slow.fired_at)}")
    if best.refined_from is not None:
        said.append(f"refined from iteration {integer(best.refined_from)}")
    if best.fit.bad_steps:
        said.append(f"{count(best.fit.bad_steps, 'step')} without a finite gradient were skipped")
    if best.fit.words:
        said.append(best.fit.words)
    return "\n".join(said)
