"""One contract for both engines: what a density of a Stan program does, whoever makes it."""

from __future__ import annotations

import gc
import math
import os
import pickle
import threading
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from harness.models.data import to_json
from harness.records import FloatArray, Program
from harness.stan import CmdStan, density, random_data
from harness.stan.bridge import BridgeModel, library
from harness.stan.density import Density, EngineError, Status
from harness.stan.embedded import EmbeddedModel, batch
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


ENGINES = [
    "embedded",
    "embedded, Python's loop",
    pytest.param("bridge", marks=pytest.mark.stan),
]


@pytest.fixture(scope="module", params=ENGINES)
def engine(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Opened]:
    """Return each engine's way to open a program's text."""
    folder = tmp_path_factory.mktemp("programs")
    files: dict[str, Path] = {}

    def opened(code: str, data: dict[str, object] | None = None, seed: int = 1) -> Density:
        if code not in files:
            files[code] = folder / f"p{len(files)}.stan"
            files[code].write_text(code, encoding="utf-8")
        file = files[code]
        if request.param != "bridge":
            return EmbeddedModel(file, to_json(data or {}).encode(), seed)
        cmdstan: CmdStan = request.getfixturevalue("cmdstan")
        return BridgeModel(library(file, cmdstan), data or {}, seed)

    with pytest.MonkeyPatch.context() as patch:
        if request.param == "embedded, Python's loop":
            patch.setattr(batch, "c_loop", lambda: None)
        yield opened


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


def test_values_without_gradients_are_the_same_at_bad_rows_too(engine: Opened) -> None:
    """To the last bit, with the same status and words, in batches of any size."""
    model = engine(THROWING, DATA)
    rows = np.array([[0.3, -0.2], [101.0, 0.0], [-101.0, 0.0], [1e200, 0.0], [0.0, 800.0]])
    for z in (rows, np.tile(rows, (500, 1))):
        both, alone = model.log_density_gradient(z), model.log_density(z)
        np.testing.assert_array_equal(alone.value, both.value)
        np.testing.assert_array_equal(alone.status, both.status)
        assert alone.message == both.message
        assert alone.gradient is None


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


def test_generated_quantities_that_throw_leave_nan(engine: Opened) -> None:
    """Their rows are NaN with the program's words; without them the rows are written."""
    model = engine(THROWING, {**DATA, "fails": 1})
    z = np.array([[-1.0, 0.0], [1.0, 0.0]])
    values, status = model.constrain(z, generated=True)
    assert status.tolist() == [Status.OK, Status.REJECT]
    assert np.isfinite(values[0]).all()
    assert np.isnan(values[1]).all()
    assert "mu is positive" in model.last_error()
    own, status = model.constrain(z, generated=False)
    assert status.tolist() == [Status.OK, Status.OK]
    np.testing.assert_allclose(own, [[-1, 1, -2], [1, 1, 2]])
    assert model.constrained_names(transformed=True, generated=True) == (
        "mu", "s", "twice", "drawn",
    )  # fmt: skip
    assert model.unconstrained_names() == ("mu", "s")


UNWRITTEN = """
parameters { real x; }
transformed parameters { real y = x; if (x > 1) reject("x is over 1"); }
model { x ~ normal(0, 1); }
generated quantities { real g = y; }
"""


@pytest.mark.parametrize("code", [UNWRITTEN, UNWRITTEN.partition("generated")[0]])
def test_transformed_parameters_that_throw_leave_nan(tmp_path: Path, code: str) -> None:
    """With and without generated quantities, which are left out to see which of both throws."""
    file = tmp_path / "p.stan"
    file.write_text(code, encoding="utf-8")
    model = EmbeddedModel(file)
    values, status = model.constrain([[0.5], [2.0]])
    assert status.tolist() == [Status.OK, Status.REJECT]
    np.testing.assert_array_equal(values, [[0.5, 0.5], [np.nan, np.nan]])
    assert model.last_error() == "x is over 1"


def test_generated_numbers_depend_on_the_seed_alone(engine: Opened) -> None:
    """The same seed gives the same rows, another one others, and rows differ."""
    model = engine(THROWING, DATA)
    z = np.zeros((2, 2))
    first, again, other = (model.constrain(z, generated=True, seed=s)[0] for s in (7, 7, 8))
    np.testing.assert_array_equal(first, again)
    assert (first[:, 3] != other[:, 3]).all()
    assert first[0, 3] != first[1, 3]


