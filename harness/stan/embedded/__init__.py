"""Stan programs without a compiler: Stan's own compiler and kernels in one Python package.

An :class:`EmbeddedModel` is a program with its data in stanli's shared library. ``available()``
says why there is no engine, ``version()`` names it.
"""

from __future__ import annotations

from harness.stan.embedded.info import program_info
from harness.stan.embedded.library import STAN_VERSION, available, version
from harness.stan.embedded.model import EmbeddedModel, EmbeddedPoint
from harness.stan.embedded.sizes import wrong_sizes

__all__ = [
    "STAN_VERSION",
    "EmbeddedModel",
    "EmbeddedPoint",
    "available",
    "program_info",
    "version",
    "wrong_sizes",
]
