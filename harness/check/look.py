"""Run models, observe them, and compare them with their baselines."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness import stan
from harness.check.baseline import difference
from harness.check.baseline.change import Change, Conclusion, Margins
from harness.check.baseline.compare import SUSPICIOUS, compare_method
from harness.check.baseline.form import Baseline, Share
from harness.check.baseline.observe import Observation, observe, without_samples
from harness.check.request import Request
from harness.methods import DEFAULT_METHODS
from harness.methods.options import from_words
from harness.records import SAMPLED_BY, Model, ModelComparison
from harness.records.cores import cores
from harness.records.text import listed
from harness.report import files
from harness.study import comparing
from harness.study.plan import Plan
from harness.study.pool import Pool
from harness.study.progress import Progress
from harness.study.store import Store


@dataclass(slots=True, eq=False)
class Looked:
    """What one look at some models found; each model is in ``observations`` or in ``errors``."""

    observations: dict[str, Observation] = field(default_factory=dict)
    changes: dict[str, list[Change]] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)
    seconds: dict[tuple[str, str], float] = field(default_factory=dict)
    """Of one run, by model and method."""
    versions: Mapping[str, str] = field(default_factory=dict)

    def update(self, other: Looked) -> None:
        """Replace what is known of some models by another look at them."""
        seen = {*other.observations, *other.errors}
        for part in ("observations", "changes", "errors"):
            kept = {k: v for k, v in getattr(self, part).items() if k not in seen}
            setattr(self, part, kept | getattr(other, part))
        self.seconds |= other.seconds


def look(
    models: Sequence[Model],
    request: Request,
    seeds_of: Mapping[tuple[str, str], int],
    baselines: Mapping[str, Baseline],
    progress: Progress,
) -> Looked:
    """Run what is not stored, summarise everything, and compare with baselines.

    It raises what :func:`harness.check.run.check` raises.
    """
    plan = Plan(
        models=tuple(models),
        methods=request.methods,
        seeds=request.seeds,
        reference=request.reference,
        engine=request.engine,
        jobs=request.jobs,
        timeout_s=request.timeout_s,
        compile_timeout_s=request.compile_timeout_s,
        memory_gb=request.memory_gb,
        command=request.command,
        seeds_of=dict(seeds_of),
        first_seed=request.seed_offset + 1,
        options=from_words(request.settings),
        figures=False,
    )
    progress.again()
    comparison, _ = comparing.run(plan, progress)
    root = stan.cache_dir() / "results"
    looked = Looked(versions=dict(comparison.provenance["versions"]))
    tasks = []
    for found in comparison.models:
        name = found.model.name
        if found.error is not None:
            looked.errors[name] = found.error
            continue
        for method in {v.method for v in found.verdicts}:
            looked.seconds[name, method] = files.method_seconds(found, method)
        tasks.append((found, root, baselines.get(name), request.margins))
    for name, seen in _all(tasks, request.jobs or cores()):
        if isinstance(seen, str):
            looked.errors[name] = seen
        else:
            looked.observations[name], looked.changes[name] = seen
    return looked


def _all(
    tasks: Sequence[tuple[ModelComparison, Path, Baseline | None, Margins]], jobs: int
) -> Iterable[tuple[str, Any]]:
    """Observe every model, several at a time where there are several."""
    if len(tasks) <= 1 or jobs == 1:
        for task in tasks:
            try:
                yield task[0].model.name, observe_and_compare(*task)
            except Exception as wrong:  # noqa: BLE001 - one model must not cost the others
                yield task[0].model.name, f"the summary failed: {type(wrong).__name__}: {wrong}"
        return
    pool = Pool(min(jobs, len(tasks)))
    try:
        for task in tasks:
            pool.submit(task[0].model.name, observe_and_compare, *task)
        while pool.busy:
            for name, value, error in pool.finished():
                said = None if error is None else f"{type(error).__name__}: {error}"
                yield name, value if said is None else f"the summary failed: {said}"
    except KeyboardInterrupt as interrupt:
        msg = "interrupted: all runs are stored; the same command continues from there"
        raise comparing.Interrupted(msg) from interrupt
    finally:
        pool.close(kill=pool.busy)


def observe_and_compare(
    found: ModelComparison, store_root: Path, old: Baseline | None, margins: Margins
) -> tuple[Observation, list[Change]]:
    """Summarise one model's runs and compare them with its baseline, in any process."""
    runs = Store(store_root).with_arrays(found.runs)
    seen = observe(found, runs, {} if old is None else old.methods)
    changes = [] if old is None else _changes(found.model.name, old, seen, margins)
    return without_samples(seen), changes


