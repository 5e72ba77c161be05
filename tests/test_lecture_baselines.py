"""The committed baselines belong to the programs, data and verdicts that are committed."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import pytest

from harness import stan
from harness.check.baseline.file import read
from harness.models import folders
from harness.models.data import data_hash
from harness.records import SAMPLED_BY
from harness.study.plan import usual_methods

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "baselines"
MODELS = folders.lecture_models()


def test_every_lecture_model_has_one_and_nothing_else_does() -> None:
    """No baseline is missing, and no candidate is left over."""
    assert sorted(p.name for p in FOLDER.iterdir()) == sorted(f"{m}.json" for m in MODELS)


@pytest.mark.parametrize("name", MODELS)
def test_a_baseline_is_of_the_committed_program_and_data(name: str) -> None:
    """The commit that edits a model also writes its baseline again."""
    found = read(FOLDER / f"{name}.json")
    model = folders.load(name)
    assert found.program["hash"] == stan.program_hash(model.stan_file)[:16]
    assert found.data["hash"] == data_hash(model)[:16]
    assert found.request["source"] == {"lecture": name}


@pytest.mark.parametrize("name", MODELS)
def test_a_baseline_holds_every_method_that_is_run(name: str) -> None:
    """Each usual method that the model does not leave out, with several seeds or runs.

    Where there are no exact draws, one run of short chains confirms NUTS, and has a verdict.
    """
    found = read(FOLDER / f"{name}.json")
    model = folders.load(name)
    run = [m for m in usual_methods(model) if not model.settings.get(m, {}).get("skip")]
    confirming = [] if model.reference else [SAMPLED_BY["ensemble"]]
    assert sorted(found.methods) == sorted([*run, *confirming])
    for name_of, method in found.methods.items():
        assert len(method.seeds) == len(method.fingerprints) >= (1 if name_of in confirming else 2)
        assert method.no_moments or method.quantities


@pytest.mark.parametrize("name", MODELS)
def test_verdicts_agree_with_the_committed_report(name: str) -> None:
    """The sample report and the baselines were made of the same runs; NUTS has more of them."""
    with (ROOT / "reports" / "lecture" / "verdicts.csv").open(encoding="utf-8") as file:
        reported = {r["method"]: r["level"] for r in csv.DictReader(file) if r["model"] == name}
    found = read(FOLDER / f"{name}.json")
    for method, stored in found.methods.items():
        if method != "nuts":
            assert stored.level == reported[method]


def test_no_baseline_names_a_machine() -> None:
    """Baselines contain no paths and no host names."""
    for path in FOLDER.iterdir():
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"/(root|home|tmp|work|Users)/", text), path.name
