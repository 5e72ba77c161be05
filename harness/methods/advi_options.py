"""The options of :mod:`harness.methods.advi`."""

from __future__ import annotations

import math
from dataclasses import dataclass

from harness.methods.settings import Options, real, switch, whole, word
from harness.records import FAMILY_NAMES
from harness.vi.optimisers import OPTIMISERS


@dataclass(frozen=True)
class AdviOptions(Options):
    """The options of the rows; the defaults are PyMC's, as the lecture uses them.

    Attributes
    ----------
    optimiser
        A name of :data:`harness.vi.optimisers.OPTIMISERS`.
    iterations, refine
        Steps, and further steps of the same state once these are done.
    learning_rate, gradient_draws
        Of the optimiser, and how many draws of q make one gradient.
    start, start_sd
        q starts with its mean at 0 (``zero``: what PyMC does on the unconstrained scale with no
        start given, and Stan with ``init=0``) or uniform in (−2, 2) (``uniform``: Stan's inits),
        and with this sd. PyMC's is ln 2, the softplus of 0; CmdStan's is 1.
    starts
        Runs from that many starts; the one whose last fifth has the best mean ELBO is kept.
    stop
        ``none``, ``relative`` or ``absolute`` (change of the parameters) or ``slow`` (the ELBO);
        the rules that do not stop still note when they would have.
    check_every, tolerance
        Of the two rules on the parameters.
    average
        Whether q is the mean of the last half of the iterates instead of the last one.
    """

    family: str = word("meanfield", FAMILY_NAMES)
    optimiser: str = word("adagrad_window", tuple(OPTIMISERS))
    iterations: int = whole(10_000, 10)
    learning_rate: float = real(1e-3, above=0)
    gradient_draws: int = whole(1, 1)
    start: str = word("zero", ("zero", "uniform"))
    start_sd: float = real(math.log(2), above=0)
    starts: int = whole(1, 1)
    stop: str = word("none", ("none", "relative", "absolute", "slow"))
    check_every: int = whole(100, 1)
    tolerance: float = real(1e-3, above=0)
    refine: int = whole(0, 0)
    average: bool = switch(default=False)
