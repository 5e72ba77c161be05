"""A comparison on disk: page, tables and JSON. A model that cannot be written costs no other."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.records import Comparison, ModelComparison, Reference
from harness.report import files


def write(
    comparison: Comparison,
    figures: Mapping[str, tuple[Any, ...]],
    out: Path,
    *,
    draws: bool = False,
) -> tuple[Comparison, Path]:
    """Write the report with its CSV and JSON files; return what was written and the HTML's path.

    ``draws`` says whether the analysis has written draws; those of an earlier one go. A model whose
    results cannot be written is written with that error instead.
    """
    for model in () if draws else comparison.models:
        files.remove_draws(out / "draws" / model.model.name)
    try:
        return comparison, _written(comparison, figures, out)
    except OSError:
        raise
    except Exception:
        sound = _without_unwritable(comparison, figures)
        if all(m.error is not None for m in sound.models):
            raise
        return sound, _written(sound, figures, out)


def _written(comparison: Comparison, figures: Mapping[str, tuple[Any, ...]], out: Path) -> Path:
    from harness.report import html

    files.write(comparison, out)
    path = out / "index.html"
    html.render(comparison, path, figures=figures)
    return path


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
