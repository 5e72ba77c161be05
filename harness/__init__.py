"""May I use ADVI on this Stan model instead of NUTS, and if not, why not?

``harness.compare("my.stan", data)`` answers from Python; ``harness compare`` on the command
line. Everything heavy is imported when first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harness.api import ComparisonResult, compare, target

__all__ = ["ComparisonResult", "compare", "target"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from importlib import import_module

        api = import_module("harness.api")
        value = getattr(api, name)
        # The submodule harness.compare would otherwise shadow the function once imported.
        globals()[name] = value
        return value
    msg = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(msg)
