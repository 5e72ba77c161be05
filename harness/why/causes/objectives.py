"""Methods whose optimum differs from the family's best by construction."""

from __future__ import annotations

from harness.methods import METHODS
from harness.why.causes.row import CauseRow, Evidence, Found, OptimiserScene, cause


def _row(name: str) -> CauseRow:
    """Return the row of methods whose row says that their optimum is another one by this cause."""

    def detect(scene: OptimiserScene) -> Found | None:
        row = METHODS.get(scene.run.spec.method)
        other = None if row is None else row.other_optimum
        if not scene.left or row is None or other is None or other[0] != name:
            return None
        return Found(scene.rest, {"method": row.name})

    return cause(name, OptimiserScene, detect, _sentence)


def _sentence(e: Evidence) -> str:
    other = METHODS[e["method"]].other_optimum
    return "" if other is None else other[1]


LINEAR_RESPONSE = _row("linear response")
OTHER_OBJECTIVE = _row("other objective")
FEW_BASE_DRAWS = _row("few base draws")
