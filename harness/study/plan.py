"""From a request to runs: which methods, seeds and options each model gets, and what is stored."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter

from harness import stan
from harness.methods import DEFAULT_METHODS, METHODS, title
from harness.methods.options import planned
from harness.methods.settings import OptionError
from harness.models.data import data_hash
from harness.records import Model, Program, RunResult, RunSpec
from harness.records.names import base_name
from harness.records.text import listed
from harness.stan import bridge
from harness.study.store import Store, digest, run_key
from harness.study.supplied import read_supplied
from harness.study.task import Analysis, Known, Needs, with_draws, with_options

if TYPE_CHECKING:
    from harness.why.remedies.row import Proposal

_KEYED_VERSIONS = ("cmdstan", "compiler")
"""Versions that can change a draw, and so are part of every run's key."""


_NAMES = TypeAdapter(list[str])

UNKNOWN_WORK = 10_000.0
"""Gradients that a method is assumed to need if its options do not say."""


def usual_methods(model: Model) -> tuple[str, ...]:
    """Return the methods a model gets where none are named: the default ones and its own."""
    batched = [m for m, row in METHODS.items() if row.batch and model.batch is not None]
    own = [m for m in dict.fromkeys([*model.methods, *batched]) if m not in DEFAULT_METHODS]
    samplers = [m for m in DEFAULT_METHODS if not METHODS[m].approximate]
    fits = [m for m in DEFAULT_METHODS if METHODS[m].approximate]
    return (*fits, *own, *samplers)


def methods_run(models: Iterable[Model], named: Sequence[str] | None) -> set[str]:
    """Return every method that some model gets: those named, else the usual ones, and NUTS."""
    chosen = {m for model in models for m in usual_methods(model)} if named is None else set(named)
    return {*chosen, "nuts"}


@dataclass(frozen=True, slots=True)
class Plan:
    """What to compare and how. ``None`` leaves the choice to the method and the model."""

    models: tuple[Model, ...]
    methods: tuple[str, ...] | None = None
    seeds: int | None = None
    reference: str = "auto"
    reference_iid: bool = False
    """Whether the draws of a supplied reference are independent."""
    out: Path | None = None
    jobs: int | None = None
    timeout_s: float = 600.0
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


@dataclass(slots=True, eq=False)
class Work:
    """The state of one model while it is worked on.

    ``specs`` are its runs in order; each is in ``done`` or in ``waiting`` under its key.
    """

    model: Model
    judged: tuple[str, ...] = ()
    notes: list[str] = field(default_factory=list)
    specs: list[RunSpec] = field(default_factory=list)
    earlier: list[RunSpec] = field(default_factory=list)
    """The runs of NUTS that the one among ``specs`` was made after, to be a better reference."""
    done: dict[str, RunResult] = field(default_factory=dict)
    waiting: dict[str, RunSpec] = field(default_factory=dict)
    program_hash: str = ""
    data_hash: str = ""
    program: Program | None = None
    error: str | None = None
    analysis: Analysis | None = None
    known: Known = field(default_factory=Known)
    """What earlier rounds of the analysis found."""
    first_key: str | None = None
    """The key of its first round, under which the end is kept too; empty if it must not be."""
    met: bool = False
    """Whether runs were made because an analysis needed them, so that it took several rounds."""
    wants_library: bool = False
    library_error: str = ""
    """Why the program could not be built as a library for the explanation."""
    proposals: tuple[Proposal, ...] | None = None
    """Remedies to try, once they are known."""


