"""What is to be compared, and the state of each model while it is worked on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.methods import DEFAULT_METHODS, METHODS
from harness.methods.method import Method
from harness.records import SAMPLED_BY, EngineName, Model, Program, RunResult, RunSpec
from harness.study.engines import Wanted
from harness.study.task import Analysis, Known

if TYPE_CHECKING:
    from harness.why.remedies.row import Proposal

QUICK = tuple(
    name
    for name in DEFAULT_METHODS
    if METHODS[name].approximate and METHODS[name].kind != "CmdStan's ADVI"
)
"""The usual methods that end in seconds."""

COMPILE_TIMEOUT_S = 1800.0
"""A program compiles in half a minute to five; with a busy machine, in more."""


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
    bare: bool = False
    """Whether nothing looks at its generated quantities: the program runs without that block."""
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


def explain(error: BaseException) -> str:
    """Return what an exception says, with its type where it was meant for programmers."""
    text = str(error).strip()
    plain = text and isinstance(error, (OSError, ValueError))
    return text if plain else f"{type(error).__name__}: {text}"
