"""The draws of results that were read without them: from the cache, or made again."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Mapping
from typing import Any

from harness import stan
from harness.models import folders
from harness.models.data import ModelError, data_hash
from harness.records import WITHOUT_DRAWS, Comparison, Draws, ModelComparison
from harness.study.reference import exact_draws
from harness.study.store import Store


def with_draws(comparison: Comparison) -> Comparison:
    """Return a comparison whose runs and references have their draws, where they can be had.

    A run that is no longer in the cache, a reference that a user supplied, and exact draws of data
    that are not the lecture's stay without.
    """
    store = Store(stan.cache_dir() / "results")
    hashes = comparison.provenance.get("hashes", {})
    models = tuple(_completed(m, store, hashes) for m in comparison.models)
    return dataclasses.replace(comparison, models=models)


def lacking(comparison: Comparison) -> list[str]:
    """Return the names of models whose figures lack draws."""
    return [
        m.model.name
        for m in comparison.models
        if (m.reference.kind != "none" and m.reference.draws is None)
        or any(r.draws is None for r in m.runs if r.status not in WITHOUT_DRAWS)
    ]


def _completed(entry: ModelComparison, store: Store, hashes: Mapping[str, Any]) -> ModelComparison:
    runs = []
    for run in entry.runs:
        stored = None if run.draws is not None else store.get(run.key)
        if stored is None:
            runs.append(run)
        else:
            runs.append(dataclasses.replace(run, draws=stored.draws, trace=stored.trace))
    reference, draws = entry.reference, entry.reference.draws
    if draws is None and reference.kind == "exact":
        draws = _exact(entry.model.name, hashes)
    elif draws is None and reference.method:
        draws = next((r.draws for r in runs if r.spec.method == reference.method), None)
    reference = dataclasses.replace(reference, draws=draws)
    return dataclasses.replace(entry, runs=tuple(runs), reference=reference)


def _exact(name: str, hashes: Mapping[str, Any]) -> Draws | None:
    """Draw a lecture model's exact posterior again, if its data are the same."""
    if name in folders.lecture_models():
        with contextlib.suppress(ModelError, OSError, stan.ToolchainError, stan.ProgramError):
            model = folders.load(name)
            program, hashed = stan.program_hash(model.stan_file), data_hash(model)
            if hashes.get(name) == {"program": program, "data": hashed}:
                return exact_draws(model, hashed)
    return None
