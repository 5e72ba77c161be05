"""How many base draws and starts a fit begins with, given the seconds of a gradient."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

from harness.vi.far import POINTS

SCOUTS = 16  # base draws on which starts are tried

CHEAP_S, BLOCK_S = 0.05, 0.15
"""Seconds of an evaluation of the ELBO that count as cheap, and the most a block may take."""

MATCHED_FROM, LARGEST_MATCHED, UNMATCHED = 32, 512, 256
"""The smallest and largest blocks whose second moments are matched, and the largest of others."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What a fit may spend."""

    error: float = 0.05  # the largest from base draws: of means in posterior sds, and of log sds
    draws: int = 0
    """Base draws to begin with, in independently scrambled blocks; 0 chooses by the seconds of an
    evaluation."""
    most_draws: int = 8192  # the limit of doubling
    starts: int = 0  # points from which log p is climbed; 0 chooses by the seconds of an evaluation
    dense_limit: int = 600  # the largest dimension in which Hessians are formed
    curvature_s: float = 20.0
    """Predicted seconds that the Hessian of the ELBO may take; if all base draws would take longer,
    it uses fewer."""
    seconds: float = 0.0
    """Expected seconds of one gradient in a batch; 0 for those of a target that does little. They
    are never measured: the same fit is the same on any machine and under any load."""


class Starts(NamedTuple):
    """Points to climb log p from, maxima to start q from, points to start q from directly."""

    climbs: int
    peaks: int
    direct: int


STARTS = ((5e-5, Starts(12, 6, 2)), (1e-4, Starts(8, 4, 2)), (4e-3, Starts(4, 3, 1)))
"""Starts of targets whose gradients take less than these seconds."""

FEWEST_STARTS = Starts(2, 2, 1)

LOOK_S = 0.05
"""Seconds that densities on lines far from the best basin may take, beyond the fewest."""

FEWEST_LOOKS, MOST_LOOKS, MOST_NUMBERS = 300, 10_000, 5_000_000
"""Densities of each kind, at least and at most, and coordinates of all their points, because of
memory."""

WIDE_PART = 8
"""The affordable densities are this many times those of wide points.

In 3 to 20 dimensions 1000 points find modes 5 to 12 sds away, of the same width or of 0.4 of it, as
often as 10 000 do: in 590 and in 588 of 600 trials.
"""

PER_PARAMETER = 4
"""Lines for each parameter, at most."""


MOST_NUMBERS_OF_DRAWS = 20_000_000
"""Coordinates of all base draws, at most, because of memory."""

DENSE_LIMIT = 3000
"""The most parameters of a Hessian without zeros: one of 3000 takes 72 MB for each of its parts."""

FLOP_S, FLOPS = 4e-11, 4
"""Seconds of an operation of dense linear algebra, and operations of a linear response over the
cube of the dimension. They are fixed: no measured time decides whether a Hessian is formed."""

FORMED_S = 60.0
"""Predicted seconds that a Hessian without zeros and its linear response may take."""

FEWEST_CURVED = 4
"""Base draws of each block that a Hessian comes from, at least."""


class Looks(NamedTuple):
    """How many densities far from the best basin are looked at."""

    lines: int  # lines on which peaks are looked for
    wide: int  # points of all directions and distances


def least_seconds(d: int) -> float:
    """Return about how many seconds a gradient takes where there are hardly any data."""
    return 1e-6 * (1 + d / 10)


def layout(d: int, draws: int, seconds: float) -> tuple[int, int]:
    """Return the number of blocks and their size; ``draws`` is the total wanted, or 0."""
    if draws:
        blocks = 8 if draws >= 128 else 4  # noqa: PLR2004
        return blocks, max(4, 2 ** int(math.log2(max(draws // blocks, 4))))
    # As many pairs as dimensions match the second moment, if there is time for them. Most fits
    # need no more, and the others double them.
    size = max(MATCHED_FROM, 2 ** math.ceil(math.log2(2 * d)))
    if size > LARGEST_MATCHED:
        size = UNMATCHED
    while size > 16 and size * seconds > BLOCK_S:  # noqa: PLR2004
        size //= 2
    # The error of the optimum is estimated from how blocks differ: better from eight than from
    # four, and small ones cost next to nothing.
    return (8 if 8 * size * seconds < CHEAP_S and size <= 32 else 4), size  # noqa: PLR2004


def starts(wanted: int, seconds: float) -> Starts:
    """Return the numbers of starts; ``wanted`` is the number of climbs, or 0."""
    found = next((n for limit, n in STARTS if seconds < limit), FEWEST_STARTS)
    return Starts(wanted, max(found.peaks, min(wanted, 6)), found.direct) if wanted else found


def worth_looking(d: int, seconds: float) -> bool:
    """Tell whether it may be looked which entries of a Hessian are zero: a gradient for each."""
    return d * seconds <= FORMED_S / 4


def affordable(d: int, blocks: int, size: int, colours: int, seconds: float, most_s: float) -> int:
    """Return from how many draws of each block a Hessian can be formed; 0 if from too few.

    ``seconds`` is what a gradient takes, ``most_s`` what all gradients may take, unless a few are
    enough for a Hessian and its linear response within ``FORMED_S``.
    """
    each = blocks * (colours + 1) * seconds
    while size > FEWEST_CURVED and size * each > most_s:
        size //= 2
    whole = size * each
    if colours >= d:
        if d > DENSE_LIMIT:
            return 0
        # The linear response of all blocks, and of all but one.
        whole += (blocks + 2) * FLOPS * d**3 * FLOP_S
    return size if whole <= FORMED_S else 0


def looks(d: int, seconds: float) -> Looks:
    """Return the densities far from the best basin that are worth their seconds."""
    affordable = max(int(LOOK_S / seconds), FEWEST_LOOKS)
    affordable = min(affordable, MOST_LOOKS, MOST_NUMBERS // d)
    wide = min(max(affordable // WIDE_PART, FEWEST_LOOKS), affordable)
    return Looks(min(affordable // POINTS, PER_PARAMETER * d), wide)
