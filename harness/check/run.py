"""A check: run again, compare, and where it is close, run more."""

from __future__ import annotations

import dataclasses
import math
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence

from harness.check.baseline import differs
from harness.check.baseline.change import (
    CHANGED,
    AddedSeeds,
    Change,
    CheckOutcome,
    Conclusion,
    LeftOut,
    ModelCheck,
    NewMethod,
    NoMoments,
    Note,
    WideMargins,
    conclude,
    exit_code,
)
from harness.check.baseline.file import CANDIDATE
from harness.check.baseline.form import Baseline
from harness.check.baseline.observe import Observation, describe_data, describe_program
from harness.check.baseline.summarise import fingerprint
from harness.check.look import Looked, look, newly_usual, today
from harness.check.request import Request, Target, as_asked, engines_of
from harness.check.write import write_baselines
from harness.methods.options import from_words
from harness.records import SAMPLED_BY, Model
from harness.study import engines
from harness.study.progress import Progress


def check(targets: Sequence[Target], request: Request, progress: Progress) -> CheckOutcome:
    """Check models against their baselines.

    Raises
    ------
    harness.study.comparing.Interrupted
        On Ctrl-C; finished runs are stored.
    harness.stan.ToolchainError
        If there is no CmdStan and none can be installed.
    """
    begin = time.monotonic()
    known = [t for t in targets if t.old is not None and t.model is not None and t.error is None]
    new = [t for t in targets if t.old is None and t.model is not None and t.error is None]
    checking = _Checking(known, request, progress)
    found = {t.name: c for t, c in zip(known, checking.run(), strict=True)}
    found |= _candidates(new, request, progress)
    return CheckOutcome(
        models=tuple(found[t.name] if t.name in found else _unchecked(t) for t in targets),
        alpha=request.alpha,
        exact=request.exact,
        budget=request.budget,
        command=request.command,
        date=today(),
        seconds=round(time.monotonic() - begin, 1),
        versions=checking.versions,
    )


def _unchecked(target: Target) -> ModelCheck:
    if target.gone:
        gone = Change(target.name, "", "", "model", "missing", "changed")
        return ModelCheck(target.name, (gone,), path=target.path)
    return ModelCheck(target.name, (), error=target.error, path=target.path)


def _candidates(
    targets: Sequence[Target], request: Request, progress: Progress
) -> dict[str, ModelCheck]:
    """Write a candidate for every model without a baseline; that is a change."""
    models = [t.model for t in targets if t.model is not None]
    out = {}
    for name, path, said in write_baselines(models, request, progress, CANDIDATE) if models else ():
        if path is None:
            out[name] = ModelCheck(name, (), error=said)
            continue
        change = Change(name, "", "", "baseline", "new", "changed", detail=said)
        out[name] = ModelCheck(name, (change,), path=path, candidate=True)
    return out


