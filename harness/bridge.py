"""Stan programs in process: the public name of :mod:`harness.stan.bridge`."""

from harness.stan.bridge import (
    BridgeError,
    BridgeModel,
    Evaluation,
    Point,
    Status,
    library,
    version,
)

__all__ = ["BridgeError", "BridgeModel", "Evaluation", "Point", "Status", "library", "version"]
