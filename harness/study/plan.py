"""From a request to runs: which methods, seeds and options each model gets, and what is stored."""

from __future__ import annotations

import dataclasses
import difflib
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter

from harness import stan
from harness.intake import read_reference
from harness.judgement import rules_for
from harness.methods import DEFAULT_METHODS, METHODS, makes, title
from harness.methods.method import Method
from harness.methods.options import check_own, planned
from harness.methods.settings import OptionError
from harness.models.data import data_hash
from harness.records import CHOICES, SAMPLED_BY, EngineName, Model, Program, RunResult, RunSpec
from harness.records.names import base_name
from harness.records.text import listed
from harness.study.engines import Engines, NoEngineError, Wanted
from harness.study.prepare import describe
from harness.study.store import Store, StoreError, digest, run_key
from harness.study.task import Analysis, Known, Needs, with_draws, with_options

if TYPE_CHECKING:
    from harness.why.remedies.row import Proposal

_DECLARED = TypeAdapter(tuple[list[str], list[str]])

_WORDS = TypeAdapter(str)

_REFUSAL = TypeAdapter(tuple[str, bool, Path | None])
"""Why the embedded engine refuses a program, whether its density has all constants, and the
program's text in today's syntax where that is another."""

QUICK = tuple(
    name
    for name in DEFAULT_METHODS
    if METHODS[name].approximate and METHODS[name].kind != "CmdStan's ADVI"
)
"""The usual methods that end in seconds."""

COMPILE_TIMEOUT_S = 1800.0
"""A program compiles in half a minute to five; with a busy machine, in more."""

UNKNOWN_WORK = 10_000.0
"""Gradients that a method is assumed to need if its options do not say."""


def usual_methods(model: Model) -> tuple[str, ...]:
    """Return the methods a model gets where none are named: the default ones and its own."""
    batched = [m for m, row in METHODS.items() if row.batch and model.batch is not None]
    own = [m for m in dict.fromkeys([*model.methods, *batched]) if m not in DEFAULT_METHODS]
    samplers = [m for m in DEFAULT_METHODS if not METHODS[m].approximate]
    fits = [m for m in DEFAULT_METHODS if METHODS[m].approximate]
    return (*fits, *own, *samplers)


def methods_run(
    models: Iterable[Model], named: Sequence[str] | None, *, nuts: bool = True
) -> set[str]:
    """Return every method that some model gets: those named, else the usual ones, references."""
    chosen = {m for model in models for m in usual_methods(model)} if named is None else set(named)
    references = set(SAMPLED_BY.values())
    return chosen | (references if nuts else references - {"nuts"})


@dataclass(frozen=True, slots=True)
class Plan:
    """What to compare and how. ``None`` leaves the choice to the method and the model."""

    models: tuple[Model, ...]
    methods: tuple[str, ...] | None = None
    seeds: int | None = None
    reference: str = "auto"
    reference_iid: bool = False
    """Whether the draws of a supplied reference are independent."""
    engine: Wanted = "auto"
    nuts: bool = True
    """Whether NUTS is run as the reference where there is no other."""
    out: Path | None = None
    draws: bool = False
    """Whether draws are written into ``out``; they are in the cache anyway."""
    seconds: bool = True
    """Whether what is written has measured seconds and dates, in which two equal runs differ."""
    jobs: int | None = None
    timeout_s: float = 600.0
    compile_timeout_s: float = COMPILE_TIMEOUT_S
    memory_gb: float | None = None
    """Of one worker process; None: its share of the machine's."""
    dask: str = ""
    """Address or file of the Dask scheduler whose workers make the runs; empty: this machine."""
    command: str = ""
    seeds_of: Mapping[tuple[str, str], int] = field(default_factory=dict)
    """Numbers of seeds by model and method; they override all others."""
    first_seed: int = 1
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Options by method; they override the model's own and the method's defaults."""
    figures: bool = True
    """Whether the report's figures are wanted."""
    explain: bool = True
    """Whether causes are wanted: family or optimiser."""
    remedies: bool = False
    """Whether remedies are to be tried."""
    own: Mapping[str, Method] = field(default_factory=dict)
    """Rows by name that are not in METHODS. Their runs are made every time, and not kept."""

    @property
    def draws_folder(self) -> Path | None:
        """Where draws are written to, if they are."""
        return self.out.resolve() / "draws" if self.draws and self.out is not None else None


