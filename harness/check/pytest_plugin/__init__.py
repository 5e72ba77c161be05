"""The pytest plugin: ``posterior_regression.check(fit)`` in anyone's test suite.

Wherever the harness is installed, every pytest run loads this file. So it imports only pytest and
the standard library, and loads what compares draws at the first check.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pytest

from harness.check.pytest_plugin import places

PROPERTY = "posterior_baseline"
"""The property of a test's report that lists written files: reports cross xdist's processes."""

_CLAIMED = pytest.StashKey[dict[str, str]]()
"""The test of each baseline file, in this process."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the flag that updates baselines, and the settings."""
    parser.getgroup("posterior regression").addoption(
        "--posterior-regen",
        action="store_true",
        help="write the baselines of posterior_regression.check() again instead of comparing",
    )
    parser.addini(
        "posterior_regression_alpha",
        "chance of a false alarm in one posterior_regression.check() (default 1e-4)",
        default="",
    )
    parser.addini(
        "posterior_regression_dir",
        "folder of all baselines, relative to the root of the tests "
        "(default: posterior_baselines beside each test file)",
        default="",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Refuse an invalid setting before any test runs."""
    config.stash[_CLAIMED] = {}
    _alpha(config)


def _alpha(config: pytest.Config) -> float | None:
    """Return the alpha of the settings, None if it is not set."""
    text = str(config.getini("posterior_regression_alpha")).strip()
    if not text:
        return None
    try:
        alpha = float(text)
    except ValueError:
        alpha = math.nan
    if not 0 < alpha < 1:
        msg = f"posterior_regression_alpha is {text!r}; it must be a number between 0 and 1"
        raise pytest.UsageError(msg)
    return alpha


class PosteriorRegression:
    """Compares draws with the baseline beside the test file."""

    def __init__(self, request: pytest.FixtureRequest) -> None:
        self._request = request
        self._names: set[str] = set()

    def check(
        self,
        draws_or_fit: Any,
        name: str | None = None,
        *,
        quantities: Sequence[str] = (),
        alpha: float | None = None,
        location: float = 0.1,
        scale: float = 0.1,
        independent: bool = False,
    ) -> None:
        """Fail unless the draws' summaries equal the baseline's up to Monte Carlo error.

        The check compares mean, sd and the 5%, 50% and 95% quantiles of every quantity. A figure
        passes if the 95% interval of its difference lies within the margin.

        Parameters
        ----------
        draws_or_fit
            Whatever :func:`harness.intake.take` takes but a point: an ArviZ ``DataTree``; a
            ``CmdStanMCMC``, ``CmdStanVB``, ``CmdStanPathfinder`` or ``CmdStanLaplace`` of
            cmdstanpy; a pandas table; a file; a dict of arrays of shape ``(chain, draw, …)``,
            where a single axis is the draws of one chain; or a list of these: runs of one method
            with different seeds, whose spread is then the error.
        name
            The baseline's name; the test's name by default.
        quantities
            ``"beta"`` stands for all its elements, ``"beta[2]"`` for one; all by default.
        alpha
            Chance of a false alarm over all figures of this check.
        location
            How far a mean or median may move, in sds of the quantity; the 5% and 95%
            quantiles may move twice as far.
        scale
            The share by which the sd may grow or shrink.
        independent
            Whether draws of a dict or a tree are independent rather than Markov chains.

        Raises
        ------
        AssertionError
            The draws differ from the baseline, that is undecided, or there is no baseline.
        TypeError, ValueError
            The draws, the name or a setting cannot be used.
        """
        __tracebackhide__ = True
        config = self._request.config
        place = self._place(name)
        from harness.check.baseline.change import ALPHA, Margins
        from harness.check.pytest_plugin.checking import Settings, run
        from harness.check.pytest_plugin.intake import take

        alpha = _alpha(config) if alpha is None else alpha
        alpha = ALPHA if alpha is None else alpha
        if not 0 < alpha < 1:
            raise ValueError(f"alpha is {alpha}; it must be between 0 and 1")
        for what, value in {"location": location, "scale": scale}.items():
            if not 0 < value < math.inf:
                raise ValueError(f"{what} is {value}; a margin must be positive and finite")
        settings = Settings(alpha, Margins(location, math.log1p(scale)))
        taken = take(draws_or_fit, quantities=quantities, independent=independent)
        regenerate = bool(config.getoption("--posterior-regen"))
        result = run(taken, place, settings, regenerate=regenerate)
        if result.written:
            self._request.node.user_properties.append((PROPERTY, result.written))
        if result.failure:
            raise AssertionError(result.failure)

    def _place(self, name: str | None) -> places.Place:
        """Return where the baseline is; a file belongs to one check of one test."""
        __tracebackhide__ = True
        node = self._request.node
        chosen = places.default_name(node) if name is None else places.valid_name(name)
        # Some file systems do not tell capitals from small letters.
        if chosen.casefold() in self._names:
            msg = f"{chosen!r} was already checked in this test; give each check its own name"
            raise ValueError(msg)
        self._names.add(chosen.casefold())
        place = places.find(self._request, chosen)
        claimed = self._request.config.stash[_CLAIMED]
        owner = claimed.setdefault(str(place.path).casefold(), node.nodeid)
        if owner != node.nodeid:
            raise ValueError(
                f"the baseline {place.shown} belongs to {owner}; give each check its own name "
                "(the default is the test's name with its parameters)"
            )
        return place


@pytest.fixture
def posterior_regression(request: pytest.FixtureRequest) -> PosteriorRegression:
    """Compare draws with a stored baseline: ``posterior_regression.check(fit)``."""
    return PosteriorRegression(request)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """List the baselines and candidates that were written."""
    reports = [r for of_kind in terminalreporter.stats.values() for r in of_kind]
    lines = dict.fromkeys(
        str(text)
        for report in reports
        for name, text in getattr(report, "user_properties", ())
        if name == PROPERTY
    )
    if lines:
        terminalreporter.section("posterior baselines")
        for line in sorted(lines):
            terminalreporter.write_line(line)


def pytest_report_header(config: pytest.Config) -> str | None:
    """Announce a run that writes baselines and compares nothing."""
    if config.getoption("--posterior-regen"):
        return "posterior regression: baselines are written again, nothing is compared"
    return None
