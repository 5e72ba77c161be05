"""The records every part of the harness shares: frozen, plain data, no I/O.

Scales are always named: *constrained* is what the Stan program declares, *unconstrained*
is the real line on which ADVI and NUTS work. Densities (``log_p``, ``log_q``) are in nats,
on the unconstrained scale, Jacobian included.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from harness.titles import title

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    FloatArray = NDArray[np.float64]

Status = Literal["ok", "not_converged", "diverged", "failed", "timed_out", "killed"]
"""How a run ended. The last three have no draws; the first three may be judged."""

Closeness = Literal["close", "off", "wrong", "unsure"]
"""What one measure says once its Monte Carlo error is allowed for."""

Level = Literal["pass", "warn", "fail", "unknown", "reference"]
"""What a method's verdict on a model says."""

FamilyName = Literal["meanfield", "fullrank"]
"""The Gaussian families: diagonal covariance, any covariance (unconstrained scale)."""

FAMILY_NAMES: tuple[FamilyName, ...] = ("meanfield", "fullrank")

WITHOUT_DRAWS: frozenset[Status] = frozenset({"failed", "timed_out", "killed"})


class Estimate(NamedTuple):
    """A figure and its Monte Carlo standard error, in the same unit."""

    value: float
    mcse: float


NO_ESTIMATE = Estimate(math.nan, math.nan)


@dataclass(frozen=True, slots=True)
class Claim:
    """A sentence of the lecture that a figure of the comparison can confirm or refute.

    ``figure`` names the figure: ``{"method": …, "quantity": …, "metric": …, "over": …}``, with
    ``over`` the way seeds are summarised (``mean``, ``median``, ``worst``, ``best``,
    ``spread``, ``share``). ``expect`` has one of the keys ``at_most``, ``at_least`` or
    ``near`` (with ``within``, an absolute tolerance beside the figure's own error).
    """

    text: str
    source: str
    figure: Mapping[str, Any]
    expect: Mapping[str, float]
    note: str = ""


@dataclass(frozen=True, slots=True)
class ClaimResult:
    """A claim with what was measured. ``holds`` is None where it could not be measured."""

    model: str
    claim: str
    source: str
    expected: str
    measured: float
    error: float
    holds: bool | None
    sentence: str


@dataclass(frozen=True, slots=True)
class Model:
    """A Stan program with its data and what to look at.

    Attributes
    ----------
    name, title, source, lesson
        What it is called, one line, where it is from, two or three sentences.
    stan_file
        The Stan program.
    data_file
        JSON that CmdStan reads; large simulated data are generated into the cache.
    quantities
        Base names to compare (``"x"`` stands for ``x[1]``, …); empty means all.
    reference
        Name of an exact sampler in :mod:`harness.references`, or None: NUTS.
    settings
        Per method: ``{"meanfield": {"seeds": 3, "draws": 4000, "skip": "why"}}``.
    limits
        Changed limits: ``{"bias": {"close": 0.05, "wrong": 0.25}}``.
    batch
        How the data split by rows, for minibatch methods: ``rows``, the variables to split,
        ``size``, the one that holds their number, ``scale``, the one by which the program
        multiplies its likelihood. None where they do not split.
    methods
        Methods to run on this model beside the usual ones.
    """

    name: str
    title: str
    stan_file: Path
    data_file: Path | None
    source: str = ""
    lesson: str = ""
    quantities: tuple[str, ...] = ()
    reference: str | None = None
    claims: tuple[Claim, ...] = ()
    settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    limits: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    batch: Mapping[str, Any] | None = None
    methods: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Program:
    """A compiled Stan program as the runs need it: plain paths and versions."""

    stan_file: Path
    executable: Path
    cmdstan: Path
    versions: Mapping[str, str]
    library: Path | None = None
    """The program behind the bridge's interface, where a method needs it."""
    library_error: str = ""
    """Why there is no library, in the compiler's words."""


@dataclass(frozen=True, slots=True)
class RunSpec:
    """One run: which method on which model, with which options, seed and number of draws."""

    model: str
    method: str
    options: Mapping[str, Any]
    seed: int
    """The seed's number as the user counts them, from 1; CmdStan gets a hash of the spec."""
    draws: int


