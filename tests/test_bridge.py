"""Stan programs in process: gradients, transforms, exceptions, and data from memory."""

from __future__ import annotations

import itertools
import math
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.methods import METHODS
from harness.models import folders
from harness.models.data import load_data
from harness.records import RunContext, RunSpec
from harness.stan import CmdStan, compile_program
from harness.stan.bridge import BridgeError, BridgeModel, Status, library
from harness.study.store import cmdstan_seed

pytestmark = pytest.mark.stan

THROWING = """
data {
  int<lower=0> N;
  int<lower=0, upper=5> where;
  array[N] real y;
}
transformed data {
  if (where == 1) reject("find this in transformed data");
}
parameters {
  real<lower=0> a;
}
model {
  if (where == 2 && a > 1) reject("find this in the log density");
  if (where == 4) print("seen a = ", a);
  if (where == 5) target += log(-1.0);
  a ~ lognormal(0.5, 2);
}
generated quantities {
  real b = a + 1;
  if (where == 3) reject("find this in generated quantities");
}
"""


@pytest.fixture(scope="module")
def throwing(cmdstan: CmdStan, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the program whose only job is to throw."""
    file = tmp_path_factory.mktemp("programs") / "throwing.stan"
    file.write_text(THROWING, encoding="utf-8")
    return library(file, cmdstan)


@pytest.fixture(scope="module")
def regression(cmdstan: CmdStan) -> tuple[Path, dict[str, Any]]:
    """Build the lecture's regression; return the library and its data."""
    model = folders.load("linear_regression")
    return library(model.stan_file, cmdstan), load_data(model)


def data(where: int = 0, n: int = 0) -> dict[str, Any]:
    """Return data that make the program throw in one block, or nowhere."""
    return {"N": n, "where": where, "y": np.zeros(n)}


def test_the_density_and_its_gradient_have_the_closed_form(throwing: Path) -> None:
    """Lognormal a on z = ln a, for all combinations of propto and jacobian."""
    model = BridgeModel(throwing, data())
    z = np.linspace(-3, 3, 7)[:, None]
    for propto, jacobian in itertools.product((True, False), repeat=2):
        found = model.log_density_gradient(z, propto=propto, jacobian=jacobian)
        quadratic = -((z[:, 0] - 0.5) ** 2) / 8
        expected = quadratic - z[:, 0] + (z[:, 0] if jacobian else 0)
        if not propto:
            expected = expected - math.log(2) - 0.5 * math.log(2 * math.pi)
        slope = -(z - 0.5) / 4 - (0 if jacobian else 1)
        # Without its constants the density is known up to one number.
        shift = found.value[0] - expected[0] if propto else 0.0
        np.testing.assert_allclose(found.value, expected + shift, rtol=1e-12, atol=1e-12)
        assert found.gradient is not None
        np.testing.assert_allclose(found.gradient, slope, rtol=1e-12, atol=1e-12)
        values = model.log_density(z, propto=propto, jacobian=jacobian)
        np.testing.assert_allclose(values.value, found.value, rtol=1e-12, atol=1e-12)


def test_gradients_agree_with_finite_differences(
    regression: tuple[Path, dict[str, Any]],
) -> None:
    """Central differences of the regression's density, error of order h²."""
    model = BridgeModel(*regression)
    rng = np.random.default_rng(1)
    z = rng.normal(size=(20, 3))
    h = 1e-5
    for propto, jacobian in itertools.product((True, False), repeat=2):
        found = model.log_density_gradient(z, propto=propto, jacobian=jacobian).gradient
        assert found is not None
        for j in range(3):
            step = h * np.eye(3)[j]
            up = model.log_density(z + step, propto=propto, jacobian=jacobian).value
            down = model.log_density(z - step, propto=propto, jacobian=jacobian).value
            np.testing.assert_allclose((up - down) / (2 * h), found[:, j], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"N": 1, "where": 0}, "variable does not exist.*variable name=y"),
        ({"N": -1, "where": 0, "y": np.zeros(0)}, "N is -1, but must be greater than"),
        ({"N": 2, "where": 0, "y": np.zeros(3)}, "dimension"),
        ({"N": 2.5, "where": 0, "y": np.zeros(2)}, "non-int"),
        ({"N": 2**40, "where": 0, "y": np.zeros(2)}, "32 bits"),
        ({"N": 1, "where": 0, "y": np.array(["a"])}, "allowed: real numbers"),
        (data(1), "find this in transformed data"),
    ],
)
def test_bad_data_are_an_exception_with_stans_words(
    throwing: Path, given: dict[str, Any], words: str
) -> None:
    """Bad data raise an exception with Stan's message, and the interpreter survives."""
    with pytest.raises(BridgeError, match=words):
        BridgeModel(throwing, given)


