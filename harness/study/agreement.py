"""Two witnesses: what NUTS and the ensemble of short chains say of each other."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from harness import judgement
from harness.metrics import METRICS
from harness.metrics.chains import DIVERGENCES
from harness.metrics.summaries import Q5, Q95
from harness.metrics.two_runs import Apart
from harness.records import Disagreement, Reference
from harness.records.text import number

ALIKE = 0.05
"""Sds by which NUTS and the ensemble may differ beyond their error: half of the close limit of a
bias, so that it does not matter for a verdict which of them is the reference."""

FARTHER = 0.2
"""Sds by which the tails of a NUTS that diverged may reach farther out than the ensemble's, beyond
their error: the close limit of a tail."""

AT_TIMES = 0.01
"""The share of diverged transitions up to which the tails of NUTS can tell against an ensemble."""

TELLING = 0.5
"""Sds up to which a difference must be excluded before short chains count as a second witness: the
wrong limit of a bias."""

SECONDED = "short chains, which pass their own checks, agree with it"


def held(reference: Reference, gaps: Sequence[Apart], quantities: int) -> Reference | None:
    """Hold NUTS, the reference so far, against an ensemble that is trusted by itself.

    Parameters
    ----------
    reference
        That of NUTS, trusted or not.
    gaps
        How NUTS, first, and the ensemble differ.
    quantities
        Of how many quantities; their number sets z.

    Returns
    -------
    Reference or None
        Neither is trusted if they disagree; None if NUTS is not trusted and tells nothing against
        the ensemble, which then serves.
    """
    z = judgement.critical_z(quantities)
    if not reference.trusted:
        beyond = [g for g in gaps if _farther(g, z)] if _only_diverged(reference) else []
        who = "NUTS, which only diverged at times, and short chains"
        return _apart(reference, beyond, who) if beyond else None
    # Unknown figures do not agree.
    beyond = [gap for gap in gaps if not gap.gap - z * gap.error <= ALIKE]
    if beyond:
        return _apart(reference, beyond, "NUTS and short chains, each trusted by itself,")
    # With errors as large as what is wrong, agreement is no evidence.
    seconded = bool(gaps) and all(z * gap.error <= TELLING for gap in gaps)
    why = f"{reference.why}; {SECONDED}" if seconded else reference.why
    return replace(reference, why=why, seconded=seconded)


def _only_diverged(reference: Reference) -> bool:
    """Tell whether its chains mix and have draws enough, and few transitions diverged."""
    found = reference.findings
    diverged = bool(found) and all(f.measure.metric == DIVERGENCES.id for f in found)
    return diverged and all(f.measure.value <= AT_TIMES for f in found)


def _farther(gap: Apart, z: float) -> bool:
    """Tell whether NUTS reaches farther out in a tail.

    Divergences keep chains from narrow places, and make up no wide ones: what such chains hold and
    an ensemble lacks is missing from the ensemble.
    """
    one, two = gap.one.value, gap.two.value
    outward = (gap.figure == Q5.id and one < two) or (gap.figure == Q95.id and one > two)
    return outward and gap.gap - z * gap.error > FARTHER


def _apart(reference: Reference, beyond: Sequence[Apart], who: str) -> Reference:
    worst = max(beyond, key=_excess)
    found = Disagreement(worst.quantity, worst.figure, worst.one, worst.two, worst.gap, worst.error)
    short = (
        f"{who} disagree on the {METRICS[worst.figure].subject(worst.quantity)}: "
        f"{number(worst.one.value)} and {number(worst.two.value)}"
    )
    why = f"{short}, {number(worst.gap)} sd apart, so one of them is wrong"
    return replace(reference, trusted=False, why=why, short=short, disagreement=found)


def _excess(gap: Apart) -> float:
    return gap.gap if math.isfinite(gap.gap) else math.inf
