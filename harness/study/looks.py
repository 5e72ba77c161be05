"""Which quantities an analysis loads the draws of."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from harness.metrics import measure
from harness.records import CHOICES
from harness.records.names import base_name
from harness.study.reference import generated_of
from harness.study.task import AnalysisTask


class Looks:
    """Chooses the quantities whose draws are loaded, and keeps what is to be said of the others.

    Sixty runs of 3600 generated quantities would be 17 GB.
    """

    def __init__(self, task: AnalysisTask) -> None:
        model = task.model
        # Draws that others made may have some of them only: then only a choice by name serves.
        made_here = task.reference in CHOICES and model.reference is None
        everything = task.draws_folder is not None or not (model.quantities or made_here)
        self._all = everything and model.generated
        self._model = model
        self._generated = frozenset(() if self._all else generated_of(model))
        self._notes: dict[str, None] = {}

    def __call__(self, names: Sequence[str]) -> Sequence[str]:
        """Return, of the names of a run's quantities, those that are looked at."""
        if self._all:
            return names
        wanted, note = measure.looked_at(self._model, names, self._generated)
        self._notes |= {note: None} if note else {}
        return wanted

    def left_out(self, names: Sequence[str]) -> dict[str, tuple[str, ...]]:
        """Return what a run of these quantities need not have (``RunSpec.left_out``).

        Nothing where all generated quantities are looked at: such a run has the usual key.
        """
        if not self._notes:
            return {}
        wanted = self(names)
        return {v: tuple(n for n in wanted if base_name(n) == v) for v in sorted(self._generated)}

    def said(self, selection: measure.Selection) -> measure.Selection:
        """Return a selection that says what was left out before it."""
        more = tuple(note for note in self._notes if note not in selection.notes)
        return dataclasses.replace(selection, notes=(*more, *selection.notes))
