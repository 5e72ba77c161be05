"""The lecture models' folders hold together: program, data, claims and settings."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.methods import METHODS
from harness.methods.options import RESERVED
from harness.models import exact, folders

STAN = Path(__file__).parent.parent / "stan"
MODELS = folders.LECTURE_ORDER
METRICS = {
    *("bias", "log_width_ratio", "log_sd_ratio", "w1", "tail", "missed_mass", "corr_error"),
    *("worst_direction", "sliced_w1", "khat", "seed_spread", "rhat", "ess_bulk", "ess_tail"),
    *("mean", "sd", "q5", "q50", "q95", "iterations", "eta", "seconds", "share_ok"),
    "first_mode",
}
OF_RUN = {
    "advi": {"absolute_fired_at", "relative_fired_at", "fired_apart", "wander"},
    "advi_sgd": {"final_mean"},
    "bbvi": {"variance_ratio"},
    "dadvi": {"basins"},
    "quadrature_kl": {"sigma", "kl"},
    "quadrature_mse": {"sigma"},
    "quadrature_truncated": {"kl"},
    "svi": {"kl"},
}
"""Diagnostics that claims may name, by method."""

NO_QUANTITY = {
    *("corr_error", "worst_direction", "sliced_w1", "khat", "iterations", "eta", "seconds"),
    "share_ok",
}


def read(model: str) -> dict[str, Any]:
    """Return a model's toml."""
    return tomllib.loads((STAN / model / "model.toml").read_text(encoding="utf-8"))


def program(model: str) -> str:
    """Return a model's Stan program."""
    return (STAN / model / f"{model}.stan").read_text(encoding="utf-8")


def committed(model: str) -> dict[str, Any]:
    """Return a model's committed data."""
    data: dict[str, Any] = json.loads((STAN / model / "data.json").read_text(encoding="utf-8"))
    return data


@pytest.mark.parametrize("model", MODELS)
def test_the_toml_is_what_the_registry_takes(model: str) -> None:
    """It parses, without an unknown key, and says title, source, lesson and quantities."""
    spec = folders._ModelToml.model_validate(read(model))
    assert spec.title
    assert spec.source
    assert 2 <= len(re.findall(r"[a-z0-9)ᵢ]\.(?:\s|$)", spec.lesson)) <= 5
    assert spec.quantities
    assert spec.claims


@pytest.mark.parametrize("model", MODELS)
def test_the_program_names_its_quantities(model: str) -> None:
    """Every quantity to compare is declared in the program."""
    for quantity in read(model)["quantities"]:
        assert re.search(rf"> ?{quantity};|[\]a-z] {quantity}(;|\s+=)", program(model)), quantity


@pytest.mark.parametrize("model", MODELS)
def test_the_reference_draws_every_quantity(model: str) -> None:
    """The exact sampler that a model names exists and gives all that is compared."""
    spec = read(model)
    if "reference" not in spec:
        return
    assert spec["reference"] == model
    data = committed(model) if (STAN / model / "data.json").is_file() else small_data(model)
    draws = exact.SAMPLERS[model](data, 10, np.random.default_rng(1))
    assert set(draws) == set(spec["quantities"])


@pytest.mark.parametrize("model", MODELS)
def test_data_are_committed_or_simulated(model: str) -> None:
    """There is data.json or data.py, not both, with exactly what the program declares."""
    has_json, has_script = ((STAN / model / n).is_file() for n in ("data.json", "data.py"))
    assert has_json != has_script
    data = committed(model) if has_json else small_data(model)
    block = re.search(r"^data \{(.*?)^\}", program(model), re.MULTILINE | re.DOTALL)
    declared = re.findall(r"(\w+);", re.sub("//.*", "", block.group(1))) if block else []
    assert sorted(data) == sorted(declared)


@pytest.mark.parametrize("model", MODELS)
def test_claims_can_be_measured(model: str) -> None:
    """Every claim names a method that is run, a known metric and a declared quantity."""
    spec = read(model)
    skipped = {m for m, s in spec.get("settings", {}).items() if "skip" in s}
    for claim in spec["claims"]:
        figure = claim["figure"]
        assert figure["method"] in METHODS
        assert figure["method"] not in skipped
        beside = figure.get("beside")
        assert beside is None or (beside in METHODS and beside not in skipped)
        prefix, _, own = figure["metric"].partition(".")
        if own:
            assert prefix in {"run", "with"}
            assert own in OF_RUN[figure["method"]]
        else:
            assert figure["metric"] in METRICS
        if "quantity" in figure:
            assert figure["quantity"] in spec["quantities"]
            assert figure["metric"] not in NO_QUANTITY
        signed = {"bias", "log_width_ratio", "log_sd_ratio"}
        if figure["metric"] in signed and figure.get("over") in {"worst", "best"}:
            assert "near" in claim["expect"], "an error of either sign needs a two-sided bound"


