"""May I use ADVI on this Stan model instead of NUTS, and if not, why not?

``harness.compare("my.stan", data)`` answers from Python, ``harness compare`` on the command line;
``harness.judge(fit, reference)`` and ``harness judge`` judge fits that exist. Everything heavy is
imported when first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harness.api import compare, judge, target
    from harness.intake import DrawsError
    from harness.methods.settings import OptionError
    from harness.models.data import ModelError
    from harness.stan import ProgramError, ToolchainError
    from harness.stan.bridge import BridgeError
    from harness.study.comparing import Interrupted, NothingToRunError
    from harness.study.result import ComparisonResult
    from harness.study.store import StoreError

_HOMES = {
    "ComparisonResult": "harness.study.result:ComparisonResult",
    "compare": "harness.api:compare",
    "judge": "harness.api:judge",
    "target": "harness.api:target",
    "BridgeError": "harness.stan.bridge:BridgeError",
    "DrawsError": "harness.intake:DrawsError",
    "Interrupted": "harness.study.comparing:Interrupted",
    "ModelError": "harness.models.data:ModelError",
    "NothingToRunError": "harness.study.comparing:NothingToRunError",
    "OptionError": "harness.methods.settings:OptionError",
    "ProgramError": "harness.stan:ProgramError",
    "StoreError": "harness.study.store:StoreError",
    "ToolchainError": "harness.stan:ToolchainError",
}

__all__ = [
    "BridgeError",
    "ComparisonResult",
    "DrawsError",
    "Interrupted",
    "ModelError",
    "NothingToRunError",
    "OptionError",
    "ProgramError",
    "StoreError",
    "ToolchainError",
    "compare",
    "judge",
    "target",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        from importlib import import_module

        module, _, attribute = _HOMES[name].partition(":")
        value = getattr(import_module(module), attribute)
        globals()[name] = value
        return value
    msg = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(msg)
