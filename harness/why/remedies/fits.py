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

    def change(method: str, options: Options) -> Change | None:
        del method, options
        return Change(row, same=False)

    return change


def _as_titled(ran: str, _: Options) -> str:
    return title(ran)


FULL_RANK = runs_remedy(
    id="full-rank",
    name="full-rank",
    causes=("correlation",),
    change=full_rank,
    what=lambda _, __: "full-rank with the same settings",
)
BEST_OF_FAMILY = runs_remedy(
    id="best of the family",
    name="the family's best",
    causes=(
        "other basin", "runaway", "noisy steps", "dropped evaluations", "stopped early",
        "iteration limit",
    ),
    change=best_of_family,
    what=_best_words,
)  # fmt: skip
DADVI_LR = runs_remedy(
    id="dadvi_lr",
    name=title("dadvi_lr"),
    always=True,
    change=_take("dadvi_lr"),
    what=_as_titled,
)
DADVI_PSIS = runs_remedy(
    id="dadvi_psis",
    name=title("dadvi_psis"),
    always=True,
    change=_take("dadvi_psis"),
    what=_as_titled,
)
ALL_BASINS = runs_remedy(
    id="all basins",
    name=title("dadvi_basins"),
    causes=("several modes",),
    change=_take("dadvi_basins"),
    what=lambda ran, _: f"a weighted mixture of Gaussians, one for each basin found ({ran})",
)
