"""One model's runs, explained: q behind each, q* of each family, log Z, and the causes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import numpy as np

from harness.methods import title
from harness.methods.bridged import BridgeTarget, along, arrays, expected_s
from harness.metrics.measure import seed_of
from harness.models.data import ModelError, kept_data
from harness.models.exact_evidence import LOG_EVIDENCE
from harness.records import (
    NO_ESTIMATE,
    Cause,
    Estimate,
    Explanation,
    FamilyName,
    Gap,
    Model,
    Program,
    Reference,
    Refuted,
    RunResult,
)
from harness.records.text import count, number, percent, seconds
from harness.stan import ProgramError, program_hash
from harness.stan.density import Density, EngineError
from harness.stan.engine import open_density
from harness.stan.unconstrain import MissingParametersError
from harness.vi.deterministic import StartError, fit_fullrank
from harness.vi.deterministic.fullrank import FULLRANK_LIMIT
from harness.vi.deterministic.importance import Defensive, Mixture
from harness.vi.deterministic.improper import level_of
from harness.vi.target import Clock, TimeLimitError
from harness.why import tempered
from harness.why.causes import by_size, causes_of
from harness.why.causes.modes import switched
from harness.why.causes.row import COUNTS, Evidence, FamilyScene, OptimiserScene
from harness.why.causes.steps import HARD_EDGE, ImproperScene
from harness.why.causes.stopping import looks_of
from harness.why.family_search import BUDGET_S, WANTED, Family, Search
from harness.why.fits import Fit, family_of, fit_of, lost_coordinates
from harness.why.log_evidence import LogZ, log_evidence
from harness.why.posterior import Posterior, edges_of, entries, posterior_of, stan_names
from harness.why.refute import missing_mode, not_sought
from harness.why.scenes import SHAPE_S, basin_of, correlation_cost, falls_between, widened

NO_LOG_Z = LogZ(NO_ESTIMATE, "none")

EVEN = 0.1
"""Added to every mode's share of the proposals, because ELBOs misjudge masses."""

NO_BEST = "the best member of its family is unknown"


def explain(
    model: Model,
    runs: Sequence[RunResult],
    reference: Reference,
    program: Program,
    timeout_s: float = 600.0,
    data_hash: str = "",
) -> Explanation:
    """Split the divergence of every run of a Gaussian family, and name the causes.

    ``runs`` have draws. log Z and the posterior's shape use the reference only where it is
    trusted. What could not be computed is a note, and NaN in the gaps; nothing raises.
    """
    try:
        data = kept_data(model.data_file, data_hash)
        bound = arrays(data)
        bridged = open_density(program, model.data_file, bound)
    except (EngineError, ProgramError, ModelError, OSError) as error:
        words = f"the program cannot be evaluated: {error}"
        return Explanation(NO_ESTIMATE, "none", (), (words,), complete=False, unsought=words)
    content = f"{program_hash(model.stan_file)} {data_hash}"
    target, rng = BridgeTarget(bridged), np.random.default_rng(seed_of(content))
    expected = expected_s(model.stan_file, bridged, bound)
    search = Search(target, rng, Clock(timeout_s), expected.gradient)
    if model.reference in LOG_EVIDENCE and not bridged.constants:
        search.notes.append("the formula of log Z is not used: the density lacks a constant")
        model = replace(model, reference=None)
    if lost := lost_coordinates(bridged):
        why = f"draws do not determine the unconstrained {lost}"
        words = f"q and its gaps are unknown: {why}"
        return Explanation(NO_ESTIMATE, "none", (), (words,), unsought=why)
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        log_z, gaps, refuted = _explained(search, model, data, runs, reference, bridged)
    notes = tuple(search.notes)
    return Explanation(
        log_z.value, log_z.source, tuple(gaps), notes, search.complete, refuted, search.unsought
    )


