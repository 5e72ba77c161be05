"""SVGD on a Stan program: see :mod:`harness.vi.svgd`."""

from __future__ import annotations

from dataclasses import dataclass

from harness.methods.bridged import on_bridge
from harness.methods.method import SOLID, Look, Method
from harness.methods.settings import Options, real, whole


@dataclass(frozen=True)
class SvgdOptions(Options):
    """The options, as in :class:`harness.vi.svgd.Settings`.

    1000 particles and 300 iterations are the lecture's; its step is plain SGD's, .01.
    """

    particles: int = whole(1000, 2, 10**5)
    iterations: int = whole(300, 1)
    step: float = real(0.2, above=0)
    jitter: float = real(1.0, above=0)


SVGD = Method(
    name="svgd",
    title="SVGD",
    what="Stein variational gradient descent: 1000 particles, moved together",
    kind="particles",
    fit=on_bridge("fits:particles"),
    options=SvgdOptions(),
    draws=1000,
    look=Look("#7a4aa3", SOLID, "H"),
    bridge=True,
    extends=False,
    sized_by=("particles",),
    repairable=False,
    one_mode="where a particle starts decides in which mode it stays",
)
