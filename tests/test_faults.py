"""Faults put into real models and real output: a check catches every one of them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest

from harness import stan
from harness.check.baseline.change import Change, CheckOutcome
from harness.check.request import Request, locate
from harness.check.run import check as run_check
from harness.check.write import write_baselines
from harness.models import folders
from harness.records import Model
from harness.stan import CmdStan
from harness.study.progress import Quiet

pytestmark = pytest.mark.stan

EIGHT_SCHOOLS = """
data {
  int<lower=1> J;
  vector[J] y;
  vector<lower=0>[J] sigma;
}
parameters {
  real mu;
  real<lower=0> tau;
}
model {
  mu ~ normal(0, 5);
  tau ~ normal(0, 5);
  y ~ normal(mu, sqrt(square(tau) + square(sigma)));
}
"""
"""Rubin's eight schools without the schools' own effects, which are integrated out."""

SCHOOLS = {"J": 8, "y": [28, 8, -3, 7, -1, 1, 18, 12], "sigma": [15, 10, 16, 11, 9, 11, 10, 18]}

METHODS = {
    "drug_trial": ("nuts",),
    "linear_regression": ("nuts",),
    "normal_mean": ("nuts", "meanfield_tuned"),
    "eight_schools": ("nuts",),
}


def request(folder: Path, methods: tuple[str, ...] | None = None) -> Request:
    """Return a request for the baselines beside a model."""
    return Request(folder=folder / "baselines", methods=methods, command="test")


@pytest.fixture(scope="module")
def models(fresh_results: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Copy real models into folders of a user's and write their baselines, once."""
    assert fresh_results.is_dir()
    root = tmp_path_factory.mktemp("models")
    for name, methods in METHODS.items():
        folder = root / name
        folder.mkdir()
        if name == "eight_schools":
            (folder / f"{name}.stan").write_text(EIGHT_SCHOOLS, encoding="utf-8")
            (folder / f"{name}.json").write_text(json.dumps(SCHOOLS), encoding="utf-8")
        else:
            lecture = folders.load(name)
            shutil.copy(lecture.stan_file, folder / f"{name}.stan")
            assert lecture.data_file is not None
            shutil.copy(lecture.data_file, folder / f"{name}.json")
        model = folders.user_model(folder / f"{name}.stan", folder / f"{name}.json")
        written = write_baselines([model], request(folder, methods), Quiet())
        assert [path for _, path, _ in written if path is not None], written
    return root


def copied(models: Path, name: str, tmp_path: Path) -> Path:
    """Return a copy of a model's folder, for a fault of its own."""
    return Path(shutil.copytree(models / name, tmp_path / name))


def edited(file: Path, *changes: tuple[str, str]) -> None:
    """Replace texts in a file; each must be there exactly once."""
    text = file.read_text(encoding="utf-8")
    for old, new in changes:
        assert text.count(old) == 1, f"{old!r} stands {text.count(old)} times in {file.name}"
        text = text.replace(old, new)
    file.write_text(text, encoding="utf-8")


def check(folder: Path) -> CheckOutcome:
    """Check everything in a model's folder."""
    asked = request(folder)
    return run_check(locate((), asked, _no_others), asked, Quiet())


def _no_others(words: Sequence[str]) -> list[Model]:
    raise AssertionError(words)


def changed(outcome: CheckOutcome) -> dict[tuple[str, str], Change]:
    """Return what changed by quantity and summary; never an empty dictionary."""
    assert outcome.exit_code == 1
    found = {
        (c.quantity, c.name): c
        for m in outcome.models
        for c in m.changes
        if c.conclusion == "changed"
    }
    assert found
    return found


def test_nothing_changed_is_identical_and_same(models: Path, tmp_path: Path) -> None:
    """The same program and data give the same draws."""
    (model,) = check(copied(models, "linear_regression", tmp_path)).models
    assert (model.exit_code, model.identical, model.reasons) == (0, True, ())


def test_a_changed_prior_is_caught(models: Path, tmp_path: Path) -> None:
    """The prior's mean at 1.67 moves the posterior's, of weight 1/31, by 0.3 sd (1/√31)."""
    folder = copied(models, "normal_mean", tmp_path)
    edited(folder / "normal_mean.stan", ("m ~ normal(0, 1)", "m ~ normal(1.67, 1)"))
    outcome = check(folder)
    moved = changed(outcome)["m", "mean"]
    assert moved.difference == pytest.approx(0.3, abs=0.1)
    (model,) = outcome.models
    assert "the program changed" in model.reasons[0]
    assert "+  m ~ normal(1.67, 1);" in model.diff
    assert {c.method for c in model.changes if c.conclusion == "changed"} == {
        "nuts",
        "meanfield_tuned",
    }


def test_one_changed_datum_is_caught(models: Path, tmp_path: Path) -> None:
    """One score of 103 that became 123 moves the difference of sds; the variable is named."""
    folder = copied(models, "drug_trial", tmp_path)
    edited(folder / "drug_trial.json", ("105, 103, 100,", "105, 123, 100,"))
    outcome = check(folder)
    assert ("difference_of_sds", "mean") in changed(outcome)
    assert outcome.models[0].reasons[0].endswith("values of drug")


