"""Deterministic ADVI where the ELBO has no upper bound or numbers end before log p falls."""

from __future__ import annotations

import numpy as np
import pytest
from dadvi_problems import fitted, problem
from scipy.special import expit
from targets import Density

from harness.methods.bridged import FitError
from harness.methods.dadvi import DADVI, DADVI_LR
from harness.methods.dadvi_gaussian import optimum_of
from harness.methods.method import Method
from harness.records import FloatArray, Reason
from harness.vi.deterministic import UnboundedError
from harness.vi.deterministic.improper import flat_directions, lost_in_doubles
from harness.vi.target import Counted

EFFECTS = 6


def effects(terms: int) -> Density:
    """Return ``terms`` normal terms of one scale for six effects: (ln scale, effects).

    With k terms log p is −(k − 1) ln scale near 0 beside effects that take 6 ln scale of volume:
    there is a finite mass up to k = 6 only.
    """

    def density(z: FloatArray) -> tuple[FloatArray, FloatArray]:
        log_s, x = z[:, 0], z[:, 1:]
        scale = np.exp(log_s)
        square = (x / scale[:, None]) ** 2
        value = (1 - terms) * log_s - 0.5 * square.sum(axis=1) - 0.5 * scale**2
        own = 1 - terms + square.sum(axis=1) - scale**2
        return value, np.column_stack([own, -square / x])

    return Density(1 + EFFECTS, density)


def beta(z: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return beta(0.02, 0.02) on the logit scale, computed from the probability as Stan does.

    Where the probability rounds to 1 the density is infinite and has no gradient.
    """
    p = expit(z)
    value = -0.98 * (np.log(p) + np.log1p(-p)) + np.log(p) - np.logaddexp(0, z)
    return value[:, 0], np.where(p < 1, 0.02 * (1 - 2 * p), np.nan)


@pytest.mark.parametrize("seed", range(3))
def test_more_normal_terms_than_effects_have_no_finite_mass(seed: int) -> None:
    """Twelve terms for six effects: the fit ends soon, and names the scale."""
    target = Counted(effects(12))
    with pytest.raises(UnboundedError) as caught:
        fitted(target, seed)
    assert caught.value.which.tolist() == [0]
    assert caught.value.mean[0] < -20
    assert target.gradients < 500_000


@pytest.mark.parametrize("seed", range(3))
def test_as_many_normal_terms_as_effects_have_an_optimum(seed: int) -> None:
    """The density has no maximum there either, but its mass is finite and so is the ELBO."""
    found = fitted(effects(EFFECTS), seed)
    assert found.settled
    assert np.isfinite(found.errors.mean).all()


def test_where_no_mean_drifts_the_narrowed_parameters_are_named() -> None:
    """Of three parameters the last became narrower by a factor of a million."""
    begun, ended = np.zeros(6), np.array([0.5, -0.5, 1.0, 0.1, 0.0, np.log(1e-6)])
    assert UnboundedError(begun, ended).which.tolist() == [2]


@pytest.mark.parametrize("row", [DADVI, DADVI_LR])
def test_the_message_says_where_the_density_is_infinite(row: Method) -> None:
    """It has a reason, the place, and what to do."""
    said = r"improper: .* where x\[1\] → −\d+; give x\[1\] a prior"
    with pytest.raises(FitError, match=said) as e:
        optimum_of(problem(effects(12), row), "meanfield")
    assert e.value.reason is Reason.IMPROPER


def test_a_mass_at_a_bound_is_not_called_flat() -> None:
    """Under beta(0.02, 0.02) log p falls until the probability is 1 in doubles."""
    target = Density(1, beta)
    with np.errstate(all="ignore"):
        (direction,) = flat_directions(target, np.random.default_rng(1))
        assert lost_in_doubles(target, np.random.default_rng(1), direction)
        with pytest.raises(FitError, match=r"^log p falls by less than 1 nat along x\[1\]") as e:
            optimum_of(problem(target, DADVI), "meanfield")
    assert e.value.reason is None


def test_what_is_flat_everywhere_is_not_lost_in_doubles() -> None:
    """A parameter without a prior, and one whose density ends in no number."""
    flat = Density(1, lambda z: (np.zeros(len(z)), np.zeros_like(z)))
    ends = Density(1, lambda z: (np.where(z[:, 0] > 50, np.nan, 0.0), np.zeros_like(z)))
    for target in (flat, ends):
        assert not lost_in_doubles(target, np.random.default_rng(1), np.ones(1))
