"""Draws on the unconstrained scale: in closed form where every transform is of a single number."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from harness.records.names import stan_name, variables
from harness.records.text import listed
from harness.stan.density import Density, EngineError, Status

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from harness.records import Draws, FloatArray

TRIED = 100
"""Points at which a program's transforms are tried; it may reject some."""

RECOVERED = 1e-3
"""Difference up to which a point came back from the constrained scale."""

_ULPS = 8 * np.finfo(float).eps
"""Of a value and its bound: so close a point in closed form must come back to the draw."""

_DIGITS = 12
"""Decimals to which bounds are rounded that are read off the transforms."""


class MissingParametersError(ValueError):
    """Draws without some of the program's parameters."""


def parameters(
    model: Density, draws: Draws, index: Sequence[int]
) -> tuple[tuple[str, ...], FloatArray]:
    """Return the names of a program's parameters, and their values in chosen draws.

    Raises
    ------
    MissingParametersError
        If the draws do not have all parameters.
    """
    names = tuple(stan_name(n) for n in model.constrained_names())
    have = {name: i for i, name in enumerate(draws.names)}
    absent = [n for n in names if n not in have]
    if absent:
        raise MissingParametersError(f"the draws lack {listed(absent, 4)}")
    flat = draws.values.reshape(-1, draws.values.shape[2])
    return names, flat[np.asarray(index, dtype=int)][:, [have[n] for n in names]]


def unconstrained(model: Density, draws: Draws, index: Sequence[int]) -> FloatArray:
    """Return chosen draws on the unconstrained scale, shape ``(len(index), d)``.

    ``index`` counts the draws of all chains, one chain after the other. A draw that violates its
    constraint, such as one rounded onto a bound, is a row of NaN.

    Raises
    ------
    MissingParametersError
        If the draws do not have all parameters.
    """
    return points(model, *parameters(model, draws, index))


def undetermined(model: Density) -> NDArray[np.bool_]:
    """Return which unconstrained parameters draws do not determine, such as unit vectors'.

    Points that the program rejects tell nothing. Where it rejects all that are tried, every
    parameter counts as undetermined.
    """
    z = np.random.default_rng(0).uniform(-1, 1, (TRIED, model.dimension))
    names = tuple(stan_name(n) for n in model.constrained_names())
    theta, status = model.constrain(z, transformed=False)
    kept = np.flatnonzero(status == Status.OK)[:2]
    if not len(kept):
        return np.ones(model.dimension, dtype=np.bool_)
    back = points(model, names, theta[kept])
    return np.asarray(~(np.abs(back - z[kept]) <= RECOVERED).all(axis=0))


def points(model: Density, names: Sequence[str], values: FloatArray) -> FloatArray:
    """Return the points of parameters' values ``(draw, parameter)``; NaN where there is none."""
    out = np.full((len(values), model.dimension), np.nan)
    single = _single(model) if len(values) > 1 else None
    rest = np.arange(len(values))
    if single is not None:
        out, rest = single.inverted(model, values)
    by_name = variables(names, values[None])
    for i in rest:
        try:
            out[i] = model.unconstrain({k: v[0, i] for k, v in by_name.items()})
        except EngineError:
            out[i] = np.nan
    return out


class _Single(NamedTuple):
    """Transforms of one number each, as constrained values show them; in the order of these."""

    place: NDArray[np.intp]  # the coordinate of each constrained value
    low: FloatArray  # −inf where there is no bound
    high: FloatArray
    shift: FloatArray  # of values without bounds: θ = shift + scale z
    scale: FloatArray

    def inverted(self, model: Density, theta: FloatArray) -> tuple[FloatArray, NDArray[np.intp]]:
        """Return points, and which of them do not come back to their draw exactly enough."""
        with np.errstate(invalid="ignore", divide="ignore"):
            below, above = theta - self.low, self.high - theta
            z = np.select(
                [
                    np.isfinite(self.low) & np.isfinite(self.high),
                    np.isfinite(self.low),
                    np.isfinite(self.high),
                ],
                [np.log(below) - np.log(above), np.log(below), np.log(above)],
                (theta - self.shift) / self.scale,
            )
            out = np.empty_like(z)
            out[:, self.place] = z
            again = model.constrain(out, transformed=False)[0]
            size = np.abs(theta)
            for bound in (self.low, self.high, self.shift):
                size = size + np.where(np.isfinite(bound), np.abs(bound), 0)
            back = np.abs(again - theta) <= _ULPS * size
        good = back.all(axis=1) & np.isfinite(out).all(axis=1)
        return out, np.flatnonzero(~good)


def _single(model: Density) -> _Single | None:
    """Read transforms off a few points; None where they are not of one number each.

    What is read off is only a guess: :meth:`_Single.inverted` checks every point.
    """
    d = model.dimension
    if len(model.constrained_names()) != d or not d:
        return None
    # A coordinate's number in binary says which points move it, and with it the value it makes.
    bits = max(d - 1, 1).bit_length()
    coded = (np.arange(d)[None, :] >> np.arange(bits)[:, None]) & 1
    levels = np.outer([0.0, 1.0, -1.0, 2.0], np.ones(d))
    values = model.constrain(np.vstack([levels, coded.astype(float)]), transformed=False)[0]
    zero, one, minus, two = values[:4]
    place = ((values[4:] != zero).astype(np.intp) << np.arange(bits)[:, None]).sum(axis=0)
    if not np.isfinite(values).all() or sorted(place) != list(range(d)):
        return None
    up, down, far = one - zero, zero - minus, two - zero
    near = 1e-9 * (np.abs(up) + np.abs(down))
    affine = np.abs(far - 2 * up) <= near
    one_sided = ~affine & (np.abs(up - np.e * down) <= 10 * near)
    lower, upper = one_sided & (up > 0), one_sided & (up < 0)
    both = ~affine & (np.abs(up - down) <= near)
    if not (affine | one_sided | both).all():
        return None
    width = up / (1 / (1 + np.exp(-1.0)) - 0.5)
    bounds = np.full((2, d), np.inf) * [[-1], [1]]
    bounds[0] = np.where(lower, zero - 1, np.where(both, zero - width / 2, bounds[0]))
    bounds[1] = np.where(upper, zero + 1, np.where(both, zero + width / 2, bounds[1]))
    low, high = np.round(bounds, _DIGITS)
    return _Single(place, low, high, np.where(affine, zero, 0.0), np.where(affine, up, 1.0))
