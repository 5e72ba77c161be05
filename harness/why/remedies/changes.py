"""What each remedy changes in a method's settings.

Every function takes the method that is to be mended and its present options and returns the
change, or None where the remedy does not apply or is already in force.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from harness.methods import title

CMDSTAN = frozenset({"meanfield", "fullrank", "meanfield_tuned", "fullrank_tuned"})
LOOP = frozenset({"advi", "advi_fullrank", "advi_adam", "advi_sgd"})
MENDABLE = CMDSTAN | LOOP | {"minibatch", "bbvi", "dadvi"}
"""Methods for which remedies are known: those that fit a Gaussian."""

STEP = 0.1
"""CmdStan's step size as a careful user sets it; its adaptation tries 100 first."""

GRADIENTS = 20
TOLERANCE = 1e-4
"""A hundredth of CmdStan's default. ``eval_elbo`` stays: looking more often makes each change
of the ELBO smaller, and so stops sooner."""

ITERATIONS = 30_000
SLOWER = 3
"""A tenth of the learning rate needs ten times the iterations to travel as far, which is too
long; a third in three times of them, averaged, leaves about a third of the noise."""


@dataclass(frozen=True, slots=True)
class Change:
    """A method with options to be changed.

    ``options`` go over the present method's where ``same`` is True, else over the row's own.
    """

    method: str
    what: str
    options: Mapping[str, Any]
    same: bool = True


def smaller_step(method: str, options: Mapping[str, Any]) -> Change | None:
    """Fix a small step size, or take a smaller learning rate."""
    if method in CMDSTAN:
        if not options["adapt_engaged"] and options["eta"] <= STEP:
            return None
        return Change(
            method, f"a fixed step size of {STEP:g}", {"eta": STEP, "adapt_engaged": False}
        )
    if method in LOOP or method == "bbvi":
        slower: dict[str, Any] = {
            "learning_rate": options["learning_rate"] / SLOWER,
            "iterations": options["iterations"] * SLOWER,
        }
        what = "a third of the learning rate in three times the iterations"
        if method in LOOP and not options["average"]:
            slower["average"] = True
            what += ", their last half averaged"
        return Change(method, what, slower)
    return None


def more_gradients(method: str, options: Mapping[str, Any]) -> Change | None:
    """Average more draws of q (or more rows of the data) into each gradient."""
    name, wanted = {
        "bbvi": ("gradient_draws", 10 * options.get("gradient_draws", 0)),
        "minibatch": ("rows", 4 * options.get("rows", 0)),
    }.get(method, ("grad_samples" if method in CMDSTAN else "gradient_draws", GRADIENTS))
    if name not in options or options[name] >= wanted:
        return None
    unit = "rows of the data" if name == "rows" else "gradient samples"
    return Change(method, f"{wanted:,} {unit} a step", {name: wanted})


def tighter_tolerance(method: str, options: Mapping[str, Any]) -> Change | None:
    """Stop later."""
    if method in CMDSTAN and options["tol_rel_obj"] > TOLERANCE:
        iterations = max(int(options["iter"]), ITERATIONS)
        what = f"a relative tolerance of {TOLERANCE:g} and up to {iterations:,} iterations"
        return Change(method, what, {"tol_rel_obj": TOLERANCE, "iter": iterations})
    if method == "minibatch":
        halved = {k: options[k] / 2 for k in ("tolerance_mean", "tolerance_log_sd")}
        return Change(method, "half the tolerance", halved)
    if method == "dadvi":
        return Change(method, "an error of at most 0.02", {"error": 0.02})
    name = "iter" if method in CMDSTAN else "iterations"
    longer = {name: SLOWER * options[name]}
    what = f"up to {longer[name]:,} iterations"
    if options.get("stop") in {"relative", "absolute"}:
        longer["tolerance"] = options["tolerance"] / 10
        what = f"a tenth of the tolerance and {what}"
    return Change(method, what, longer)


_SIBLINGS = {
    "meanfield": "fullrank",
    "meanfield_tuned": "fullrank_tuned",
    "advi": "advi_fullrank",
}


def full_rank(method: str, options: Mapping[str, Any]) -> Change | None:
    """Let q have correlations, with the same settings."""
    if is_full_rank(method, options):
        return None
    what = "full-rank with the same settings"
    if method in {"meanfield", "meanfield_tuned"}:
        return Change(_SIBLINGS[method], what, {})
    if method in LOOP or method == "dadvi":
        return Change(_SIBLINGS.get(method, method), what, {"family": "fullrank"})
    return None


def tuned(method: str, options: Mapping[str, Any]) -> Change | None:
    """Take all of a smaller step, more gradients and a tighter tolerance: CmdStan's tuned row."""
    del options
    if method not in {"meanfield", "fullrank"}:
        return None
    row = f"{method}_tuned"
    what = f"a small fixed step, 20 gradient samples and a tight tolerance ({title(row)})"
    return Change(row, what, {}, same=False)


def best_of_family(method: str, options: Mapping[str, Any]) -> Change | None:
    """Find the best member of the family by deterministic ADVI."""
    if method == "dadvi":
        return None
    if is_full_rank(method, options):
        what = "the best full-rank Gaussian (DADVI)"
        return Change("dadvi", what, {"family": "fullrank"}, same=False)
    what = "the best Gaussian with independent parameters (DADVI)"
    return Change("dadvi", what, {"family": "meanfield"}, same=False)


def response(method: str, options: Mapping[str, Any]) -> Change | None:
    """Take deterministic ADVI with the covariance of linear response."""
    del method, options
    return Change("dadvi_lr", title("dadvi_lr"), {}, same=False)


def weighted(method: str, options: Mapping[str, Any]) -> Change | None:
    """Take weighted draws of deterministic ADVI."""
    del method, options
    return Change("dadvi_psis", title("dadvi_psis"), {}, same=False)


def all_basins(method: str, options: Mapping[str, Any]) -> Change | None:
    """Take a weighted mixture of Gaussians, one for each basin."""
    del method, options
    what = "a weighted mixture of Gaussians, one for each basin found (dadvi_basins)"
    return Change("dadvi_basins", what, {}, same=False)


def is_full_rank(method: str, options: Mapping[str, Any]) -> bool:
    """Say whether a method's q has correlations."""
    return method.startswith("fullrank") or options.get("family") == "fullrank"


CHANGES: Mapping[str, Callable[[str, Mapping[str, Any]], Change | None]] = {
    "smaller step": smaller_step,
    "more gradient samples": more_gradients,
    "tighter tolerance": tighter_tolerance,
    "tuned settings": tuned,
    "full-rank": full_rank,
    "best of the family": best_of_family,
    "dadvi_lr": response,
    "dadvi_psis": weighted,
    "all basins": all_basins,
}
"""Remedies that are runs with other settings, in the order in which they are told."""
