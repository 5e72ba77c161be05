"""Judged models put together as a comparison, with their claims and where it all came from."""

from __future__ import annotations

import dataclasses
import datetime as dt
import time
from collections.abc import Mapping, Sequence

from harness.judgement.claims import check_claim
from harness.methods import METHODS
from harness.records import (
    ClaimResult,
    Comparison,
    Measure,
    ModelComparison,
    Reference,
    RunResult,
)
from harness.study.desk import Desk
from harness.study.plan import Work, explain


def gather(desk: Desk, own: Mapping[str, RunResult]) -> Comparison:
    """Return the comparison of all models; ``own`` has runs with draws by key."""
    models = tuple(_outcome(w) for w in desk.works)
    if own:
        models = tuple(
            dataclasses.replace(m, runs=tuple(own.get(r.key, r) for r in m.runs)) for m in models
        )
    found = [_with_claims(m) for m in models]
    models = tuple(m for m, _ in found)
    claims = tuple(claim for _, its in found for claim in its)
    provenance = {
        "command": desk.plan.command,
        "date": dt.datetime.now(tz=dt.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "versions": dict(desk.engines.versions),
        "engine": desk.plan.engine,
        "nuts": desk.plan.nuts,
        "reference": desk.plan.reference,
        "seeds": desk.plan.seeds or "each method's own",
        "timeout_s": desk.plan.timeout_s,
        "seconds": round(time.monotonic() - desk.begin, 1),
        "runs_made": desk.runs_done,
        "hashes": {
            w.model.name: {"program": w.program_hash, "data": w.data_hash} for w in desk.works
        },
    }
    if desk.interrupted:
        provenance["interrupted"] = True
    return Comparison(models, claims, provenance)


def _outcome(work: Work) -> ModelComparison:
    if work.analysis is not None and work.analysis.comparison is not None:
        return work.analysis.comparison
    return ModelComparison(
        work.model,
        work.error or "it was not analysed",
        Reference("none", trusted=False, why="the model could not be compared"),
        tuple(work.done.values()),
        notes=tuple(work.notes),
    )


def _with_claims(entry: ModelComparison) -> tuple[ModelComparison, tuple[ClaimResult, ...]]:
    """Check a model's claims; where they cannot be, that is the model's error."""
    try:
        measured = _claimed(entry)
        claims = [check_claim(entry.model.name, c, *measured) for c in entry.model.claims]
    except Exception as error:  # noqa: BLE001 - one model must not cost the others
        return dataclasses.replace(entry, error=f"its claims: {explain(error)}"), ()
    return entry, tuple(claims)


def _claimed(entry: ModelComparison) -> tuple[Sequence[Measure], Sequence[RunResult]]:
    """Return what claims may be measured by: not rows of CmdStan's that another engine made.

    A claim about CmdStan's ADVI, or about what full data cost, is none about the embedded engine.
    """
    settings = entry.model.settings
    others = {
        run.spec.method
        for run in entry.runs
        if run.engine == "embedded"
        and run.spec.method in METHODS
        and (
            METHODS[run.spec.method].since is not None
            or settings.get(run.spec.method, {}).get("engine") == "cmdstan"
        )
    }
    return (
        [m for m in entry.measures if m.method not in others],
        [r for r in entry.runs if r.spec.method not in others],
    )
