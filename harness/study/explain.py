"""Why methods fail on a model, and what helps: explanations, trials, and their place in verdicts.

The work is done by :mod:`harness.why` and its remedies; here an analysis hands it out, keeps what
takes long, and puts what was found into the comparison.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from pydantic import ConfigDict, TypeAdapter

from harness import judgement, records, stan, why
from harness.methods import METHODS
from harness.models.data import ModelError, kept_data
from harness.records import (
    Explanation,
    ModelComparison,
    Program,
    Reference,
    Refuted,
    RunResult,
    Trial,
    Verdict,
)
from harness.stan import bridge, embedded
from harness.stan.density import Density, EngineError
from harness.stan.engine import disagreement, open_density
from harness.stan.work import work_of
from harness.study.store import Store, digest
from harness.study.task import AnalysisTask, Judged, reference_hash
from harness.vi.deterministic.basins import LEAST_MASS
from harness.why.fits import family_of
from harness.why.verdicts import NEEDS_CAUSE
from harness.why.verdicts import explained as with_facts

if TYPE_CHECKING:
    from harness.metrics.measure import Yardstick
    from harness.why.remedies.row import Options, Proposal


def explanation_key(task: AnalysisTask) -> str:
    """Return the key of an explanation: the runs, the program, its data, the versions.

    Seconds and words of a run are no part of why it is off.
    """
    model = task.model
    return digest(
        {
            "version": why.VERSION,
            "model": [model.name, model.reference, list(model.quantities), dict(model.limits)],
            "program": task.program_hash,
            "data": task.data_hash,
            "runs": [[r.key, r.status] for r in task.results],
            "reference": reference_hash(task),
            "engine": embedded.version() if _program(task).embedded else bridge.version(),
        }
    )


WORDS = TypeAdapter(str)


@cache
def _kind() -> TypeAdapter[tuple[Explanation]]:
    return TypeAdapter(tuple[Explanation], config=ConfigDict(ser_json_inf_nan="constants"))


def explainable(results: Sequence[RunResult]) -> bool:
    """Tell whether some run has a Gaussian q whose divergence could be split."""
    return any(r.status not in records.WITHOUT_DRAWS and family_of(r) is not None for r in results)


def complete(comparison: ModelComparison) -> bool:
    """Tell whether the explanation, if there is one, would be the same another time."""
    return comparison.explanation is None or comparison.explanation.complete


def lacks_density(task: AnalysisTask, store: Store, *, proposing: bool) -> bool:
    """Tell whether the program must be loaded or built before the analysis can go on."""
    program = task.program
    if program is not None and (program.embedded or program.library or program.library_error):
        return False
    if not task.explain:
        return _several(task.results)
    if not explainable(task.results):
        return False
    return proposing or store.recall(explanation_key(task), _kind()) is None


def doubt(task: AnalysisTask, runs: Sequence[RunResult], store: Store) -> str:
    """Return how the embedded density differs from CmdStan's, and keep what was found.

    Empty where it does not, or where CmdStan left no densities to compare with.
    """
    compiled = (r for r in runs if r.engine == "cmdstan" and r.spec.method in METHODS)
    with_density = (r for r in compiled if METHODS[r.spec.method].since)
    run = next((r for r in with_density if r.draws is not None and r.draws.log_p is not None), None)
    if run is None or run.draws is None or run.draws.log_p is None or not _program(task).embedded:
        return ""
    density = opened(task)
    if isinstance(density, str):
        return density
    try:
        found = disagreement(density, run.draws, run.draws.log_p)
    finally:
        density.close()
    store.keep(task.agreement, WORDS, found)
    return found


def _several(runs: Sequence[RunResult]) -> bool:
    """Tell whether a deterministic fit found several basins."""
    return any(r.diagnostics.get("other_mass", 0.0) > LEAST_MASS for r in runs)


def explained(
    task: AnalysisTask, reference: Reference, runs: Sequence[RunResult], store: Store
) -> tuple[Explanation | None, Reference]:
    """Return why fits are off, if that was asked, and the reference with what it misses."""
    if task.explain:
        explanation = _explanation(task, reference, runs, store)
        refuted, unsought = explanation.refuted, explanation.unsought
    else:
        explanation = None
        refuted, unsought = _refuted(task, reference, runs)
    if refuted is not None:
        return explanation, judgement.disproved(reference, refuted)
    return explanation, judgement.unsearched(reference, unsought)


def _explanation(
    task: AnalysisTask, reference: Reference, runs: Sequence[RunResult], store: Store
) -> Explanation:
    if not explainable(task.results):
        words = "no run of a Gaussian family gave draws"
        return Explanation(records.NO_ESTIMATE, "none", (), (words,))
    key = explanation_key(task)
    kept = store.recall(key, _kind())
    if kept is not None:
        return kept[0]
    program = _program(task)
    if not (program.embedded or program.library):
        lacking = program.library_error or program.embedded_error
        return _unexplained(lacking or "the program was not built as a library")
    from harness.why.explain import explain

    try:
        found = explain(task.model, runs, reference, program, task.timeout_s, task.data_hash)
    except Exception as error:  # noqa: BLE001 - why a fit fails must not cost the comparison
        return _unexplained(f"{type(error).__name__}: {error}")
    if found.complete:
        store.keep(key, _kind(), (found,))
    return found


def _unexplained(why: str) -> Explanation:
    words = f"the gaps are unknown: {why}"
    return Explanation(records.NO_ESTIMATE, "none", (), (words,), complete=False, unsought=why)


def _refuted(
    task: AnalysisTask, reference: Reference, runs: Sequence[RunResult]
) -> tuple[Refuted | None, str]:
    """Return what proves the reference wrong by the basins of deterministic fits alone.

    Only if a run found several and causes are not wanted: an explanation looks for them itself.
    The words say why it was not looked for.
    """
    model = opened(task) if reference.trusted and _several(runs) else ""
    if isinstance(model, str):
        return None, model
    from harness.why.refute import missing_mode_of

    return missing_mode_of(reference, model, task.timeout_s)


def proposed(
    task: AnalysisTask, comparison: ModelComparison, runs: Sequence[RunResult]
) -> tuple[Proposal, ...]:
    """Return the remedies that are worth a trial, for all verdicts that fail or warn."""
    from harness.why.remedies.row import Proposal
    from harness.why.trials import propose, repairable

    gaps = () if comparison.explanation is None else comparison.explanation.gaps
    verdicts = [v for v in comparison.verdicts if v.level in NEEDS_CAUSE]
    # What helps is judged by the reference, and where movement is evidence there is none.
    verdicts = [v for v in verdicts if v.evidence != "movement"]
    verdicts = [v for v in verdicts if repairable(v.method)]
    # Large data take seconds to read: once for all methods.
    model = opened(task) if verdicts else ""
    each = _gradient_s(task, model)
    found: list[Proposal] = []
    for verdict in verdicts:
        try:
            start = _start(model, verdict, runs)
            found += propose(
                task.model, verdict, runs, gaps, start=start, options=task.options, gradient_s=each
            )
        except Exception as error:  # noqa: BLE001 - one method's remedies must not cost the others'
            facts = {"why": f"{type(error).__name__}: {error}"}
            found.append(
                Proposal(verdict.method, "remedies", verdict.method, {}, None, "error", facts)
            )
    return tuple(found)


def _gradient_s(task: AnalysisTask, model: Density | str) -> float:
    """Return the expected seconds of a gradient; those of its statements without an engine."""
    from harness.methods.bridged import arrays, expected_s

    data = arrays(kept_data(task.model.data_file, task.data_hash))
    if isinstance(model, str):
        return work_of(task.model.stan_file, data).seconds
    return expected_s(task.model.stan_file, model, data).gradient


def without_runs(
    task: AnalysisTask, comparison: ModelComparison, runs: Sequence[RunResult]
) -> tuple[Proposal, ...]:
    """Return the remedies that need no run: the fit's own draws weighted, and hints."""
    return tuple(
        p
        for p in proposed(task, comparison, runs)
        if p.spec is None and p.reason in {"", "changes the program"}
    )


