"""A comparison on disk: page, tables and JSON. A model that cannot be written costs no other."""

from __future__ import annotations

import dataclasses
import math
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.records import Comparison, ModelComparison, Reference
from harness.report import files
from harness.why.verdicts import explained


def write(
    comparison: Comparison,
    figures: Mapping[str, tuple[Any, ...]],
    out: Path,
    *,
    draws: bool = False,
    seconds: bool = True,
) -> tuple[Comparison, Path]:
    """Write the report with its CSV and JSON files; return what was written and the HTML's path.

    ``draws`` says whether the analysis has written draws; those of an earlier one go. A model whose
    results cannot be written is written with that error instead. Without ``seconds``, tables and
    JSON are those of :func:`without_seconds`: equal comparisons are equal files.
    """
    for model in () if draws else comparison.models:
        files.remove_draws(out / "draws" / model.model.name)
    try:
        return comparison, _written(comparison, figures, out, seconds=seconds)
    except OSError:
        raise
    except Exception:
        sound = _without_unwritable(comparison, figures)
        if all(m.error is not None for m in sound.models):
            raise
        return sound, _written(sound, figures, out, seconds=seconds)


def _written(
    comparison: Comparison,
    figures: Mapping[str, tuple[Any, ...]],
    out: Path,
    *,
    seconds: bool = True,
) -> Path:
    from harness.report import html

    files.write(comparison if seconds else without_seconds(comparison), out, seconds=seconds)
    path = out / "index.html"
    html.render(comparison, path, figures=figures)
    return path


_OF_ONE_RUN = frozenset({"date", "seconds", "command", "runs_made"})
"""Facts of a comparison that another with equal results need not share."""


def without_seconds(comparison: Comparison) -> Comparison:
    """Return a comparison without what a clock measured, in records and in what follows of them.

    Nor has it a date, the command, which names the jobs, or the number of runs that were not
    stored before; its models stand in the order of their names.
    """
    unknown = math.nan
    models = tuple(
        explained(
            dataclasses.replace(
                m,
                runs=tuple(
                    dataclasses.replace(r, cost=dataclasses.replace(r.cost, seconds=unknown))
                    for r in m.runs
                ),
                trials=tuple(
                    dataclasses.replace(t, seconds=unknown, seconds_before=unknown)
                    for t in m.trials
                ),
            )
        )
        for m in sorted(comparison.models, key=lambda m: m.model.name)
    )
    provenance = {k: v for k, v in comparison.provenance.items() if k not in _OF_ONE_RUN}
    if "hashes" in provenance:
        provenance["hashes"] = dict(sorted(provenance["hashes"].items()))
    claims = tuple(sorted(comparison.claims, key=lambda claim: claim.model))
    return Comparison(models, claims, provenance)


def _without_unwritable(
    comparison: Comparison, figures: Mapping[str, tuple[Any, ...]]
) -> Comparison:
    """Return the comparison with an error in the place of each model that cannot be written."""
    models: list[ModelComparison] = []
    for entry in comparison.models:
        claims = tuple(c for c in comparison.claims if c.model == entry.model.name)
        alone = dataclasses.replace(comparison, models=(entry,), claims=claims)
        try:
            with tempfile.TemporaryDirectory(prefix="harness-write-") as scratch:
                _written(alone, figures, Path(scratch))
        except OSError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, it is this model's
            why = f"its results cannot be written: {type(error).__name__}: {error}"
            lost = Reference("none", trusted=False, why="the model could not be written")
            models.append(ModelComparison(entry.model, why, lost, ()))
        else:
            models.append(entry)
    lost_names = {m.model.name for m in models if m.error is not None}
    claims = tuple(c for c in comparison.claims if c.model not in lost_names)
    return dataclasses.replace(comparison, models=tuple(models), claims=claims)
