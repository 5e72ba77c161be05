"""A point with buffers of its own; batches; data from memory; other threads and processes."""

from __future__ import annotations

import copy
import itertools
import math
import pickle
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.models import folders
from harness.models.data import load_data
from harness.stan import CmdStan
from harness.stan.bridge import BridgeError, BridgeModel, Status, library

pytestmark = pytest.mark.stan


@pytest.fixture(scope="module")
def regression(cmdstan: CmdStan) -> tuple[Path, dict[str, Any]]:
    """Build the lecture's regression; return the library and its data."""
    model = folders.load("linear_regression")
    return library(model.stan_file, cmdstan), load_data(model)


@pytest.fixture(scope="module")
def wide(cmdstan: CmdStan) -> Path:
    """Build the lecture's model of 100 columns."""
    return library(folders.load("wide_normal").stan_file, cmdstan)


def columns(y: np.ndarray[Any, Any], scale: float = 1.0) -> dict[str, Any]:
    """Return data for the model of columns."""
    return {"N": len(y), "D": y.shape[1], "y": y, "likelihood_scale": scale}


def test_a_points_value_is_that_of_a_batch(regression: tuple[Path, dict[str, Any]]) -> None:
    """Single points, a few, and too many for the model's buffers give the same numbers."""
    model = BridgeModel(*regression)
    z = np.random.default_rng(1).normal(size=(2000, model.dimension))
    for propto, jacobian in itertools.product((True, False), repeat=2):
        many = model.log_density_gradient(z, propto=propto, jacobian=jacobian)
        few = model.log_density_gradient(z[:7], propto=propto, jacobian=jacobian)
        assert many.gradient is not None
        assert few.gradient is not None
        np.testing.assert_array_equal(few.value, many.value[:7])
        np.testing.assert_array_equal(few.gradient, many.gradient[:7])
        point = model.at_point(propto=propto, jacobian=jacobian)
        for i in range(7):
            point.z[:] = z[i]
            assert point() == many.value[i]
            assert point.ok
            np.testing.assert_array_equal(point.gradient, many.gradient[i])
            value, gradient = model.value_and_gradient(z[i], propto=propto, jacobian=jacobian)
            assert value == many.value[i]
            np.testing.assert_array_equal(gradient, many.gradient[i])


def test_what_a_batch_returned_is_not_overwritten(regression: tuple[Path, dict[str, Any]]) -> None:
    """Results are copies of the model's buffers, never views of them."""
    model = BridgeModel(*regression)
    z = np.random.default_rng(2).normal(size=(4, model.dimension))
    first = model.log_density_gradient(z)
    kept = copy.deepcopy(first)
    model.log_density_gradient(-z)
    model.value_and_gradient(3 * z[0])
    np.testing.assert_array_equal(first.value, kept.value)
    np.testing.assert_array_equal(np.asarray(first.gradient), np.asarray(kept.gradient))
    np.testing.assert_array_equal(first.status, kept.status)


def test_no_points_are_no_values(regression: tuple[Path, dict[str, Any]]) -> None:
    """An empty batch is allowed."""
    model = BridgeModel(*regression)
    found = model.log_density_gradient(np.empty((0, model.dimension)))
    assert found.value.shape == (0,)
    with pytest.raises(ValueError, match="allowed"):
        model.value_and_gradient(np.zeros((1, model.dimension)))


def test_a_point_that_fails_says_so_and_the_next_one_is_sound(
    regression: tuple[Path, dict[str, Any]],
) -> None:
    """Its gradient is NaN, not that of the point before."""
    point = BridgeModel(*regression).at_point()
    start = point()
    point.z[0] = np.nan
    assert point() == -math.inf
    assert point.status is Status.REJECT
    assert not point.ok
    assert np.isnan(point.gradient).all()
    with pytest.raises(BridgeError, match="nan"):
        point.check()
    point.z[0] = 0
    assert point() == start
    point.check()


def test_a_point_keeps_its_model(regression: tuple[Path, dict[str, Any]]) -> None:
    """The program exists while a point may still call it."""
    file, data = regression
    point = BridgeModel(file, data).at_point()
    expected = point()
    for _ in range(20):
        BridgeModel(file, data).at_point()()
    assert point() == expected


