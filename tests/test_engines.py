"""One contract for both engines: what a density of a Stan program does, whoever makes it."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from harness.models.data import to_json
from harness.records import Program
from harness.stan import CmdStan, random_data
from harness.stan.bridge import BridgeModel, library
from harness.stan.density import Density, EngineError, Status
from harness.stan.embedded import EmbeddedModel
from harness.stan.engine import embed, open_density

CASES = Path(__file__).parents[1] / "benchmarks" / "cases"

Opened = Callable[..., Density]
"""Opens a program's text with data by name."""

THROWING = """
data { int<lower=1> N; vector[N] y; int<lower=0, upper=1> fails; }
parameters { real mu; real<lower=0> s; }
transformed parameters { real twice = 2 * mu; }
model {
  if (mu > 100) reject("mu is too large: ", mu);
  if (mu < -100) target += log(mu);
  print("mu is ", mu);
  target += normal_lpdf(y | mu, 1) - s + log(2);
}
generated quantities {
  real drawn = normal_rng(mu, 1);
  if (fails && mu > 0) reject("mu is positive");
}
"""

DATA = {"N": 2, "y": [1.0, 2.0], "fails": 0}


@pytest.fixture(params=["embedded", pytest.param("bridge", marks=pytest.mark.stan)])
def engine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Opened:
    """Return each engine's way to open a program; the bridge compiles a text once."""
    folder = tmp_path_factory.mktemp("programs")
    number = itertools.count()

    def opened(code: str, data: dict[str, object] | None = None, seed: int = 1) -> Density:
        file = folder / f"p{next(number)}.stan"
        file.write_text(code, encoding="utf-8")
        if request.param == "embedded":
            return EmbeddedModel(file, to_json(data or {}).encode(), seed)
        cmdstan: CmdStan = request.getfixturevalue("cmdstan")
        return BridgeModel(library(file, cmdstan), data or {}, seed)

    return opened


def test_values_and_gradients_have_the_closed_form(engine: Opened) -> None:
    """The normal's density and gradient with the Jacobian of a positive parameter."""
    model = engine(THROWING, DATA)
    z = np.array([[0.0, 0.0], [1.0, 0.5], [-2.0, -1.0]])
    mu, log_s = z.T
    y = np.array(DATA["y"])
    value = -0.5 * ((y - mu[:, None]) ** 2).sum(axis=1) - np.log(2 * np.pi) + np.log(2)
    value += log_s - np.exp(log_s)
    found = model.log_density_gradient(z)
    assert found.gradient is not None
    np.testing.assert_allclose(found.value, value, rtol=1e-13)
    np.testing.assert_allclose(found.gradient[:, 0], (y - mu[:, None]).sum(axis=1), atol=1e-13)
    np.testing.assert_allclose(found.gradient[:, 1], 1 - np.exp(log_s), atol=1e-13)
    point = model.at_point()
    for i, row in enumerate(z):
        point.z[:] = row
        assert point() == found.value[i]
        np.testing.assert_array_equal(point.gradient, found.gradient[i])
    np.testing.assert_array_equal(model.log_density(z).value, found.value)


def test_bad_rows_are_minus_infinity_and_nan_and_the_others_go_on(engine: Opened) -> None:
    """A rejection is −inf with the program's words, log(−1) is NaN; both say so."""
    model = engine(THROWING, DATA)
    found = model.log_density_gradient(np.array([[0.0, 0.0], [101.0, 0.0], [-101.0, 0.0]]))
    assert found.gradient is not None
    assert np.isfinite(found.value[0])
    assert found.value[1] == -np.inf
    assert np.isnan(found.value[2])
    assert found.status.tolist() == [Status.OK, Status.REJECT, Status.NOT_FINITE]
    assert np.isnan(found.gradient[1]).all()
    assert "mu is too large: 101" in found.message
    assert "mu is too large: 101" in model.last_error()
    with pytest.raises(EngineError, match="mu is too large: 101"):
        model.value_and_gradient([101.0, 0.0])


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"N": 2, "y": [1.0, 2.0]}, "fails"),
        ({"N": 3, "y": [1.0, 2.0], "fails": 0}, "mismatch"),
        ({"N": 2, "y": [1.0, 2.0], "fails": 2}, "fails is 2, but must be less than or equal to 1"),
    ],
)
def test_bad_data_are_an_exception_with_stans_words(
    engine: Opened, data: dict[str, object], words: str
) -> None:
    """Missing, of another size, or out of their bounds."""
    with pytest.raises(EngineError, match=words):
        engine(THROWING, data)


OLD = """
data { int N; real y[N]; }
parameters { real mu; real z[2]; }
model { y ~ normal(mu, 1); z ~ normal(mu, 1); mu ~ normal(0, 10); }
"""


@pytest.mark.stan
def test_old_syntax_is_updated_by_cmdstans_stanc(cmdstan: CmdStan, tmp_path: Path) -> None:
    """Arrays as Stan wrote them until 2.32 are embedded with CmdStan's help, else refused."""
    file, data = tmp_path / "old.stan", tmp_path / "old.json"
    file.write_text(OLD, encoding="utf-8")
    data.write_text('{"N": 2, "y": [1, 2]}', encoding="utf-8")
    alone = embed(Program(file, {}), data)
    assert not alone.embedded
    assert "line 2, column" in alone.embedded_error
    with pytest.raises(EngineError, match="needs a compiler: "):
        open_density(alone, data, {})
    helped = embed(alone, data, cmdstan)
    assert helped.embedded
    assert helped.constants
    model = open_density(helped, data, {})
    assert model.constrained_names() == ("mu", "z.1", "z.2")
    assert np.isfinite(model.log_density([[0.0, 0.0, 0.0]]).value[0])


@pytest.mark.parametrize("name", ["td_rng", "level_320"])
def test_random_numbers_in_transformed_data_are_seen_by_the_engine_too(name: str) -> None:
    """The text and the engine say the same, and such a program is not embedded."""
    file = CASES / name / "model.stan"
    data = CASES / name / "data.json"
    program = embed(Program(file, {}), data if data.is_file() else None)
    assert program.embedded == (not random_data(file))
    assert ("random numbers" in program.embedded_error) == bool(random_data(file))


def test_the_embedded_engine_names_a_file_it_cannot_read(tmp_path: Path) -> None:
    """The data's file is named."""
    file = tmp_path / "p.stan"
    file.write_text("parameters { real x; } model { x ~ normal(0, 1); }", encoding="utf-8")
    with pytest.raises(EngineError, match=r"none\.json"):
        EmbeddedModel(file, tmp_path / "none.json")
