"""SVGD on a Stan program: see :mod:`harness.vi.svgd`."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

from harness.methods.bridged import Problem, on_bridge
from harness.methods.method import SOLID, Look, Method
from harness.methods.settings import Options, real, whole
from harness.vi.target import Fitted


@dataclass(frozen=True)
class SvgdOptions(Options):
    """The options, as in :class:`harness.vi.svgd.Settings`.

    1000 particles and 300 iterations are the lecture's; its step is plain SGD's, .01.
    """

    particles: int = whole(1000, 2)
    iterations: int = whole(300, 1)
    step: float = real(0.2, above=0)
    jitter: float = real(1.0, above=0)


def _load() -> Callable[[Problem[SvgdOptions]], Fitted]:
    from harness.vi.svgd import Settings, deliver, svgd

    def fit(problem: Problem[SvgdOptions]) -> Fitted:
        """Run SVGD; the draws are the particles."""
        settings = Settings(**problem.options.plain())
        found = svgd(problem.target, settings, problem.rng, problem.clock)
        if found.z is None:
            return found
        return dataclasses.replace(found, z=deliver(found.z, problem.draws, problem.rng))

    return fit


SVGD = Method(
    name="svgd",
    title="SVGD",
    what="Stein variational gradient descent: 1000 particles, moved together",
    kind="particles",
    fit=on_bridge(_load),
    options=SvgdOptions(),
    draws=1000,
    look=Look("#7a4aa3", SOLID, "H"),
    bridge=True,
    extends=False,
    repairable=False,
    one_mode="where a particle starts decides in which mode it stays",
)
