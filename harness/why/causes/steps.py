"""Steps that are too large, lost, or too noisy to come closer, and optima of other functions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from harness.judgement.notes import LARGE_STEP
from harness.methods import METHODS
from harness.methods.bridged import along_words
from harness.records.text import count, listed, number, percent, setting
from harness.why.causes import row
from harness.why.causes.row import (
    CauseRow,
    Evidence,
    Found,
    Looks,
    OptimiserScene,
    Scene,
    cause,
    figure,
)

FAR = 0.125
"""Nats from which a run with a large step has run away: a mean 0.5 sd off, the wrong limit."""

LEFT = 2.0
"""Nats from which a runaway has left the posterior: a mean 2 sd off."""


def _detect_basin(scene: OptimiserScene) -> Found | None:
    """See whether climbing from q led to another optimum that explains part of the gap."""
    below, gap = scene.basin, scene.gap.value
    if below is None or math.isinf(gap) or not below.value > max(row.COUNTS, row.SHARE * gap):
        return None
    return Found(min(below.value, gap), {"below": below})


def _basin_sentence(e: Evidence) -> str:
    return f"climbing from q leads to another optimum of the ELBO, {figure(e['below'])} nats lower"


def _detect_runaway(scene: OptimiserScene) -> Found | None:
    """Find a large step size and a large gap."""
    eta = scene.run.diagnostics.get("eta", math.nan)
    if not (scene.left and eta >= LARGE_STEP and scene.rest > FAR):
        return None
    evidence = {"eta": eta, "away": scene.rest > LEFT, "lost": scene.lost}
    return Found(scene.rest, evidence | ({"collapsed": True} if scene.collapsed else {}))


def _runaway_sentence(e: Evidence) -> str:
    words = "the run left the posterior" if e["away"] else "the last steps were too coarse"
    if "collapsed" in e:
        words = "the run lost all its width: q has collapsed to a point"
    lost = f"; {percent(e['lost'])} of its draws have no density" if e["lost"] > 0 else ""
    return f"with step size {setting(e['eta'])}, which CmdStan's adaptation chose, {words}{lost}"


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class ImproperScene(Scene):
    """A program whose log density does not fall in some directions, so that nothing has a gap."""

    kind = "family"
    along: Sequence[Evidence]


def _detect_collapse(scene: OptimiserScene) -> Found | None:
    """Find a q without width whose steps were not too large."""
    if not (scene.left and scene.collapsed):
        return None
    eta = scene.run.diagnostics.get("eta", math.nan)
    return Found(scene.rest, {"eta": eta} if math.isfinite(eta) else {})


def _collapse_sentence(e: Evidence) -> str:
    step = f" with step size {setting(e['eta'])}" if "eta" in e else ""
    return f"q has collapsed to a point{step}, and its ELBO is −∞"


def _detect_edge(scene: OptimiserScene) -> Found | None:
    """Find draws beyond an edge of the density that is not declared."""
    if not (scene.left and scene.lost > 0 and scene.edges):
        return None
    return Found(scene.rest, {"edges": scene.edges, "lost": scene.lost})


def _edge_sentence(e: Evidence) -> str:
    ends = [f"{edge['of']} = {setting(edge['at'])}" for edge in e["edges"]]
    bounds = [f"<{edge['side']}={setting(edge['at'])}> {edge['of']}" for edge in e["edges"]]
    lost = f", and {percent(e['lost'], 1)} of q's draws lie beyond" if "lost" in e else ""
    return f"the density ends at {listed(ends, 4)}{lost}; declare {listed(bounds, 4)}"


def _detect_dropped(scene: OptimiserScene) -> Found | None:
    """Find draws without a density."""
    if not (scene.left and scene.lost > 0):
        return None
    cmdstan = "tol_rel_obj" in scene.run.spec.options
    return Found(scene.rest, {"lost": scene.lost, "cmdstan": cmdstan})


def _dropped_sentence(e: Evidence) -> str:
    words = f"{percent(e['lost'], 1)} of its draws have no density"
    if e["cmdstan"]:
        words += "; CmdStan drops such evaluations from its ELBO, which then looks better"
    return words


def _detect_noise(scene: OptimiserScene) -> Found | None:
    """Say that the steps no longer come closer; asked last."""
    if not scene.left:
        return None
    options, eta = scene.run.spec.options, scene.run.diagnostics.get("eta", math.nan)
    evidence: dict[str, Any] = {"eta": eta} if math.isfinite(eta) else {}
    draws = options.get("grad_samples", options.get("gradient_draws"))
    if draws:
        evidence["draws"] = int(draws)
    # Looks that were closer than the end say nothing of where it ended.
    if scene.looks is not None and scene.looks.later > scene.rest / 2:
        evidence |= looks_evidence(scene.looks, shrinking=scene.still_shrinking)
    return Found(scene.rest, evidence)


def _noise_sentence(e: Evidence) -> str:
    given = [f"step size {setting(e['eta'])}"] if "eta" in e else []
    if "draws" in e:
        given.append(f"{count(e['draws'], 'draw')} per gradient")
    with_ = f"with {' and '.join(given)}, " if given else ""
    words = "the iterates fluctuate around the optimum instead of converging"
    return f"{with_}{words}{looks_words(e)}"


def looks_evidence(looks: Looks | None, *, shrinking: bool) -> dict[str, Any]:
    """Return a run's own looks at the ELBO as evidence."""
    if looks is None:
        return {}
    return {"earlier": looks.earlier, "later": looks.later, "shrinking": shrinking}


