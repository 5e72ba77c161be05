"""From a request to runs: which methods, seeds and options each model gets, and what is stored."""

from __future__ import annotations

import dataclasses
import difflib
import uuid
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import TypeAdapter

from harness import stan
from harness.intake import read_reference
from harness.judgement import rules_for
from harness.methods import METHODS, title
from harness.methods.options import check_own, planned
from harness.methods.settings import OptionError
from harness.models.data import data_hash
from harness.records import CHOICES, SAMPLED_BY, EngineName, Model, Program, RunResult, RunSpec
from harness.records.names import base_name
from harness.records.text import listed
from harness.study.engines import Engines, NoEngineError
from harness.study.prepare import describe
from harness.study.store import Store, StoreError, digest, run_key
from harness.study.task import Known, Needs, with_draws, with_options

if TYPE_CHECKING:
    from harness.why.remedies.row import Proposal

from harness.study.plan import QUICK, Plan, Work, explain, usual_methods

_DECLARED = TypeAdapter(tuple[list[str], list[str]])

_WORDS = TypeAdapter(str)

_REFUSAL = TypeAdapter(tuple[str, bool, Path | None])
"""Why the embedded engine refuses a program, whether its density has all constants, and the
program's text in today's syntax where that is another."""


class Planner:
    """Turns a plan into runs, and finds those that are stored."""

    def __init__(self, plan: Plan, engines: Engines, store: Store) -> None:
        self._plan = plan
        self._engines = engines
        self._store = store
        self._rows = {**METHODS, **plan.own}
        self._once = uuid.uuid4().hex
        """In the keys of own rows: nothing tells whether a function is still the same."""

    def work(self, model: Model) -> Work:
        """Plan one model. If its program or data cannot be read, the work has an error."""
        work = Work(model, notes=list(model.notes), reference=self._reference(model))
        try:
            check_own(model)
            rules_for(model)
            self._plan_runs(work)
        except StoreError:
            raise  # no model is at fault
        except Exception as error:  # noqa: BLE001 - one model must not cost the others
            work.error = explain(error)
        return work

    def _plan_runs(self, work: Work) -> None:
        model = work.model
        try:
            work.program_hash = stan.program_hash(model.stan_file)
            work.data_hash = data_hash(model)
            self._check_names(work)
        except (stan.ToolchainError, stan.ProgramError) as error:
            work.error = str(error)
            return
        work.bare = self._bare(model)
        self._recall_refusals(work)
        judged, reasons = [], []
        for name in self._plan.methods or usual_methods(model):
            why = self._left_out(work, name)
            if why is not None:
                work.notes.append(f"{title(name)} left out: {why}")
                reasons.append(why)
                continue
            judged.append(name)
            try:
                work.specs += self._specs(model, name)
            except OptionError as error:
                work.error = str(error)
                return
        if not judged:
            # One reason that all methods share is said once.
            work.error = reasons[0] if len({*reasons}) == 1 else "; ".join(work.notes)
            return
        for name in self._referring(work):
            # NUTS is run even where nothing can run the chains that would confirm it.
            if name not in judged and (name == "nuts" or self._left_out(work, name) is None):
                work.specs += self._specs(model, name)[:1]
                if self._plan.methods in {None, QUICK} and name != "nuts":
                    judged.append(name)  # an answer too, and it has been paid for
        work.judged = tuple(judged)
        for spec in work.specs:
            self._look_up(work, spec)

    def _check_names(self, work: Work) -> None:
        """Raise ValueError if quantities or a supplied reference are not of the program."""
        model, supplied = work.model, work.reference not in CHOICES
        if not (model.quantities or supplied):
            return
        own, generated = self._declared(model)
        declared = [*own, *generated]
        if not declared:
            return  # stanc refuses the program, and says why where it is compiled
        if not model.generated:
            unwanted = [name for name in model.quantities if base_name(name) in generated]
            if unwanted:
                raise ValueError(
                    f"{unwanted[0]} is a generated quantity, which --no-gq leaves out; drop one "
                    "of them"
                )
        absent = [name for name in model.quantities if base_name(name) not in declared]
        if absent:
            # Of several models, each may have some of the quantities.
            others = [m for m in self._plan.models if m is not model]
            elsewhere = {n for other in others for names in self._declared(other) for n in names}
            absent = [name for name in absent if base_name(name) not in elsewhere]
        for name in absent:
            near = difflib.get_close_matches(name, declared, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise ValueError(f"no quantity {name!r}{hint} (there are {listed(declared, 20)})")
        if supplied:
            draws = read_reference(work.reference, iid=self._plan.reference_iid)
            names = dict.fromkeys(base_name(name) for name in draws.names)
            if not set(names) & set(declared):
                raise ValueError(
                    f"the reference has draws of {listed(list(names), 20)}, and none of the "
                    f"program's quantities: {listed(declared, 20)}"
                )

    def _declared(self, model: Model) -> tuple[list[str], list[str]]:
        """Return a program's variables, and its generated ones; none if stanc refuses it."""
        try:
            versions = dict(self._engines.versions)
            key = digest(["declared apart", stan.program_hash(model.stan_file), versions])
            known = self._store.recall(key, _DECLARED)
            if known is None:
                info = describe(model.stan_file, self._engines)
                own = [*info.parameters, *info.transformed_parameters]
                known = (own, list(info.generated_quantities))
                self._store.keep(key, _DECLARED, known)
        except (stan.ToolchainError, stan.ProgramError):
            return [], []
        return known

    def _generated_left_out(self, model: Model) -> dict[str, tuple[str, ...]]:
        """Return the generated quantities without draws, because nothing looks at them.

        With a choice, all are kept nevertheless where draws are to be written.
        """
        if model.generated and (self._plan.draws or not model.quantities):
            return {}
        _, generated = self._declared(model)
        chosen = sorted({*model.quantities})
        return {
            name: tuple(n for n in chosen if base_name(n) == name)
            for name in sorted(generated)
            if name not in chosen
        }

    def _bare(self, model: Model) -> bool:
        """Tell whether a program has generated quantities, and nothing looks at any of them."""
        left_out = self._generated_left_out(model)
        if not left_out or any(left_out.values()):
            return False
        return left_out.keys() == {*self._declared(model)[1]}

    def _left_out(self, work: Work, name: str) -> str | None:
        """Return why a method is not run: it cannot be used here, or is skipped unless named."""
        model = work.model
        if name not in self._rows:
            return f"model.toml names it, but there is no such method (known: {', '.join(METHODS)})"
        why = self._rows[name].unfit(model)
        if why is None and name not in (self._plan.methods or ()):
            why = model.settings.get(name, {}).get("skip")
        if why is None:
            try:
                self.engine(work, name)
            except NoEngineError as error:
                why = str(error)
        return why

    def _reference(self, model: Model) -> str:
        chosen = self._plan.reference
        return str(model.draws_file) if chosen == "auto" and model.draws_file else chosen

    def _referring(self, work: Work) -> tuple[str, ...]:
        """Return the methods whose draws are to be the reference, or to confirm it."""
        choice = work.reference
        if choice == "auto" and work.model.reference is None:
            return ("nuts", "short_chains") if self._plan.nuts else ("short_chains",)
        return tuple(m for kind, m in SAMPLED_BY.items() if kind == choice)

    def _specs(self, model: Model, name: str) -> list[RunSpec]:
        method = self._rows[name]
        settings = {} if name in self._plan.own else model.settings.get(name, {})
        options = {}
        if name in METHODS:
            options = planned(name, model, self._plan.options.get(name, {}))
        seeds = int(settings.get("seeds", method.seeds))
        if method.approximate and self._plan.seeds is not None:
            seeds = self._plan.seeds
        seeds = self._plan.seeds_of.get((model.name, name), seeds)
        draws = int(settings.get("draws", method.draws))
        if not method.approximate:
            draws = int(options["chains"]) * int(options["samples"])
        first = self._plan.first_seed
        numbers = range(first, first + seeds)
        left_out = self._generated_left_out(model)
        return [RunSpec(model.name, name, options, seed, draws, left_out) for seed in numbers]

    def key(self, work: Work, spec: RunSpec) -> str:
        """Return the key a run is stored under."""
        method = self._rows[spec.method]
        versions = self._engines.keyed(self.engine(work, spec.method), method, spec)
        if spec.method in self._plan.own:
            versions["own"] = self._once
        return run_key(spec, work.program_hash, work.data_hash, method.version, versions)

    def engine(self, work: Work, name: str) -> EngineName | None:
        """Return the engine that makes a method's runs; see :meth:`Engines.of`."""
        return self._engines.of(self._rows[name], work.model, work.refused)

    def _look_up(self, work: Work, spec: RunSpec) -> None:
        """Take the stored result, or put the run on the waiting list."""
        key, stored = self.key(work, spec), None
        # A run that leaves nothing out serves every choice.
        for asked in (spec, dataclasses.replace(spec, left_out={}))[: 1 + bool(spec.left_out)]:
            there = self.key(work, asked)
            stored = self._store.get(there, with_arrays=False)
            if stored is not None and stored.status == "timed_out":
                allowed = stored.diagnostics.get("timeout_s", 0.0)
                if allowed < self._plan.timeout_s:
                    self._store.discard(there)
                    stored = None
            if stored is not None:
                break
        if stored is None:
            work.waiting[key] = spec
        else:
            # An earlier version did not write down the engine, but it is in the key.
            engine = self.engine(work, spec.method)
            work.done[key] = dataclasses.replace(stored, spec=spec, engine=engine)

    def meet(self, work: Work, needs: Needs, known: Known) -> None:
        """Plan what an analysis needs; runs that are stored are not made again."""
        work.known = known
        work.met |= bool(needs.draws or needs.nuts or needs.remedies)
        work.wants_density |= needs.density
        if needs.nuts:
            i = next(i for i, spec in enumerate(work.specs) if spec.method == "nuts")
            self._instead(work, i, with_options(work.specs[i], needs.nuts))
        for want in needs.draws:
            for i, spec in enumerate(work.specs):
                if (spec.method, spec.seed) == (want.method, want.seed):
                    longer = with_draws(spec, want.draws)
                    left_out = dict(spec.left_out or want.left_out)
                    self._instead(work, i, dataclasses.replace(longer, left_out=left_out))
        if needs.remedies:
            work.proposals = needs.remedies
        for proposal in needs.remedies:
            for spec in proposal.spec or ():
                if self.key(work, spec) not in work.done:
                    self._look_up(work, spec)

    def _instead(self, work: Work, i: int, spec: RunSpec) -> None:
        """Replace a planned run; NUTS as it was may still be the better reference."""
        if spec.method == "nuts":
            work.earlier.append(work.specs[i])
        work.specs[i] = spec
        self._look_up(work, spec)

    def results(self, work: Work, specs: Iterable[RunSpec]) -> tuple[RunResult, ...]:
        """Return finished runs in the order of their specs."""
        return tuple(work.done[self.key(work, spec)] for spec in specs)

    def trials(self, work: Work) -> tuple[tuple[Proposal, tuple[RunResult, ...]], ...] | None:
        """Return the remedies with the results of their runs; None before they are known."""
        if work.proposals is None:
            return None
        return tuple((p, self.results(work, p.spec or ())) for p in work.proposals)

    def _refusal_key(self, work: Work) -> str:
        own = self._engines.versions["embedded"]
        # CmdStan's stanc brings old syntax up to date.
        cmdstan = self._engines.versions.get("cmdstan")
        # Refusals of the second kind were made before functions that the engine lacks were defined.
        about = ["refusal 3", work.program_hash, work.data_hash, own, cmdstan]
        # Where CmdStan runs no methods beside it, or little is wanted, the engine refuses less.
        wanted = {"spare": self._engines.spare, "bare": work.bare}
        return digest([*about, *(word for word, holds in wanted.items() if holds)])

    def _agreement_key(self, work: Work) -> str:
        versions = dict(self._engines.versions)
        about = [versions.get(name) for name in ("embedded", "cmdstan", "compiler")]
        return digest(["agreement", work.program_hash, work.data_hash, *about])

    def _recall_refusals(self, work: Work) -> None:
        """Find out what was learnt of the embedded engine on this program and its data."""
        if not self._engines.embedded:
            return
        known = self._store.recall(self._refusal_key(work), _REFUSAL)
        words = None if known is None else known[0]
        if not words and self._engines.cmdstan is not None:
            work.doubt = self._store.recall(self._agreement_key(work), _WORDS) or ""
        if words or work.doubt:
            work.refused["embedded"] = words or work.doubt
        elif known is not None and (known[2] is None or known[2].is_file()):
            _, constants, updated = known
            work.program = Program(
                work.model.stan_file,
                self._engines.versions,
                embedded=True,
                constants=constants,
                updated=updated,
                generated=not work.bare,
            )

    def accept(self, work: Work, program: Program) -> None:
        """Note that the embedded engine serves the program with its data."""
        self._store.keep(
            self._refusal_key(work), _REFUSAL, ("", program.constants, program.updated)
        )

    def agreement(self, work: Work) -> str:
        """Return the key of the comparison with CmdStan's densities, empty where none is due."""
        here = self._engines
        if not here.embedded or here.cmdstan is None or here.spare or work.refused:
            return ""
        used = self._plan.explain or any(self.engine(work, m) == "embedded" for m in work.judged)
        key = self._agreement_key(work)
        return key if used and not self._store.keeps(key) else ""

    def refuse(
        self,
        work: Work,
        engine: EngineName,
        words: str,
        *,
        doubt: bool = False,
        lasting: bool = True,
    ) -> None:
        """Note that an engine does not serve this program, and give its runs to the other one.

        With a ``doubt`` it is because its densities are not those of CmdStan. Unless it is
        ``lasting``, the engine is asked again another time.
        """
        if doubt:
            work.doubt = words
        elif engine == "embedded" and lasting:
            self._store.keep(self._refusal_key(work), _REFUSAL, (words, False, None))
        work.refused[engine] = words
        work.waiting.clear()
        left_out: dict[str, str] = {}
        tried = [spec for p in work.proposals or () for spec in p.spec or ()]
        for spec in (*work.specs, *tried):
            try:
                if self.key(work, spec) not in work.done:
                    self._look_up(work, spec)
            except NoEngineError as error:
                left_out[spec.method] = str(error)
        work.specs = [spec for spec in work.specs if spec.method not in left_out]
        if any(spec.method in left_out for spec in tried):
            work.proposals = ()
        work.notes += [f"{title(name)} left out: {why}" for name, why in left_out.items()]
        work.judged = tuple(name for name in work.judged if name not in left_out)
        if not work.judged:
            work.error = "; ".join(dict.fromkeys(left_out.values()))
