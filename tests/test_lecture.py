"""Known results on the lecture's models, with real CmdStan and no stored runs."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from harness.models import folders
from harness.models.data import load_data
from harness.records import Comparison, Measure, ModelComparison, Verdict
from harness.stan import CmdStan
from harness.study import comparing
from harness.study.plan import Plan, usual_methods

pytestmark = pytest.mark.stan

SMALL = ("normal_mean", "mixture")
"""Models judged with all ten seeds; the others are judged with five."""

K = 4.5
"""Standard errors allowed: with about twenty figures, one in 10 000 runs of these tests fails."""


def compare(names: tuple[str, ...], **options: object) -> Comparison:
    """Compare lecture models."""
    plan = Plan(tuple(folders.load(n) for n in names), **options)  # type: ignore[arg-type]
    return comparing.compare(plan)[0]


def verdicts(model: ModelComparison) -> dict[str, Verdict]:
    """Return verdicts by method."""
    assert model.error is None
    return {v.method: v for v in model.verdicts}


def measures(model: ModelComparison, method: str, quantity: str, metric: str) -> list[Measure]:
    """Return one metric of one quantity for every seed; the list is never empty."""
    found = [
        m for m in model.measures if (m.method, m.quantity, m.metric) == (method, quantity, metric)
    ]
    assert found
    return found


def over_seeds(found: list[Measure]) -> tuple[float, float]:
    """Return the mean over seeds and its standard error, which includes the optimiser's noise."""
    values = np.array([m.value for m in found])
    return float(values.mean()), float(values.std(ddof=1) / math.sqrt(len(values)))


def test_normal_mean_passes_when_tuned_and_fails_by_default(
    lecture: Mapping[str, ModelComparison],
) -> None:
    """The family contains the posterior, so only the optimiser can fail; CmdStan's default does."""
    found = verdicts(lecture["normal_mean"])
    for method in ("meanfield_tuned", "fullrank_tuned"):
        assert {s.level for s in found[method].by_seed} == {"pass"}
        assert len(found[method].by_seed) == 10
    assert found["nuts"].level == "pass"
    for method in ("meanfield", "fullrank"):
        assert found[method].level == "fail"
        told = " ".join(found[method].notes)
        assert "by seed" in told


@pytest.mark.parametrize("model", SMALL)
def test_runaways_are_named_with_their_step_size(
    lecture: Mapping[str, ModelComparison], model: str
) -> None:
    """A seed with step size 100 whose mean is more than 1.5 sd off is reported as a runaway."""
    named = 0
    for run in lecture[model].runs:
        quantity = {"normal_mean": "m", "mixture": "x"}[model]
        if run.diagnostics.get("eta") != 100 or run.status == "failed":
            continue
        biases = measures(lecture[model], run.spec.method, quantity, "bias")
        (bias,) = [m.value for m in biases if m.seed == run.spec.seed]
        notes = verdicts(lecture[model])[run.spec.method].notes
        said = [n for n in notes if n.startswith(f"Seed {run.spec.seed} ran away (step size 100)")]
        if abs(bias) > 1.5:
            assert said, (run.spec, bias, notes)
            named += 1
    assert named > 0


def test_mixture_fails_every_advi_and_says_which_mode_is_missed(
    lecture: Mapping[str, ModelComparison],
) -> None:
    """All four ADVIs fail; seeds on the right-hand mode miss a mass of 0.20, the others 0.80."""
    found = verdicts(lecture["mixture"])
    for method in ("meanfield", "fullrank", "meanfield_tuned", "fullrank_tuned"):
        assert found[method].level == "fail"
        assert "misses" in found[method].headline
    for method in ("meanfield_tuned", "fullrank_tuned"):
        biases = measures(lecture["mixture"], method, "x", "bias")
        missed = measures(lecture["mixture"], method, "x", "missed_mass")
        for bias, miss in zip(biases, missed, strict=True):
            # The mode's mass in 40 000 exact draws has a standard error of 0.002; the place of the
            # cut between the modes adds 0.003.
            assert miss.value == pytest.approx(0.2 if bias.value > 0 else 0.8, abs=K * 0.002 + 3e-3)


def test_mixture_does_not_pass_nuts_and_names_r_hat(
    lecture: Mapping[str, ModelComparison],
) -> None:
    """NUTS is judged like any other method: stuck chains fail, with R-hat as the reason."""
    nuts = verdicts(lecture["mixture"])["nuts"]
    assert nuts.level == "fail"
    assert "R-hat" in nuts.headline
    rhat = measures(lecture["mixture"], "nuts", "x", "rhat")
    assert rhat[0].value > 1.01