def _explained(
    search: Search,
    model: Model,
    data: Mapping[str, Any],
    runs: Sequence[RunResult],
    reference: Reference,
    bridged: Density,
) -> tuple[LogZ, list[Gap], Refuted | None]:
    fits = _fits(runs, bridged, search.notes)
    if not fits:
        search.notes.append("no run of a Gaussian family has draws")
        return NO_LOG_Z, [], None
    posterior, said = posterior_of(reference, bridged)
    search.notes += said
    search.unsought = "" if posterior is not None else "; ".join(said)
    found: dict[FamilyName, Family] = {}
    refuted: Refuted | None = None
    try:
        found = search.families(fits, posterior)
        if posterior is not None and reference.draws is not None:
            optimum = found["meanfield"].best.optimum
            refuted = missing_mode(optimum, posterior, reference.draws, bridged, search.clock)
    except (StartError, TimeLimitError) as error:
        search.unsought = search.unsought or not_sought(error, search.clock)
        if isinstance(error, StartError):
            search.notes.append(f"the families' best members could not be found: {error}")
        else:
            limit = seconds(search.clock.limit_s)
            search.notes.append(f"the search for the families' best members took over {limit}")
            search.complete = False
    lost = any(f.lost > 0 for f in fits)
    edges = edges_of(bridged, search.target, search.rng) if lost or not found else ()
    causes = _gapless(search, bridged, found, edges)
    if causes is not None:
        return NO_LOG_Z, [_unknown(fit, NO_BEST, causes=causes) for fit in fits], None
    shown = None if refuted else posterior
    log_z = _log_z(search, model, data, shown, found)
    if log_z.by == "bridge":
        refuted = _above(log_z, found)
        if refuted:
            shown, log_z = None, _log_z(search, model, data, None, found)
    alone = shown is None
    if shown is None:
        shown = _alone(search, log_z, found)
    if shown is not None and not shown.names:
        shown = replace(shown, names=stan_names(bridged.unconstrained_names()))
    log_z = _undoubted(log_z, found, search.notes)
    means = [b.theta[: search.target.dimension] for b in found["meanfield"].best.modes]
    scene = FamilyScene(
        family="meanfield",
        best=found["meanfield"].best,
        correlation=correlation_cost(search, found, shown),
        fullrank_gap=None,
        posterior=shown,
        rng=search.rng,
        alone=alone,
        widened=widened(search, found["meanfield"].best, bridged)
        if shown is None and search.target.dimension > FULLRANK_LIMIT
        else None,
        ridge=falls_between(search, found["meanfield"].best),
        switched=switched([entries(bridged, mean) for mean in means]),
    )
    gaps = {(g.method, g.seed): g for g in _gaps(search, found, log_z, scene, edges)}
    keyed = [((f.run.spec.method, f.run.spec.seed), f) for f in fits]
    every = [gaps[key] if key in gaps else _unknown(f, NO_BEST) for key, f in keyed]
    return log_z, every, refuted


def _gapless(
    search: Search,
    bridged: Density,
    found: Mapping[FamilyName, Family],
    edges: tuple[Evidence, ...],
) -> tuple[Cause, ...] | None:
    """Return the causes where no fit can have a gap; None where fits can.

    There is no best member of a family, or the posterior is improper.
    """
    if not found:
        return (Cause("optimiser", HARD_EDGE.id, math.nan, {"edges": edges}),) if edges else ()
    optimum = found["meanfield"].best.optimum
    level = level_of(search.target, optimum)
    if not level:
        return None
    search.notes.append("log Z and every gap are unknown: the posterior is improper")
    return causes_of(ImproperScene(along=[along(bridged, v) for v in level]))


def _alone(search: Search, log_z: LogZ, found: Mapping[FamilyName, Family]) -> Posterior | None:
    """Return what the fits and the density show of the posterior by themselves, without names."""
    if log_z.posterior is not None:
        worth = count(len(log_z.posterior.z), "draw")
        search.notes.append(f"the posterior's shape is that of weighted draws of q, worth {worth}")
        return log_z.posterior
    if search.target.dimension > tempered.MOST or search.seconds * tempered.DENSITIES > SHAPE_S:
        return None
    try:
        proposal = _proposal(search, found)
        z = tempered.tempered(search.target, proposal, search.rng, search.clock)
    except TimeLimitError:
        return None
    if z is None:
        return None
    particles = count(len(z), "particle")
    search.notes.append(f"the posterior's shape is that of {particles} moved from q to it")
    return Posterior(z, tempered.EFFECTIVE, ())


def _undoubted(log_z: LogZ, found: Mapping[FamilyName, Family], notes: list[str]) -> LogZ:
    """Return log Z if nothing speaks against it; what does is a note."""
    doubt = log_z.words
    if not doubt and _above(log_z, found) is not None:
        doubt = f"the ELBO of a Gaussian lies above the estimate by {log_z.source}"
    if not doubt:
        return log_z
    notes.append(f"log Z is unknown, and with it every family gap: {doubt}")
    return LogZ(NO_ESTIMATE, "none", doubt)


def _fits(runs: Sequence[RunResult], bridged: Density, notes: list[str]) -> list[Fit]:
    """Return q of every run that has draws; one that cannot be recovered is a note."""
    found = []
    for run in runs:
        if run.draws is None or family_of(run) is None or not run.draws.values.shape[1]:
            continue
        try:
            found.append(fit_of(run, bridged))
        except (MissingParametersError, ValueError) as error:
            where = f"{run.spec.method}, seed {run.spec.seed}"
            notes.append(f"{where}: q cannot be recovered from its draws: {error}")
    return found


def _log_z(
    search: Search,
    model: Model,
    data: Mapping[str, Any],
    posterior: Posterior | None,
    found: Mapping[FamilyName, Family],
) -> LogZ:
    most = int(min(20_000, max(1000, BUDGET_S / search.seconds)))
    proposal = _proposal(search, found)
    return log_evidence(model, data, search.target, posterior, proposal, search.rng, proposals=most)