def _changes(model: str, old: Baseline, seen: Observation, margins: Margins) -> list[Change]:
    changes = _reference_changes(model, old, seen)
    for name, before in old.methods.items():
        now = seen.methods.get(name)
        if now is None:
            changes.append(Change(model, name, "", "method", "missing", "changed"))
            continue
        changes += compare_method(model, name, before, now, seen.samples[name], margins)
        changes += _lost_runs(model, name, old, seen)
    new = [n for n in seen.methods if n not in old.methods and n not in newly_usual(old, seen)]
    return [*changes, *(Change(model, name, "", "method", "new", "changed") for name in new)]


def newly_usual(old: Baseline, seen: Observation) -> list[str]:
    """Return the usual methods that a baseline of the usual methods lacks.

    A newer harness has more of them: nothing that the baseline holds has changed by that.
    """
    if old.request.get("methods") is not None:
        return []
    return [name for name in seen.methods if name not in old.methods and name in DEFAULT_METHODS]


def _reference_changes(model: str, old: Baseline, seen: Observation) -> list[Change]:
    """Compare what the methods were judged against."""
    before, now = old.reference, seen.reference
    if all(before.get(key) == now.get(key) for key in ("kind", "trusted")):
        return []
    was, is_now = (
        f"{side.get('kind')}{'' if side.get('trusted') else ', not trusted'}"
        for side in (before, now)
    )
    # Where the reference's runs were lost, another kind in its place does not make it another one.
    lost = seen.troubles.get(SAMPLED_BY.get(str(before.get("kind")), ""), ())
    other = before.get("kind") != now.get("kind") and now.get("kind") != "none" and not lost
    conclusion: Conclusion = "changed" if other else "inconclusive"
    return [Change(model, "", "", "reference", "moved", conclusion, was=was, now=is_now)]


def _lost_runs(model: str, name: str, old: Baseline, seen: Observation) -> list[Change]:
    """Report lost runs that are not known to be a property of the method.

    How often a variational method's runs fail is a share of its seeds. If the baseline has no
    failed run, a first one asks for more seeds, and only then is the share judged. Chance never
    explains a sampler's run that failed, or a run that was killed or timed out.
    """
    before, now = old.methods[name], seen.methods[name]
    lost = list(seen.troubles[name])
    p: float | None = None
    if before.kind == "seeds":
        was = before.shares.get("failed", Share(0, len(before.seeds)))
        failed = [run for run in lost if run.status == "failed"]
        p = difference.counts(was.count, was.of, len(failed), len(now.seeds))
        taken = len(now.seeds) > len(before.seeds)
        if was.count > 0 or (taken and p >= SUSPICIOUS):
            lost = [run for run in lost if run not in failed]
        if any(run.status != "failed" for run in lost):
            p = None
    if not lost:
        return []
    said = [f"seed {r.seed} {r.status.replace('_', ' ')}: {r.message}" for r in lost]
    return [
        Change(model, name, "", "runs", "unusable", "inconclusive", p=p,
               reason="runs lost", detail=listed(said, 3))
    ]  # fmt: skip


def today() -> dt.date:
    """Return the date that a check or a baseline carries."""
    return dt.datetime.now(tz=dt.UTC).date()
