"""One model never takes others down, whatever is wrong with it and wherever that is found."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from report_fixture import build, normal

from harness.models import folders
from harness.records import Claim, Model, ModelComparison
from harness.stan import embedded
from harness.study import comparing, writing
from harness.study.plan import QUICK, Plan

GOOD = "parameters { real x; } model { x ~ normal(1, 2); }"

needs_embedded = pytest.mark.skipif(bool(embedded.available()), reason=embedded.available() or "-")


def model(folder: Path, name: str, text: str | bytes = GOOD, **more: object) -> Model:
    """Return a model of a program written to a folder."""
    file = folder / f"{name}.stan"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return dataclasses.replace(folders.user_model(file, None), **more)  # type: ignore[arg-type]


def latin(folder: Path) -> Model:
    """Return a model whose program has a Latin-1 byte where stanc reads it."""
    return model(folder, "latin", f'{GOOD} // caf\xe9\ngenerated quantities {{ print("caf\xe9"); }}'
                 .encode("latin-1"))  # fmt: skip


def no_settings(folder: Path) -> Model:
    """Return a model whose settings are of another type, which planning finds."""
    return model(folder, "settings", settings={"dadvi": 3})


def no_claim(folder: Path) -> Model:
    """Return a model with a claim about a metric that there is not, found once all is judged."""
    claim = Claim("wrong", "", {"method": "dadvi", "metric": 3, "over": "nonsense"}, {"at": 1})
    return model(folder, "claim", claims=(claim,))


def not_there(folder: Path) -> Model:
    """Return a model whose program was removed after it was read."""
    made = model(folder, "gone")
    made.stan_file.unlink()
    return made


@needs_embedded
@pytest.mark.usefixtures("isolated_cache")
def test_what_is_wrong_with_one_model_is_its_error_and_the_rest_is_written(tmp_path: Path) -> None:
    """Found in planning, preparation or at the end: the good model is judged and written."""
    bad = [make(tmp_path) for make in (latin, no_settings, no_claim, not_there)]
    good = model(tmp_path, "good")
    plan = Plan(
        (*bad, good), methods=QUICK[:1], engine="embedded", nuts=False, seeds=1, explain=False
    )
    comparison, figures = comparing.compare(plan)
    found = {m.model.name: m for m in comparison.models}
    assert found["good"].error is None
    assert found["good"].verdicts
    for name in ("settings", "claim", "gone"):
        assert found[name].error, name
    # A byte in a comment or a string is nothing that keeps a program from being judged.
    assert found["latin"].verdicts or found["latin"].error
    written, page = writing.write(comparison, figures, tmp_path / "out")
    assert written is comparison
    assert "good" in page.read_text(encoding="utf-8")
    results = json.loads((tmp_path / "out" / "results.json").read_text(encoding="utf-8"))
    assert len(results["models"]) == 5


def unknown_level(entry: ModelComparison) -> ModelComparison:
    """Give a method's verdict a level that there is not."""
    (first, *rest) = entry.verdicts
    odd = dataclasses.replace(first, level="nonsense")  # type: ignore[arg-type]
    return dataclasses.replace(entry, verdicts=(odd, *rest))


def no_text(entry: ModelComparison) -> ModelComparison:
    """Write a sentence that no encoding has."""
    return dataclasses.replace(entry, notes=("\udce9",))


@pytest.mark.parametrize("spoil", [unknown_level, no_text])
def test_a_model_that_cannot_be_written_is_written_as_an_error(
    tmp_path: Path, spoil: Callable[[ModelComparison], ModelComparison]
) -> None:
    """Page, tables and JSON have the other model, and say why this one is not there."""
    rng = np.random.default_rng(1)
    good = normal(tmp_path, 2, 200, rng)
    bad = spoil(normal(tmp_path, 2, 200, rng, "spoilt"))
    comparison = dataclasses.replace(build(tmp_path, parts=[lambda: good, lambda: bad]), claims=())
    written, page = writing.write(comparison, {}, tmp_path / "out")
    assert [m.error is None for m in written.models] == [True, False]
    assert written.models[0] is good
    assert "its results cannot be written" in str(written.models[1].error)
    text = page.read_text(encoding="utf-8")
    assert "its results cannot be written" in text
    assert "normal_mean" in (tmp_path / "out" / "verdicts.csv").read_text(encoding="utf-8")
    alone = dataclasses.replace(comparison, models=(bad,))
    with pytest.raises((KeyError, ValueError)):
        writing.write(alone, {}, tmp_path / "alone")