@dataclass(slots=True, eq=False)
class Work:
    """The state of one model while it is worked on.

    ``specs`` are its runs in order; each is in ``done`` or in ``waiting`` under its key. Of those
    that wait, ``handed_out`` are being made.
    """

    model: Model
    judged: tuple[str, ...] = ()
    notes: list[str] = field(default_factory=list)
    reference: str = "auto"
    """As in the plan, or the draws that came with the model."""
    specs: list[RunSpec] = field(default_factory=list)
    earlier: list[RunSpec] = field(default_factory=list)
    """The runs of NUTS that the one among ``specs`` was made after, to be a better reference."""
    done: dict[str, RunResult] = field(default_factory=dict)
    waiting: dict[str, RunSpec] = field(default_factory=dict)
    handed_out: set[str] = field(default_factory=set)
    program_hash: str = ""
    data_hash: str = ""
    program: Program | None = None
    refused: dict[EngineName, str] = field(default_factory=dict)
    """Why an engine does not serve this program, in its words."""
    doubt: str = ""
    """What shows that the embedded engine's density is another one than CmdStan's."""
    building: bool = False
    again: set[str] = field(default_factory=set)
    """What was done again because the machine ended it: runs by key, preparations by engine."""
    told: bool = False
    """Whether the first verdicts were told, while other runs are still made."""
    error: str | None = None
    analysis: Analysis | None = None
    known: Known = field(default_factory=Known)
    """What earlier rounds of the analysis found."""
    first_key: str | None = None
    """The key of its first round, under which the end is kept too; empty if it must not be."""
    stuck: str = ""
    """Why its density is not evaluated in the analysis, though it can be: that came to no end."""
    met: bool = False
    """Whether runs were made because an analysis needed them, so that it took several rounds."""
    wants_density: bool = False
    """Whether the analysis is to evaluate the program."""
    proposals: tuple[Proposal, ...] | None = None
    """Remedies to try, once they are known."""


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
                    self._instead(work, i, with_draws(spec, want.draws))
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
        # Refusals before the second kind were made without a look at the sizes of the data.
        return digest(["refusal 2", work.program_hash, work.data_hash, own, cmdstan])

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
            )

    def accept(self, work: Work, program: Program) -> None:
        """Note that the embedded engine serves the program with its data."""
        self._store.keep(
            self._refusal_key(work), _REFUSAL, ("", program.constants, program.updated)
        )

    def agreement(self, work: Work) -> str:
        """Return the key of the comparison with CmdStan's densities, empty where none is due."""
        if not self._engines.embedded or self._engines.cmdstan is None or work.refused:
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


def explain(error: BaseException) -> str:
    """Return what an exception says, with its type where it was meant for programmers."""
    text = str(error).strip()
    plain = text and isinstance(error, (OSError, ValueError))
    return text if plain else f"{type(error).__name__}: {text}"


def expected_work(spec: RunSpec) -> float:
    """Estimate a run's relative length: its number of gradients, if that is known beforehand."""
    if "grad_samples" in spec.options:
        return float(spec.options["iter"]) * float(spec.options["grad_samples"])
    if makes(spec.method) == "approximation":
        return float(spec.options.get("iterations", UNKNOWN_WORK))
    chains = float(spec.options.get("chains", 1))
    iterations = float(spec.options.get("warmup", 0)) + float(spec.options.get("samples", 0))
    # About fifteen leapfrog steps an iteration.
    return 15 * chains * iterations


def cheap(spec: RunSpec, engine: EngineName | None) -> bool:
    """Tell whether a run ends in seconds, compiles nothing, and so is made first."""
    return spec.method in QUICK and engine == "embedded"


RUN_S, BUILD_S, JUDGE_S = 0.5, 14.0, 2.0
"""Seconds of a run beside its gradients, of a build, of an analysis; for the time left only."""

_GRADIENT_S, _STEP_S, _BYTE_S, _READ_S = 2e-6, 1e-4, 2e-10, 3e-7

_EARLY = 0.2
"""Part of its iterations at which CmdStan's ADVI stops, about."""


def expected_seconds(spec: RunSpec, model: Model) -> float:
    """Estimate the seconds of a run, roughly; for the time left only."""
    size, row = data_size(model), METHODS.get(spec.method)
    if spec.method in QUICK or (row is not None and row.rebinds):
        return RUN_S + _READ_S * size
    each = (_STEP_S if "iterations" in spec.options else _GRADIENT_S) + _BYTE_S * size
    part = _EARLY if row is not None and row.kind == "CmdStan's ADVI" else 1.0
    return RUN_S + part * expected_work(spec) * each


def data_size(model: Model) -> int:
    """Return the size of the data in bytes."""
    return 0 if model.data_file is None else model.data_file.stat().st_size
