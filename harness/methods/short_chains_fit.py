"""From a program to an ensemble of short chains, and what keeps it from being believed."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from harness.methods.bridged import UNCONSTRAINED, FitError, Problem, untransformed
from harness.methods.dadvi_gaussian import optimum_of
from harness.methods.short_chains import ChainsOptions
from harness.records.names import stan_name
from harness.records.text import count, fixed, listed, number, percent, setting
from harness.vi import short_chains
from harness.vi.deterministic import StartError
from harness.vi.short_chains import Check, Ensemble, Sizes
from harness.vi.target import Fitted

DRAWS = 20
"""Draws of each chain. If more are wanted there are more chains, because longer ones would not know
better how much mass separate modes have."""

PER_CHAIN, PER_FAR = 220, 95
"""About how many gradients a chain and a far start take, densities included, because these cost as
much: medians over the programs of benchmarks/fit_programs.py."""

USUAL_FAR = 256
"""Far starts below which a line says that there are few."""

LEAST = 128
"""Far starts, and half of the chains, at least: fewer would not pass the checks."""

MOST_NUMBERS = 10_000_000
"""Coordinates of all draws together, because of memory; the chains of the option are always run."""

_FIGURE = "chains_"
"""What stands before the name of an ensemble's figure among a run's diagnostics."""

TOLD = 2
"""Broken limits that a short sentence names."""

MORE_DIGITS = 3
"""Digits that a figure may have more, where it would look like its limit."""

SHOWN = 3
"""Parameters that describe a region, and regions that are described."""


def sizes_for(options: ChainsOptions, draws: int, dimension: int, seconds: float) -> Sizes:
    """Return how many chains there are, given the expected seconds of a gradient."""
    most = MOST_NUMBERS // (DRAWS * dimension)
    chains, far = max(options.chains, min(-(-draws // DRAWS), most)), options.far

    def too_long() -> bool:
        return seconds * (chains * PER_CHAIN + far * PER_FAR) > options.chains_s

    while too_long() and chains // 2 >= options.chains:
        chains //= 2
    while too_long() and far // 2 >= LEAST:
        far //= 2
    while too_long() and chains // 2 >= 2 * LEAST:
        chains //= 2
    return Sizes(chains, DRAWS, far)


def fit(problem: Problem[ChainsOptions]) -> Fitted:
    """Fit deterministic ADVI, run the ensemble from it, and say what it doubts."""
    optimum = optimum_of(problem, "response")
    options = problem.options
    sizes = sizes_for(options, problem.draws, problem.target.dimension, optimum.seconds_per_point)
    try:
        found = short_chains.run(problem.target, optimum, problem.rng, problem.clock, sizes)
    except StartError as error:
        raise FitError(str(error)) from error
    names = [stan_name(n) for n in problem.model.unconstrained_names()]
    scale = "" if untransformed(problem.model) >= set(names[:SHOWN]) else UNCONSTRAINED
    doubts = short_chains.doubts(found.figures)
    return Fitted(
        z=found.z.reshape(-1, problem.target.dimension),
        status="not_converged" if doubts else "ok",
        reason=doubts[0].reason if doubts else None,
        message="; ".join(_doubt(check, found, names, scale) for check in doubts),
        diagnostics={
            **{f"{_FIGURE}{name}": value for name, value in found.figures.items()},
            "elbo": optimum.elbo,
            "basins": float(len(found.shares)),
            "step_size": found.step,
            "chains": float(len(found.z)),
            "proposals": float(found.proposals),
            "weight_ess": found.weight_ess,
        },
        words="\n".join(_described(found, names, scale)),
        chains=len(found.z),
        stats={
            "acceptance_rate": found.chance,
            "energy": found.energy,
            "n_steps": found.leapfrogs,
            "step_size": np.full(found.chance.shape, found.step),
        },
    )


def _doubt(check: Check, found: Ensemble, names: list[str], scale: str) -> str:
    """Say which limit a figure breaks, where, and why there is one."""
    words = _broken(check, found.figures)
    if check.id == "nested_rhat":
        where = "log p" if found.slowest is None else names[found.slowest]
        words += f", largest along {where}"
    if check.id == "other_regions" and len(found.elsewhere):
        words += f", at {listed([_place(z, names) for z in found.elsewhere], SHOWN)}{scale}"
    return f"{words}, because {check.rule.why}"


def _broken(check: Check, figures: Mapping[str, float]) -> str:
    value = figures.get(check.id, float("nan"))
    side = "at least" if check.rule.at_least else "at most"
    for more in range(MORE_DIGITS + 1):
        shown, allowed = _size(check, value, more), _size(check, check.rule.close, more)
        if shown != allowed:
            break
    return f"{check.noun}: {shown} (allowed: {side} {allowed})"


def in_short(diagnostics: Mapping[str, float]) -> str:
    """Say which limits a run breaks: the first two, and how many more.

    Empty if its diagnostics have no figures.
    """
    figures = {
        name.removeprefix(_FIGURE): value
        for name, value in diagnostics.items()
        if name.startswith(_FIGURE)
    }
    broken = short_chains.doubts(figures) if figures else ()
    more = len(broken) - TOLD
    said = [_broken(check, figures) for check in broken[:TOLD]]
    return "; ".join(said + ([f"and {count(more, 'more check')}"] if more > 0 else []))


def _size(check: Check, value: float, more: int = 0) -> str:
    """Write a figure, with ``more`` digits than usual."""
    if check.form == "percent":
        return percent(value, 1 + more)
    if check.form == "integer":
        return fixed(value, more)
    few = check.digits <= 2  # noqa: PLR2004
    return number(value, 2 + more) if few else fixed(value, check.digits + more)


def _place(z: np.ndarray, names: list[str]) -> str:
    """Describe a point by its first unconstrained parameters."""
    shown = ", ".join(f"{n} = {number(float(v))}" for n, v in zip(names[:SHOWN], z, strict=False))
    return f"({shown}{', …' if len(names) > SHOWN else ''})"


def _described(found: Ensemble, names: list[str], scale: str) -> list[str]:
    """Return a line on the chains, and one for each region where there are several."""
    n, draws = found.log_p.shape
    size, rate = setting(round(found.step, 3)), number(float(found.chance.mean()))
    made = f"{count(n, 'chain')} of {count(draws, 'draw')}"
    if found.far < USUAL_FAR:
        made += f" and {count(found.far, 'far start')}, which see less than {USUAL_FAR}"
    steps = f"step size {size} sd" + (", half of the steps shorter" if found.necks else "")
    lines = [f"{made}, {steps}, mean acceptance {rate}"]
    if len(found.shares) > 1:
        each = zip(found.shares, found.places, strict=True)
        lines += [
            f"{percent(float(share))} of chains around {_place(z, names)}{scale}"
            for share, z in each
        ]
    return lines
