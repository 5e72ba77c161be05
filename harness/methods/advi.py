"""ADVI on a Stan program's gradients: the lecture's, with its optimiser, callbacks and refining."""

from __future__ import annotations

import functools
from collections.abc import Callable

from harness.methods.advi_options import AdviOptions
from harness.methods.bridged import Problem, on_bridge
from harness.methods.method import DASHED, DOTTED, SOLID, Look, Method
from harness.vi.target import Fitted


def _load() -> Callable[[Problem[AdviOptions]], Fitted]:
    from harness.methods.advi_fit import fit

    return fit


_row = functools.partial(
    Method,
    kind="stochastic gradients",
    fit=on_bridge(_load),
    version=1,
    draws=10_000,
    seeds=10,
    bridge=True,
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