def test_without_the_exact_reference_nobody_passes_on_the_mixture(
    lecture: Mapping[str, ModelComparison],
    lecture_results: Path,
    cmdstan: CmdStan,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """NUTS cannot be trusted as the reference here: a verdict is unknown, or needs none."""
    assert lecture["mixture"].reference.kind == "exact"
    monkeypatch.setenv("HARNESS_CACHE", str(lecture_results))
    monkeypatch.setenv("CMDSTAN", str(cmdstan.path))
    (model,) = compare(("mixture",), reference="nuts", seeds=3).models
    assert not model.reference.trusted
    assert "R-hat" in model.reference.why
    # Some fits are known to be wrong by what short chains from their own draws move.
    assert {v.level for v in model.verdicts} <= {"unknown", "warn", "fail"}
    for verdict in model.verdicts:
        assert verdict.level == "unknown" or verdict.evidence == "movement", verdict.method
    assert [v.method for v in model.verdicts] == list(usual_methods(model.model))


def test_linear_regression_mean_field_is_too_narrow_because_of_correlation(
    lecture: Mapping[str, ModelComparison],
) -> None:
    """Mean-field halves the widths of intercept and slope and says why; full-rank is right."""
    model = lecture["linear_regression"]
    assert model.reference.kind == "nuts"
    assert model.reference.trusted
    found = verdicts(model)
    assert found["nuts"].level == "reference"
    for method in ("meanfield", "meanfield_tuned"):
        assert found[method].level == "fail"
    widths = {
        f.measure.quantity: f
        for f in found["meanfield_tuned"].findings
        if f.measure.metric == "log_width_ratio"
    }
    for quantity in ("intercept", "slope"):
        assert widths[quantity].level == "wrong"
        assert "because intercept and slope correlate at −0.8" in widths[quantity].sentence
        ratio, _ = over_seeds(measures(model, "meanfield_tuned", quantity, "log_width_ratio"))
        assert 0.4 < math.exp(ratio) < 0.6
    wide = [f for f in found["fullrank_tuned"].findings if f.measure.metric == "log_width_ratio"]
    assert not [f for f in wide if f.level in {"wrong", "off"}]
    assert found["fullrank_tuned"].level != "fail"


def test_conjugate_regression_has_the_closed_form_widths(
    lecture: Mapping[str, ModelComparison],
) -> None:
    """The sd of mean-field is 1/√Λᵢᵢ for a Gaussian posterior with precision Λ."""
    from harness.models import exact

    model = lecture["conjugate_regression"]
    posterior = exact.conjugate_posterior(load_data(model.model))
    expected = 1 / np.sqrt(np.diag(posterior.precision))
    for quantity, sd in zip(("intercept", "slope"), expected, strict=True):
        mean, error = over_seeds(measures(model, "meanfield_tuned", quantity, "sd"))
        # The sd of 10 000 draws has the error sd/√(2·10⁴), the mean of five seeds that over √5.
        floor = sd / math.sqrt(2 * 10_000 * 5)
        assert mean == pytest.approx(sd, abs=K * math.hypot(error, floor))


@pytest.mark.parametrize(
    ("model", "quantity", "mu", "sigma"),
    [("student_t", "x", 0.0, 1.2602), ("beta_unit", "logit_theta", 6.46513, 0.70827)],
)
def test_tuned_fits_land_on_the_kl_optimum(
    lecture: Mapping[str, ModelComparison], model: str, quantity: str, mu: float, sigma: float
) -> None:
    """Tuned mean-field has the location and scale of the best Gaussian, found by quadrature.

    The scale may be 2% off besides its error: the step size never reaches zero, so q keeps moving.
    """
    location, error = over_seeds(measures(lecture[model], "meanfield_tuned", quantity, "mean"))
    assert location == pytest.approx(mu, abs=K * math.hypot(error, sigma / math.sqrt(50_000)))
    scale, error = over_seeds(measures(lecture[model], "meanfield_tuned", quantity, "sd"))
    assert scale == pytest.approx(
        sigma, abs=K * math.hypot(error, sigma / math.sqrt(100_000)) + 0.02 * sigma
    )


def test_a_second_comparison_runs_nothing(
    lecture: Mapping[str, ModelComparison],
    lecture_results: Path,
    cmdstan: CmdStan,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where nothing has changed, no run is made and the figures are the same."""
    assert lecture
    monkeypatch.setenv("HARNESS_CACHE", str(lecture_results))
    monkeypatch.setenv("CMDSTAN", str(cmdstan.path))
    monkeypatch.setenv("PATH", os.environ["PATH"])
    again = compare(SMALL)
    assert again.provenance["runs_made"] == 0
    first = {(m.method, m.seed, m.quantity, m.metric): m for m in lecture["mixture"].measures}
    second = {(m.method, m.seed, m.quantity, m.metric): m for m in again.models[1].measures}
    assert first == second


def test_every_measure_has_an_error_and_every_run_its_key(
    lecture: Mapping[str, ModelComparison],
) -> None:
    """Every finite figure has a Monte Carlo error, and every run the hash of its inputs."""
    for model in lecture.values():
        assert model.measures
        assert len(model.levels) == len(model.measures)
        for run in model.runs:
            assert len(run.key) == 64
        finite = [m for m in model.measures if math.isfinite(m.value)]
        assert all(m.mcse >= 0 for m in finite)