def _proposal(search: Search, found: Mapping[FamilyName, Family]) -> Mixture:
    """Return the best Gaussian, and one for each separate mode if there are several."""
    best = found.get("fullrank", found["meanfield"]).best
    modes = best.modes
    parts, shares = [Defensive(best.q.mean, best.q.factor)], [1.0]
    d = search.target.dimension
    for basin in modes if len(modes) > 1 else ():
        mean, factor = basin.theta[:d], np.exp(basin.theta[d:])
        if d <= FULLRANK_LIMIT:
            with suppress(np.linalg.LinAlgError, TimeLimitError):
                full = fit_fullrank(
                    search.target, mean, np.diag(factor**2), search.rng, search.clock
                )
                mean, factor = full.mean, full.factor
        parts.append(Defensive(mean, factor))
        shares.append(basin.mass + EVEN)
    total = sum(shares)
    return Mixture(tuple(parts), tuple(s / total for s in shares))


def _above(log_z: LogZ, found: Mapping[FamilyName, Family]) -> Refuted | None:
    """Return the ELBO that lies above a log Z, if one does."""
    for its in found.values():
        elbo = its.level.value
        gap = _difference(log_z.value, elbo)
        if gap.value < -4 * gap.mcse - COUNTS:
            return Refuted("elbo", elbo.value, log_evidence=log_z.value.value)
    return None


def _gaps(
    search: Search,
    found: Mapping[FamilyName, Family],
    log_z: LogZ,
    scene: FamilyScene,
    edges: tuple[Evidence, ...],
) -> Iterator[Gap]:
    gaps_of = {f: _difference(log_z.value, its.level.value) for f, its in found.items()}
    if "fullrank" in gaps_of and gaps_of["fullrank"].value > gaps_of["meanfield"].value:
        # The larger family contains the smaller one's best: the difference is noise.
        gaps_of["fullrank"] = gaps_of["meanfield"]
    scene = replace(scene, fullrank_gap=gaps_of.get("fullrank"))
    for family, its in found.items():
        gap, best = gaps_of[family], its.level.value.value
        causes = causes_of(replace(scene, gap=gap, rest=gap.value, family=family, best=its.best))
        if math.isfinite(gap.value) and not gap.mcse <= WANTED:
            size = number(gap.mcse)
            search.notes.append(
                f"the {title(family)} family gap has a standard error of {size} nats"
            )
        for fit, elbo in its.fits:
            if elbo is None:
                words = f"q cannot be recovered from its draws: {fit.words}"
                if fit.collapsed:
                    # Without any width its divergence is infinite.
                    lost = Estimate(math.inf, 0.0)
                    scene_of = OptimiserScene(
                        gap=lost, rest=lost.value, run=fit.run, best=best, collapsed=True
                    )
                    both = (*causes_of(scene_of), *causes)
                    yield replace(_unknown(fit, words, gap, both), optimiser_gap=lost)
                    continue
                yield _unknown(fit, words, gap, causes)
                continue
            below = _with_moments(fit, elbo.below, search.target.dimension)
            own = causes_of(
                OptimiserScene(
                    gap=below,
                    rest=below.value,
                    run=fit.run,
                    best=best,
                    basin=basin_of(search, found["meanfield"].best, fit, below),
                    lost=elbo.lost,
                    looks=looks_of(fit.run, best),
                    edges=edges,
                )
            )
            both = tuple(sorted([*own, *causes], key=by_size))
            words = _words(fit, below, elbo.lost)
            yield replace(_unknown(fit, words, gap, both), optimiser_gap=below)


def _unknown(
    fit: Fit, words: str, gap: Estimate = NO_ESTIMATE, causes: tuple[Cause, ...] = ()
) -> Gap:
    """Return the gap of a run whose part in it is unknown."""
    spec, exact = fit.run.spec, fit.exact
    return Gap(spec.method, spec.seed, fit.family, gap, NO_ESTIMATE, causes, exact, words)


def _difference(upper: Estimate, lower: Estimate) -> Estimate:
    return Estimate(upper.value - lower.value, math.hypot(upper.mcse, lower.mcse))


def _with_moments(fit: Fit, below: Estimate, d: int) -> Estimate:
    """Allow for the cost of estimating moments from n draws: d/n nats, d (d + 3)/4n of full rank.

    That holds close to the posterior. Far from it the error is of first order: variances have
    a relative error of √(2/n), and so has, roughly, what they cost.
    """
    if fit.exact or not math.isfinite(below.value):
        return below
    n = fit.draws
    cost = d / n if fit.family == "meanfield" else d * (d + 3) / (4 * n)
    far = 2 * abs(below.value) / math.sqrt(n)
    return Estimate(below.value - cost, math.hypot(below.mcse, cost / 2, far))


def _words(fit: Fit, below: Estimate, lost: float) -> str:
    said = [] if fit.exact else [fit.words]
    if math.isnan(below.value):
        said.append("its distance from the best of its family is unknown")
    if math.isinf(below.value):
        said.append(f"{percent(lost)} of its draws have no density: its ELBO is −∞")
    elif not below.mcse <= max(WANTED, 0.02 * abs(below.value)):
        said.append(f"its gap has a standard error of {number(below.mcse)} nats")
    if fit.lost > lost:
        said.append(f"{percent(fit.lost)} of its draws lie on a bound or have no density")
    return "; ".join(s for s in said if s)
