"""Every run of a model measured once, however many rounds its analysis takes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from harness.metrics import measure, two_runs
from harness.records import SAMPLED_BY, Measure, RunResult

T = TypeVar("T")

Found = Mapping[tuple[str, str, str], Any]
"""What was measured: by the run's key, the key of what it was compared with, and its kind."""


class Measuring:
    """Measure runs, or return what an earlier round measured."""

    def __init__(self, found: Found | None = None) -> None:
        self.found = dict(found or {})

    def _once(self, run: RunResult, against: str, kind: str, compute: Callable[[], T]) -> T:
        at = (run.key, against, kind)
        if at not in self.found:
            self.found[at] = compute()
        found: T = self.found[at]
        return found

    def distances(
        self, run: RunResult, against: str, yardstick: measure.Yardstick
    ) -> measure.Measured:
        """Return a run's measures against the reference, and its worst pair of quantities."""
        itself = run.spec.method == SAMPLED_BY.get(yardstick.kind)
        return self._once(
            run, against, "distances", lambda: yardstick.run(run, against_itself=itself)
        )

    def chains(
        self, run: RunResult, against: str, kind: str, names: tuple[str, ...]
    ) -> list[Measure]:
        """Return the diagnostics of a run's Markov chains."""
        return self._once(run, against, "chains", lambda: measure.chain_measures(run, names, kind))

    def mode_shares(
        self, run: RunResult, against: str, names: tuple[str, ...]
    ) -> dict[str, list[float]]:
        """Return, where chains have several modes, each chain's share in the leftmost one."""
        return self._once(run, against, "modes", lambda: measure.mode_shares(run, names))

    def apart(
        self, run: RunResult, other: RunResult, names: tuple[str, ...]
    ) -> list[two_runs.Apart]:
        """Return how two runs differ, in means and in outer quantiles."""
        return self._once(run, other.key, "apart", lambda: two_runs.apart(run, other, names))