def test_strided_and_gathered_data_are_read_as_they_are(wide: Path) -> None:
    """Rows by step, by index, transposed, reversed, and columns of a larger table."""
    y = np.random.default_rng(3).normal(size=(60, 4))
    z = np.random.default_rng(4).normal(size=8)
    model = BridgeModel(wide, columns(y))
    index = np.random.default_rng(5).choice(60, 20, replace=False)
    buffer = np.empty((20, 4))
    np.take(y, index, axis=0, out=buffer)
    wider = np.random.default_rng(6).normal(size=(60, 9))
    for given in (
        y[::3], y[::-1], y[index], buffer, np.asfortranarray(y), wider[10:30, 1::2],
        y.astype(np.float32), (10 * y).astype(np.int16),
    ):  # fmt: skip
        model.rebind(columns(given))
        found = model.value_and_gradient(z)
        plain = BridgeModel(wide, columns(np.array(given, dtype=np.float64, order="C")))
        expected = plain.value_and_gradient(z)
        assert found[0] == expected[0]
        np.testing.assert_array_equal(found[1], expected[1])


def test_data_are_read_only_during_the_call(wide: Path) -> None:
    """Overwriting the buffer afterwards changes nothing until the next rebind."""
    y = np.random.default_rng(7).normal(size=(10, 2))
    model = BridgeModel(wide, columns(y))
    before = model.value_and_gradient(np.zeros(4))[0]
    y[:] = 1e6
    assert model.value_and_gradient(np.zeros(4))[0] == before


def test_the_mean_of_the_shards_gradients_is_the_full_gradient(wide: Path) -> None:
    """With the likelihood scaled by shards, priors counted once."""
    y = np.random.default_rng(8).normal(size=(60, 3))
    z = np.random.default_rng(9).normal(size=6)
    model = BridgeModel(wide, columns(y))
    _, full = model.value_and_gradient(z)
    parts = []
    point = model.at_point()  # goes on with the data of the last rebind
    point.z[:] = z
    for shard in np.split(np.random.default_rng(10).permutation(60), 6):
        model.rebind(columns(y[shard], 6.0))
        point()
        parts.append(point.gradient.copy())
    np.testing.assert_allclose(np.mean(parts, axis=0), full, rtol=1e-10)


def test_the_tape_can_be_given_back(wide: Path) -> None:
    """Freeing the tape between gradients does not change them."""
    model = BridgeModel(wide, columns(np.ones((2000, 20))))
    z = np.full(40, 0.1)
    before = model.value_and_gradient(z)
    for _ in range(3):
        model.free_tape()
        after = model.value_and_gradient(z)
        assert after[0] == before[0]
        np.testing.assert_array_equal(after[1], before[1])


def test_points_of_several_threads_do_not_disturb_each_other(
    regression: tuple[Path, dict[str, Any]],
) -> None:
    """Each point has its buffers, and all calls hold the library's lock."""
    model = BridgeModel(*regression)
    z = np.random.default_rng(11).normal(size=(50, 3))
    expected = model.log_density(z).value
    wrong: list[int] = []

    def one_by_one(number: int) -> None:
        point = model.at_point()
        for _ in range(100):
            for i in range(50):
                point.z[:] = z[i]
                if point() != expected[i]:
                    wrong.append(number)

    def batches(number: int) -> None:
        found = (model.log_density_gradient(z).value for _ in range(300))
        wrong.extend(number for value in found if not np.array_equal(value, expected))

    threads = [
        threading.Thread(target=f, args=(i,)) for i in range(2) for f in (one_by_one, batches)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_models_and_points_refuse_to_be_pickled(regression: tuple[Path, dict[str, Any]]) -> None:
    """The error says what to send to the other process instead."""
    model = BridgeModel(*regression)
    with pytest.raises(TypeError, match="library's path and the data"):
        pickle.dumps(model)
    with pytest.raises(TypeError, match="at_point"):
        pickle.dumps(model.at_point())


FORK = """
import os, sys, threading
from pathlib import Path
import numpy as np
from harness.stan.bridge import BridgeModel
model = BridgeModel(Path(sys.argv[1]), {"N": 500, "D": 5, "y": np.ones((500, 5)),
                    "likelihood_scale": 1})
z = np.full((20, 10), 0.1)
expected = model.log_density_gradient(z).gradient
stop = threading.Event()
def work():
    while not stop.is_set():
        model.log_density_gradient(z)
thread = threading.Thread(target=work)
thread.start()
bad = 0
for _ in range(20):
    child = os.fork()
    if child == 0:
        same = np.array_equal(model.log_density_gradient(z).gradient, expected)
        os._exit(0 if same else 1)
    bad += os.waitpid(child, 0)[1] != 0
stop.set()
thread.join()
print("wrong:", bad)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there is no fork")
def test_a_child_may_go_on_with_its_parents_models(wide: Path) -> None:
    """A fork waits for the end of another thread's gradient, so no lock stays held."""
    command = [sys.executable, "-c", FORK, str(wide)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout == "wrong: 0\n", done.stderr