@dataclass(frozen=True, slots=True, eq=False)
class Draws:
    """Draws of the constrained quantities.

    Attributes
    ----------
    names
        Scalar names as Stan users write them: ``"beta[2]"``.
    values
        Shape ``(chain, draw, quantity)``, constrained scale.
    log_p, log_q
        Shape ``(chain, draw)`` or None: log density of the posterior (unnormalised) and
        of the approximation, unconstrained scale, nats. ``log_q`` may lack a constant.
    stats
        Sampler statistics, each ``(chain, draw)``: ``diverging``, ``energy``, ``tree_depth``.
    iid
        True where draws are independent (exact samplers, VI), False for Markov chains.
    """

    names: tuple[str, ...]
    values: FloatArray
    log_p: FloatArray | None = None
    log_q: FloatArray | None = None
    stats: Mapping[str, FloatArray] = field(default_factory=dict)
    iid: bool = True

    def quantity(self, name: str) -> FloatArray:
        """Return the draws of one scalar, shape ``(chain, draw)``."""
        return self.values[:, :, self.names.index(name)]


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


@dataclass(frozen=True, slots=True, eq=False)
class RunResult:
    """What became of a run. A failed run is a result like any other.

    Attributes
    ----------
    message
        One plain sentence with the program's own words; empty for ``ok``.
    diagnostics
        Scalars of the run: ``eta``, ``iterations``, ``max_tree_depth``, …
    console
        What CmdStan printed, as it printed it.
    """

    spec: RunSpec
    key: str
    status: Status
    message: str
    draws: Draws | None
    trace: Trace | None
    diagnostics: Mapping[str, float]
    cost: Cost
    versions: Mapping[str, str]
    console: str = ""


class RunContext(NamedTuple):
    """What a method needs besides its spec. Plain data, so that it crosses processes."""

    program: Program
    data_file: Path | None
    timeout_s: float
    cmdstan_seed: int
    """Well-mixed, from the hash of the spec: small seeds start CmdStan 2.27 in one place."""


def fits_any(_: Model) -> str | None:
    """Say that a method can be used on any model."""
    return None


@dataclass(frozen=True, slots=True)
class Method:
    """A row of the METHODS table.

    ``run(spec, context, scratch)`` returns a RunResult and never raises for a run that
    failed; ``scratch`` is an empty folder of its own. ``defaults`` are the options that
    the spec may override. ``version`` is raised when results are no longer comparable.
    ``bridge`` says that it needs the program's gradient in process, ``batch`` that the model's
    ``[batch]`` table is one of its options. ``extends`` is False where more draws would be
    another fit (particles). ``family`` is the Gaussian family that q is of, empty where it is of
    none; an option ``family`` goes before it. ``unfit(model)`` returns why it cannot be used on
    a model, in a sentence, or None.
    """

    name: str
    run: Callable[[RunSpec, RunContext, Path], RunResult]
    version: int
    defaults: Mapping[str, Any]
    draws: int
    seeds: int
    approximate: bool
    """True for variational methods (several seeds, ELBO), False for samplers."""
    bridge: bool = False
    batch: bool = False
    extends: bool = True
    family: str = ""
    unfit: Callable[[Model], str | None] = fits_any

    @property
    def title(self) -> str:
        """What the method is called in words."""
        return title(self.name)

    def family_of(self, options: Mapping[str, Any]) -> FamilyName | None:
        """Return the Gaussian family of a run's q, None where it is no Gaussian's."""
        name = str(options.get("family", self.family))
        return next((f for f in FAMILY_NAMES if f == name), None)


@dataclass(frozen=True, slots=True)
class Measure:
    """One figure of the comparison, with its standard error.

    ``quantity`` is None for joint metrics and ``seed`` None for figures over all seeds.
    """

    model: str
    method: str
    seed: int | None
    quantity: str | None
    metric: str
    value: float
    mcse: float
    reference: str


@dataclass(frozen=True, slots=True)
class Rule:
    """Limits on one metric.

    ``direction`` is ``"both"`` (the absolute value counts) or ``"above"``. A measure is
    *close* only if its error could have shown one of ``unsure_factor`` × ``close``.
    ``alarm`` rules are shown beside a verdict and never make one.
    """

    metric: str
    close: float
    wrong: float
    direction: Literal["both", "above"]
    why: str
    unsure_factor: float = 1.0
    alarm: bool = False


