"""What a run is asked to do and what comes of it: spec, draws, trace, cost, result."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from harness.records.models import Program

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    FloatArray = NDArray[np.float64]

Status = Literal["ok", "not_converged", "diverged", "failed", "timed_out", "killed"]
"""How a run ended. The last three have no draws; a killed one says nothing of its method: the
machine ended it, and it is neither stored nor judged."""


class Reason(StrEnum):
    """Why a run did not end well, or is not believed; its message says it in words."""

    TIME_LIMIT = "time limit"
    KILLED = "killed"
    MACHINE = "machine"
    MEMORY = "memory"
    PROGRAM_ERROR = "program error"
    OPTIONS = "options"
    BAD_OUTPUT = "bad output"
    ITERATION_LIMIT = "iteration limit"
    LOWER_ELBO = "lower ELBO"
    DIVERGING = "diverging"
    NO_ELBO = "no ELBO"
    STILL_RISING = "still rising"
    TOO_SHORT = "too short"
    RULE_SILENT = "rule silent"
    LOST_STEPS = "lost steps"
    NOT_STATIONARY = "not stationary"
    NO_FINITE_DRAWS = "no finite draws"
    OTHER_BASINS = "other basins"
    BASE_DRAWS = "base draws"
    APPROXIMATE_SDS = "approximate sds"
    WEIGHTS = "weights"
    NOT_SETTLED = "not settled"
    GENERATED = "generated quantities"
    IMPROPER = "improper posterior"
    NOT_MIXED = "not mixed"
    MOVED = "moved by its own weights"


EngineName = Literal["embedded", "cmdstan"]
"""What evaluates a program: the engine in a wheel, or CmdStan with the compiled bridge."""


STAN = "stan"
"""Among a run's versions, the Stan whose own algorithm made it: "Stan 2.40 (embedded)". Runs of
CmdStan, and of the harness's algorithms, have none."""


WITHOUT_DRAWS: frozenset[Status] = frozenset({"failed", "timed_out", "killed"})


FamilyName = Literal["meanfield", "fullrank"]
"""The Gaussian families: diagonal covariance, any covariance (unconstrained scale)."""


FAMILY_NAMES: tuple[FamilyName, ...] = ("meanfield", "fullrank")


@dataclass(frozen=True, slots=True)
class RunSpec:
    """One run: which method on which model, with which options, seed and number of draws."""

    model: str
    method: str
    options: Mapping[str, Any]
    seed: int
    """The seed's number as the user counts them, from 1; CmdStan gets a hash of the spec."""
    draws: int
    left_out: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Variables of generated quantities without draws, each with its elements that have some."""


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Draws:
    """Draws of the constrained quantities.

    ``log_p`` and ``log_q``, shape ``(chain, draw)``, are the log densities of the posterior
    (unnormalised) and of the approximation (which may lack a constant), unconstrained scale, nats.
    """

    names: tuple[str, ...]
    """Scalar names as Stan users write them: ``"beta[2]"``."""
    values: FloatArray
    """Shape ``(chain, draw, quantity)``, constrained scale."""
    log_p: FloatArray | None = None
    log_q: FloatArray | None = None
    stats: Mapping[str, FloatArray] = field(default_factory=dict)
    """Statistics of each draw, ``(chain, draw)``: ``diverging``, ``energy``, ``tree_depth`` of a
    sampler; ``copies`` of weighted draws, the number of them that are the same proposal."""
    iid: bool = True
    """Whether draws are independent (exact samplers, VI) rather than Markov chains."""

    def quantity(self, name: str) -> FloatArray:
        """Return the draws of one scalar, shape ``(chain, draw)``."""
        return self.values[:, :, self.names.index(name)]

    @property
    def long_chains(self) -> bool:
        """Whether they are Markov chains that R-hat and its like are for: few and long.

        Many short ones, more chains than draws in each, have checks of their own.
        """
        return not self.iid and self.values.shape[0] <= self.values.shape[1]

    @property
    def copies(self) -> FloatArray | None:
        """How many draws are copies of the same proposal, None where all are distinct."""
        return self.stats.get("copies")


@dataclass(frozen=True, slots=True, eq=False)
class Trace:
    """An optimiser's path. The ELBO is in nats and larger is better, always.

    All arrays have shape ``(recorded iteration,)``.
    """

    iteration: FloatArray
    elapsed_s: FloatArray
    elbo: FloatArray
    extras: Mapping[str, FloatArray] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Cost:
    """What a run took: seconds of one core, and density and gradient evaluations if known."""

    seconds: float
    log_density_evaluations: int | None = None
    gradient_evaluations: int | None = None


@dataclass(frozen=True, slots=True)
class Doubt:
    """A figure by which a run doubts itself; its message says the same in words.

    ``metric`` is one of :data:`harness.metrics.METRICS`, ``quantity`` None where it is joint, and
    ``limit`` the value that ``value`` exceeds by more than its standard error ``mcse`` explains.
    """

    reason: Reason
    metric: str
    quantity: str | None
    value: float
    mcse: float
    limit: float


@dataclass(frozen=True, slots=True, eq=False)
class RunResult:
    """What became of a run. A failed run is a result like any other."""

    spec: RunSpec
    key: str
    status: Status
    message: str
    """One plain sentence with the program's own words; empty for ``ok``."""
    draws: Draws | None
    trace: Trace | None
    diagnostics: Mapping[str, float]
    """Scalars of the run: ``eta``, ``iterations``, ``max_tree_depth``, …"""
    cost: Cost
    versions: Mapping[str, str]
    console: str = ""
    """What CmdStan printed, as it printed it."""
    reason: Reason | None = None
    """Why it did not end ``ok``; None for ``ok``, and where an earlier version stored the run."""
    engine: EngineName | None = None
    """What evaluated the program; None where nothing did, or where an earlier version ran it."""
    doubts: tuple[Doubt, ...] = ()
    """Its reasons that are figures, the largest first."""
    foreign: bool = False
    """Whether somebody else made it: what it does not tell is not known, and no fault."""

    @property
    def sampled(self) -> bool:
        """Whether its draws are Markov chains that R-hat and its like are for.

        A single chain of somebody else's without a sampler's statistics may as well be independent
        draws.
        """
        if self.draws is None or not self.draws.long_chains:
            return False
        return not self.foreign or len(self.draws.values) > 1 or bool(self.draws.stats)


class RunContext(NamedTuple):
    """What a method needs besides its spec. Plain data, so that it crosses processes."""

    program: Program
    data_file: Path | None
    timeout_s: float
    cmdstan_seed: int
    """Well-mixed, from the hash of the spec: small seeds start CmdStan 2.27 in one place."""
    data_hash: str = ""
    """Under which the data are kept as arrays; empty: they are read from the file."""