def _program(task: AnalysisTask) -> Program:
    return task.program or Program(task.model.stan_file, {})


def able(task: AnalysisTask) -> bool:
    """Tell whether the density can be evaluated without building anything."""
    return task.program is not None and (task.program.embedded or bool(task.program.library))


def opened(task: AnalysisTask) -> Density | str:
    """Return the program with its data, or why there is none."""
    from harness.methods.bridged import arrays

    try:
        data = arrays(kept_data(task.model.data_file, task.data_hash))
        return open_density(_program(task), task.model.data_file, data)
    except (EngineError, stan.ProgramError, ModelError, OSError) as error:
        return str(error)


def _start(model: Density | str, verdict: Verdict, runs: Sequence[RunResult]) -> Options | str:
    """Return where NUTS would start from a method's q: that of its first seed."""
    from harness.why.remedies.nuts_from_q import start_from

    run = next((r for r in runs if r.spec.method == verdict.method and r.draws is not None), None)
    nuts = next((r for r in runs if r.spec.method == "nuts"), None)
    if run is None or run.draws is None:
        return "it has no draws to start from"
    if isinstance(model, str):
        return model
    if nuts is None:
        return "NUTS was not run here"
    chains = int(nuts.spec.options["chains"])
    return start_from(run.draws, model, chains, np.random.default_rng(run.spec.seed))


def with_remedies(
    task: AnalysisTask, judged: Judged, yardstick: Yardstick | None, store: Store
) -> ModelComparison:
    """Return the comparison with the trials judged, and verdicts with what helps.

    Without trials a verdict names what does better in the comparison itself.
    """
    trials = () if yardstick is None else _judged(task, judged, yardstick, store)
    return with_facts(dataclasses.replace(judged.comparison, trials=trials))


def _judged(
    task: AnalysisTask, judged: Judged, yardstick: Yardstick, store: Store
) -> tuple[Trial, ...]:
    from harness.why.remedies.judge import not_tried
    from harness.why.remedies.row import Judging
    from harness.why.trials import tried

    comparison = judged.comparison
    verdicts = {v.method: v for v in comparison.verdicts}
    by_run = {(r.spec.method, r.spec.seed): r for r in comparison.runs}
    found = []
    for proposal, results in task.trials or ():
        # Reweighting takes the method's own draws.
        light = results if proposal.spec else [by_run[proposal.method, s] for s in proposal.seeds]
        its = store.with_arrays(light)
        context = judged.contexts.get(proposal.method, judgement.JudgeContext())
        verdict = verdicts[proposal.method]
        judging = Judging(comparison, verdict, proposal, its, yardstick, context)
        try:
            trial = tried(judging)
        except Exception as error:  # noqa: BLE001 - one remedy must not cost the others
            why = f"{type(error).__name__}: {error}"
            trial = not_tried(judging, "error", {"why": why})
        found.append(trial)
    return tuple(found)