def test_a_rejection_is_minus_infinity_and_the_other_points_go_on(throwing: Path) -> None:
    """Points with a > 1 are rejected; the others have their density and gradient."""
    model = BridgeModel(throwing, data(2))
    found = model.log_density_gradient(np.array([[-1.0], [1.0], [-2.0]]))
    assert found.status.tolist() == [Status.OK, Status.REJECT, Status.OK]
    assert found.value[1] == -math.inf
    assert found.gradient is not None
    assert np.isnan(found.gradient[1, 0])
    assert np.isfinite(found.value[[0, 2]]).all()
    assert "find this in the log density" in found.message
    with pytest.raises(BridgeError, match="find this in the log density"):
        model.value_and_gradient(np.array([1.0]))


def test_a_density_that_is_not_a_number_says_so(throwing: Path) -> None:
    """NaN has a status of its own."""
    found = BridgeModel(throwing, data(5)).log_density_gradient(np.zeros((1, 1)))
    assert found.status.tolist() == [Status.NOT_FINITE]
    assert "not finite" in found.message


def test_generated_quantities_that_throw_leave_nan(throwing: Path) -> None:
    """The row is NaN with a status; without generated quantities it is complete."""
    model = BridgeModel(throwing, data(3))
    out, status = model.constrain(np.zeros((2, 1)), generated=True)
    assert status.tolist() == [Status.REJECT, Status.REJECT]
    assert np.isnan(out).all()
    out, status = model.constrain(np.zeros((2, 1)))
    assert status.tolist() == [Status.OK, Status.OK]
    np.testing.assert_array_equal(out, [[1.0], [1.0]])


def test_what_a_program_prints_can_be_read(throwing: Path) -> None:
    """Printed text is returned once, and endless printing does not fill the memory."""
    model = BridgeModel(throwing, data(4))
    model.log_density(np.zeros((1, 1)))
    assert "seen a = 1" in model.messages()
    assert model.messages() == ""
    model.log_density(np.zeros((20_000, 1)))
    assert len(model.messages()) < 100_000


def test_points_of_another_shape_are_refused(throwing: Path) -> None:
    """A wrong dimension is an error before it reaches the program."""
    model = BridgeModel(throwing, data())
    for shape in ((3,), (3, 2), (1, 1, 1)):
        with pytest.raises(ValueError, match="allowed"):
            model.log_density(np.zeros(shape))


def test_other_data_replace_the_old_and_bad_ones_do_not(
    regression: tuple[Path, dict[str, Any]],
) -> None:
    """A rebind that fails leaves the model as it was."""
    file, given = regression
    model = BridgeModel(file, given)
    z = np.array([[1.0, 2.0, -0.5]])
    whole = model.log_density(z).value[0]
    x, y = (np.asarray(given[name], dtype=np.float64) for name in ("x", "y"))
    model.rebind({"N": 10, "x": x[:10], "y": y[:10]})
    part = model.log_density(z).value[0]
    assert part != whole
    with pytest.raises(BridgeError, match="dimension"):
        model.rebind({"N": 11, "x": x[:10], "y": y[:10]})
    assert model.log_density(z).value[0] == part
    model.rebind(given)
    assert model.log_density(z).value[0] == whole


