"""Runs with other settings: of the same optimiser, of a richer family, of deterministic ADVI."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from harness.methods import METHODS, title
from harness.records.text import count, integer, setting
from harness.why.remedies.row import Change, Options
from harness.why.remedies.runs import runs_remedy

STEP = 0.1
"""CmdStan's step size as a careful user sets it; its adaptation tries 100 first."""

GRADIENTS = 20

TOLERANCE = 1e-4
"""A hundredth of CmdStan's default. ``eval_elbo`` stays: with more frequent looks each change of
the ELBO is smaller, and the rule fires sooner."""

ITERATIONS = 30_000

SLOWER = 3
"""A tenth of the learning rate needs ten times the iterations to travel as far, which is too
long. A third in three times the iterations, averaged, leaves about a third of the noise."""

ERROR = 0.02
"""Of deterministic ADVI's base draws, posterior sds."""


def smaller_step(method: str, options: Options) -> Change | None:
    """Fix a small step size, or take a smaller learning rate."""
    if "adapt_engaged" in options:
        if not options["adapt_engaged"] and options["eta"] <= STEP:
            return None
        return Change(method, {"eta": STEP, "adapt_engaged": False})
    if "learning_rate" not in options or "iterations" not in options:
        return None
    slower: dict[str, Any] = {
        "learning_rate": options["learning_rate"] / SLOWER,
        "iterations": options["iterations"] * SLOWER,
    }
    if options.get("average") is False:
        slower["average"] = True
    return Change(method, slower)


def _smaller_step_words(_: str, options: Options) -> str:
    if "eta" in options:
        return f"a fixed step size of {setting(options['eta'])}"
    words = "a third of the learning rate in three times the iterations"
    return f"{words}, with the last half averaged" if "average" in options else words


def more_gradients(method: str, options: Options) -> Change | None:
    """Average more draws of q, or more rows of the data, in each gradient."""
    wanted: dict[str, int] = {}
    if "rows" in options:
        wanted = {"rows": 4 * options["rows"]}
    elif "grad_samples" in options:
        wanted = {"grad_samples": GRADIENTS}
    elif "gradient_draws" in options:
        # Gradients of the score function are far noisier than reparameterised ones.
        noisy = "estimator" in options
        wanted = {"gradient_draws": 10 * options["gradient_draws"] if noisy else GRADIENTS}
    if not wanted or any(options[name] >= value for name, value in wanted.items()):
        return None
    return Change(method, wanted)


def _more_gradients_words(_: str, options: Options) -> str:
    if "rows" in options:
        return f"{count(options['rows'], 'row')} of the data per step"
    (samples,) = options.values()
    return f"{count(samples, 'gradient sample')} per step"


def tighter_tolerance(method: str, options: Options) -> Change | None:
    """Stop later."""
    if options.get("tol_rel_obj", 0.0) > TOLERANCE:
        return Change(
            method, {"tol_rel_obj": TOLERANCE, "iter": max(int(options["iter"]), ITERATIONS)}
        )
    if "tolerance_mean" in options:
        return Change(method, {k: options[k] / 2 for k in ("tolerance_mean", "tolerance_log_sd")})
    if "base_draws" in options:
        return Change(method, {"error": ERROR})
    name = "iter" if "iter" in options else "iterations"
    if name not in options:
        return None
    longer = {name: SLOWER * options[name]}
    if options.get("stop") in {"relative", "absolute"}:
        longer["tolerance"] = options["tolerance"] / 10
    return Change(method, longer)


def _tighter_tolerance_words(_: str, options: Options) -> str:
    if "tolerance_mean" in options:
        return "half the tolerance"
    if "error" in options:
        return f"an error of at most {setting(options['error'])}"
    longer = f"up to {integer(options.get('iter', options.get('iterations', 0)))} iterations"
    if "tol_rel_obj" in options:
        return f"a relative tolerance of {setting(options['tol_rel_obj'])} and {longer}"
    return f"a tenth of the tolerance and {longer}" if "tolerance" in options else longer


def tuned(method: str, _: Options) -> Change | None:
    """Take a smaller step, more gradients and a tighter tolerance at once: CmdStan's tuned row."""
    row = METHODS[method].tuned if method in METHODS else ""
    return Change(row, same=False) if row else None


def _tuned_words(ran: str, _: Options) -> str:
    return f"a small fixed step, 20 gradient samples and a tight tolerance ({title(ran)})"


def full_rank(method: str, options: Options) -> Change | None:
    """Let q have correlations, with the same settings."""
    if method not in METHODS or METHODS[method].family_of(options) == "fullrank":
        return None
    row = METHODS[method].full_rank or method
    if "family" in options:
        return Change(row, {"family": "fullrank"})
    return None if row == method else Change(row)


def best_of_family(method: str, options: Options) -> Change | None:
    """Find the best member of the family by deterministic ADVI."""
    if method == "dadvi":
        return None
    known = METHODS[method].family_of(options) if method in METHODS else options.get("family")
    family = known or "meanfield"
    return Change("dadvi", {"family": family}, same=False)


def _best_words(_: str, options: Options) -> str:
    kind = "full-rank" if options["family"] == "fullrank" else "mean-field"
    return f"the best {kind} Gaussian ({title('dadvi')})"


def _take(row: str) -> Callable[[str, Options], Change | None]:
    """Return a change to another method with its own settings."""
    return lambda _, __: Change(row, same=False)


def _titled(ran: str, _: Options) -> str:
    return title(ran)


_NOISE = ("runaway", "noisy steps", "dropped evaluations")
_STOPPING = ("stopped early", "iteration limit")

SMALLER_STEP = runs_remedy("smaller step", smaller_step, _smaller_step_words, *_NOISE)
MORE_GRADIENTS = runs_remedy(
    "more gradient samples", more_gradients, _more_gradients_words, *_NOISE
)
TIGHTER_TOLERANCE = runs_remedy(
    "tighter tolerance", tighter_tolerance, _tighter_tolerance_words, *_STOPPING
)
TUNED = runs_remedy("tuned settings", tuned, _tuned_words, *_NOISE, *_STOPPING)
FULL_RANK = runs_remedy(
    "full-rank", full_rank, lambda _, __: "full-rank with the same settings", "correlation"
)
BEST_OF_FAMILY = runs_remedy(
    "best of the family", best_of_family, _best_words, "other basin", *_NOISE, *_STOPPING,
    name="the family's best",
)  # fmt: skip
DADVI_LR = runs_remedy("dadvi_lr", _take("dadvi_lr"), _titled, name=title("dadvi_lr"))
DADVI_PSIS = runs_remedy("dadvi_psis", _take("dadvi_psis"), _titled, name=title("dadvi_psis"))
ALL_BASINS = runs_remedy(
    "all basins",
    _take("dadvi_basins"),
    lambda ran, _: f"a weighted mixture of Gaussians, one for each basin found ({ran})",
    "several modes",
    name=title("dadvi_basins"),
)
SHORT_CHAINS = runs_remedy(
    "short chains",
    _take("short_chains"),
    _titled,
    "weights", "curved", "several modes",
    name=title("short_chains"),
)  # fmt: skip
