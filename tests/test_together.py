"""Figures of many samples at once are those of each alone."""

from __future__ import annotations

import numpy as np
import pytest
from arviz_stats.base import array_stats

from harness.metrics import modes, samples_of
from harness.metrics.sample import Sample
from harness.records import Draws

KINDS = 10
FIGURES = (
    *("finite", "constant", "mean", "sd", "mean_se", "sd_mcse", "ess_mean", "ess_sd"),
    *("ess_least", "quantiles", "sparsity", "log_width_mcse", "marks", "ess_overall"),
)
OF_CHAINS = ("rhats", "bulk_worth", "_sizes")


def _draws(*, iid: bool, draws: int = 300) -> Draws:
    """Return chains with all that is unusual, each kind three times."""
    rng = np.random.default_rng(8)
    x = rng.normal(size=(1 if iid else 3, draws, 3 * KINDS))
    if not iid:
        for t in range(1, draws):
            x[:, t] += 0.6 * x[:, t - 1]
    x[:, :, 1::KINDS] = np.round(x[:, :, 1::KINDS])  # few values
    x[:, :, 2::KINDS] = np.round(x[:, :, 2::KINDS], 2)  # equal draws
    x[:, 1::2, 3::KINDS] = x[:, :-1:2, 3::KINDS][:, : draws // 2]  # chains that stay
    x[:, :, 4::KINDS] = rng.standard_t(1.2, size=(*x.shape[:2], 3))
    x[:, :, 5::KINDS] = 1.5
    x[0, 7, 6::KINDS] = (np.nan, np.inf, -np.inf)
    x[:, :, 7::KINDS] *= (1e-170, 1e170, 1.0)
    x[:, :, 8::KINDS] += 4 * np.sign(x[:, :, 8::KINDS])  # two modes
    x[:, :, 9::KINDS] = np.cumsum(x[:, :, 9::KINDS], axis=1)  # a walk
    return Draws(tuple(f"x[{i}]" for i in range(3 * KINDS)), x, iid=iid)


@pytest.mark.parametrize("draws", [300, 301])
@pytest.mark.parametrize("iid", [True, False])
def test_together_is_as_alone(iid: bool, draws: int) -> None:
    """All figures, of good, bad and unusual draws, of an even and of an odd number."""
    given = _draws(iid=iid, draws=draws)
    together = list(samples_of(given, given.names, keep=True))
    filled = ["_squares_sd" in sample.__dict__ for sample in together]
    # Not few values, a constant, what is not finite or cannot be squared.
    assert filled[:KINDS] == [draws % 2 == 0 and k not in {1, 5, 6, 7} for k in range(KINDS)]
    for name, sample in zip(given.names, together, strict=True):
        alone = Sample(given.quantity(name), iid=iid)
        assert sample.kind == alone.kind
        for figure in FIGURES:
            one, other = getattr(sample, figure), getattr(alone, figure)
            assert one == pytest.approx(other, rel=1e-9, nan_ok=True), (name, figure)
        np.testing.assert_allclose(sample.basins.edges, alone.basins.edges, rtol=1e-9)
        for figure in OF_CHAINS if sample.finite and not sample.constant and not iid else ():
            one, other = getattr(sample, figure), getattr(alone, figure)
            assert one == pytest.approx(other, rel=1e-9), (name, figure)


@pytest.mark.parametrize("bandwidth", [0.004, 0.03, 0.3])
def test_the_density_is_arviz_own(bandwidth: float) -> None:
    """With few and with many cells under the kernel, also more than are reflected at the ends."""
    x = np.sort(np.random.default_rng(2).gamma(2.0, size=2000))
    reach = x[-1] - x[0]
    unit = (x - x[0]) / reach
    grid, density, _ = array_stats.kde(unit, bw=bandwidth, grid_len=modes.GRID)
    (counts,) = modes._counts(x[None], np.array([reach]))
    np.testing.assert_allclose(modes.MIDDLES, grid, rtol=1e-12)
    np.testing.assert_allclose(modes._smoothed(counts, bandwidth), density, rtol=1e-9, atol=1e-12)
