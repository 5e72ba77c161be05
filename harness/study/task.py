"""What an analysis takes and gives, light enough for the process that only hands it out.

The work itself is done in worker processes by :mod:`harness.study.analysis`, which loads ArviZ and
matplotlib; a comparison that is kept already needs neither.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ConfigDict, TypeAdapter

from harness.intake import content_of
from harness.methods import makes
from harness.records import CHOICES, Model, ModelComparison, Program, RunResult, RunSpec
from harness.records.budget import MAX_DRAWS, MAX_NUTS_SAMPLES
from harness.study.store import Store, digest

if TYPE_CHECKING:
    from harness.judgement import JudgeContext
    from harness.metrics.measure import Selection
    from harness.study.measuring import Found
    from harness.why.remedies.row import Proposal


@dataclass(frozen=True, slots=True)
class Want:
    """More draws that would decide an undecided comparison."""

    method: str
    seed: int
    draws: int
    left_out: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """As in the run's spec: the generated quantities that nothing looks at."""


@dataclass(frozen=True, slots=True, eq=False)
class Needs:
    """What an analysis lacks; false where it lacks nothing."""

    draws: tuple[Want, ...] = ()
    nuts: Mapping[str, Any] = field(default_factory=dict)
    """Options with which NUTS is to be made again, because the reference is not trusted."""
    remedies: tuple[Proposal, ...] = ()
    """To be run."""
    density: bool = False
    """Whether the program is to be evaluated, on whatever engine serves."""
    doubt: str = ""
    """How the embedded engine's density differs from CmdStan's, so that its runs do not count."""

    def __bool__(self) -> bool:
        return bool(self.draws or self.nuts or self.remedies or self.density or self.doubt)


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """A judged model with what its remedies are measured with."""

    comparison: ModelComparison
    """Without arrays."""
    selection: Selection
    contexts: Mapping[str, JudgeContext]
    """By method."""
    figures: tuple[Any, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Known:
    """What one round of an analysis hands to the next, so that nothing is measured twice."""

    found: Found = field(default_factory=dict)
    """What was measured."""
    judged: Judged | None = None
    """Once only the remedies' runs are missing."""


@dataclass(frozen=True, slots=True)
class AnalysisTask:
    """What one round of an analysis needs. Plain data; ``results`` are without arrays."""

    model: Model
    program_hash: str
    data_hash: str
    results: tuple[RunResult, ...]
    reference: str
    """``auto``, ``nuts``, ``ensemble`` or the files of a supplied reference."""
    judged: tuple[str, ...]
    """The methods whose verdicts are wanted, in order; NUTS may be run only as reference."""
    notes: tuple[str, ...]
    store_root: Path
    draws_folder: Path | None
    seconds: bool = True
    """Whether the traces that are written there have their seconds."""
    reference_content: str = ""
    """The hash of supplied draws that are in no file."""
    reference_iid: bool = False
    """Whether the supplied draws are independent."""
    earlier: tuple[RunResult, ...] = ()
    """The runs of NUTS that the one in ``results`` was made after, without arrays."""
    figures: bool = True
    first: bool = False
    """Whether these are the first verdicts, which are told while other runs are made: without what
    only the end needs. They are not kept."""
    explain: bool = False
    """Whether causes are wanted."""
    program: Program | None = None
    """Whose density is evaluated; without one there are no causes."""
    engine: str = "auto"
    """The engines that the user allows."""
    agreement: str = ""
    """The key under which is kept whether the embedded density agrees with CmdStan's, where that
    is still to be found out."""
    remedies: bool = False
    """Whether remedies are to be tried."""
    trials: tuple[tuple[Proposal, tuple[RunResult, ...]], ...] | None = None
    """Remedies with the results of their runs, without arrays; None before they are proposed."""
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Options by method that the user set."""
    timeout_s: float = 600.0
    final: bool = False
    """Whether it must do with the runs there are, because the user interrupted the others."""
    known: Known = field(default_factory=Known, compare=False)


@dataclass(frozen=True, slots=True, eq=False)
class Analysis:
    """What a round of an analysis found: a judged model, or what it needs first."""

    comparison: ModelComparison | None
    """Without arrays."""
    figures: tuple[Any, ...] = ()
    needs: Needs = field(default_factory=Needs)
    said: tuple[str, ...] = ()
    known: Known = field(default_factory=Known)
    lasting: bool = True
    """False where another time more may be found out: it is not kept."""


def with_draws(spec: RunSpec, draws: int) -> RunSpec:
    """Return the run with more draws, never fewer, within the budget."""
    if makes(spec.method) == "approximation":
        return dataclasses.replace(spec, draws=max(spec.draws, min(draws, MAX_DRAWS)))
    chains, samples = int(spec.options["chains"]), int(spec.options["samples"])
    more = min(-(-draws // chains), MAX_NUTS_SAMPLES)
    return with_options(spec, {"samples": max(samples, more)})


def with_options(spec: RunSpec, changed: Mapping[str, Any]) -> RunSpec:
    """Return a sampler's run with some options changed."""
    options = {**spec.options, **changed}
    return dataclasses.replace(
        spec, options=options, draws=int(options["chains"]) * int(options["samples"])
    )


@cache
def code_hash() -> str:
    """Return the hash of this package's code: figures and verdicts of old code are not reused."""
    root = Path(__file__).parents[1]
    h = hashlib.sha256()
    for path in sorted(root.rglob("*")):
        if path.suffix in {".py", ".j2", ".css", ".js", ".cpp"} and "_stan" not in path.parts:
            h.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes())
    return h.hexdigest()


