"""The table of remedies: what is tried where a method fails or warns. A remedy is a row here."""

from __future__ import annotations

from collections.abc import Mapping

from harness.why.remedies import nuts_from_q, reparameterise, reweighted, settings
from harness.why.remedies.row import Remedy

REMEDIES: Mapping[str, Remedy] = {
    row.id: row
    for row in (
        settings.SMALLER_STEP,
        settings.MORE_GRADIENTS,
        settings.TIGHTER_TOLERANCE,
        settings.TUNED,
        settings.FULL_RANK,
        settings.BEST_OF_FAMILY,
        settings.DADVI_LR,
        settings.DADVI_PSIS,
        settings.ALL_BASINS,
        settings.SHORT_CHAINS,
        reweighted.REWEIGHTED,
        reparameterise.REPARAMETERISE,
        nuts_from_q.NUTS_FROM_Q,
    )
}
"""In the order in which they are proposed."""
