"""Failed runs, and what is said where no cause is known."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from harness.records import WITHOUT_DRAWS, Estimate, Explanation, Gap, RunResult
from harness.records.text import count, listed
from harness.why.causes.row import CauseRow, Evidence, Found, Scene, figure

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
    def asks(self) -> bool:
        """Always."""
        return True

    @property
    def failed(self) -> list[RunResult]:
        """The runs without draws."""
        return [r for r in self.runs if r.status in WITHOUT_DRAWS]

    @property
    def silent(self) -> bool:
        """Whether nothing would be said, though some run did not fail."""
        return not self.named and not self.found and len(self.failed) < len(self.runs)

    @property
    def largest(self) -> Estimate:
        """The largest optimiser gap; unknown ones are larger than any."""
        return max((g.optimiser_gap for g in self.gaps), key=_size)


def _size(gap: Estimate) -> float:
    return math.inf if math.isnan(gap.value) else abs(gap.value)


def _detect_family_unknown(scene: VerdictScene) -> Found | None:
    """See whether the family gap is unknown beside an optimiser's cause."""
    if not scene.named or not scene.gaps:
        return None
    first = scene.gaps[0]
    of_optimiser = any(c.gap == "optimiser" for g in scene.gaps for c in g.causes)
    of_family = any(c.gap == "family" for c in first.causes)
    if not math.isnan(first.family_gap.value) or of_family or not of_optimiser:
        return None
    return Found(math.nan, {})


def _family_unknown_sentence(_: Evidence) -> str:
    return "without log Z its size is unknown"


def _detect_seeds_unknown(scene: VerdictScene) -> Found | None:
    """Find the seeds whose optimiser gap is unknown, by the reason."""
    why: dict[str, list[int]] = {}
    for gap in scene.gaps:
        if math.isnan(gap.optimiser_gap.value):
            why.setdefault(gap.words, []).append(gap.seed)
    return Found(math.nan, {"why": list(why.items())}) if why else None


def _seeds_unknown_sentence(e: Evidence) -> str:
    return "; ".join(
        f"{'seed' if len(seeds) == 1 else 'seeds'} {listed([str(s) for s in seeds])}: "
        f"{words or 'no reason is recorded'}"
        for words, seeds in e["why"]
    )


def _detect_unknown(scene: VerdictScene) -> Found | None:
    """Find gaps that are unknown, or too uncertain to name a cause."""
    if not (scene.silent and scene.gaps):
        return None
    family, optimiser = scene.gaps[0].family_gap, scene.largest
    if not (math.isfinite(optimiser.value) and not math.isnan(family.value)):
        return Found(math.nan, {"why": scene.gaps[0].words})
    if any(not abs(g.value) + 2 * g.mcse <= SEEN for g in (family, optimiser)):
        return Found(math.nan, {"family": family, "optimiser": optimiser})
    return None


def _unknown_sentence(e: Evidence) -> str:
    if "family" not in e:
        return e["why"] or "the gaps could not be estimated"
    return f"{_both(e)}; they are too uncertain to name a cause"


def _detect_small(scene: VerdictScene) -> Found | None:
    """Find gaps that are known and too small to count."""
    if not (scene.silent and scene.gaps):
        return None
    return Found(math.nan, {"family": scene.gaps[0].family_gap, "optimiser": scene.largest})


def _small_sentence(e: Evidence) -> str:
    return f"{_both(e)}; KL(q ‖ p) hardly sees the error reported here"


def _both(e: Evidence) -> str:
    return (
        f"the family gap is {figure(e['family'])} nats, the optimiser gap at most "
        f"{figure(e['optimiser'])}"
    )


def _detect_nothing(scene: VerdictScene) -> Found | None:
    """Say what is known where there is no gap and no other sign."""
    if not scene.silent:
        return None
    return Found(math.nan, {"notes": list(scene.explanation.notes)})


def _nothing_sentence(e: Evidence) -> str:
    return "; ".join(e["notes"]) or "its q is not Gaussian, and its runs report no problem"


def _detect_failed(scene: VerdictScene) -> Found | None:
    """Find runs without draws."""
    if not scene.failed:
        return None
    first = scene.failed[0]
    evidence: dict[str, Any] = {
        "failed": len(scene.failed),
        "of": len(scene.runs),
        "status": first.status,
        "message": first.message,
    }
    return Found(math.nan, evidence, place=1)


def _failed_sentence(e: Evidence) -> str:
    return f"{e['failed']} of {count(e['of'], 'run')}: {e['message'] or _STATUS[e['status']]}"


_STATUS = {"failed": "failed", "timed_out": "timed out", "killed": "killed"}

FAMILY_UNKNOWN = CauseRow(
    "family gap not known", "family gap not known", "none", VerdictScene, _detect_family_unknown,
    _family_unknown_sentence,
)  # fmt: skip
SEEDS_UNKNOWN = CauseRow(
    "gap not known", "gap not known", "none", VerdictScene, _detect_seeds_unknown,
    _seeds_unknown_sentence,
)  # fmt: skip
GAPS_UNKNOWN = CauseRow(
    "gaps not known", "not known", "none", VerdictScene, _detect_unknown, _unknown_sentence
)
NO_GAP_COUNTS = CauseRow(
    "no gap counts", "no gap counts", "none", VerdictScene, _detect_small, _small_sentence
)
NOT_FOUND = CauseRow(
    "not found", "not found", "none", VerdictScene, _detect_nothing, _nothing_sentence
)
FAILED_RUNS = CauseRow(
    "failed runs", "failed runs", "method", VerdictScene, _detect_failed, _failed_sentence
)