def reference_hash(task: AnalysisTask) -> str:
    """Return what tells one choice of reference from another: its word, or its files' hash."""
    if task.reference in CHOICES or task.reference_content:
        return task.reference_content or task.reference
    return digest([content_of(task.reference), task.reference_iid])


def analysis_key(task: AnalysisTask) -> str:
    """Return the key of an analysis: the runs, the model's description, the code."""
    trials = task.trials
    proposals = tuple(p for p, _ in trials or ())
    return digest(
        {
            "code": code_hash(),
            "model": dataclasses.asdict(task.model),
            "program": task.program_hash,
            "data": task.data_hash,
            "runs": _ends((*task.earlier, *task.results)),
            "reference": reference_hash(task),
            "judged": task.judged,
            "notes": task.notes,
            "draws_folder": [task.draws_folder is not None, task.seconds],
            "figures": task.figures,
            "explain": [task.explain, task.engine, _without_density(task.program), task.timeout_s],
            "remedies": task.remedies,
            "trials": None if trials is None else [_ends(runs) for _, runs in trials],
            "remedies tried": "" if trials is None else _text(Needs(remedies=proposals)),
            "options": task.options,
        }
    )


def _without_density(program: Program | None) -> str:
    """Return why nothing evaluates the program; empty if something does, or before it is asked.

    A comparison made again finds its analysis without loading the program, so a program that is
    not loaded yet must have the same key as the same program afterwards.
    """
    if program is None or program.embedded or program.library:
        return ""
    return program.library_error or program.embedded_error


def _ends(results: tuple[RunResult, ...]) -> list[list[str]]:
    return [[r.key, r.status, r.message, repr(r.cost.seconds)] for r in results]


@cache
def _found() -> TypeAdapter[tuple[ModelComparison, tuple[Any, ...]]]:
    from harness.report.figures import Figure

    FloatArray = Any  # noqa: F841 - the annotations' name; nothing with arrays is kept here
    kind = tuple[ModelComparison, tuple[Figure, ...]]
    return TypeAdapter(kind, config=ConfigDict(ser_json_inf_nan="constants"))


@cache
def _needed() -> TypeAdapter[tuple[Needs]]:
    from harness.why.remedies.row import Proposal  # noqa: F401 - the annotations' name

    return TypeAdapter(tuple[Needs], config=ConfigDict(ser_json_inf_nan="constants"))


def _text(needs: Needs) -> str:
    return _needed().dump_json((needs,)).decode()


def recall(store: Store, key: str) -> Analysis | None:
    """Return the analysis kept under a key: where it ended, else what it needs."""
    found = store.recall(key, _found())
    if found is not None:
        return Analysis(*found)
    if not store.keeps(f"{key}-needs"):
        return None
    needed = store.recall(f"{key}-needs", _needed())
    return None if needed is None else Analysis(None, needs=needed[0])


def keep(store: Store, key: str, analysis: Analysis) -> None:
    """Keep an analysis that would be the same another time."""
    if not analysis.lasting:
        return
    if analysis.comparison is not None:
        store.keep(key, _found(), (analysis.comparison, analysis.figures))
    else:
        store.keep(f"{key}-needs", _needed(), (analysis.needs,))
