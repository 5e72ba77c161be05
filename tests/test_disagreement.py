"""An embedded density is compared with what CmdStan wrote, and a wrong one is caught."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import wrong_library

from harness.methods import METHODS
from harness.models import folders
from harness.records import Draws, RunContext, RunSpec
from harness.records.names import stan_name
from harness.stan import CmdStan, compile_program
from harness.stan.embedded import EmbeddedModel, library
from harness.stan.engine import disagreement

BOUNDED = """
data { int<lower=0> N; }
parameters { real<lower=0, upper=1> p; simplex[3] s; cholesky_factor_corr[2] L; vector[N] b; }
model {
  p ~ beta(2, 1); s ~ dirichlet([1, 2, 3]'); L ~ lkj_corr_cholesky(2); b ~ student_t(3, 0, 1);
}
"""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> EmbeddedModel:
    """Return a program with bounds, a simplex and a correlation."""
    file = tmp_path_factory.mktemp("bounded") / "bounded.stan"
    file.write_text(BOUNDED, encoding="utf-8")
    return EmbeddedModel(file, b'{"N": 2}')


def drawn(model: EmbeddedModel, n: int = 200, scale: float = 1.0) -> tuple[Draws, np.ndarray]:
    """Return draws as CmdStan writes them, to 16 digits, and their densities."""
    z = scale * np.random.default_rng(1).standard_normal((n, model.dimension))
    theta, _ = model.constrain(z)
    names = tuple(stan_name(name) for name in model.constrained_names(transformed=True))
    return Draws(names, theta[None]), model.log_density(z).value[None]


@pytest.mark.parametrize("scale", [1.0, 8.0])
def test_densities_that_differ_by_a_constant_agree(model: EmbeddedModel, scale: float) -> None:
    """Also with draws so close to a bound that their digits do not determine the point."""
    draws, log_p = drawn(model, scale=scale)
    assert disagreement(model, draws, log_p + 57.2) == ""


def test_a_density_that_is_off_somewhere_disagrees(model: EmbeddedModel) -> None:
    """By a millionth of a nat at a fifth of the draws, or by its slope."""
    draws, log_p = drawn(model)
    some = log_p + 1e-6 * (np.arange(200) % 5 == 0)
    assert "differs from CmdStan's" in disagreement(model, draws, some)
    assert "differs from CmdStan's" in disagreement(
        model, draws, log_p + 1e-4 * draws.values[..., 0]
    )


def test_what_cannot_be_compared_disagrees(model: EmbeddedModel, tmp_path: Path) -> None:
    """Too few draws, no finite density, a parameter that is missing or that draws do not tell."""
    draws, log_p = drawn(model, n=10)
    assert "10 draws only" in disagreement(model, draws, log_p)
    draws, log_p = drawn(model)
    assert "0 draws only" in disagreement(model, draws, log_p + np.nan)
    file = tmp_path / "around.stan"
    file.write_text(
        "parameters { unit_vector[2] u; } model { u ~ normal(0, 1); }", encoding="utf-8"
    )
    around = EmbeddedModel(file)
    assert "radius of a unit_vector" in disagreement(around, *drawn(around))
    short = Draws(draws.names[1:], draws.values[..., 1:])
    assert "lack p" in disagreement(model, short, log_p)


@pytest.mark.stan
@pytest.mark.parametrize("name", ["linear_regression", "drug_trial"])
@pytest.mark.parametrize("method", ["nuts", "fullrank"])
def test_the_lectures_densities_are_cmdstans(
    cmdstan: CmdStan, tmp_path: Path, name: str, method: str
) -> None:
    """NUTS's lp__ and ADVI's log_p__ are the embedded density up to one constant."""
    lecture, row = folders.load(name), METHODS[method]
    program = compile_program(lecture.stan_file, cmdstan)
    spec = RunSpec(name, method, row.defaults, 1, 1000)
    found = row.run(spec, RunContext(program, lecture.data_file, 120.0, 77), tmp_path)
    assert found.draws is not None
    assert found.draws.log_p is not None
    model = EmbeddedModel(lecture.stan_file, lecture.data_file)
    assert disagreement(model, found.draws, found.draws.log_p) == ""


CHECKED = """
import sys
from pathlib import Path
import numpy as np
from harness.records import Draws
from harness.stan.embedded import EmbeddedModel
from harness.stan.engine import disagreement
model = EmbeddedModel(Path(sys.argv[1]), b'{"N": 2}')
kept = np.load(sys.argv[2])
draws = Draws(tuple(kept["names"].tolist()), kept["values"])
print(disagreement(model, draws, kept["log_p"]))
"""


@wrong_library.buildable
def test_a_library_with_a_wrong_density_is_caught(
    model: EmbeddedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A library file that adds z₁² to every density disagrees with the draws of the right one."""
    monkeypatch.setenv(library.LIBRARY, str(wrong_library.build(tmp_path)))
    draws, log_p = drawn(model)
    kept = tmp_path / "draws.npz"
    np.savez(kept, names=np.array(draws.names), values=draws.values, log_p=log_p)
    command = [sys.executable, "-c", CHECKED, str(model.stan_file), str(kept)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "differs from CmdStan's by up to" in done.stdout
