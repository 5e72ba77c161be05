"""Several modes: a Gaussian holds one of them, and so does what starts from one."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from harness.methods import METHODS
from harness.records import Estimate, FloatArray
from harness.records.text import count, listed, number, with_error
from harness.vi.deterministic.basins import LEAST_MASS
from harness.why.causes.row import COUNTS, SHARE, Evidence, FamilyScene, Found, OtherScene, cause

SAME_ENTRY, SAME_VALUE = 0.1, 0.02
"""Shares of a parameter's range and size up to which entries of two modes are the same."""

ALL = 0.99
"""Mass from which missing it says that q and the draws lie apart, not what that costs."""

MORE = 1.25
"""How many times the mass that one marginal shows the basins' own masses must exceed before they
are believed: modes may lie crosswise, so that each marginal shows half of them."""

MISSES = ("missed_mass", "bias", "w1")
"""Metrics that a missed mode can make wrong."""


def _detect(scene: FamilyScene) -> Found | None:
    """Find the mass in modes that q* leaves out; it costs −ln of the mass that it holds."""
    return None if scene.switched or scene.ridge is not None else _counted(scene)


def _detect_ridge(scene: FamilyScene) -> Found | None:
    """Find basins that a ridge joins: what they cost cannot be told from the rest."""
    if scene.ridge is None or _modes(scene) is None:
        return None
    unknown = math.isnan(scene.gap.value)
    if not (scene.alone if unknown else scene.left):
        return None
    basins = sum(b.separate for b in scene.best.optimum.basins)
    return Found(scene.rest, {"basins": basins, "falls": scene.ridge})


def _detect_switching(scene: FamilyScene) -> Found | None:
    """Find modes that are one another with the labels exchanged."""
    found = _counted(scene) if scene.switched and scene.ridge is None else None
    if found is None:
        return None
    return found._replace(evidence={**found.evidence, "switched": scene.switched})


def switched(modes: Sequence[Mapping[str, FloatArray]]) -> tuple[str, ...]:
    """Name the parameters whose entries change places between modes.

    ``modes`` are their means by parameter, constrained; scalars are one parameter, because labels
    may be in their names. Empty unless all modes have the same entries of every parameter.
    """
    moved = []
    for other in modes[1:]:
        for name, one in modes[0].items():
            two = other[name]
            close = SAME_ENTRY * float(np.ptp(one)) + SAME_VALUE * float(np.abs(one).max())
            if np.any(np.abs(np.sort(one) - np.sort(two)) > close):
                return ()
            if np.any(np.abs(one - two) > close):
                moved.append(name)
    return tuple(dict.fromkeys(moved))


def _counted(scene: FamilyScene) -> Found | None:
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
        seen = LEAST_MASS < missed.value - 2 * missed.mcse < missed.value < ALL
        if seen and not others > MORE * missed.value:
            found = {"of": scene.posterior.names[which], "missed": missed}
            return Found(-math.log1p(-missed.value), found)
    if not others > LEAST_MASS:
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


def _sentence_ridge(e: Evidence) -> str:
    return (
        f"climbing from several starts finds {count(e['basins'], 'basin')}, but log p falls by "
        f"{number(e['falls'])} nats at most on the way from one to another: they lie on one ridge, "
        "a ring or a bend, which no Gaussian follows"
    )


def _sentence_switching(e: Evidence) -> str:
    return (
        f"{_sentence(e)}; the modes differ only in the order of the entries of "
        f"{listed(e['switched'], 4)}: declare an order (ordered), or compare quantities in which "
        "labels do not matter"
    )


def _detect_other(scene: OtherScene) -> Found | None:
    """Find the modes of the Gaussian fits beside a method that misses mass."""
    if scene.chains or scene.found:
        return None
    named = {SEVERAL_MODES.id, LABEL_SWITCHING.id}
    modes = next((c for g in scene.gaps for c in g.causes if c.name in named), None)
    if modes is None or not any(f.measure.metric in MISSES for f in scene.verdict.findings):
        return None
    return Found(modes.nats, {"method": scene.verdict.method, "modes": modes.evidence})


def _sentence_other(e: Evidence) -> str:
    modes = e["modes"]
    said = modes["said"] if "said" in modes else _sentence(modes)
    row = METHODS.get(e["method"])
    return f"{'it stays in one of them' if row is None else row.one_mode}: {said}"


SEVERAL_MODES = cause("several modes", FamilyScene, _detect, _sentence)
RIDGE = cause("ridge", FamilyScene, _detect_ridge, _sentence_ridge, name="ring or bent ridge")
LABEL_SWITCHING = cause("label switching", FamilyScene, _detect_switching, _sentence_switching)
KEPT_TO_A_MODE = cause(
    "kept to one mode", OtherScene, _detect_other, _sentence_other, name="several modes"
)