def looks_words(e: Evidence) -> str:
    """Write a run's own looks at the ELBO, where there are some."""
    if "later" not in e:
        return ""
    if e["shrinking"]:
        return (
            "; by its own estimates of the ELBO the distance was still shrinking, from "
            f"{number(e['earlier'])} to {number(max(e['later'], 0.0))} nats"
        )
    return f"; its last estimates of the ELBO were {number(e['later'])} nats below the best"


def _other_optimum(name: str) -> CauseRow:
    """Return the row of methods whose row says that their optimum is another one by this cause."""

    def detect(scene: OptimiserScene) -> Found | None:
        row = METHODS.get(scene.run.spec.method)
        other = None if row is None else row.other_optimum
        if not scene.left or row is None or other is None or other[0] != name:
            return None
        return Found(scene.rest, {"method": row.name})

    return cause(name, OptimiserScene, detect, _optimum_sentence)


def _optimum_sentence(e: Evidence) -> str:
    other = METHODS[e["method"]].other_optimum
    return "" if other is None else other[1]


FLAT_DIRECTION = cause(
    "flat direction",
    ImproperScene,
    lambda scene: Found(math.nan, {"along": scene.along}) if scene.along else None,
    lambda e: f"{along_words(e['along'])}: the posterior is improper; give the parameters priors",
    brief=lambda e: along_words(e["along"]),
)
OTHER_BASIN = cause("other basin", OptimiserScene, _detect_basin, _basin_sentence)
RUNAWAY = cause("runaway", OptimiserScene, _detect_runaway, _runaway_sentence)
COLLAPSED = cause("collapsed", OptimiserScene, _detect_collapse, _collapse_sentence)
HARD_EDGE = cause("hard edge", OptimiserScene, _detect_edge, _edge_sentence)
DROPPED = cause("dropped evaluations", OptimiserScene, _detect_dropped, _dropped_sentence)
NOISY_STEPS = cause("noisy steps", OptimiserScene, _detect_noise, _noise_sentence)
LINEAR_RESPONSE = _other_optimum("linear response")
CURVATURE = _other_optimum("curvature at the mode")
OTHER_OBJECTIVE = _other_optimum("other objective")
FEW_BASE_DRAWS = _other_optimum("few base draws")
