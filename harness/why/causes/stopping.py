"""Stopping: a rule that fired too early, a limit of iterations, a run without a record."""

from __future__ import annotations

import math

import numpy as np

from harness.methods.advi_fit import PARTS, REST
from harness.records import Reason, RunResult
from harness.records.text import integer, number, setting
from harness.why.causes.row import Evidence, Found, Looks, OptimiserScene, cause
from harness.why.causes.steps import looks_evidence, looks_words

SHRINKS = 0.8
"""The later half of the looks at the ELBO is still approaching its best if its distance is under
this share of the earlier half's."""

LOOKS = 10
"""How many of the last looks at the ELBO that is asked of; in long runs it is the last half."""

FEWEST = 4

SEEN = 1.001
"""A window of n steps shows gains from this many times √(8/n) on, in sds of a step's ELBO."""


def _detect_unrecorded(scene: OptimiserScene) -> Found | None:
    """Find a run that kept no record of its steps."""
    if not (scene.left and math.isnan(scene.iterations)):
        return None
    return Found(scene.rest, {})


def _detect_early(scene: OptimiserScene) -> Found | None:
    """Find a stopping rule that fired before the run was at its best."""
    if not scene.left:
        return None
    run, options = scene.run, scene.run.spec.options
    iterations = scene.iterations
    looks = looks_evidence(scene.looks, shrinking=scene.still_shrinking)
    if "tol_rel_obj" not in options:
        ruled = run.status == "ok" and options.get("stop", "none") != "none"
        limit = float(options.get("iterations", math.inf)) + float(options.get("refine", 0))
        if not (iterations < limit and ruled):
            return None
        return Found(scene.rest, {"iteration": iterations, **looks})
    tolerance = float(options["tol_rel_obj"])
    blind = tolerance * abs(scene.best)
    if not iterations < float(options["iter"]):
        return None
    if not (scene.still_shrinking or blind > scene.rest or scene.looks is None):
        return None
    rule = {"iteration": iterations, "tolerance": tolerance, "blind": blind, "gap": scene.rest}
    return Found(scene.rest, {**rule, **(looks if scene.still_shrinking else {})})


def _early_sentence(e: Evidence) -> str:
    at = f"at iteration {integer(e['iteration'])}"
    if "tolerance" not in e:
        return f"its stopping rule fired {at}{looks_words(e)}"
    return (
        f"CmdStan declared convergence {at}: its rule cannot see changes under "
        f"{setting(e['tolerance'])} of the ELBO's level, here {number(e['blind'])} nats, and the "
        f"gap is {number(e['gap'])}{looks_words(e)}"
    )


def _detect_limit(scene: OptimiserScene) -> Found | None:
    """Find a run that had not arrived when its iterations ran out."""
    if not scene.left:
        return None
    evidence = {"iterations": scene.iterations}
    options = scene.run.spec.options
    if "tol_rel_obj" in options:
        if scene.iterations < float(options["iter"]):
            return None
        if scene.looks is None:
            return Found(scene.rest, {**evidence, "why": "too few looks"})
    if scene.still_shrinking:
        looks = looks_evidence(scene.looks, shrinking=True)
        return Found(scene.rest, {**evidence, "why": "looks", **looks})
    if still_rising(scene.run):
        return Found(scene.rest, {**evidence, "why": "gain"})
    return None


def _limit_sentence(e: Evidence) -> str:
    n = integer(e["iterations"])
    if e["why"] == "too few looks":
        return (
            f"it reached its limit of {n} iterations, with too few estimates of the ELBO to show "
            "whether it was still approaching its best"
        )
    if e["why"] == "gain":
        return f"by the run's own test the ELBO was still rising after all {n} iterations"
    return f"after all {n} iterations it was still approaching its family's best{looks_words(e)}"


def still_rising(run: RunResult) -> bool:
    """Return whether a run of the harness's own loop found its ELBO still rising at the end.

    Runs stored without a reason show it by their gain: they follow no stopping rule, are long
    enough to show a gain of ``REST``, and gained no less in their last fifth.
    """
    if run.reason is not None:
        return run.reason is Reason.STILL_RISING
    gain, options = run.diagnostics.get("elbo_gain"), run.spec.options
    if gain is None or run.status != "not_converged" or options.get("stop", "none") != "none":
        return False
    window = max(int(options["iterations"]) // PARTS, 2)
    return 8 / window <= (REST / SEEN) ** 2 and not gain < REST


def looks_of(run: RunResult, best: float) -> Looks | None:
    """Return how far the run's last looks at the ELBO were from the best, earlier and later.

    None where it looked fewer than ``FEWEST`` times, or saw nothing finite.
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
    # A difference within the noise of both halves is no progress.
    return Looks(one, two, shrinking=two < SHRINKS * one and one - two > min(2 * error, one / 2))


UNRECORDED = cause(
    "not known", OptimiserScene, _detect_unrecorded, lambda _: "the run kept no record of its steps"
)
STOPPED_EARLY = cause("stopped early", OptimiserScene, _detect_early, _early_sentence)
ITERATION_LIMIT = cause("iteration limit", OptimiserScene, _detect_limit, _limit_sentence)