def test_a_dropped_bound_is_caught(models: Path, tmp_path: Path) -> None:
    """Without its lower bound tau has a mirror image, and a mean near zero."""
    folder = copied(models, "eight_schools", tmp_path)
    edited(folder / "eight_schools.stan", ("real<lower=0> tau", "real tau"))
    outcome = check(folder)
    assert any(quantity in {"tau", ""} for quantity, _ in changed(outcome))


def test_two_swapped_parameters_are_caught(models: Path, tmp_path: Path) -> None:
    """Intercept and slope under each other's name."""
    folder = copied(models, "linear_regression", tmp_path)
    edited(folder / "linear_regression.stan", ("intercept + slope * x", "slope + intercept * x"))
    found = changed(check(folder))
    assert {("intercept", "mean"), ("slope", "mean")} <= set(found)
    assert ("sigma", "mean") not in found


def test_an_sd_a_seventh_smaller_is_caught(models: Path, tmp_path: Path) -> None:
    """Prior and noise 15% narrower: the sd shrinks by that, the mean stays to the last digit."""
    folder = copied(models, "normal_mean", tmp_path)
    edited(
        folder / "normal_mean.stan",
        ("m ~ normal(0, 1)", "m ~ normal(0, 0.85)"),
        ("x ~ normal(m, 1)", "x ~ normal(m, 0.85)"),
    )
    found = changed(check(folder))
    assert {("m", "sd")} <= set(found)
    assert ("m", "mean") not in found


def test_broken_generated_quantities_are_caught(models: Path, tmp_path: Path) -> None:
    """One squared, one NaN, one removed: each is named for what it is, and nothing else is."""
    folder = copied(models, "drug_trial", tmp_path)
    edited(
        folder / "drug_trial.stan",
        ("real difference_of_means = mu_drug - mu_placebo;",
         "real difference_of_means = square(mu_drug - mu_placebo);"),
        ("  real difference_of_sds = sigma_drug - sigma_placebo;\n", ""),
        ("= difference_of_means / sqrt((square(sigma_drug) + square(sigma_placebo)) / 2)",
         "= not_a_number()"),
    )  # fmt: skip
    found = changed(check(folder))
    assert ("difference_of_means", "mean") in found
    assert found["effect_size", "mean"].kind == "unusable"
    assert "not finite" in found["effect_size", "mean"].detail
    assert found["difference_of_sds", ""].kind == "missing"
    assert {q for q, _ in found} == {"difference_of_means", "effect_size", "difference_of_sds"}


def test_a_program_that_does_not_compile_is_no_sameness(models: Path, tmp_path: Path) -> None:
    """It could not run: exit code 2, with the compiler's words and the diff."""
    folder = copied(models, "normal_mean", tmp_path)
    edited(folder / "normal_mean.stan", ("m ~ normal(0, 1)", "m ~ normal(0, 1"))
    outcome = check(folder)
    (model,) = outcome.models
    assert outcome.exit_code == 2
    assert "normal_mean.stan" in str(model.error)
    assert "+  m ~ normal(0, 1;" in model.diff


def test_runs_that_fail_now_are_no_sameness(models: Path, tmp_path: Path) -> None:
    """A program that throws: exit code 2, with Stan's own words."""
    folder = copied(models, "normal_mean", tmp_path)
    edited(
        folder / "normal_mean.stan",
        ("m ~ normal(0, 1);", 'm ~ normal(0, 1);\n  reject("on purpose");'),
    )
    outcome = check(folder)
    assert outcome.exit_code == 2
    assert "on purpose" in str(outcome.models[0])


TRUNCATING = """#!/bin/sh
# The real program; of what it sampled only half arrives, as when a disk is full.
"$0.real" "$@" || exit $?
case " $* " in *" method=sample "*)
  for word in "$@"; do
    case $word in file=*.csv)
      path=${word#file=}
      truncate -s $(($(stat -c %s "$path") / 2)) "$path";;
    esac
  done;;
esac
"""


def test_a_truncated_csv_is_no_sameness(
    models: Path, tmp_path: Path, cmdstan: CmdStan, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CmdStan runs, half of its output is lost: a run that failed, never a smaller sample."""
    folder = copied(models, "linear_regression", tmp_path)
    program = stan.compile_program(folder / "linear_regression.stan", cmdstan)
    cache = tmp_path / "cache"
    assert program.executable is not None
    own = cache / "programs" / program.executable.parent.name
    shutil.copytree(program.executable.parent, own)
    executable = own / program.executable.name
    executable.rename(executable.with_name(f"{executable.name}.real"))
    executable.write_text(TRUNCATING, encoding="utf-8")
    executable.chmod(0o755)
    monkeypatch.setenv("HARNESS_CACHE", str(cache))
    outcome = check(folder)
    assert outcome.exit_code == 2, [c for m in outcome.models for c in m.changes]
    assert "ends in the middle of a line" in str(outcome.models[0])


def test_other_seeds_are_the_same(models: Path, tmp_path: Path) -> None:
    """Other seeds give other draws of the same posterior (benchmarks: all models, ten sets)."""
    folder = copied(models, "normal_mean", tmp_path)
    asked = Request(folder=folder / "baselines", seed_offset=7000, command="test")
    outcome = run_check(locate((), asked, _no_others), asked, Quiet())
    assert (outcome.exit_code, outcome.models[0].identical) == (0, False)
