"""Log density and gradient of any Stan program, in this process.

A :class:`BridgeModel` is a compiled program with its data behind a C interface (``bridge.cpp``).
Points ``z`` are unconstrained, values ``theta`` constrained; densities are in nats; ``propto``
drops constant terms, and ``jacobian`` adds the transforms' log determinant. A C++ exception of
the program becomes a :class:`BridgeError` with Stan's message, and so do integer division by
zero, endless recursion, and the use of a closed model.

The calls, from the cheapest to the most convenient::

    model = BridgeModel(library(stan_file, cmdstan), data)

    point = model.at_point(propto=False, jacobian=True)  # owns its buffers; one per thread
    point.z[:] = start                   # assign elements, do not replace the array
    value = point()                      # a float; -inf where rejected, NaN where it fails
    point.gradient                       # overwritten by every call: copy what you keep
    point.ok, point.status, point.check()  # check() raises the program's message

    found = model.log_density_gradient(z)      # z (point, dimension): value, gradient, status
    found = model.log_density(z)               # the same without gradient
    value, gradient = model.value_and_gradient(z[0])   # raises if evaluation fails

    model.rebind({"N": 500, "y": batch})       # other data from memory, strided or not
    theta, status = model.constrain(z, transformed=True, generated=True, seed=1)
    z = model.unconstrain({"mu": 0.1, "sd": 2.0})
    model.free_tape(); model.close()

On one thread a batch costs less per point than single points: use ``log_density_gradient`` for
many points, and ``at_point`` if each point depends on the last.
"""

from __future__ import annotations

from harness.stan.bridge.build import library, version
from harness.stan.bridge.loading import BridgeError
from harness.stan.bridge.model import BridgeModel, Point
from harness.stan.density import Evaluation, Status

__all__ = ["BridgeError", "BridgeModel", "Evaluation", "Point", "Status", "library", "version"]