@dataclass(frozen=True, slots=True)
class Finding:
    """A rule applied to a measure, and the sentence a colleague would say."""

    rule: Rule
    measure: Measure
    level: Closeness
    sentence: str
    draws_needed: int | None = None
    """For ``unsure``: how many draws of the scarcer sample would decide."""


@dataclass(frozen=True, slots=True)
class SeedVerdict:
    """How one run of a method was judged."""

    seed: int
    level: Level
    status: Status
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class Cause:
    """A named reason why a run is not the posterior, with its evidence.

    Attributes
    ----------
    gap
        ``family``: no member of the family is the posterior; ``optimiser``: a better member
        was not found; ``method``: neither is defined for it (particles, chains, weights).
    name
        ``correlation``, ``several modes``, ``skew``, ``heavy tails``, ``light tails``,
        ``funnel``, ``other shape``; ``runaway``, ``stopped early``, ``iteration limit``,
        ``dropped evaluations``, ``other basin``, ``noisy steps``; or a method's own.
    nats
        What it accounts for; NaN where that is not known.
    evidence
        One sentence with the figures that show it.
    """

    gap: Literal["family", "optimiser", "method"]
    name: str
    nats: float
    evidence: str


@dataclass(frozen=True, slots=True)
class Gap:
    """The divergence of one run's q from the posterior, in two parts (nats).

    ``KL(q ‖ p) = [log Z − ELBO(q*)] + [ELBO(q*) − ELBO(q)]``, q* the best member of q's family.

    Attributes
    ----------
    family_gap, optimiser_gap
        The two parts with their standard errors; NaN where they could not be had, infinite
        where q puts draws at which the posterior has no density.
    causes
        Of this run, the largest first; empty where no gap counts.
    exact
        Whether q itself was known; otherwise it is the Gaussian of its draws' moments.
    words
        What keeps a figure from being known or exact; empty where nothing does.
    """

    method: str
    seed: int
    family: FamilyName
    family_gap: Estimate
    optimiser_gap: Estimate
    causes: tuple[Cause, ...] = ()
    exact: bool = True
    words: str = ""

    @property
    def kl(self) -> Estimate:
        """KL(q ‖ p), nats."""
        parts = (self.family_gap, self.optimiser_gap)
        return Estimate(sum(p.value for p in parts), math.hypot(*(p.mcse for p in parts)))


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why the fits of one model are not its posterior.

    Attributes
    ----------
    log_evidence
        log Z of the Stan program's density, nats, with its error; ``source`` says where from.
    gaps
        One for each run of a Gaussian family that has draws, in the order of the runs.
    notes
        Sentences on what could not be had, and on figures that are not as sharp as wanted.
    """

    log_evidence: Estimate
    source: str
    gaps: tuple[Gap, ...]
    notes: tuple[str, ...] = ()
    complete: bool = True
    """False where it was cut short by what may be otherwise next time: time, memory, a library."""

    def of(self, method: str) -> tuple[Gap, ...]:
        """Return the gaps of one method, a seed each."""
        return tuple(g for g in self.gaps if g.method == method)


@dataclass(frozen=True, slots=True)
class Trial:
    """A remedy that was tried on a method that fails or warns, and what it brought.

    Attributes
    ----------
    method
        Whose verdict it is to mend.
    remedy
        Its key: ``smaller step``, ``more gradient samples``, ``tighter tolerance``,
        ``tuned settings``, ``full-rank``, ``best of the family``, ``dadvi_lr``, ``dadvi_psis``,
        ``all basins``,
        ``reweighted``, ``reparameterise``, ``nuts from q``.
    what
        What was done, with its settings, in a few words.
    level_before, level_after
        Verdicts on the same seeds, for ``nuts from q`` those of NUTS itself; ``level_after`` is
        None for a hint that cannot be tried.
    metric, quantity
        The figure that tells most of the fault; ``quantity`` is None for joint metrics.
    before, after
        That figure, of the typical (median) seed.
    seconds, seconds_before
        Of one run.
    helps
        Whether the level is better, or for NUTS the same trust is had in less time.
    words
        One sentence: what it brought, or why it was not tried.
    """

    method: str
    remedy: str
    what: str
    level_before: Level
    level_after: Level | None
    metric: str
    quantity: str | None
    before: Estimate
    after: Estimate
    seconds: float
    seconds_before: float
    helps: bool
    words: str
    luck: bool = False
    """Whether as few seeds of the unchanged method would often do as well."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """A method's level on a model: that of its worst seed.

    ``headline`` is the short reason for tables ("sd of slope 0.49 of the reference's"),
    ``notes`` are sentences that have no rule of their own (runs that failed, runaways).
    ``causes`` and ``remedies`` are sentences with their figures, ``cause`` and ``remedy`` the
    same in a few words for tables ("family: correlation, 0.89 nats").
    """

    model: str
    method: str
    level: Level
    typical: Level
    seeds: int
    seeds_failed: int
    headline: str
    findings: tuple[Finding, ...]
    notes: tuple[str, ...] = ()
    by_seed: tuple[SeedVerdict, ...] = ()
    causes: tuple[str, ...] = ()
    remedies: tuple[str, ...] = ()
    cause: str = ""
    remedy: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Reference:
    """What the methods are compared with, and whether it deserves it.

    ``kind`` is ``exact``, ``supplied``, ``nuts`` or ``none``; ``why`` says in one sentence
    why it is or is not trusted, with its figures.
    """

    kind: Literal["exact", "supplied", "nuts", "none"]
    trusted: bool
    why: str
    draws: Draws | None = None
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class ModelComparison:
    """Everything known about one model. ``error`` says what kept it from being compared."""

    model: Model
    error: str | None
    reference: Reference
    runs: tuple[RunResult, ...] = ()
    measures: tuple[Measure, ...] = ()
    levels: tuple[Closeness | None, ...] = ()
    """Closeness of each measure, in the order of ``measures``; None where no rule applies."""
    verdicts: tuple[Verdict, ...] = ()
    notes: tuple[str, ...] = ()
    """What was left out and why: skipped methods, constant quantities, …"""
    explanation: Explanation | None = None
    """None where nobody asked why."""
    trials: tuple[Trial, ...] = ()
    """Remedies that were tried, in the order of the verdicts."""


@dataclass(frozen=True, slots=True, eq=False)
class Comparison:
    """A whole comparison with what is needed to repeat it."""

    models: tuple[ModelComparison, ...]
    claims: tuple[ClaimResult, ...]
    provenance: Mapping[str, Any]
    """``command``, ``date``, ``versions``, ``seeds``, ``seconds``, ``hashes``."""


Conclusion = Literal["same", "changed", "inconclusive"]
"""What a regression check says of one figure."""


@dataclass(frozen=True, slots=True)
class Change:
    """One figure of a baseline beside the same figure now.

    Attributes
    ----------
    model, method, quantity, what
        Which figure: ``what`` is a summary (``mean``, ``sd``, ``q5``, …), ``level``, a share
        of seeds, or what is missing. ``method`` and ``quantity`` may be empty.
    kind
        ``moved`` for figures that both sides have; ``missing`` and ``new`` for those of one
        side; ``unusable`` for one that is not a number, or could not be had.
    old, new
        Values with their standard errors, in the quantity's own unit.
    difference, interval, margin
        New less old with its 95% interval and the difference that counts in practice, in
        posterior sds for locations, as ln of a ratio for scales, as a share for shares.
    sds
        The difference in joint standard errors.
    p
        Of "the difference is no larger than the margin"; None where there is nothing to test.
    note
        One sentence where figures do not speak for themselves.
    """

    model: str
    method: str
    quantity: str
    what: str
    kind: Literal["moved", "missing", "new", "unusable"]
    conclusion: Conclusion
    old: Estimate = NO_ESTIMATE
    new: Estimate = NO_ESTIMATE
    difference: float = math.nan
    interval: tuple[float, float] = (-math.inf, math.inf)
    margin: float = math.nan
    sds: float = math.nan
    p: float | None = None
    was: str = ""
    """What stood there, where it is no number: a level, say."""
    now: str = ""
    note: str = ""

    @property
    def cell(self) -> str:
        """The figure's address: ``mixture / meanfield / x / mean``."""
        return " / ".join(p for p in (self.model, self.method, self.quantity, self.what) if p)
