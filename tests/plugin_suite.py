"""A suite of a user, run inside a test with the plugin."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import arviz_stats
import numpy as np
import pytest

import harness.check.pytest_plugin
from harness.check.pytest_plugin import checking, intake

# Loaded here, because NumPy's C code and ArviZ's accessors can be loaded only once in a process.
PRELOADED = (checking, intake, np, arviz_stats)

SUITE = """
import numpy as np

def test_fit(posterior_regression):
    rng = np.random.default_rng({seed})
    n = {n}
    draws = {{
        "mu": rng.normal(3, 2, (4, n)),
        "sigma": np.exp(rng.normal(0, 0.5, (4, n))),
        "beta": rng.normal(size=(4, n, 2)),
        "count": rng.poisson(2, (4, n)),
        "zero": np.zeros((4, n)),
    }}
    {change}
    posterior_regression.check(draws{arguments})
"""

FIGURES = 30
"""Five summaries of six scalars."""

Run = Callable[..., pytest.RunResult]


def runner(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Return what writes a suite and runs it with the plugin, warnings being errors."""
    # Two suites of one size, written in one second, would share their compiled file.
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    # Whether this environment has installed the entry point must not matter.
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")

    def run(
        *options: str,
        change: str = "",
        seed: int = 1,
        n: int = 2000,
        arguments: str = "",
        text: str | None = None,
    ) -> pytest.RunResult:
        suite = SUITE.format(seed=seed, n=n, change=change, arguments=arguments)
        pytester.makepyfile(test_fit=suite if text is None else text)
        plugged: dict[str, Any] = {"plugins": [harness.check.pytest_plugin]}
        return pytester.runpytest_inprocess(
            "-p", "no:cacheprovider", "-Werror", *options, **plugged
        )

    return run


def folder(pytester: pytest.Pytester) -> Path:
    """Return where the suite's baselines are."""
    return pytester.path / "posterior_baselines" / "test_fit"


def files(pytester: pytest.Pytester) -> list[str]:
    """Return the names of the suite's baselines and candidates."""
    return sorted(p.name for p in folder(pytester).glob("*"))


def passed(result: pytest.RunResult) -> bool:
    """Tell whether a suite's only test passed; fail if it did not run."""
    outcomes = result.parseoutcomes()
    if outcomes not in ({"passed": 1}, {"failed": 1}):
        pytest.fail(result.stdout.str())
    return outcomes == {"passed": 1}
