"""Compare the draws of a test with its baseline, or write the baseline."""

from __future__ import annotations

import math
import platform
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import numpy as np
from scipy.special import stdtrit

from harness.check.baseline import summarise
from harness.check.baseline.change import Change, Margins, conclude_at_once
from harness.check.baseline.compare import compare_method
from harness.check.baseline.file import read, write
from harness.check.baseline.form import Baseline, BaselineError, MethodBaseline, Share
from harness.check.baseline.precision import freedom
from harness.check.pytest_plugin import words
from harness.check.pytest_plugin.intake import Intake
from harness.check.pytest_plugin.places import Place
from harness.records.text import count, integer
from harness.stan import package_version

POWER = 0.95
"""The chance with which a change of twice its margin must be found, or the draws are too few."""

FEWEST_OF_CHAINS = 200.0
"""With a smaller effective size, other chains of the same length may seem not to have mixed: of an
effective size of 100, one estimate in 400 is below 25."""

LARGE = 1e9
"""Degrees of freedom at which Student's t is normal."""

METHOD = "draws"
"""The one method that these baselines have."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What counts as a change."""

    alpha: float
    margins: Margins


@dataclass(frozen=True, slots=True)
class Result:
    """What a check found: why it failed, and what it wrote; both may be empty."""

    failure: str = ""
    written: str = ""


# An overflow gives infinity, which is found; its warning would end suites that turn warnings
# into errors.
@np.errstate(all="ignore")
def run(intake: Intake, place: Place, settings: Settings, *, regenerate: bool) -> Result:
    """Compare draws with their baseline, or with ``regenerate`` write it."""
    if unusable := _unusable(intake):
        return Result(failure=words.unusable(place, unusable))
    if regenerate or not place.path.exists():
        try:
            return _written(intake, place, settings, regenerate=regenerate)
        except OSError as error:
            return Result(failure=words.unwritable(place, error))
    try:
        old = _read(place)
    except BaselineError as error:
        return Result(failure=words.unreadable(place, error))
    changes, needed = _compare(old, intake, settings)
    if all(c.conclusion == "same" for c in changes):
        return Result()
    return Result(failure=words.moved(place, old, changes, needed, settings.alpha, intake))


def _summary(intake: Intake, old: MethodBaseline | None = None) -> summarise.Summary:
    runs = intake.runs
    return (
        summarise.of_seeds(runs, old=old)
        if intake.several
        else summarise.of_draws(runs[0], old=old)
    )


def _unusable(intake: Intake) -> list[str]:
    """Name the quantities that have no moments."""
    found = []
    for i, draws in enumerate(intake.runs):
        of = f" (fit {i + 1} of {len(intake.runs)})" if intake.several else ""
        total = draws.values.shape[0] * draws.values.shape[1]
        bad = np.count_nonzero(~np.isfinite(draws.values), axis=(0, 1))
        found += [
            f"{name}: {n} of {total} draws are not finite{of}"
            for name, n in zip(draws.names, bad, strict=True)
            if n
        ]
        if total < summarise.FEWEST_EFFECTIVE:
            # One draw has a mean and no sd: it would be the same as itself for ever.
            least = f"at least {summarise.FEWEST_EFFECTIVE:.0f} are needed"
            found.append(f"{count(total, 'draw')}: {least}{of}")
    return found


def _method(intake: Intake, summary: summarise.Summary) -> MethodBaseline:
    runs = len(intake.runs)
    away = {"ran_away": Share(len(summary.ran_away), runs)} if intake.several else {}
    return MethodBaseline(
        kind=summary.kind,
        seeds=tuple(range(1, runs + 1)),
        draws=intake.size,
        kept=summary.kept,
        options={},
        shares=away,
        no_moments=summary.no_moments,
        quantities=summary.quantities,
        fingerprints=tuple(summarise.fingerprint(draws) for draws in intake.runs),
    )


def _read(place: Place) -> MethodBaseline:
    baseline = read(place.path)
    if set(baseline.methods) != {METHOD}:
        names = ", ".join(sorted(baseline.methods)) or "nothing"
        raise BaselineError(f"{place.path} holds {names} where this check needs {METHOD!r}")
    return baseline.methods[METHOD]


