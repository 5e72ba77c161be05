"""ADVI on a Stan program's gradients: the lecture's, with its optimiser, callbacks and refining."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

from harness.methods.bridged import on_bridge
from harness.methods.method import DASHED, DOTTED, SOLID, Look, Method
from harness.methods.settings import Options, real, switch, whole, word
from harness.records import FAMILY_NAMES
from harness.vi.optimisers import OPTIMISERS


@dataclass(frozen=True)
class AdviOptions(Options):
    """The options of the rows; the defaults are PyMC's, as the lecture uses them."""

    family: str = word("meanfield", FAMILY_NAMES)
    optimiser: str = word("adagrad_window", tuple(OPTIMISERS))
    iterations: int = whole(10_000, 10)
    learning_rate: float = real(1e-3, above=0)
    gradient_draws: int = whole(1, 1)  # draws of q that make one gradient
    # Where q's mean starts: at 0 (what PyMC does on the unconstrained scale with no start given,
    # and Stan with init=0), or uniform in (−2, 2), as Stan's inits. And q's sd there: PyMC's is
    # ln 2, the softplus of 0; CmdStan's is 1.
    start: str = word("zero", ("zero", "uniform"))
    start_sd: float = real(math.log(2), above=0)
    starts: int = whole(1, 1)  # the run whose last fifth has the best mean ELBO is kept
    # Change of the parameters, or of the ELBO (slow). Those that do not stop the run still note
    # when they would have.
    stop: str = word("none", ("none", "relative", "absolute", "slow"))
    check_every: int = whole(100, 1)  # of the two rules on the parameters
    tolerance: float = real(1e-3, above=0)
    refine: int = whole(0, 0)  # further steps of the same state once the iterations are done
    average: bool = switch(default=False)  # q is the mean of the last half of the iterates


_row = functools.partial(
    Method, kind="stochastic gradients", fit=on_bridge("advi_fit:fit"), seeds=10, bridge=True
)

ADVI = _row(
    name="advi",
    title="lecture's ADVI",
    what="the lecture's ADVI: PyMC's optimiser and settings, callbacks, refining",
    options=AdviOptions(),
    look=Look("#8a6a00", SOLID, "P"),
    full_rank="advi_fullrank",
)

ADVI_FULLRANK = _row(
    name="advi_fullrank",
    title="lecture's full-rank ADVI",
    what="the lecture's ADVI with a full-rank Gaussian",
    options=AdviOptions(family="fullrank"),
    look=Look("#5e4800", DASHED, "X"),
)

ADVI_ADAM = _row(
    name="advi_adam",
    title="ADVI with Adam",
    what="the lecture's loop with Adam, whose rate falls as a cosine",
    options=AdviOptions(
        optimiser="adam_cosine", iterations=20_000, learning_rate=0.05, start_sd=1.0
    ),
    look=Look("#b07d2b", SOLID, "3"),
)

ADVI_SGD = _row(
    name="advi_sgd",
    title="hand-made ADVI",
    what="the lecture's hand-made ADVI: SGD with decay, 100 000 iterations",
    options=AdviOptions(
        optimiser="sgd_decay", iterations=100_000, learning_rate=5e-4, start_sd=1.0
    ),
    look=Look("#a0522d", DOTTED, "<"),
)
