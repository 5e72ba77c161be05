"""The table of methods. A method is a row here; nothing registers itself."""

from __future__ import annotations

from collections.abc import Mapping

from harness.methods import cmdstan
from harness.records import Method

METHODS: Mapping[str, Method] = {
    m.name: m
    for m in (
        cmdstan.NUTS,
        cmdstan.MEANFIELD,
        cmdstan.MEANFIELD_TUNED,
        cmdstan.FULLRANK,
        cmdstan.FULLRANK_TUNED,
    )
}

DEFAULT_METHODS = ("meanfield", "fullrank", "meanfield_tuned", "fullrank_tuned", "nuts")
