"""Failed runs, and what is reported where no cause is known."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from harness.records import WITHOUT_DRAWS, Estimate, Explanation, Gap, Reason, RunResult
from harness.records.text import count, listed
from harness.why.causes.row import CauseRow, Evidence, Found, Scene, cause, figure

SEEN = 0.01
"""Nats up to which a gap with its error is called none: twice what counts."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class VerdictScene(Scene):
    """A verdict's runs and gaps; ``named`` is how many other causes it has."""

    gaps: Sequence[Gap]
    runs: Sequence[RunResult]
    explanation: Explanation
    named: int

    @property
    def failed(self) -> list[RunResult]:
        """The runs whose fit has no draws."""
        return [r for r in self.without_draws if r.reason is not Reason.GENERATED]

    @property
    def thrown(self) -> list[RunResult]:
        """The runs that lost their draws to generated quantities, after the fit."""
        return [r for r in self.without_draws if r.reason is Reason.GENERATED]

    @property
    def without_draws(self) -> list[RunResult]:
        """All runs without draws."""
        return [r for r in self.runs if r.status in WITHOUT_DRAWS]


def _detect_family(scene: VerdictScene) -> Found | None:
    """See whether the family gap is unknown beside an optimiser's cause."""
    if not scene.gaps or not math.isnan(scene.gaps[0].family_gap.value):
        return None
    kinds = {c.gap for g in scene.gaps for c in g.causes}
    return Found(math.nan, {}) if kinds == {"optimiser"} else None


def _detect_seeds(scene: VerdictScene) -> Found | None:
    """Find the seeds whose optimiser gap is unknown, by the reason."""
    why: dict[str, list[int]] = {}
    for gap in scene.gaps:
        if math.isnan(gap.optimiser_gap.value):
            why.setdefault(gap.words, []).append(gap.seed)
    return Found(math.nan, {"why": list(why.items())}) if why else None


def _seeds_sentence(e: Evidence) -> str:
    return "; ".join(
        f"{'seed' if len(seeds) == 1 else 'seeds'} {listed([str(s) for s in seeds])}: "
        f"{words or 'no reason is recorded'}"
        for words, seeds in e["why"]
    )


def _looked(scene: VerdictScene) -> tuple[str, dict[str, Any]]:
    """Return which row says what was looked at in vain, and its evidence; empty if none does."""
    if scene.named or scene.found or len(scene.without_draws) == len(scene.runs):
        return "", {}
    if not scene.gaps:
        return "not found", {"notes": list(scene.explanation.notes)}
    first, largest = scene.gaps[0], max((g.optimiser_gap for g in scene.gaps), key=_size)
    both = {"family": first.family_gap, "optimiser": largest}
    if math.isnan(first.family_gap.value) or not math.isfinite(largest.value):
        return "gaps not known", {"why": first.words}
    if any(not abs(g.value) + 2 * g.mcse <= SEEN for g in both.values()):
        return "gaps not known", both
    return "no gap counts", both


def _size(gap: Estimate) -> float:
    return math.inf if math.isnan(gap.value) else abs(gap.value)


def _row(row_id: str, sentence: Callable[[Evidence], str], name: str = "") -> CauseRow:
    def detect(scene: VerdictScene) -> Found | None:
        found, evidence = _looked(scene)
        return Found(math.nan, evidence) if found == row_id else None

    return cause(row_id, VerdictScene, detect, sentence, name=name)


def _unknown_sentence(e: Evidence) -> str:
    if "family" not in e:
        return e["why"] or "the gaps could not be estimated"
    return f"{_both(e)}; they are too uncertain to name a cause"


def _small_sentence(e: Evidence) -> str:
    return f"{_both(e)}; KL(q ‖ p) hardly sees the error reported here"


def _both(e: Evidence) -> str:
    family, optimiser = figure(e["family"]), figure(e["optimiser"])
    return f"the family gap is {family} nats, the optimiser gap at most {optimiser}"


def _nothing_sentence(e: Evidence) -> str:
    return "; ".join(e["notes"]) or "its q is not Gaussian, and its runs report no problem"


def _detect_failed(scene: VerdictScene) -> Found | None:
    """Find failed fits."""
    return _ended(scene, scene.failed)


def _detect_thrown(scene: VerdictScene) -> Found | None:
    """Find fits whose generated quantities threw, which ends CmdStan's ADVI."""
    return _ended(scene, scene.thrown)


def _ended(scene: VerdictScene, runs: Sequence[RunResult]) -> Found | None:
    if not runs:
        return None
    said = {"status": runs[0].status, "message": runs[0].message}
    return Found(math.nan, {"failed": len(runs), "of": len(scene.runs), **said}, place=1)


def _failed_sentence(e: Evidence) -> str:
    how = {"failed": "failed", "timed_out": "timed out", "killed": "killed"}
    return f"{e['failed']} of {count(e['of'], 'run')}: {e['message'] or how[e['status']]}"


def _thrown_sentence(e: Evidence) -> str:
    runs = f"{e['failed']} of {count(e['of'], 'run')}"
    return f"{runs}: {e['message']}; CmdStan writes no draws after the first that throws"


FAMILY_UNKNOWN = cause(
    "family gap not known",
    VerdictScene,
    _detect_family,
    lambda _: "without log Z its size is unknown",
)
SEEDS_UNKNOWN = cause("gap not known", VerdictScene, _detect_seeds, _seeds_sentence)
GAPS_UNKNOWN = _row("gaps not known", _unknown_sentence, name="not known")
NO_GAP_COUNTS = _row("no gap counts", _small_sentence)
NOT_FOUND = _row("not found", _nothing_sentence)
THROWN = cause(
    "generated quantities throw", VerdictScene, _detect_thrown, _thrown_sentence, gap="method"
)
FAILED_RUNS = cause("failed runs", VerdictScene, _detect_failed, _failed_sentence, gap="method")