@pytest.mark.parametrize("numbers", [1, 9, 2**20])
def test_some_of_the_values_are_those_of_all(
    engine: Opened, monkeypatch: pytest.MonkeyPatch, numbers: int
) -> None:
    """However few points are written at a time; random numbers go on from one to the next."""
    monkeypatch.setattr(density, "AT_ONCE", numbers)
    model = engine(THROWING, {**DATA, "fails": 1})
    z = np.random.default_rng(1).normal(size=(7, 2)) - [2, 0]
    z[4, 0] = 1.0
    whole, failed = model.constrain(z, generated=True, seed=7)
    assert failed.astype(bool).tolist() == [False] * 4 + [True] + [False] * 2
    for keep in ([0, 3], [3], [1, 2]):
        some, status = model.constrain(z, generated=True, seed=7, keep=keep)
        np.testing.assert_array_equal(some, whole[:, keep])
        np.testing.assert_array_equal(status, failed)
    own, status = model.constrain(z, keep=[2, 0])
    np.testing.assert_allclose(own, z[:, [0, 0]] * [2, 1])
    assert not status.any()


def test_what_a_program_prints_can_be_read_once(engine: Opened) -> None:
    """Each model keeps what it printed itself."""
    model, other = engine(THROWING, DATA), engine(THROWING, DATA)
    model.log_density([[1.5, 0.0]])
    other.log_density([[2.5, 0.0]])
    point = model.at_point()
    point.z[:] = [3.5, 0.0]
    point()
    assert model.messages().split() == ["mu", "is", "1.5", "mu", "is", "3.5"]
    assert other.messages() == "mu is 2.5"
    assert model.messages() == ""


def test_points_of_another_shape_are_refused(engine: Opened) -> None:
    """The message has the shape and the one that is allowed."""
    model = engine(THROWING, DATA)
    with pytest.raises(ValueError, match=r"\(1, 3\); allowed: \(any number, 2\)"):
        model.log_density_gradient(np.zeros((1, 3)))
    with pytest.raises(ValueError, match=r"\(3,\); allowed: \(2,\)"):
        model.value_and_gradient(np.zeros(3))
    empty = model.log_density_gradient(np.zeros((0, 2)))
    assert empty.gradient is not None
    assert empty.value.shape == (0,)
    assert empty.gradient.shape == (0, 2)


@pytest.mark.parametrize(
    ("theta", "words"),
    [
        ({"mu": 0.0, "s": -1.0}, "-1, but must be greater than or equal to 0"),
        ({"mu": 0.0}, r"\bs\b"),
        ({"mu": [0.0], "s": 1.0}, "mu"),
    ],
)
def test_values_that_are_no_parameters_are_refused(
    engine: Opened, theta: dict[str, object], words: str
) -> None:
    """Out of its bounds, missing, of another shape; sound ones come back."""
    model = engine(THROWING, DATA)
    np.testing.assert_allclose(model.unconstrain({"mu": 2.0, "s": np.e}), [2, 1], rtol=1e-15)
    with pytest.raises(EngineError, match=words):
        model.unconstrain(theta)


SCALED = """
data { int<lower=0> N; vector[N] y; real s; }
parameters { vector[N] x; real mu; }
model {
  mu ~ normal(0, 1);
  for (n in 1:N) if (!is_inf(y[n]) && !is_nan(y[n])) y[n] ~ normal(x[n], s);
}
generated quantities { vector[N] nothing = x; int seven = 7; }
"""


def scaled(*y: float, s: float = 1.0) -> dict[str, object]:
    """Return data of the program of independent normals."""
    return {"N": len(y), "y": list(y), "s": s}


def slope(model: Density, z: FloatArray) -> FloatArray:
    """Return gradients of the program of independent normals in ``x``."""
    found = model.log_density_gradient(z).gradient
    assert found is not None
    return found[:, :-1]


def test_containers_without_elements_are_there(engine: Opened) -> None:
    """They have no names and no place, and need no value."""
    model = engine(SCALED, scaled())
    assert model.constrained_names(transformed=True, generated=True) == ("mu", "seven")
    np.testing.assert_array_equal(model.unconstrain({"mu": 2.0}), [2.0])
    values, _ = model.constrain([[2.0]], generated=True)
    np.testing.assert_array_equal(values, [[2.0, 7.0]])


def test_infinities_and_nan_are_data(engine: Opened) -> None:
    """As the JSON writes them: the program sees that they are not finite."""
    model = engine(SCALED, scaled(math.inf, math.nan, 1.0, -math.inf))
    np.testing.assert_array_equal(slope(model, np.zeros((1, 5))), [[0, 0, 1, 0]])