class Planner:
    """Turns a plan into runs, and finds those that are stored."""

    def __init__(
        self,
        plan: Plan,
        versions: Mapping[str, str],
        store: Store,
        cmdstan: stan.CmdStan | None = None,
    ) -> None:
        self._plan = plan
        self._cmdstan = cmdstan
        self._versions = {k: versions[k] for k in _KEYED_VERSIONS}
        self._store = store

    def work(self, model: Model) -> Work:
        """Plan one model. If its program or data cannot be read, the work has an error."""
        work = Work(model)
        try:
            work.program_hash = stan.program_hash(model.stan_file)
            work.data_hash = data_hash(model)
            self._check_names(work)
        except (OSError, ValueError, stan.ToolchainError, stan.ProgramError) as error:
            work.error = str(error)
            return work
        judged = []
        for name in self._plan.methods or usual_methods(model):
            why = self._left_out(model, name)
            if why is not None:
                work.notes.append(f"{title(name)} left out: {why}")
                continue
            judged.append(name)
            try:
                work.specs += self._specs(model, name)
            except OptionError as error:
                work.error = str(error)
                return work
        if not judged:
            work.error = "; ".join(work.notes)
            return work
        if "nuts" not in judged and not self._has_other_reference(model):
            work.specs += self._specs(model, "nuts")
        work.judged = tuple(judged)
        for spec in work.specs:
            self._look_up(work, spec)
        return work

    def _check_names(self, work: Work) -> None:
        """Raise ValueError if quantities or a supplied reference are not of the program."""
        model, supplied = work.model, self._plan.reference not in {"auto", "nuts"}
        if self._cmdstan is None or not (model.quantities or supplied):
            return
        declared = self._declared(model)
        if not declared:
            return  # stanc refuses the program, and says why where it is compiled
        absent = [name for name in model.quantities if base_name(name) not in declared]
        if absent:
            # Of several models, each may have some of the quantities.
            others = [m for m in self._plan.models if m is not model]
            elsewhere = {name for other in others for name in self._declared(other)}
            absent = [name for name in absent if base_name(name) not in elsewhere]
        for name in absent:
            near = difflib.get_close_matches(name, declared, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise ValueError(f"no quantity {name!r}{hint} (there are {listed(declared, 20)})")
        if supplied:
            draws = read_supplied(self._plan.reference, iid=self._plan.reference_iid)
            names = dict.fromkeys(base_name(name) for name in draws.names)
            if not set(names) & set(declared):
                raise ValueError(
                    f"the reference has draws of {listed(list(names), 20)}, and none of the "
                    f"program's quantities: {listed(declared, 20)}"
                )

    def _declared(self, model: Model) -> list[str]:
        """Return the variables that a program writes, none if stanc refuses it."""
        assert self._cmdstan is not None  # noqa: S101 - asked before
        try:
            key = digest(["declared", stan.program_hash(model.stan_file), dict(self._versions)])
            known = self._store.recall(key, _NAMES)
            if known is None:
                info = stan.program_info(model.stan_file, self._cmdstan)
                known = [*info.parameters, *info.transformed_parameters, *info.generated_quantities]
                self._store.keep(key, _NAMES, known)
        except (stan.ToolchainError, stan.ProgramError):
            return []
        return known

    def _left_out(self, model: Model, name: str) -> str | None:
        """Return why a method is not run: it cannot be used here, or is skipped unless named."""
        if name not in METHODS:
            return f"model.toml names it, but there is no such method (known: {', '.join(METHODS)})"
        why = METHODS[name].unfit(model)
        if why is None and self._plan.methods is None:
            why = model.settings.get(name, {}).get("skip")
        return why

    def _has_other_reference(self, model: Model) -> bool:
        if self._plan.reference == "auto":
            return model.reference is not None
        return self._plan.reference != "nuts"

    def _specs(self, model: Model, name: str) -> list[RunSpec]:
        method = METHODS[name]
        settings = model.settings.get(name, {})
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
        return [RunSpec(model.name, name, options, seed, draws) for seed in numbers]

    def key(self, work: Work, spec: RunSpec) -> str:
        """Return the key a run is stored under."""
        method = METHODS[spec.method]
        versions = self._versions | ({"bridge": bridge.version()} if method.bridge else {})
        return run_key(spec, work.program_hash, work.data_hash, method.version, versions)

    def _look_up(self, work: Work, spec: RunSpec) -> None:
        """Take the stored result, or put the run on the waiting list."""
        key = self.key(work, spec)
        stored = self._store.get(key, with_arrays=False)
        if stored is not None and stored.status == "timed_out":
            allowed = stored.diagnostics.get("timeout_s", 0.0)
            if allowed < self._plan.timeout_s:
                self._store.discard(key)
                stored = None
        if stored is None:
            work.waiting[key] = spec
        else:
            work.done[key] = dataclasses.replace(stored, spec=spec)

    def meet(self, work: Work, needs: Needs, known: Known) -> None:
        """Plan what an analysis needs; runs that are stored are not made again."""
        work.known = known
        work.met |= bool(needs.draws or needs.nuts or needs.remedies)
        work.wants_library |= needs.library
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


def expected_work(spec: RunSpec) -> float:
    """Estimate a run's relative length: its number of gradients, if that is known beforehand."""
    if "grad_samples" in spec.options:
        return float(spec.options["iter"]) * float(spec.options["grad_samples"])
    if METHODS[spec.method].approximate:
        return float(spec.options.get("iterations", UNKNOWN_WORK))
    chains = float(spec.options.get("chains", 1))
    iterations = float(spec.options.get("warmup", 0)) + float(spec.options.get("samples", 0))
    # About fifteen leapfrog steps an iteration.
    return 15 * chains * iterations


def data_size(model: Model) -> int:
    """Return the size of the data in bytes."""
    return 0 if model.data_file is None else model.data_file.stat().st_size
