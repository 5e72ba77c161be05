"""ADVI on a Stan program's gradients: the lecture's, with its optimiser, callbacks and refining.

The pieces are in :mod:`harness.vi`: families, optimisers, the loop and the callbacks. Here they
are put together as options say.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.methods.bridged import FitError, Problem, run_bridged
from harness.records import Method, RunContext, RunResult, RunSpec, Status

if TYPE_CHECKING:
    from harness.vi.callbacks import CheckParametersConvergence, StopWhenSlow, Tracker
    from harness.vi.families import Family
    from harness.vi.loop import Fit
    from harness.vi.target import Fitted

RECORDED = 1000
"""At most this many points of a run's path are kept."""

TRACKED = 20
"""Of how many unconstrained parameters the mean and sd of q are kept beside the ELBO."""

PARTS = 5
"""A run is at rest if its last fifth gained no more than the fifth before: see StopWhenSlow."""

BAD_SHARE = 0.1
"""Steps without a finite gradient from which a fit is not believed."""

REST = 0.1
"""The gain, in sds of a step's ELBO, under which a run is at rest.

A fifth must be 800 steps to show that, so a run 4000; of a shorter one nothing can be said.
"""


def run_advi(spec: RunSpec, context: RunContext, scratch: Path) -> RunResult:  # noqa: ARG001
    """Climb the ELBO of a Gaussian family by reparameterised gradients."""
    return run_bridged(spec, context, _load)


def _load() -> Callable[[Problem], Fitted]:
    # imported here, so that no run's seconds include it
    import harness.vi.callbacks
    import harness.vi.families
    import harness.vi.loop
    import harness.vi.optimisers  # noqa: F401

    return fit


@dataclasses.dataclass(frozen=True, slots=True)
class Settings:
    """The options of the rows; the defaults are PyMC's, as the lecture uses them.

    Attributes
    ----------
    family
        ``meanfield`` or ``fullrank``.
    optimiser
        A name of :data:`harness.vi.optimisers.OPTIMISERS`.
    iterations, refine
        Steps, and further steps of the same state once these are done.
    learning_rate, gradient_draws
        Of the optimiser, and how many draws of q make one gradient.
    start, start_sd
        q starts with its mean at 0 (``zero``: what PyMC does on the unconstrained scale with no
        start given, and Stan with ``init=0``) or uniform in (−2, 2) (``uniform``: Stan's inits),
        and with this sd. PyMC's is ln 2, the softplus of 0; CmdStan's is 1.
    starts
        Runs from that many starts; the one whose last fifth has the best mean ELBO is kept.
    stop
        ``none``, ``relative`` or ``absolute`` (change of the parameters) or ``slow`` (the ELBO);
        the rules that do not stop still note when they would have.
    check_every, tolerance
        Of the two rules on the parameters.
    average
        Whether q is the mean of the last half of the iterates instead of the last one.
    """

    family: str = "meanfield"
    optimiser: str = "adagrad_window"
    iterations: int = 10_000
    learning_rate: float = 1e-3
    gradient_draws: int = 1
    start: str = "zero"
    start_sd: float = math.log(2)
    starts: int = 1
    stop: str = "none"
    check_every: int = 100
    tolerance: float = 1e-3
    refine: int = 0
    average: bool = False

    def __post_init__(self) -> None:
        """Check the values.

        Raises
        ------
        ValueError
            Naming the option, its value and what is allowed.
        """
        from harness.vi.families import FAMILIES
        from harness.vi.optimisers import OPTIMISERS

        choices = {
            "family": tuple(FAMILIES),
            "optimiser": tuple(OPTIMISERS),
            "start": ("zero", "uniform"),
            "stop": ("none", "relative", "absolute", "slow"),
        }
        for name, allowed in choices.items():
            if getattr(self, name) not in allowed:
                msg = f"{name} is {getattr(self, name)!r}; allowed: {', '.join(allowed)}"
                raise ValueError(msg)
        least = {"iterations": 10, "gradient_draws": 1, "starts": 1, "check_every": 1, "refine": 0}
        for name, low in least.items():
            value = getattr(self, name)
            if not isinstance(value, int) or value < low:
                msg = f"{name} is {value!r}; allowed: whole numbers from {low}"
                raise ValueError(msg)
        for name in ("learning_rate", "start_sd", "tolerance"):
            if not 0 < getattr(self, name) < math.inf:
                msg = f"{name} is {getattr(self, name)!r}; allowed: positive numbers"
                raise ValueError(msg)


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class _Watched:
    """A fit with the callbacks that watched it."""

    fit: Fit
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


