"""Data that split by rows, and programs that wrongly seem to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from harness.records import FloatArray
from harness.vi.subsampling import Split, Subsampled, SubsamplingError, split_of

TABLE = {"rows": ["x", "y"], "size": "N", "scale": "s"}
SPLIT = Split(("x", "y"), "N", "s")


def made(rows: int = 103) -> dict[str, NDArray[Any]]:
    """Return a regression's data."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=(rows, 2)) + 1
    y = x @ np.array([2.0, -1.0]) + rng.normal(size=rows)
    return {"N": np.asarray(rows), "x": x, "y": y, "s": np.asarray(1)}


class Regression:
    """A normal regression with N(0, 3) priors and a fault of its author."""

    dimension = 2

    def __init__(self, fault: str = "") -> None:
        self.fault = fault
        self.data: Mapping[str, Any] = {}

    def rebind(self, data: Mapping[str, Any]) -> None:
        """Take other data."""
        assert int(data["N"]) == len(data["x"]) == len(data["y"])
        self.data = data

    def log_density(self, z: FloatArray) -> FloatArray:
        """See :meth:`log_density_gradient`."""
        return self.log_density_gradient(z)[0]

    def log_density_gradient(self, z: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return the log density, up to a constant, and its gradient."""
        x, y, s = self.data["x"], self.data["y"], float(self.data["s"])
        if self.fault == "centred":
            x = x - x.mean(axis=0)
        if self.fault == "not finite":
            return np.full(len(z), -np.inf), np.full_like(z, np.nan)
        rest = y - z @ x.T
        value, slope = -0.5 * (rest**2).sum(axis=1), rest @ x
        prior, prior_slope = -0.5 * (z**2).sum(axis=1) / 9, -z / 9
        scale = {"forgotten": 1.0, "squared": s * s}.get(self.fault, s)
        if self.fault == "prior too":
            prior, prior_slope = s * prior, s * prior_slope
        if self.fault == "only half":
            half = 0.5 * (1 + s)
            return half * value + prior, half * slope + prior_slope
        return scale * value + prior, scale * slope + prior_slope


def subsampled(fault: str = "", rows: int = 103, batch: int = 20) -> Subsampled:
    """Return the regression, split."""
    target = Regression(fault)
    data = made(rows)
    target.rebind(data)
    return Subsampled(target, target.rebind, data, split_of(TABLE, data), batch)


@pytest.mark.parametrize("rows", [100, 103, 7])
def test_the_mean_of_the_shard_gradients_is_the_full_gradient(rows: int) -> None:
    """Weighted by rows they agree up to rounding, with even, uneven and single parts."""
    target = subsampled(rows=rows)
    z = np.random.default_rng(2).normal(size=(5, 2))
    target.see_all()
    whole, whole_slope = target.log_density_gradient(z)
    mean, mean_slope = np.zeros_like(whole), np.zeros_like(whole_slope)
    for shard in target.epoch(np.random.default_rng(3)):
        target.see(shard)
        value, slope = target.log_density_gradient(z)
        mean += value * len(shard) / rows
        mean_slope += slope * len(shard) / rows
    np.testing.assert_allclose(mean, whole, rtol=1e-12)
    np.testing.assert_allclose(mean_slope, whole_slope, rtol=1e-11)
    assert target.shards == max(1, -(-rows // 20))


def test_an_epoch_has_every_row_once_and_the_next_another_order() -> None:
    """Batches of at most 20 rows that differ in size by at most one."""
    target = Regression()
    data = made()
    data["y"] = np.arange(103.0)
    seen = Subsampled(target, target.rebind, data, SPLIT, 20)
    rng = np.random.default_rng(4)
    orders = []
    for _ in range(2):
        rows = []
        for _ in range(seen.shards):
            seen.advance(rng)
            assert len(target.data["y"]) in {17, 18}
            assert float(target.data["s"]) == 103 / len(target.data["y"])
            rows.extend(target.data["y"].tolist())
        assert sorted(rows) == list(range(103))
        orders.append(rows)
    assert orders[0] != orders[1]


def test_a_program_that_scales_its_likelihood_passes_and_then_sees_all_rows() -> None:
    """Nothing raises, and the program has all its data afterwards."""
    target = Regression()
    data = made()
    target.rebind(data)
    for seed in range(20):
        Subsampled(target, target.rebind, data, SPLIT, 20).check(np.random.default_rng(seed))
        assert target.data["N"] == 103
        assert target.data["s"] == 1


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("forgotten", "the same with s at 1 and at 2.*does not multiply"),
        ("squared", "not linear in s"),
        ("prior too", "s must multiply the whole likelihood of the rows and nothing else"),
        ("only half", "the mean of the batches' gradients is"),
        ("centred", "must be a sum over rows"),
        ("not finite", "not finite at 20 points"),
    ],
)
def test_a_program_that_does_not_scale_its_likelihood_is_an_error(fault: str, words: str) -> None:
    """A missing or wrong scale is detected before it gives a wrong posterior."""
    for seed in range(5):
        with pytest.raises(SubsamplingError, match=words):
            subsampled(fault).check(np.random.default_rng(seed))


@pytest.mark.parametrize(
    ("table", "change", "words"),
    [
        (None, {}, "does not say how to split its data"),
        ({}, {}, "does not say how to split its data"),
        ({"rows": ["y"], "size": "N"}, {}, "needed: "),
        ({"rows": "y", "size": "N", "scale": "s"}, {}, "needed: "),
        ({"rows": [], "size": "N", "scale": "s"}, {}, "needed: "),
        ({**TABLE, "rows": ["x", "z"]}, {}, "names z, which is not in the data"),
        ({**TABLE, "scale": "t"}, {}, "names t, which is not in the data"),
        (TABLE, {"y": np.zeros(102)}, "different lengths: x 103, y 102"),
        (TABLE, {"N": np.asarray(102)}, "N is 102, but x has 103 rows"),
        (TABLE, {"s": np.asarray(2.0)}, "s is 2.0; it must be 1 in the data of all rows"),
    ],
)
def test_a_table_that_does_not_fit_the_data_is_an_error(
    table: Mapping[str, Any] | None, change: Mapping[str, Any], words: str
) -> None:
    """The message names the variable and its value."""
    with pytest.raises(SubsamplingError, match=words):
        split_of(table, {**made(), **change})


def test_a_table_that_fits_is_read() -> None:
    """The three keys, as a value."""
    assert split_of(TABLE, made()) == SPLIT


def test_a_batch_without_rows_is_an_error() -> None:
    """Zero is refused, and the message says what is allowed."""
    with pytest.raises(ValueError, match="allowed: 1 or more"):
        subsampled(batch=0)