def test_data_sets_live_side_by_side(engine: Opened) -> None:
    """Of two sizes, closed in any order."""
    rng = np.random.default_rng(1)
    first, second = engine(SCALED, scaled(1, 2)), engine(SCALED, scaled(1, 2, 3, s=2))
    for _ in range(3):
        a, b = rng.normal(size=(1, 3)), rng.normal(size=(1, 4))
        np.testing.assert_allclose(slope(first, a), [1, 2] - a[:, :2])
        np.testing.assert_allclose(slope(second, b), ([1, 2, 3] - b[:, :3]) / 4)
    first.close()
    assert np.isfinite(second.log_density(b).value[0])


def test_a_closed_model_says_so(engine: Opened) -> None:
    """Every call and every point is an exception or a failed one; closing twice is one closing."""
    model = engine(SCALED, scaled(1, 2))
    point = model.at_point()
    model.close()
    model.close()
    z = np.zeros((1, 3))
    for call in (
        lambda: model.value_and_gradient(z[0]),
        lambda: model.unconstrain({"x": [1.0, 2.0], "mu": 0.0}),
        model.unconstrained_names,
        model.constrained_names,
    ):
        with pytest.raises(EngineError, match="closed"):
            call()
    assert np.isnan(point())
    assert not point.ok
    with pytest.raises(EngineError, match="closed"):
        point.check()
    found = model.log_density_gradient(z)
    assert np.isnan(found.value[0])
    assert "closed" in found.message


def test_threads_do_not_disturb_each_other(engine: Opened) -> None:
    """Six threads with points and batches on one model and on their own: all values are right."""
    y = np.arange(20.0)
    shared = engine(SCALED, scaled(*y))

    def work(seed: int) -> float:
        rng = np.random.default_rng(seed)
        own = engine(SCALED, scaled(*y))
        point, worst = shared.at_point(), 0.0
        for k in range(150):
            z = rng.normal(size=(3, 21))
            point.z[:] = z[0]
            point()
            worst = max(worst, float(np.abs(point.gradient[:20] - (y - z[0, :20])).max()))
            for model in (shared, own) if k % 3 == 0 else (shared,):
                off = slope(model, z) - (y - z[:, :20])
                worst = max(worst, float(np.abs(off).max()))
            theta, _ = shared.constrain(z)
            worst = max(worst, float(np.abs(theta - z).max()))
        return worst

    with ThreadPoolExecutor(6) as pool:
        assert max(pool.map(work, range(6))) < 1e-12


def test_failures_have_their_words_in_any_thread(engine: Opened) -> None:
    """A rejection, a point's check, and generated quantities that throw."""
    model = engine(THROWING, {**DATA, "fails": 1})

    def work() -> tuple[str, str, str]:
        message = model.log_density([[101.0, 0.0]]).message
        point = model.at_point()
        point.z[:] = [102.0, 0.0]
        point()
        try:
            point.check()
        except EngineError as error:
            checked = str(error)
        model.constrain([[1.0, 0.0]], generated=True)
        return message, checked, model.last_error()

    with ThreadPoolExecutor(1) as pool:
        found = pool.submit(work).result()
    for words, expected in zip(found, ("large: 101", "large: 102", "positive"), strict=True):
        assert expected in words


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
def test_a_child_may_go_on_with_its_parents_models(engine: Opened) -> None:
    """Also when another thread is in the middle of a gradient while the process forks."""
    model = engine(SCALED, scaled(*[1.0] * 200))
    z = np.zeros((100, 201))
    busy = threading.Event()

    def work() -> None:
        while not busy.is_set():
            model.log_density_gradient(z)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        for _ in range(5):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)  # a fork beside threads
                child = os.fork()
            if child == 0:
                os._exit(0 if (slope(model, z[:2]) == 1).all() else 1)
            assert os.waitpid(child, 0)[1] == 0
    finally:
        busy.set()
        thread.join()


def test_models_and_points_refuse_to_be_pickled(engine: Opened) -> None:
    """The handle belongs to its process; the message says what to pass instead."""
    model = engine(SCALED, scaled(1))
    with pytest.raises(TypeError, match="make the model there"):
        pickle.dumps(model)
    with pytest.raises(TypeError, match="at_point"):
        pickle.dumps(model.at_point())


@pytest.mark.skipif(not Path("/proc/self/statm").is_file(), reason="memory is read as on Linux")
def test_ten_thousand_models_leave_no_memory_behind(engine: Opened) -> None:
    """Half of them closed, half dropped; each with a point and a failure: less than 8 MB more."""

    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def some(n: int) -> None:
        for k in range(n):
            model = engine(SCALED, scaled(1, 2, 3, s=-1.0 if k % 50 else 1.0))
            model.at_point()()
            if k % 10 == 0:
                model.log_density(np.zeros((2, 4)))
            if k % 2:
                model.close()

    some(500)
    before = resident()
    some(9500)
    gc.collect()
    assert resident() - before < 8e6


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