def fit(problem: Problem) -> Fitted:
    """Fit as the options say and draw from q.

    Returns
    -------
    Fitted
        ``not_converged`` if the ELBO was still rising when the iterations ran out, they were too
        few to tell, or the rule that was to stop the run never fired. The trace has the mean
        ELBO of each stretch of iterations, and as extras ``mean.<name>`` and ``sd.<name>``: q's
        mean and sd of the first 20 unconstrained parameters at the end of the stretch.

    Raises
    ------
    FitError
        For options that cannot be run.
    """
    from harness.vi.families import FAMILIES
    from harness.vi.target import Fitted

    try:
        settings = Settings(**problem.options)
    except (TypeError, ValueError) as error:
        msg = f"advi cannot be run: {error}"
        raise FitError(msg) from error
    family = FAMILIES[settings.family](problem.target.dimension)
    every = -(-(settings.iterations + settings.refine) // RECORDED)  # rounded up
    runs = []
    for _ in range(settings.starts):
        runs.append(_run(problem, settings, family, every))
        if runs[-1].fit.status == "timed_out":
            break
    best = max(runs, key=lambda run: run.level)
    found = best.fit
    status, message = _ended(best, settings)
    if status == "ok":
        far = _doubt(problem, family, found, settings)
        if far:
            status, message = "not_converged", far
    z = log_q = None
    if status != "timed_out":
        z = family.transform(
            found.phi, problem.rng.standard_normal((problem.draws, family.dimension))
        )
        log_q = family.log_density(found.phi, z)
        if not (np.isfinite(z).all() and np.isfinite(log_q).all()):
            z, log_q, status = None, None, "failed"
            message = f"q has no finite draws any more; {message or 'try a smaller learning rate'}"
    return Fitted(
        z,
        log_q,
        status,
        message,
        _trace(problem, family, best, every),
        _diagnostics(best, runs),
        _words(best, settings),
    )


def _run(problem: Problem, settings: Settings, family: Family, every: int) -> _Watched:
    """Take all steps from one start."""
    from harness.vi import loop
    from harness.vi.callbacks import DIFFS, CheckParametersConvergence, StopWhenSlow, Tracker
    from harness.vi.optimisers import OPTIMISERS

    # A cosine that had come to its end would leave nothing to refine with.
    steps = settings.iterations + settings.refine
    optimiser = OPTIMISERS[settings.optimiser](settings.learning_rate, steps)
    mu = np.zeros(family.dimension)
    if settings.start == "uniform":
        mu = problem.rng.uniform(-2, 2, family.dimension)
    phi = family.start(mu, math.log(settings.start_sd))
    relative, absolute = (
        CheckParametersConvergence(
            settings.check_every, settings.tolerance, diff, stop=settings.stop == diff
        )
        for diff in DIFFS
    )
    window = max(settings.iterations // PARTS, 2)
    seen = max(REST, 1.001 * math.sqrt(8 / window))  # what so short a window can show
    slow = StopWhenSlow(window, seen, stop=settings.stop == "slow")
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
        settings.iterations,
        draws=settings.gradient_draws,
        callbacks=(tracker, *rules),
        clock=problem.clock,
        average_from=settings.iterations // 2 if settings.average else None,
    )
    refined_from = None
    if settings.refine and found.status == "ok":
        refined_from = found.state.iteration
        for rule in rules:
            rule.stop = False  # more steps were asked for, whatever the rules say
        found = loop.refine(found, settings.refine, clock=problem.clock)
    return _Watched(found, tracker, relative, absolute, slow, refined_from)


def _ended(best: _Watched, settings: Settings) -> tuple[Status, str]:
    """Return how the run ended and, unless all is well, why in one sentence."""
    found = best.fit
    if found.status != "ok":
        return found.status, found.words
    n = found.state.iteration
    if settings.stop != "none":
        if getattr(best, settings.stop).fired_at is not None:
            return "ok", ""
        return "not_converged", f"the rule {settings.stop!r} never fired in {n} iterations"
    if best.slow.tolerance > REST:
        why = f"{n} iterations are too few to tell whether the ELBO is at rest; at least 4000 are"
        return "not_converged", f"{why} needed"
    if best.gain < REST:
        return "ok", ""
    why = f"the ELBO was still rising when the {n} iterations ran out"  # the same for every seed
    return "not_converged", f"{why}; more of them or a larger learning rate help"


def _doubt(problem: Problem, family: Family, found: Fit, settings: Settings) -> str:
    """Say that steps were lost, or that q is not at the top of its ELBO by its gradient."""
    from harness.vi.families import FullRank
    from harness.vi.stationarity import restlessness

    steps, phi = found.state.iteration, found.phi
    if found.bad_steps > BAD_SHARE * steps:
        return f"{found.bad_steps} of {steps} steps had no finite gradient"
    if settings.stop != "none":
        return ""  # whoever names a rule is told whether it fired
    factor = family.factor(phi) if isinstance(family, FullRank) else family.sd(phi)
    # A generator of its own: looking must not change the draws.
    return restlessness(problem.target, family.mean(phi), factor, problem.rng.spawn(1)[0]).words


def _diagnostics(best: _Watched, runs: list[_Watched]) -> dict[str, float]:
    def at(fired: int | None) -> float:
        return math.nan if fired is None else float(fired)

    found = {
        "iterations": float(best.fit.state.iteration),
        "bad_steps": float(best.fit.bad_steps),
        "elbo": best.level if math.isfinite(best.level) else math.nan,
        "relative_fired_at": at(best.relative.fired_at),
        "absolute_fired_at": at(best.absolute.fired_at),
        "slow_fired_at": at(best.slow.fired_at),
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


def _trace(problem: Problem, family: Family, best: _Watched, every: int) -> Any:
    """Return the ELBO in stretches, with q's means and sds at their ends."""
    from harness.vi import loop

    found = best.fit
    short = found.state.iteration % every != 0  # the last stretch ends where nothing was tracked
    ends = {"mean": family.mean, "sd": family.sd}
    names = problem.model.unconstrained_names()[:TRACKED]
    extras: dict[str, Any] = {}
    for kind, function in ends.items():
        path = best.tracker[kind].reshape(-1, len(names))
        if short:
            path = np.vstack([path, function(found.state.phi)[:TRACKED]])
        extras |= {f"{kind}.{name}": path[:, j].copy() for j, name in enumerate(names)}
    return loop.trace(found, every, extras)


def _words(best: _Watched, settings: Settings) -> str:
    """Say in sentences which rules fired, and what was refined."""
    said = []
    for name in ("relative", "absolute"):
        fired = getattr(best, name).fired_at
        when = "never" if fired is None else f"first at iteration {fired}"
        said.append(
            f"{name} change of the parameters over {settings.check_every} iterations was under "
            f"{settings.tolerance:g}: {when}"
        )
    fired = best.slow.fired_at
    when = "never" if fired is None else f"first at iteration {fired}"
    said.append(f"the ELBO gained nothing that its noise would show: {when}")
    if best.refined_from is not None:
        said.append(f"refined from iteration {best.refined_from}")
    if best.fit.bad_steps:
        said.append(f"{best.fit.bad_steps} steps without a finite gradient were skipped")
    if best.fit.words:
        said.append(best.fit.words)
    return "\n".join(said)


def _row(name: str, **own: Any) -> Method:
    """Return a row of METHODS; no Settings are made here, for checking them loads SciPy."""
    defaults = {f.name: own.get(f.name, f.default) for f in dataclasses.fields(Settings)}
    return Method(name, run_advi, 1, defaults, 10_000, seeds=10, approximate=True, bridge=True)


ADVI = _row("advi")
ADVI_FULLRANK = _row("advi_fullrank", family="fullrank")
ADVI_SGD = _row(
    "advi_sgd",
    optimiser="sgd_decay",
    iterations=100_000,
    learning_rate=5e-4,
    start_sd=1.0,
)
ADVI_ADAM = _row(
    "advi_adam",
    optimiser="adam_cosine",
    iterations=20_000,
    learning_rate=0.05,
    start_sd=1.0,
)
