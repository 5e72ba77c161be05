"""Any Stan program's log density and gradient, in this process.

A :class:`BridgeModel` is a compiled program with its data behind a plain C interface
(``bridge.cpp``). Points ``z`` are unconstrained, values ``theta`` constrained; densities are in
nats; ``propto`` drops constant terms and ``jacobian`` adds the transforms' log determinant.
A C++ exception of the program becomes a :class:`BridgeError` with Stan's words, and so do an
integer divided by zero, recursion without an end, and the use of a closed model.

What to call, from the cheapest to the most convenient::

    model = BridgeModel(library(stan_file, cmdstan), data)

    point = model.at_point(propto=False, jacobian=True)  # owns its buffers; one per thread
    point.z[:] = start                   # written into, never replaced
    value = point()                      # a float; -inf where rejected, NaN where it fails
    point.gradient                       # overwritten by every call: copy what is kept
    point.ok, point.status, point.check()  # check() raises the program's words

    found = model.log_density_gradient(z)      # z (point, dimension): value, gradient, status
    found = model.log_density(z)               # the same without gradient
    value, gradient = model.value_and_gradient(z[0])   # raises where there is none

    model.rebind({"N": 500, "y": batch})       # other data from memory, strided arrays as they are
    theta, status = model.constrain(z, transformed=True, generated=True, seed=1)
    z = model.unconstrain({"mu": 0.1, "sd": 2.0})
    model.free_tape(); model.close()

On one thread, a batch costs less a point than points one by one: ``log_density_gradient`` with
many rows where there are many, ``at_point`` where each depends on the last.
"""

from __future__ import annotations

from harness.stan.bridge.build import library, version
from harness.stan.bridge.evaluation import Evaluation
from harness.stan.bridge.loading import BridgeError, Status
from harness.stan.bridge.model import BridgeModel, Point

__all__ = ["BridgeError", "BridgeModel", "Evaluation", "Point", "Status", "library", "version"]
