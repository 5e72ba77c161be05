"""The table of causes: why a fit is not the posterior. A cause is a row here.

Rows are asked in the order of the table. Each sees how much of the gap the rows before it leave
unexplained; the last row of a gap takes what is left.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping

from harness.records import Cause
from harness.records.gaps import plain
from harness.why.causes import correlation, draws, modes, shape, steps, stopping, unknown
from harness.why.causes.row import CauseRow, Scene

CAUSES: Mapping[str, CauseRow] = {
    row.id: row
    for row in (
        correlation.CORRELATION,
        modes.RIDGE,
        modes.LABEL_SWITCHING,
        modes.SEVERAL_MODES,
        shape.FUNNEL,
        shape.BANANA,
        shape.SKEW,
        shape.LIGHT_TAILS,
        shape.HEAVY_TAILS,
        shape.OTHER_SHAPE,
        steps.FLAT_DIRECTION,
        steps.OTHER_BASIN,
        steps.RUNAWAY,
        steps.COLLAPSED,
        steps.HARD_EDGE,
        steps.DROPPED,
        steps.LINEAR_RESPONSE,
        steps.CURVATURE,
        steps.OTHER_OBJECTIVE,
        steps.FEW_BASE_DRAWS,
        stopping.UNRECORDED,
        stopping.STOPPED_EARLY,
        stopping.ITERATION_LIMIT,
        steps.NOISY_STEPS,
        draws.DO_NOT_MIX,
        draws.STAY_IN_ONE_MODE,
        draws.DIVERGENCES,
        draws.SLOW_MIXING,
        draws.SHORT_TRAJECTORIES,
        draws.TRUNCATED,
        modes.KEPT_TO_A_MODE,
        draws.WEIGHTS,
        draws.OWN_DOUBT,
        unknown.FAMILY_UNKNOWN,
        unknown.SEEDS_UNKNOWN,
        unknown.GAPS_UNKNOWN,
        unknown.NO_GAP_COUNTS,
        unknown.NOT_FOUND,
        unknown.THROWN,
        unknown.FAILED_RUNS,
    )
}


def causes_of(scene: Scene) -> tuple[Cause, ...]:
    """Return the causes that are found in a scene, the largest first."""
    if not scene.asks:
        return ()
    found = []
    for row in CAUSES.values():
        hit = row.detect(scene) if isinstance(scene, row.scene) else None
        if hit is None:
            continue
        found.append((hit.place, Cause(row.gap, row.id, hit.nats, plain(hit.evidence))))
        nats = 0.0 if math.isnan(hit.nats) else hit.nats
        rest = 0.0 if nats >= scene.rest else scene.rest - nats
        scene = dataclasses.replace(scene, rest=rest, found=scene.found + 1)
    return tuple(cause for _, cause in sorted(found, key=lambda f: (f[0], by_size(f[1]))))


def by_size(cause: Cause) -> float:
    """Return a key that sorts the largest cause first and unknown ones last."""
    return last_if_unknown(-cause.nats)


def last_if_unknown(value: float) -> float:
    """Return a key that sorts NaN last."""
    return math.inf if math.isnan(value) else value


def cause_name(cause: Cause) -> str:
    """Return what people read for a cause; one that is not in the table keeps its id."""
    row = CAUSES.get(cause.name)
    return cause.name if row is None else row.name


def cause_brief(cause: Cause) -> str:
    """Return what people read for a cause in a table."""
    row = CAUSES.get(cause.name)
    if row is None or row.brief is None or "said" in cause.evidence:
        return cause_name(cause)
    return row.brief(cause.evidence)


def cause_sentence(cause: Cause) -> str:
    """Write a cause's evidence, without a capital or a full stop."""
    row = CAUSES.get(cause.name)
    if row is None or "said" in cause.evidence:
        return str(cause.evidence.get("said", "its evidence was not kept"))
    return row.sentence(cause.evidence)
