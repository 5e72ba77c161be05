"""What methods say of each other where there is no reference: free checks, and no verdict."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Collection, Sequence

from harness import judgement, metrics
from harness.methods import METHODS
from harness.metrics import KHAT, measure
from harness.records import (
    NO_ESTIMATE,
    Estimate,
    Model,
    ModelComparison,
    Reason,
    Reference,
    RunResult,
    Standing,
)
from harness.report.standing import headline
from harness.study.measuring import Measuring
from harness.study.reference import generated_of

WEIGHTED = "weighted draws"

KHAT_LIMIT = 0.7
"""Above it weights cannot correct a fit. Beside one of k-hat 0.95, every other fit seemed 27 times
too wide."""

FAR_NATS = 10.0
"""A fit that is farther from the posterior by its own weights is nothing to measure against."""


def standings(
    model: Model,
    judged: Sequence[str],
    runs: Sequence[RunResult],
    generated: Sequence[str],
    measuring: Measuring,
    off: Collection[str] = (),
) -> tuple[Standing, ...]:
    """Measure every method against the one with the fewest doubts; none if no run has draws.

    Methods that are known to be ``off`` are not measured against while there is another one.
    """
    drawn = [run for run in runs if run.draws is not None and run.spec.method in judged]
    if not drawn:
        return ()
    several = any(run.reason is Reason.OTHER_BASINS for run in runs)
    best = min(drawn, key=lambda run: (run.spec.method in off, _doubt(run, several=several)))
    stand_in = Reference("none", trusted=True, why="", draws=best.draws)
    assert best.draws is not None  # noqa: S101 - asked before
    selection = measure.select(model, best.draws, generated)
    if not selection.names:
        return ()
    yardstick = measure.Yardstick(model.name, stand_in, selection)
    own = yardstick.own_summaries()
    found = {run.key: measuring.distances(run, best.key, yardstick) for run in drawn}
    figures = [m for measured in found.values() for m in measured.measures]
    figures += yardstick.spread(figures)
    context = judgement.JudgeContext(
        dimension=len(selection.names),
        correlations=yardstick.correlations(),
        modes=yardstick.modes(),
        kinds=yardstick.kinds(),
        generated=selection.generated,
    )
    out = []
    for method in judged:
        its = [run for run in runs if run.spec.method == method]
        if not its:
            continue
        pairs = {r.spec.seed: p for r in its if r.key in found and (p := found[r.key].pair)}
        verdict = judgement.judge_method(
            model,
            method,
            its,
            [*own, *(m for m in figures if m.method == method)],
            stand_in,
            dataclasses.replace(context, pairs=pairs),
        )
        itself = method == best.spec.method
        out.append(
            Standing(
                method=method,
                beside=best.spec.method,
                level="unknown" if itself else verdict.level,
                short="" if itself else verdict.headline,
                divergence=_worst([_divergence(r) for r in its]),
                khat=_worst([_khat(r) for r in its]),
                runs=len(its),
                # A plain dict: dataclasses.asdict would count the pairs of a Counter.
                doubts=dict(Counter(r.reason for r in its if r.reason is not None)),
            )
        )
    return tuple(out)


def with_standings(
    comparison: ModelComparison, runs: Sequence[RunResult], measuring: Measuring
) -> ModelComparison:
    """Return a comparison without a reference with what its methods say of each other.

    Where short chains have shown that the method which the others were measured against is off, it
    is one of the others that are not.
    """
    off = frozenset(v.method for v in comparison.verdicts if v.level in {"warn", "fail"})
    if comparison.standings and comparison.standings[0].beside not in off:
        return comparison
    model, judged = comparison.model, [v.method for v in comparison.verdicts]
    beside = standings(model, judged, runs, generated_of(model), measuring, off)
    words = {s.method: headline(s) for s in beside}
    verdicts = tuple(
        dataclasses.replace(v, headline=words[v.method])
        if v.level == "unknown" and v.method in words
        else v
        for v in comparison.verdicts
    )
    return dataclasses.replace(comparison, verdicts=verdicts, standings=beside)


def _doubt(run: RunResult, *, several: bool) -> tuple[bool, bool, bool, bool, float]:
    """Order runs: without a doubt first, then short chains, then weighted draws, then by k-hat.

    Short chains come first only where everything is in doubt: they have at least moved away from
    the fit at which they started. Where some run has found ``several`` basins, every other one is
    in doubt, because a fit in one of them does not know of the rest.
    """
    khat = _khat(run).value
    row = METHODS.get(run.spec.method)
    kind = "" if row is None else row.kind
    own = run.status != "ok" or not (kind == WEIGHTED or _near(khat, _divergence(run).value))
    doubt = own or several
    return (
        doubt,
        doubt and kind != "short chains",
        own,
        kind != WEIGHTED,
        math.inf if math.isnan(khat) else khat,
    )


def _near(khat: float, divergence: float) -> bool:
    """Tell whether the weights of a fit's own draws let it be near the posterior.

    Where they are all but one zero, k-hat means nothing, and the divergence is large. Where a draw
    has no density under the posterior, the divergence is not known, and nothing shows that it is
    near.
    """
    return khat <= KHAT_LIMIT and divergence <= FAR_NATS


def _khat(run: RunResult) -> Estimate:
    return metrics.measured("run", run).get(KHAT.id, NO_ESTIMATE)


def _divergence(run: RunResult) -> Estimate:
    draws = run.draws
    if draws is None or draws.log_p is None or draws.log_q is None:
        return NO_ESTIMATE
    return metrics.divergence(draws.log_p, draws.log_q)


def _worst(found: Sequence[Estimate]) -> Estimate:
    # Where one seed is not known, neither is the worst.
    if any(math.isnan(e.value) for e in found):
        return NO_ESTIMATE
    return max(found, key=lambda e: e.value, default=NO_ESTIMATE)
