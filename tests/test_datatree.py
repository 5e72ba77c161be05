"""Draws leave the harness as ArviZ trees and come back the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from harness.intake.trees import draws_from_datatree
from harness.records import Draws, Trace
from harness.records.names import scalars, variables
from harness.report.files.netcdf import (
    read_draws,
    remove_draws,
    to_datatree,
    write_draws,
    written_keys,
)


def some_draws(iid: bool = True) -> Draws:
    """Return a scalar, a vector and a matrix."""
    names = ("m", "b[1]", "b[2]", "z[1,1]", "z[2,1]", "z[1,2]", "z[2,2]")
    rng = np.random.default_rng(3)
    log_p, log_q = rng.normal(size=(2, 2, 50))
    return Draws(names, rng.normal(size=(2, 50, 7)), log_p, log_q if iid else None, iid=iid)


def test_scalars_become_variables_of_their_own_shape() -> None:
    """Column-major CSV order does not mix up matrix cells."""
    draws = some_draws()
    arrays = variables(draws.names, draws.values)
    assert {k: v.shape for k, v in arrays.items()} == {
        "m": (2, 50),
        "b": (2, 50, 2),
        "z": (2, 50, 2, 2),
    }
    assert np.array_equal(arrays["z"][:, :, 1, 0], draws.quantity("z[2,1]"))
    back = scalars(arrays, iid=True)
    assert set(back.names) == set(draws.names)
    assert all(np.array_equal(back.quantity(n), draws.quantity(n)) for n in draws.names)


def test_a_scalar_left_out_is_nan_not_zero() -> None:
    """A hole in a vector stays visible."""
    arrays = variables(("b[1]", "b[3]"), np.ones((1, 4, 2)))
    assert np.isnan(arrays["b"][:, :, 1]).all()


def test_nothing_of_positive_size_is_an_error() -> None:
    """Variables of size zero give no draws."""
    with pytest.raises(ValueError, match="positive size"):
        scalars({"b": np.empty((1, 5, 0))}, iid=True)


@pytest.mark.parametrize("iid", [True, False])
def test_netcdf_round_trip(tmp_path: Path, iid: bool) -> None:
    """Values, densities, traces and independence survive the file."""
    draws = some_draws(iid)
    trace = Trace(np.array([100.0, 200.0]), np.array([0.0, 0.1]), np.array([-40.0, -39.0]))
    write_draws(tmp_path, "meanfield-1", "key", draws, trace)
    got, path = read_draws(tmp_path / "meanfield-1.nc")
    assert got is not None
    assert path is not None
    assert got.iid is iid
    assert all(np.array_equal(got.quantity(n), draws.quantity(n)) for n in draws.names)
    assert got.log_p is not None
    assert draws.log_p is not None
    assert np.array_equal(got.log_p, draws.log_p)
    assert np.array_equal(path.elbo, trace.elbo)
    assert read_draws(tmp_path / "absent.nc") == (None, None)


@pytest.mark.parametrize(
    "names",
    [
        ("draw", "chain", "sample", "lp__", "lp", "log_p", "x"),
        ("draw[1]", "draw[2]", "draw_", "chain[1,1]"),
        ("b[1]", "b[2]", "b_dim_0", "b_dim_0_"),
        ("α[1]", "α[2]", "größe", "t:1", "t:2[1]"),
    ],
)
def test_every_name_of_a_variable_survives(tmp_path: Path, names: tuple[str, ...]) -> None:
    """Names of dimensions, of sampler statistics, and letters beyond ASCII come back."""
    values = np.random.default_rng(4).normal(size=(2, 9, len(names)))
    copies = np.ones((2, 9))
    draws = Draws(names, values, stats={"copies": copies})
    tree = to_datatree(draws)
    assert tree["posterior"].sizes["draw"] == 9
    write_draws(tmp_path, "run", "key", draws, None)
    for got in (draws_from_datatree(tree), read_draws(tmp_path / "run.nc")[0]):
        assert got is not None
        assert set(got.names) == set(names)
        assert all(np.array_equal(got.quantity(n), draws.quantity(n)) for n in names)
        assert got.copies is not None
        assert np.array_equal(got.copies, copies)


@pytest.mark.parametrize("clock", [True, False])
def test_a_file_of_the_same_run_is_not_written_again(tmp_path: Path, clock: bool) -> None:
    """The key decides, and whether seconds are wanted: same key, same file; else a new one."""
    draws = some_draws()
    write_draws(tmp_path, "a", "key", draws, None, clock=clock)
    before = (tmp_path / "a.nc").stat().st_mtime_ns
    write_draws(tmp_path, "a", "key", draws, None, clock=clock)
    assert (tmp_path / "a.nc").stat().st_mtime_ns == before
    assert written_keys(tmp_path) == written_keys(tmp_path, clock=clock) == {"a": "key"}
    assert written_keys(tmp_path, clock=not clock) == {}
    write_draws(tmp_path, "a", "other", draws, None, clock=clock)
    second = (tmp_path / "a.nc").stat().st_mtime_ns
    assert second != before
    write_draws(tmp_path, "a", "other", draws, None, clock=not clock)
    assert (tmp_path / "a.nc").stat().st_mtime_ns != second


def test_arviz_reads_the_tree() -> None:
    """ArviZ computes its diagnostics on the tree as on any other."""
    import arviz_stats

    tree = to_datatree(some_draws(iid=False))
    rhat = arviz_stats.rhat(tree)
    assert "m" in rhat
    assert draws_from_datatree(tree).iid is False


@pytest.mark.parametrize("damage", ["", "[]", "{", "null", "[" * 100_000])
def test_a_damaged_index_counts_as_absent(tmp_path: Path, damage: str) -> None:
    """An emptied keys.json once broke every later comparison into its folder."""
    write_draws(tmp_path, "a", "key", some_draws(), None)
    (tmp_path / "keys.json").write_text(damage)
    assert written_keys(tmp_path) == {}
    write_draws(tmp_path, "a", "key", some_draws(), None)
    assert written_keys(tmp_path) == {"a": "key"}


def test_removing_draws_leaves_other_files(tmp_path: Path) -> None:
    """Only what was written here goes, not a user's file beside it."""
    write_draws(tmp_path, "a", "key", some_draws(), None)
    (tmp_path / "mine.nc").write_bytes(b"mine")
    remove_draws(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["mine.nc"]