@pytest.mark.parametrize("model", MODELS)
def test_settings_name_methods_and_give_reasons(model: str) -> None:
    """Settings are for known methods, and a skipped method has a sentence as its reason."""
    for method, options in read(model).get("settings", {}).items():
        assert method in METHODS
        assert set(options) <= {*RESERVED, *METHODS[method].defaults}
        assert len(str(options.get("skip", "a reason of some length, or none"))) > 20


@pytest.mark.parametrize("model", MODELS)
def test_batches_are_rows_of_the_data(model: str) -> None:
    """A [batch] table names variables of the right length, their size and the scale."""
    batch = read(model).get("batch")
    assert (batch is not None) == ("likelihood_scale" in program(model))
    if batch is None:
        return
    data = small_data(model)
    assert data[batch["scale"]] == 1
    for name in batch["rows"]:
        assert len(data[name]) == data[batch["size"]]


@pytest.mark.parametrize("model", MODELS)
def test_arrays_are_declared_in_the_current_syntax(model: str) -> None:
    """No `real x[N]`: newer compilers refuse it."""
    declaration = r"^\s*(?:real|int|(?:row_)?vector|matrix)\b(?:<.*?>)?(?:\[.*?\])?\s+\w+\s*\["
    assert not re.search(declaration, program(model), re.MULTILINE)


def test_regression_data_are_the_lecture_s() -> None:
    """The 50 points are 1 + 2x + N(0, 0.5) from the seed that the folder states."""
    data = committed("linear_regression")
    x = np.linspace(0, 1, 50)
    y = 1 + 2 * x + np.random.default_rng(2).normal(scale=0.5, size=50)
    np.testing.assert_allclose(data["x"], x, atol=5e-7)
    np.testing.assert_allclose(data["y"], y, atol=5.1e-5)
    same = committed("conjugate_regression")
    assert (same["x"], same["y"]) == (data["x"], data["y"])


def test_drug_trial_data_are_the_lecture_s() -> None:
    """47 and 42 scores, with the sums of the lecture's lists."""
    data = committed("drug_trial")
    assert (len(data["drug"]), len(data["placebo"])) == (data["N_drug"], data["N_placebo"])
    assert (len(data["drug"]), len(data["placebo"])) == (47, 42)
    assert (sum(data["drug"]), sum(data["placebo"])) == (4790, 4215)


@pytest.mark.parametrize(
    ("model", "seed", "mean", "variance", "n"),
    [("normal_mean", 1, 2.0, 1.0, 30), ("inverse_gamma_normal", 5, 1.0, 3.0, 20)],
)
def test_normal_data_come_from_their_seed(
    model: str, seed: int, mean: float, variance: float, n: int
) -> None:
    """The numbers are those of the generator that the folder states, to 4 decimals."""
    x = np.random.default_rng(seed).normal(mean, np.sqrt(variance), n)
    np.testing.assert_allclose(committed(model)["x"], x, atol=5.1e-5)


def test_wide_data_are_made_as_in_the_lecture() -> None:
    """Columns are uniform on intervals of length 1 to 9, and the same in every run."""
    data, again = small_data("wide_normal"), small_data("wide_normal")
    np.testing.assert_array_equal(data["y"], again["y"])
    width = data["y"].max(axis=0) - data["y"].min(axis=0)
    assert data["y"].shape == (data["N"], data["D"])
    assert np.all(width <= 9)
    assert data["y"].min() >= 0
    assert data["y"].max() <= 19


def small_data(model: str) -> dict[str, Any]:
    """Run a model's data.py for 200 rows."""
    scope: dict[str, Any] = {}
    script = STAN / model / "data.py"
    exec(compile(script.read_text(encoding="utf-8"), str(script), "exec"), scope)  # noqa: S102 - our own file
    data: dict[str, Any] = scope["make_data"](200)
    return data
