"""Replays of a regression check: draws from known distributions, a baseline and its check.

The harness itself decides; only the draws are made here.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from scipy.signal import lfilter
from scipy.special import ndtri

from harness.check.baseline.change import UNDECIDED, USUAL, Change, Margins, conclude, exit_code
from harness.check.baseline.compare import compare_method
from harness.check.baseline.file import read, write
from harness.check.baseline.form import Baseline, MethodBaseline, Share
from harness.check.baseline.summarise import Summary, of_draws, of_seeds, settle
from harness.metrics.sample import Sample
from harness.records import Draws

if TYPE_CHECKING:
    from harness.records import FloatArray

Fault = Callable[["FloatArray"], "FloatArray"]

LOOKS = 3
"""While a check cannot decide, it takes twice, then four times the baseline's runs."""

MODEL, METHOD = "model", "method"
NO_MARGINS = Margins(0.0, 0.0)


def _of_normals(z: FloatArray, marginal: str) -> FloatArray:
    """Turn standard normals, shape ``(part, …)``, into draws of another distribution."""
    x = z[0]
    if marginal == "lognormal":
        x = np.exp(x)
    elif marginal == "exponential":
        x = (x**2 + z[1] ** 2) / 2
    elif marginal.startswith("rare"):
        x = (x > ndtri(1 - float(marginal.removeprefix("rare")))).astype(float)
    elif marginal.startswith("t"):
        # Student's t: as many squares as degrees of freedom.
        x = x / np.sqrt(np.mean(z[1:] ** 2, axis=0))
    return np.asarray(x, dtype=np.float64)


PARTS = {"normal": 1, "lognormal": 1, "exponential": 2, "t3": 4, "t5": 6}


@dataclass(frozen=True)
class Sampler:
    """Runs of a sampler: stationary AR(1) chains, or independent draws at ``rho`` 0.

    ``rho`` is that of the normals behind the draws; ``shared`` is their correlation between
    quantities. ``growth`` is how many times the baseline's runs a check without margins takes.
    """

    marginal: str = "normal"
    rho: float = 0.0
    runs: int = 4
    chains: int = 4
    draws: int = 1000
    shared: float = 0.0
    growth: int = 1

    def take(self, rng: np.random.Generator, d: int, runs: int) -> list[Draws | None]:
        """Draw runs of d quantities."""
        names = names_of(d)
        out: list[Draws | None] = []
        for _ in range(runs):
            z = rng.standard_normal((PARTS.get(self.marginal, 1), self.chains, self.draws, d))
            if self.shared:
                common = rng.standard_normal((*z.shape[:-1], 1))
                z = math.sqrt(self.shared) * common + math.sqrt(1 - self.shared) * z
            if self.rho:
                z[:, :, 1:] *= math.sqrt(1 - self.rho**2)
                z = lfilter([1.0], [1.0, -self.rho], z, axis=2)
            out.append(Draws(names, _of_normals(z, self.marginal), iid=self.rho == 0))
        return out

    def summary(self, runs: Sequence[Draws | None], old: MethodBaseline | None) -> Summary:
        """Put the chains of all runs side by side, as a check does."""
        have = [r for r in runs if r is not None]
        values = np.concatenate([r.values for r in have])
        pooled = Draws(have[0].names, values, iid=have[0].iid)
        return replace(of_draws(pooled, None, old), kept=len(have))


@dataclass(frozen=True)
class Approximation:
    """Seeds of a variational method: q's mean and ln sd move with the seed.

    ``spread`` is their sd over seeds, in posterior sds; ``heavy`` moves them by Student's t
    with 4 degrees of freedom, and a share ``runaway`` of seeds ends far away.
    """

    spread: float
    heavy: bool = False
    runaway: float = 0.0
    runs: int = 10
    draws: int = 10_000
    growth: int = 1
    ignored: bool = False
    """Whether draws of all seeds are treated as independent, which gives the wrong error."""

    def take(self, rng: np.random.Generator, d: int, runs: int) -> list[Draws | None]:
        """Draw seeds of d quantities."""
        names = names_of(d)
        out: list[Draws | None] = []
        for _ in range(runs):
            moves = rng.standard_t(4, (2, d)) / math.sqrt(2) if self.heavy else (
                rng.standard_normal((2, d)))  # fmt: skip
            mean, sd = self.spread * moves[0], np.exp(self.spread * moves[1])
            if rng.random() < self.runaway:
                mean, sd = mean + 5.0, 4 * sd
            out.append(Draws(names, mean + sd * rng.standard_normal((1, self.draws, d))))
        return out

    def summary(self, runs: Sequence[Draws | None], old: MethodBaseline | None) -> Summary:
        """Summarise over seeds."""
        if self.ignored:
            values = np.concatenate([r.values for r in runs if r is not None])
            names = next(r.names for r in runs if r is not None)
            return of_draws(Draws(names, values))
        names = next(r.names for r in runs if r is not None)
        return of_seeds(runs, names, dict.fromkeys(names, 1.0), old)


Law = Sampler | Approximation


def names_of(d: int) -> tuple[str, ...]:
    """Return the names of d quantities."""
    return tuple(f"x[{i + 1}]" for i in range(d))