def _compare(
    old: MethodBaseline, intake: Intake, settings: Settings
) -> tuple[Sequence[Change], float]:
    """Compare; return also how many draws, or seeds, decide what these are too few for.

    Figures that cannot be compared are inconclusive, never left out.
    """
    where = (METHOD, METHOD)
    summary = _summary(intake, old)
    new = _method(intake, summary)
    if old.no_moments or (old.kind != new.kind and not new.no_moments):
        detail = old.no_moments or (
            f"the baseline is of {words.KINDS[old.kind]}, now there are {words.KINDS[new.kind]}"
        )
        return [
            Change(*where, "", "baseline", "unusable", "inconclusive",
                   reason="other kind", detail=detail)
        ], math.nan  # fmt: skip
    changes = compare_method(*where, old, new, summary.samples, settings.margins)
    if not new.no_moments:
        seen = {c.quantity for c in changes}
        changes += [
            Change(*where, name, "all", "unusable", "inconclusive",
                   reason="none comparable", detail=words.reasons(figures))
            for name, figures in old.quantities.items()
            if name not in seen
        ]  # fmt: skip
    if not changes:
        changes = [
            Change(*where, "", "baseline", "unusable", "inconclusive", reason="nothing comparable")
        ]
    concluded = conclude_at_once(changes, settings.alpha)
    needed = _draws_needed(old, new, concluded, settings.alpha)
    size = new.kept if new.kind == "seeds" else new.draws
    for i, n in needed.items():
        if n > size:
            concluded[i] = replace(concluded[i], conclusion="inconclusive", reason="too few draws")
    return concluded, max(needed.values(), default=math.nan)


def _draws_needed(
    old: MethodBaseline, new: MethodBaseline, changes: Sequence[Change], alpha: float
) -> dict[int, float]:
    """Return, for each figure that is the same, how many draws find a change of twice its margin.

    They find it in :data:`POWER` of checks. The errors of the new draws play no part: they
    fluctuate, so that with hundreds of figures some would always seem too large. The baseline's
    errors count, and the sizes of both sides. Of Markov chains, an effective size is an estimate
    too: it counts once chance cannot explain that it is small.
    """
    seeds = new.kind == "seeds"
    size, before = (new.kept, old.kept) if seeds else (new.draws, old.draws)
    same = [i for i, c in enumerate(changes) if c.chance is not None and c.conclusion == "same"]
    sure = 1 - alpha / 2 / max(sum(c.chance is not None for c in changes), 1)
    certain, likely = stdtrit(old.kept + new.kept - 2 if seeds else LARGE, [sure, POWER])
    found = {}
    for i in same:
        figures, name = old.quantities[changes[i].quantity], changes[i].name
        scale = figures["sd"].value if name == "sd" else summarise.unit(figures)
        kept, now = figures[name], new.quantities[changes[i].quantity][name]
        if not (scale > 0 and kept.mcse > 0):
            continue  # of a constant
        ratio = before / size
        if new.kind == "chains":
            noise = math.sqrt(sum(2 / freedom("chains", f.ess) for f in (kept, now)))
            ratio = max(ratio, kept.ess / now.ess * math.exp(-certain * noise))
        # The variance of a difference is that of the baseline, times one and the ratio of sizes.
        largest = (2 * changes[i].margin / (certain + likely) / (kept.mcse / scale)) ** 2 - 1
        found[i] = size * ratio / largest if largest > 0 else math.inf
    return found


# --- writing --------------------------------------------------------------------------------


def _written(intake: Intake, place: Place, settings: Settings, *, regenerate: bool) -> Result:
    """Write the baseline, or without ``regenerate`` a candidate, which fails the test."""
    summary = summarise.settle(_summary(intake), settings.margins)
    method = _method(intake, summary)
    if method.kind == "chains":
        sizes = {name: s.ess_least for name, s in (summary.samples or {}).items() if not s.constant}
        if slow := [f"effective size {integer(n)} for {name}: at least {integer(FEWEST_OF_CHAINS)} "
                    "are needed" for name, n in sizes.items() if n < FEWEST_OF_CHAINS]:  # fmt: skip
            return Result(failure=words.unusable(place, slow))
    lost = (
        f"the {what} of {name} is not finite"
        for figure, what, name in method.figures
        if not math.isfinite(figure.value)
    )
    if why := method.no_moments or "; ".join(lost):
        return Result(failure=words.unusable(place, [why]))
    packages = {"harness": "stan-advi-harness", "arviz_stats": "arviz-stats", "numpy": "numpy"}
    versions = {name: package_version(package) for name, package in packages.items()}
    baseline = Baseline(
        model=place.name,
        methods={METHOD: method},
        request={"from": intake.source, "test": place.test},
        written={
            "date": datetime.now(UTC).strftime("%Y-%m-%d"),
            "command": place.command,
            "versions": versions | {"python": platform.python_version()},
        },
    )
    limits = words.limits(method, settings.margins)
    if not regenerate:
        write(baseline, place.candidate)
        written = f"{place.show(place.candidate)}: a candidate to review and rename"
        return Result(failure=words.candidate(place, limits, intake), written=written)
    before = _before(intake, place, settings)
    write(baseline, place.path)
    place.candidate.unlink(missing_ok=True)
    return Result(written=f"{place.shown}: {before}{words.below(limits, indent=4)}")


def _before(intake: Intake, place: Place, settings: Settings) -> str:
    """Compare with the baseline that is about to be replaced, in words."""
    if not place.path.exists():
        return "written; there was none"
    try:
        old = _read(place)
    except BaselineError as error:
        return f"written; the old one could not be used ({error.problem})"
    return words.replaced(_compare(old, intake, settings)[0])
