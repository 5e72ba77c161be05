"""Several modes: a Gaussian holds one of them, and so does what starts from one."""

from __future__ import annotations

import math

from harness.methods import METHODS
from harness.records import Estimate
from harness.records.text import count, number, with_error
from harness.why.causes.row import COUNTS, SHARE, Evidence, FamilyScene, Found, OtherScene, cause

MISSED = 0.01
"""Mass from which a mode counts, as in the limit on missed mass."""

ALL = 0.99
"""Mass from which missing it says that q and the draws lie apart, not what that costs."""

MORE = 1.25
"""How many times the mass that one marginal shows the basins' own masses must exceed before they
are believed: modes may lie crosswise, so that each marginal shows half of them."""

MISSES = ("missed_mass", "bias", "w1")
"""Metrics that a missed mode can make wrong."""


def _detect(scene: FamilyScene) -> Found | None:
    """Find the mass in modes that q* leaves out; it costs −ln of the mass that it holds."""
    found = _modes(scene)
    if found is None or math.isnan(scene.gap.value):
        return found
    if not found.nats > max(SHARE * scene.rest, COUNTS):
        return None
    return found._replace(nats=min(found.nats, scene.rest))


def _modes(scene: FamilyScene) -> Found | None:
    modes = [b for b in scene.best.optimum.basins if b.separate]
    others = 1 - modes[0].mass if len(modes) > 1 else 0.0
    if scene.posterior is not None:
        missed, which = scene.posterior.missed(scene.best.q, scene.rng)
        seen = MISSED < missed.value - 2 * missed.mcse < missed.value < ALL
        if seen and not others > MORE * missed.value:
            found = {"of": scene.posterior.names[which], "missed": missed}
            return Found(-math.log1p(-missed.value), found)
    if not others > MISSED:
        return None
    return Found(-math.log1p(-others), {"basins": len(modes), "mass": others})


def _sentence(e: Evidence) -> str:
    if "basins" in e:
        return (
            f"climbing from several starts finds {count(e['basins'], 'basin')}; those without q "
            f"hold about {number(e['mass'])} of the mass: {number(-math.log1p(-e['mass']))} nats"
        )
    missed = Estimate(*e["missed"])
    share = min(missed.value, ALL)
    nats = Estimate(-math.log1p(-share), missed.mcse / (1 - share))
    return (
        f"{e['of']} has modes that the best Gaussian leaves out, with {with_error(missed)} of the "
        f"mass: −ln(1 − {number(share)}) = {with_error(nats)} nats"
    )


def _detect_other(scene: OtherScene) -> Found | None:
    """Find the modes of the Gaussian fits beside a method that misses mass."""
    if scene.chains or scene.found:
        return None
    modes = next((c for g in scene.gaps for c in g.causes if c.name == SEVERAL_MODES.id), None)
    if modes is None or not any(f.measure.metric in MISSES for f in scene.verdict.findings):
        return None
    return Found(modes.nats, {"method": scene.verdict.method, "modes": modes.evidence})


def _sentence_other(e: Evidence) -> str:
    modes = e["modes"]
    said = modes["said"] if "said" in modes else _sentence(modes)
    return f"{METHODS[e['method']].one_mode}: {said}"


SEVERAL_MODES = cause("several modes", FamilyScene, _detect, _sentence)
KEPT_TO_A_MODE = cause(
    "kept to one mode", OtherScene, _detect_other, _sentence_other, name="several modes"
)