class _Checking:
    """Repeated looks at models that have a baseline."""

    def __init__(self, targets: Sequence[Target], request: Request, progress: Progress) -> None:
        self.models: list[Model] = [t.model for t in targets if t.model is not None]
        self.paths = {t.name: t.path for t in targets}
        self.old: dict[str, Baseline] = {t.name: t.old for t in targets if t.old is not None}
        self.request = request
        self.progress = progress
        self.looked = Looked()
        self.versions: Mapping[str, str] = {}
        # Each look may raise a false alarm; alpha is shared among them.
        self.looks = 1 if request.exact else 1 + math.ceil(math.log2(max(request.budget, 1)))
        self.seeds = {
            (name, method): len(kept.seeds)
            for name, old in self.old.items()
            for method, kept in old.methods.items()
        }

    def run(self) -> list[ModelCheck]:
        """Look until everything is decided or the budget is spent."""
        if not self.models:
            return []
        refused = self._refusals() if self.request.exact else {}
        waiting = [m for m in self.models if m.name not in refused]
        concluded: dict[str, list[Change]] = {}
        for number in range(self.looks):
            self._look(waiting)
            concluded = self._conclude()
            more = {} if number == self.looks - 1 else self._more(concluded)
            if not more:
                break
            self.seeds.update(more)
            names = {model for model, _ in more}
            waiting = [m for m in self.models if m.name in names]
            runs = ", ".join(f"{model} {method} ({n})" for (model, method), n in more.items())
            self.progress.say(f"not enough draws to decide; running more seeds: {runs}")
        return [
            ModelCheck(m.name, (), error=refused[m.name], path=self.paths[m.name])
            if m.name in refused
            else self._alone(m, concluded.get(m.name, []))
            for m in self.models
        ]

    def _alone(self, model: Model, changes: Sequence[Change]) -> ModelCheck:
        """Return the check of a model; what goes wrong with it costs no other one."""
        try:
            return self._model(model, changes)
        except Exception as error:  # noqa: BLE001 - whatever it is
            said = f"{type(error).__name__}: {error}"
            return ModelCheck(model.name, (), error=said, path=self.paths[model.name])

    def _look(self, models: Sequence[Model]) -> None:
        """Look at models; those with the same request go together."""
        groups: dict[Request, list[Model]] = defaultdict(list)
        for model in models:
            old = self.old[model.name]
            asked = dataclasses.replace(as_asked(old, self.request), engine=engines_of(old))
            groups[asked].append(model)
        for request, group in groups.items():
            seen = look(group, request, self.seeds, self.old, self.progress)
            self.versions = seen.versions
            self.looked.update(seen)

    def _conclude(self) -> dict[str, list[Change]]:
        """Decide over all figures of all models at once."""
        names = list(self.looked.changes)
        if self.request.exact:
            return {
                n: _exact(n, self.old[n], self.looked.observations[n], self.looked.changes[n])
                for n in names
            }
        every = [c for n in names for c in self.looked.changes[n]]
        decided = iter(conclude(every, self.request.alpha / self.looks))
        return {n: [next(decided) for _ in self.looked.changes[n]] for n in names}

    def _more(self, concluded: Mapping[str, Sequence[Change]]) -> dict[tuple[str, str], int]:
        """Return how many seeds to run of what is undecided; none once something has changed."""
        every = [c for changes in concluded.values() for c in changes]
        if exit_code(every) == CHANGED:
            return {}
        more = {}
        for change in every:
            where = (change.model, change.method)
            if change.conclusion != "inconclusive" or not self._may_decide(change):
                continue
            most = self.request.budget * len(self.old[change.model].methods[change.method].seeds)
            if self.seeds[where] < most:
                more[where] = min(2 * self.seeds[where], most)
        return more

    def _may_decide(self, change: Change) -> bool:
        """Tell whether more seeds could decide: not without a figure, nor without any run."""
        if (change.model, change.method) not in self.seeds:
            return False
        now = self.looked.observations[change.model].methods[change.method]
        # Seeds that all ran away have draws: more of them decide more.
        ran = any(f != fingerprint(None) for f in now.fingerprints)
        return ran and (change.p is not None or change.part == "moments")

    def _refusals(self) -> dict[str, str]:
        """Name the models whose draws cannot be equal to the last digit, with the reason."""
        out = {}
        for name, old in self.old.items():
            self.versions = engines.choose(engines_of(old), self.progress.say).versions
            then, now = ({v: side.get(v) for v in differs.VERSIONS_OF_DRAWS}
                         for side in (old.written, self.versions))  # fmt: skip
            if said := "; ".join(differs.version_reasons(then, now)):
                out[name] = f"draws are equal only under the same versions: {said}"
        return out

    def _model(self, model: Model, changes: Sequence[Change]) -> ModelCheck:
        old, seen = self.old[model.name], self.looked.observations.get(model.name)
        said, diff = self._reasons(model, old, seen)
        then = {name: kept.fingerprints for name, kept in old.methods.items()}
        now = {name: m.fingerprints for name, m in seen.methods.items()} if seen else {}
        identical = then == now and any(any(hashes) for hashes in then.values())
        error = self.looked.errors.get(model.name)
        if error is None and not changes:
            error = "there was nothing to compare: the baseline holds no method"
        return ModelCheck(
            model.name,
            tuple(changes),
            reasons=tuple(said),
            diff=diff,
            notes=tuple(self._notes(old, seen)) if seen is not None else (),
            error=error,
            path=self.paths[model.name],
            reference=SAMPLED_BY.get(old.reference.get("kind", ""), ""),
            identical=identical,
        )

    def _reasons(
        self, model: Model, old: Baseline, seen: Observation | None
    ) -> tuple[list[str], str]:
        program, diff = differs.program_reason(old.program, describe_program(model))
        said = [program, differs.data_reason(old.data, describe_data(model, old.data))]
        for name, now in (seen.methods if seen is not None else {}).items():
            if name in old.methods:
                chosen = _chosen(name, model, old.request.get("settings") or (), self.request)
                said += differs.method_reasons(name, old.methods[name], now, chosen)
        before = {k: v for k, v in old.written.items() if k in self.versions}
        said += differs.version_reasons(before, self.versions)
        if self.request.seed_offset:
            said.append(f"other seeds: from {self.request.seed_offset + 1}")
        return [s for s in said if s], diff

    def _notes(self, old: Baseline, seen: Observation) -> list[Note]:
        notes: list[Note] = [NewMethod(name) for name in newly_usual(old, seen)]
        for name, kept in old.methods.items():
            taken = self.seeds.get((old.model, name), 0)
            if taken > len(kept.seeds):
                notes.append(AddedSeeds(name, taken, len(kept.seeds)))
            wide = [(f.margin, what, quantity) for f, what, quantity in kept.figures
                    if f.margin is not None and what != "sd"]  # fmt: skip
            if wide:
                notes.append(WideMargins(name, len(wide), *max(wide)))
            left = [(what, quantity, f.why) for f, what, quantity in kept.figures
                    if f.why and math.isfinite(f.value)]  # fmt: skip
            if left:
                notes.append(LeftOut(name, tuple(left)))
            if kept.no_moments:
                notes.append(NoMoments(name, kept.no_moments, len(kept.seeds)))
        return notes


def _chosen(name: str, model: Model, before: Sequence[str], request: Request) -> frozenset[str]:
    """Return the options of a method that the user set, when the baseline was written or now."""
    settings = from_words((*before, *request.settings))
    return frozenset({*settings.get(name, {}), *model.settings.get(name, {})})


_WHOLE = {"level", "causes", "reference", "kind", "moments"}
"""Parts that an exact check takes from the usual comparison."""


def _exact(model: str, old: Baseline, seen: Observation, changes: Sequence[Change]) -> list[Change]:
    """Compare draws to the last digit, and everything else without allowance for error."""
    out = [
        dataclasses.replace(c, conclusion="changed")
        if c.conclusion != "same" or c.was != c.now
        else c
        for c in changes
        if c.kind != "moved" or c.part in _WHOLE
    ]
    for name, kept in old.methods.items():
        if name not in seen.methods:
            continue
        now = seen.methods[name]
        before = dict(zip(kept.seeds, kept.fingerprints, strict=False))
        after = dict(zip(now.seeds, now.fingerprints, strict=True))
        for seed in sorted({*before, *after}):
            was, is_now = before.get(seed, "not run"), after.get(seed, "not run")
            conclusion: Conclusion = "same" if was == is_now else "changed"
            out.append(
                Change(model, name, "", "draws", "moved", conclusion, str(seed),
                       was=was, now=is_now)
            )  # fmt: skip
    return out