def method(summary: Summary, runs: int, draws: int) -> MethodBaseline:
    """Return a method's summaries as a baseline or a check has them."""
    shares = {"failed": Share(0, runs)}
    if summary.kind == "seeds":
        shares |= {"doubted": Share(0, runs), "ran_away": Share(len(summary.ran_away), runs)}
    return MethodBaseline(
        kind=summary.kind,
        seeds=tuple(range(1, runs + 1)),
        draws=draws,
        kept=summary.kept,
        options={},
        shares=shares,
        no_moments=summary.no_moments,
        quantities=summary.quantities,
    )


def kept(law: Law, runs: Sequence[Draws | None]) -> MethodBaseline:
    """Return a baseline as it comes back from its file."""
    made = method(settle(law.summary(runs, None)), len(runs), law.draws)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.json"
        write(Baseline(MODEL, {METHOD: made}), path)
        return read(path).methods[METHOD]


def compared(
    law: Law, old: MethodBaseline, runs: Sequence[Draws | None], margins: Margins = USUAL
) -> list[Change]:
    """Compare runs with a baseline."""
    summary = law.summary(runs, old)
    new = method(summary, len(runs), law.draws)
    samples: Mapping[str, Sample] | None = summary.samples
    return compare_method(MODEL, METHOD, old, new, samples, margins)


@dataclass(frozen=True)
class Replay:
    """The outcome of one check: its exit code and its number of looks."""

    code: int
    looks: int
    moments: bool
    ess: float


def effective(old: MethodBaseline) -> float:
    """Return the median effective size of the means."""
    sizes = [figures["mean"].ess for figures in old.quantities.values()]
    return float(np.median(sizes)) if sizes else math.nan


def without_margins(law: Law, d: int, alpha: float, rng: np.random.Generator) -> Replay:
    """Replay the error-aware test alone, where nothing has changed.

    A baseline without moments would test nothing, so it is drawn again.
    """
    while True:
        before = law.take(rng, d, law.runs)
        old = method(law.summary(before, None), law.runs, law.draws)
        if not old.no_moments:
            break
    now = law.take(rng, d, law.growth * law.runs)
    changes = conclude(compared(law, old, now, NO_MARGINS), alpha)
    return Replay(exit_code(changes), 1, moments=True, ess=effective(old))


def as_used(law: Law, d: int, alphas: Sequence[float], rng: np.random.Generator) -> list[Replay]:
    """Replay a check with its margins and its looks, where nothing changed, for each alpha."""
    old = kept(law, law.take(rng, d, law.runs))
    looks = Looks(law, d, rng)
    out = []
    for alpha in alphas:
        code, look = UNDECIDED, 0
        while code == UNDECIDED and look < LOOKS:
            code = exit_code(conclude(looks.changes(old, look), alpha / LOOKS))
            look += 1
        out.append(Replay(code, look, not old.no_moments, effective(old)))
    return out


class Looks:
    """The runs of one check, drawn when they are needed."""

    def __init__(self, law: Law, d: int, rng: np.random.Generator) -> None:
        self.law, self.d, self.rng = law, d, rng
        self.all: list[Draws | None] = []
        self.seen: dict[int, list[Change]] = {}

    def runs(self, look: int) -> list[Draws | None]:
        """Return the runs of a look: those before it, and as many again."""
        count = self.law.runs * 2**look
        if len(self.all) < count:
            self.all += self.law.take(self.rng, self.d, count - len(self.all))
        return self.all[:count]

    def changes(self, old: MethodBaseline, look: int) -> list[Change]:
        """Return what a look finds, before it is judged."""
        if look not in self.seen:
            self.seen[look] = compared(self.law, old, self.runs(look))
        return self.seen[look]


# --- faults ---------------------------------------------------------------------------------


def moved(sds: float) -> Fault:
    """Move all draws."""
    return lambda x: x + sds


def shrunk(factor: float) -> Fault:
    """Shrink about the mean, which is zero."""
    return lambda x: x * factor


def thickened(factor: float) -> Fault:
    """Stretch what lies above the median, which is zero."""
    return lambda x: np.where(x > 0, factor * x, x)


def with_faults(
    law: Law,
    families: Sequence[int],
    faults: Mapping[str, Fault],
    alpha: float,
    rng: np.random.Generator,
) -> dict[tuple[str, int], Replay]:
    """Replay checks in which one quantity of a family changed, for each fault and family.

    The other quantities' draws serve for every fault, and a smaller family is the beginning of a
    larger one.
    """
    d = max(families)
    old = kept(law, law.take(rng, d, law.runs))
    first, *_ = names_of(d)
    single = replace(old, quantities={first: old.quantities[first]})
    looks = Looks(law, d, rng)
    out = {}
    for name, fault in faults.items():
        found: dict[int, list[Change]] = {}
        for size in families:
            others = set(names_of(size)[1:]) | {""}
            code, look = UNDECIDED, 0
            while code == UNDECIDED and look < LOOKS:
                if look not in found:
                    spoilt = [_spoilt(r, fault) for r in looks.runs(look)]
                    found[look] = [c for c in compared(law, single, spoilt) if c.quantity]
                rest = [c for c in looks.changes(old, look) if c.quantity in others]
                code = exit_code(conclude([*found[look], *rest], alpha / LOOKS))
                look += 1
            out[name, size] = Replay(code, look, not old.no_moments, effective(old))
    return out


def _spoilt(run: Draws | None, fault: Fault) -> Draws | None:
    """Return the first quantity alone, changed."""
    if run is None:
        return None
    return replace(run, names=run.names[:1], values=fault(run.values[:, :, :1]))
