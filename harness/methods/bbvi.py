"""Black-box variational inference: ADVI's mean-field Gaussian without the program's gradient."""

from __future__ import annotations

from dataclasses import dataclass

from harness.methods.bridged import on_bridge
from harness.methods.method import DASHED, Look, Method
from harness.methods.settings import Options, real, whole, word

ESTIMATORS = (
    "score_both", "score", "score_control", "score_rao_blackwell", "reparameterised",
)  # fmt: skip
"""The keys of :data:`harness.vi.gradients.ESTIMATORS`, which would load SciPy."""


@dataclass(frozen=True)
class BbviOptions(Options):
    """The options: control variates need ten draws, a variance a hundred."""

    estimator: str = word("score_both", ESTIMATORS)
    iterations: int = whole(5000, 10)
    gradient_draws: int = whole(100, 10)
    learning_rate: float = real(0.05, above=0)
    variance_draws: int = whole(20_000, 100)


BBVI = Method(
    name="bbvi",
    title="score-function VI",
    what="score-function gradients, with control variates and Rao–Blackwellisation",
    kind="stochastic gradients",
    fit=on_bridge("fits:score_function"),
    options=BbviOptions(),
    look=Look("#5b6770", DASHED, "d"),
    bridge=True,
    family="meanfield",
)
