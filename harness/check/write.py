"""Write baselines: run every method as often as its errors demand."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from harness.check.baseline.change import ENOUGH_SEEDS, USUAL
from harness.check.baseline.file import CANDIDATE, SUFFIX, write
from harness.check.baseline.form import Baseline, MethodBaseline
from harness.check.baseline.observe import as_baseline, settled
from harness.check.look import look, today
from harness.check.request import Request, Target, as_asked, asked
from harness.methods import METHODS
from harness.records import Model
from harness.records.text import count
from harness.study.progress import Progress

SAMPLER_RUNS = (4, 8)
"""Fewest and most runs of a sampler for a baseline; between them the errors decide."""

FEWEST_SEEDS = 2
"""Seeds of a baseline's method whose settings ask for fewer: one shows no spread."""

SLOW_S = 60.0
"""Beyond the first two, a sampler's runs together should take no longer."""


def write_baselines(
    models: Sequence[Model], request: Request, progress: Progress, suffix: str = SUFFIX
) -> list[tuple[str, Path | None, str]]:
    """Run models and write a baseline, or a candidate, for each.

    Returns each model, its file or None, and a sentence on what was written, or why nothing was.
    """
    done: list[tuple[str, Path | None, str]] = []
    for name, found in _observed(models, request, progress).items():
        if isinstance(found, str):
            done.append((name, None, found))
            continue
        path = request.folder / f"{name}{suffix}"
        write(found, path)
        if suffix == SUFFIX:
            (request.folder / f"{name}{CANDIDATE}").unlink(missing_ok=True)
        done.append((name, path, described(found)))
    return done


def rewrite(
    targets: Sequence[Target], request: Request, progress: Progress
) -> list[tuple[str, Path | None, str]]:
    """Write baselines of targets, each as it was asked for before unless the request says more."""
    groups: dict[Request, list[Model]] = defaultdict(list)
    done: list[tuple[str, Path | None, str]] = []
    for target in targets:
        if target.model is None:
            why = target.error or "the model is gone; remove the file if that is intended"
            done.append((target.name, None, why))
        else:
            groups[as_asked(target.old, request)].append(target.model)
    for asked_for, models in groups.items():
        done += write_baselines(models, asked_for, progress)
    return done


def described(made: Baseline) -> str:
    """Return in a few words what a baseline holds."""
    figures = sum(len(m.figures) for m in made.methods.values())
    without = [name for name, m in made.methods.items() if m.no_moments]
    said = f"{count(len(made.methods), 'method')}, {count(figures, 'figure')}"
    if not without:
        return said
    said += f"; level and shares only: {', '.join(without)}"
    few = min(len(made.methods[name].seeds) for name in without) < ENOUGH_SEEDS
    return f"{said}; --seeds {ENOUGH_SEEDS} would give more to compare" if few else said


def _observed(
    models: Sequence[Model], request: Request, progress: Progress
) -> dict[str, Baseline | str]:
    """Return a baseline for each model, or why there is none."""
    looked = look(models, request, {}, {}, progress)
    more: dict[tuple[str, str], int] = {}
    for name, seen in looked.observations.items():
        for method, kept in settled(seen).items():
            if not METHODS[method].approximate:
                runs = _sampler_runs(kept, looked.seconds[name, method])
            else:
                runs = FEWEST_SEEDS if request.seeds is None else request.seeds
            if runs > len(kept.seeds):
                more[name, method] = runs
    again = [m for m in models if any(name == m.name for name, _ in more)]
    if again:
        looked.update(look(again, request, more, {}, progress))
    written = {"date": today().isoformat(), "command": request.command, **looked.versions}
    return {
        m.name: looked.errors.get(m.name, "it was not observed")
        if m.name not in looked.observations
        else as_baseline(m, looked.observations[m.name], asked(m, request), written)
        for m in models
    }


def _sampler_runs(method: MethodBaseline, seconds: float) -> int:
    """Return how many runs of a sampler bring its figures' errors under the usual margins.

    The first run's errors decide: they shrink with the square root of the runs.
    """
    fewest, most = SAMPLER_RUNS
    wider = [
        (f.margin / USUAL.of(what)) ** 2 for f, what, _ in method.figures if f.margin is not None
    ]
    needed = max([1.0, *wider]) * len(method.seeds)
    runs = min(max(fewest, math.ceil(needed)), most)
    affordable = int(SLOW_S / seconds) if seconds > 0 else most
    return min(runs, max(affordable, 2))
