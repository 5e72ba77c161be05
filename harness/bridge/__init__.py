"""Any Stan program's log density and gradient, in this process.

A :class:`BridgeModel` is a compiled program with its data behind a plain C interface
(``bridge.cpp``). Points ``z`` are unconstrained, values ``theta`` constrained; densities are in
nats; ``propto`` drops constant terms and ``jacobian`` adds the transforms' log determinant.
A C++ exception of the program becomes a :class:`BridgeError` with Stan's words.
"""

from __future__ import annotations

from harness.bridge.build import library, version
from harness.bridge.model import BridgeError, BridgeModel, Evaluation, Status

__all__ = ["BridgeError", "BridgeModel", "Evaluation", "Status", "library", "version"]
