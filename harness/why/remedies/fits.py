"""Other fits: full-rank, the family's best member, and what deterministic ADVI adds to it."""

from __future__ import annotations

from collections.abc import Callable

from harness.methods import METHODS, title
from harness.why.remedies.row import Change, Options
from harness.why.remedies.runs import runs_remedy


def full_rank(method: str, options: Options) -> Change | None:
    """Let q have correlations, with the same settings."""
    if METHODS[method].family_of(options) == "fullrank":
        return None
    row = METHODS[method].full_rank or method
    if "family" in options:
        return Change(row, {"family": "fullrank"})
    return None if row == method else Change(row)


def best_of_family(method: str, options: Options) -> Change | None:
    """Find the best member of the family by deterministic ADVI."""
    if method == "dadvi":
        return None
    family = METHODS[method].family_of(options) or "meanfield"
    return Change("dadvi", {"family": family}, same=False)


def _best_words(_: str, options: Options) -> str:
    kind = "full-rank" if options["family"] == "fullrank" else "mean-field"
    return f"the best {kind} Gaussian ({title('dadvi')})"


def _take(row: str) -> Callable[[str, Options], Change | None]:
    """Return a change to another method with its own settings."""
    return lambda _, __: Change(row, same=False)


def _as_titled(ran: str, _: Options) -> str:
    return title(ran)


FULL_RANK = runs_remedy(
    "full-rank", full_rank, lambda _, __: "full-rank with the same settings", "correlation"
)
BEST_OF_FAMILY = runs_remedy(
    "best of the family", best_of_family, _best_words, "other basin", "runaway", "noisy steps",
    "dropped evaluations", "stopped early", "iteration limit", name="the family's best",
)  # fmt: skip
DADVI_LR = runs_remedy("dadvi_lr", _take("dadvi_lr"), _as_titled, name=title("dadvi_lr"))
DADVI_PSIS = runs_remedy("dadvi_psis", _take("dadvi_psis"), _as_titled, name=title("dadvi_psis"))
ALL_BASINS = runs_remedy(
    "all basins",
    _take("dadvi_basins"),
    lambda ran, _: f"a weighted mixture of Gaussians, one for each basin found ({ran})",
    "several modes",
    name=title("dadvi_basins"),
)
