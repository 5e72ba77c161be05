"""Many rows in order at once, and their ranks."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import rankdata

from harness import ranks


def _rows(n: int) -> ranks.FloatArray:
    rng = np.random.default_rng(n)
    x = rng.standard_normal((10, n))
    x[1] = rng.standard_cauchy(n)
    x[2] = rng.poisson(3, n)
    x[3] = 3.0
    x[4] *= 1e-310
    x[5] *= 1e307  # the range of these overflows
    x[6, ::7] = np.nan
    x[7, ::5] = -np.inf
    x[8] = np.where(x[8] > 0, -0.0, 0.0)
    x[9, :1] = 1e12  # all others are in one cell
    return x


@pytest.mark.parametrize("n", [0, 1, ranks.FEWEST - 1, ranks.FEWEST, 5001, ranks.MOST + 1])
def test_rows_are_in_the_order_of_numpy(n: int) -> None:
    """Whatever their length and their numbers, rows are sorted, and places say from where."""
    x = _rows(n)
    ordered, order = ranks.in_order(x)
    np.testing.assert_array_equal(ordered, np.sort(x, axis=1))
    np.testing.assert_array_equal(ranks.ascending(x), ordered)
    np.testing.assert_array_equal(np.take_along_axis(x, order, axis=1), ordered)
    np.testing.assert_array_equal(np.sort(order, axis=1), np.broadcast_to(np.arange(n), x.shape))


def test_cells_alone_do_not_order_rows_that_share_them() -> None:
    """The check after the quick way is needed: without it some of these rows are not in order."""
    x = _rows(4000)
    found = np.empty_like(x)
    ranks._by_cell(x, found, None)
    wrong = ~np.all(found[:, 1:] >= found[:, :-1], axis=1)
    assert wrong[[6, 9]].all()
    assert not wrong[[2, 3]].any()


@pytest.mark.parametrize("kind", [np.float64, np.float32])
def test_ranks_are_those_of_scipy(kind: type[np.floating]) -> None:
    """Equal numbers share their mean rank, in rows of either precision and in columns."""
    x = _rows(3000)[[0, 1, 2, 3, 6, 7, 8, 9]].astype(kind)
    expected = rankdata(x, axis=1)
    np.testing.assert_array_equal(ranks.row_ranks(x), expected)
    np.testing.assert_array_equal(ranks.ranks(x.T), expected.T)