def test_models_and_data_sets_live_side_by_side(
    throwing: Path, regression: tuple[Path, dict[str, Any]]
) -> None:
    """Two programs and two data sets of one, evaluated in turn, do not disturb each other."""
    file, given = regression
    x, y = (np.asarray(given[name], dtype=np.float64) for name in ("x", "y"))
    models = [
        BridgeModel(file, given),
        BridgeModel(file, {"N": 10, "x": x[:10], "y": y[:10]}),
        BridgeModel(throwing, data()),
    ]
    points = [np.full((1, m.dimension), 0.3) for m in models]
    alone = [m.log_density_gradient(z).value[0] for m, z in zip(models, points, strict=True)]
    assert len(set(alone)) == 3
    for _ in range(3):
        for m, z, expected in zip(models, points, alone, strict=True):
            assert m.log_density_gradient(z).value[0] == expected


def test_strided_arrays_are_read_as_they_are(
    regression: tuple[Path, dict[str, Any]],
) -> None:
    """Every other element, reversed, of 32-bit integers: no copy is needed for any of it."""
    file, given = regression
    x, y = (np.asarray(given[name], dtype=np.float64) for name in ("x", "y"))
    plain = BridgeModel(file, {"N": 25, "x": x[::2].copy(), "y": y[::2].copy()})
    strided = BridgeModel(file, {"N": np.int32(25), "x": x[::2], "y": y[::-1][1::2][::-1]})
    z = np.array([[1.0, 2.0, -0.5]])
    assert plain.log_density(z).value[0] == strided.log_density(z).value[0]


def test_a_violated_constraint_is_named(throwing: Path) -> None:
    """Values that violate a constraint raise an error with Stan's message."""
    with pytest.raises(BridgeError, match="must be greater than or equal to 0"):
        BridgeModel(throwing, data()).unconstrain({"a": -1})


def test_a_changed_program_is_built_anew(cmdstan: CmdStan, tmp_path: Path) -> None:
    """A file whose text changes gets a new library, and both stay usable."""
    file = tmp_path / "program.stan"
    file.write_text("parameters { real x; } model { x ~ normal(0, 1); }", encoding="utf-8")
    first = library(file, cmdstan)
    before = BridgeModel(first, {})
    file.write_text("parameters { real x; } model { x ~ normal(5, 1); }", encoding="utf-8")
    second = library(file, cmdstan)
    assert first != second
    after = BridgeModel(second, {})
    slopes = [m.value_and_gradient(np.zeros(1))[1][0] for m in (before, after, before)]
    assert slopes == [0.0, 5.0, 0.0]


def test_the_density_is_cmdstans_own(
    cmdstan: CmdStan, regression: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    """At ADVI's draws it equals CmdStan's ``log_p__``, constants and Jacobian included."""
    stan_file = folders.load("linear_regression").stan_file
    method = METHODS["meanfield"]
    spec = RunSpec("linear_regression", "meanfield", method.defaults, 1, 200)
    program = compile_program(stan_file, cmdstan)
    data_file = folders.load("linear_regression").data_file
    run = method.run(
        spec, RunContext(program, data_file, 60.0, cmdstan_seed(spec, "p", "d")), tmp_path
    )
    assert run.draws is not None
    assert run.draws.log_p is not None
    model = BridgeModel(*regression)
    z = np.array([
        model.unconstrain(dict(zip(run.draws.names, theta, strict=True)))
        for theta in run.draws.values[0]
    ])  # fmt: skip
    np.testing.assert_allclose(model.log_density(z).value, run.draws.log_p[0], rtol=1e-9)


def test_threads_do_not_disturb_each_other(
    regression: tuple[Path, dict[str, Any]],
) -> None:
    """Four threads on one library get the results of one thread, because calls hold a lock."""
    model = BridgeModel(*regression)
    z = np.random.default_rng(5).normal(size=(200, 3))
    expected = model.log_density_gradient(z).gradient
    assert expected is not None
    wrong: list[int] = []

    def work(number: int) -> None:
        for _ in range(20):
            found = model.log_density_gradient(z).gradient
            if found is None or not np.array_equal(found, expected):
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
